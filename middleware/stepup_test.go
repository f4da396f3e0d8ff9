package middleware_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
)

func TestRequireAuthentication(t *testing.T) {
	t.Parallel()
	const silver, gold = "urn:example:silver", "urn:example:gold"
	const described = `Bearer realm="api", error="insufficient_user_authentication", error_description="This resource needs a recent or stronger authentication."`
	both := middleware.StepUp{MaxAge: 5 * time.Minute, ACR: []string{silver, gold}}
	age, acr := middleware.StepUp{MaxAge: time.Hour}, middleware.StepUp{ACR: []string{gold}}
	for name, row := range map[string]struct {
		need middleware.StepUp
		ago  time.Duration // negative: in the future
		acr  string
		want string // "" passes
	}{
		"new and good":                {both, 0, gold, ""},
		"as old as it may be":         {both, 5 * time.Minute, silver, ""},
		"too old":                     {both, 5*time.Minute + time.Nanosecond, gold, described + `, acr_values="urn:example:silver urn:example:gold", max_age="300"`},
		"not good":                    {both, 0, "urn:example:lead", described + `, acr_values="urn:example:silver urn:example:gold", max_age="300"`},
		"of no class":                 {both, 0, "", described + `, acr_values="urn:example:silver urn:example:gold", max_age="300"`},
		"class that begins so":        {acr, 0, gold + "er", described + `, acr_values="urn:example:gold"`},
		"class alone":                 {acr, 1000 * time.Hour, gold, ""},
		"age alone":                   {age, time.Hour, "", ""},
		"age alone, too old":          {age, time.Hour + time.Second, gold, described + `, max_age="3600"`},
		"a clock that is ahead":       {age, -30 * time.Second, "", ""},
		"a clock that is far ahead":   {age, -31 * time.Second, "", described + `, max_age="3600"`},
		"never authenticated":         {age, -1, "never", described + `, max_age="3600"`},
		"never, and no age is needed": {acr, -1, "never", described + `, acr_values="urn:example:gold"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tokens := newIssued(0)
				tokens.identity.Token.ACR, tokens.identity.Token.AuthTime = row.acr, time.Now().Add(-row.ago)
				if row.acr == "never" {
					tokens.identity.Token.AuthTime = time.Time{}
				}
				_, _, refusal := admit(t, middleware.Authenticate(tokens).RequireAuthentication(row.need), request(http.MethodGet, "/"))
				if row.want == "" {
					refusedAs(t, refusal, 0, "")
					return
				}
				if refusedAs(t, refusal, http.StatusUnauthorized, middleware.CodeStepUp); refusal == nil {
					return
				}
				if got := answerTo(refusal).Header().Get("WWW-Authenticate"); got != row.want {
					t.Errorf("got  %s\nwant %s", got, row.want)
				}
			})
		})
	}
	_, _, refusal := admit(t, middleware.Authenticate(demoCallers()).RequireAuthentication(age), request(http.MethodGet, "/"))
	refusedAs(t, refusal, http.StatusUnauthorized, middleware.CodeStepUp)
}
