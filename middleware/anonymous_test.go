package middleware_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestAnonymous(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		method string
		fields []string
		guard  guard
		status int
		code   string
		by     string // the Method of the identity
	}{
		"nobody":                    {by: authkey.MethodAnonymous},
		"an empty field":            {fields: []string{"X-Api-Key", ""}, by: authkey.MethodAnonymous},
		"an empty Authorization":    {fields: []string{"Authorization", ""}, by: authkey.MethodAnonymous},
		"a scheme that is not read": {fields: []string{"Authorization", "Digest x"}, status: 401, code: middleware.CodeInvalid},
		"DPoP, which is not read":   {fields: []string{"Authorization", "DPoP x"}, status: 401, code: middleware.CodeInvalid},
		"a good one":                {fields: []string{"X-Api-Key", goodKey}, by: "key"},
		"a bad one":                 {fields: []string{"X-Api-Key", "nobody"}, status: 401, code: middleware.CodeInvalid},
		"a bad one by bearer":       {fields: []string{"Authorization", "Bearer nobody"}, status: 401, code: middleware.CodeInvalid},
		"a scheme without one":      {fields: []string{"Authorization", "Bearer"}, status: 400, code: middleware.CodeMalformed},
		"a doubled one":             {fields: []string{"X-Api-Key", goodKey, "X-Api-Key", goodKey}, status: 400, code: middleware.CodeMalformed},
		"two doubled and empty":     {fields: []string{"X-Api-Key", "", "X-Api-Key", ""}, status: 400, code: middleware.CodeMalformed},
		"two":                       {fields: []string{"X-Api-Key", goodKey, "Authorization", "Bearer nobody"}, status: 400, code: middleware.CodeAmbiguous},
		"one that is none":          {fields: []string{"X-Api-Key", "a b"}, status: 400, code: middleware.CodeMalformed},
		"a scope is needed":         {guard: func(a *middleware.Authenticated) *middleware.Authenticated { return a.RequireScope("search") }, status: 401, code: middleware.CodeMissing},
		"a product is needed":       {guard: func(a *middleware.Authenticated) *middleware.Authenticated { return a.RequireProduct("stores") }, status: 401, code: middleware.CodeMissing},
		"a role is needed":          {guard: func(a *middleware.Authenticated) *middleware.Authenticated { return a.RequireRole("root") }, status: 401, code: middleware.CodeMissing},
		"a claim is needed":         {guard: func(a *middleware.Authenticated) *middleware.Authenticated { return a.RequireClaim("tier", "gold") }, status: 401, code: middleware.CodeMissing},
		"an authentication": {guard: func(a *middleware.Authenticated) *middleware.Authenticated {
			return a.RequireAuthentication(middleware.StepUp{ACR: []string{"a"}})
		}, status: 401, code: middleware.CodeMissing},
		"another org": {guard: func(a *middleware.Authenticated) *middleware.Authenticated {
			return a.RequireOrg(func(*http.Request) string { return "yard" })
		}, status: 401, code: middleware.CodeMissing},
		"its org": {guard: func(a *middleware.Authenticated) *middleware.Authenticated {
			return a.RequireOrg(func(*http.Request) string { return "public" })
		}, by: authkey.MethodAnonymous},
		"to read": {guard: func(a *middleware.Authenticated) *middleware.Authenticated {
			return a.RequireMode(middleware.ReadWrite)
		}, by: authkey.MethodAnonymous},
		"to write": {method: http.MethodPost, guard: func(a *middleware.Authenticated) *middleware.Authenticated {
			return a.RequireMode(middleware.ReadWrite)
		}, status: 401, code: middleware.CodeMissing},
		"a bad one lacks no scope":   {fields: []string{"X-Api-Key", "nobody"}, guard: func(a *middleware.Authenticated) *middleware.Authenticated { return a.RequireScope("search") }, status: 401, code: middleware.CodeInvalid},
		"a good one lacks the scope": {fields: []string{"X-Api-Key", goodKey}, guard: func(a *middleware.Authenticated) *middleware.Authenticated { return a.RequireScope("admin") }, status: 403, code: middleware.CodeScope},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			known := demoCallers()
			known.known[goodKey].Method = "key"
			stage := middleware.Authenticate(known, middleware.WithAnonymous("public", "web"))
			if row.guard != nil {
				stage = row.guard(stage)
			}
			r := corsRequest(http.MethodGet, "/", row.fields...)
			if row.method != "" {
				r.Method = row.method
			}
			a, _, refusal := admit(t, stage, r)
			if row.status != 0 {
				if refusedAs(t, refusal, row.status, row.code); refusal != nil && row.code == middleware.CodeMissing {
					if got := answerTo(refusal).Header()["Www-Authenticate"]; !slices.Equal(got, []string{`Bearer realm="api"`}) {
						t.Errorf("the challenge is %q, want it without an error", got)
					}
				}
				return
			}
			if refusedAs(t, refusal, 0, ""); refusal == nil && a.Identity().Method != row.by {
				t.Errorf("the identity is %+v", a.Identity())
			}
		})
	}
}

// Nobody is charged and counted as all who are nobody, and never asks the authenticator.
func TestAnonymousIsCharged(t *testing.T) {
	t.Parallel()
	known, counted := demoCallers(), &ledger{}
	known.err = errors.New("it was asked")
	var asked ratelimit.Request
	limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		asked = r
		return allow(r)
	})
	stage := middleware.Authenticate(known, middleware.WithAnonymous("public", "web")).
		RateLimit(limiter, ratelimit.PerMinute(9), ratelimit.PerHour(9).Named("k").By(ratelimit.ByKey)).Meter(counted, "stores", "search")
	a, _, refusal := admit(t, stage, httptest.NewRequest(http.MethodGet, "/", nil))
	if refusedAs(t, refusal, 0, ""); refusal != nil {
		return
	}
	a.Done(http.StatusOK, 0)
	if asked.Org != "public" || asked.Project != "web" || asked.Key == "" || asked.Epoch != 0 || asked.Token != nil {
		t.Errorf("the limiter was asked for %+v", asked)
	}
	if len(counted.rows) != 1 || counted.rows[0].Org != "public" || counted.rows[0].Project != "web" {
		t.Errorf("counted %+v", counted.rows)
	}
	id := a.Identity()
	if id.Kind != authkey.KindPublishable || len(id.Scopes)+len(id.Products)+len(id.Roles) != 0 || id.Token != nil {
		t.Errorf("the identity is %+v, want a publishable one that has nothing", id)
	}
}

// Nobody's identity cannot be read anew, so a limiter that finds it stale lets nobody pass.
func TestAnonymousIsNotRefreshed(t *testing.T) {
	t.Parallel()
	known := demoCallers()
	stale := limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) { return ratelimit.Decision{}, ratelimit.ErrStale })
	_, _, refusal := admit(t, middleware.Authenticate(known, middleware.WithAnonymous("public", "web")).RateLimit(stale, ratelimit.PerMinute(9)), httptest.NewRequest(http.MethodGet, "/", nil))
	refusedAs(t, refusal, http.StatusServiceUnavailable, middleware.CodeUnavailable)
	if known.asked+known.refreshes != 0 {
		t.Errorf("the authenticator was asked %d times and %d times anew", known.asked, known.refreshes)
	}
}

// Who was authenticated stays so behind an inner stage that reads other places; who was not is asked there.
func TestAnonymousWithin(t *testing.T) {
	t.Parallel()
	open := middleware.WithAnonymous("public", "web")
	byKey, byBearer := middleware.WithSources(middleware.Header("X-API-Key")), middleware.WithSources(middleware.Bearer())
	for name, row := range map[string]struct {
		outer, inner []middleware.Option
		key          string
		status       int
		org          string
	}{
		"both, and nobody":                  {[]middleware.Option{open}, []middleware.Option{open}, "", 0, "public"},
		"both, and somebody":                {[]middleware.Option{open}, []middleware.Option{open}, goodKey, 0, "acme"},
		"the outer, and nobody":             {[]middleware.Option{open}, nil, "", 401, ""},
		"the outer, and somebody":           {[]middleware.Option{open}, nil, goodKey, 0, "acme"},
		"the inner reads other places":      {[]middleware.Option{byKey}, []middleware.Option{byBearer, open}, goodKey, 401, ""},
		"nobody, and the inner other ones":  {[]middleware.Option{byKey, open}, []middleware.Option{byBearer, open}, "", 0, "public"},
		"the inner, and the outer does not": {nil, []middleware.Option{open}, "", 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			known := demoCallers()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if row.key != "" {
				r.Header.Set("X-Api-Key", row.key)
			}
			var a *middleware.Admission
			var refusal *middleware.Error
			for _, options := range [][]middleware.Option{row.outer, row.inner} {
				if a, _, refusal = admit(t, middleware.Authenticate(known, options...), r); refusal != nil {
					break
				}
				r = a.Request()
			}
			if row.status != 0 {
				refusedAs(t, refusal, row.status, middleware.CodeMissing)
				return
			}
			if refusedAs(t, refusal, 0, ""); refusal == nil && a.Identity().Org != row.org {
				t.Errorf("it is of %s, want %s", a.Identity().Org, row.org)
			}
		})
	}
}

// Pages read what nobody may read by CORS.Origins alone, as their preflights were answered.
func TestAnonymousPages(t *testing.T) {
	t.Parallel()
	stage := middleware.Authenticate(demoCallers(), middleware.WithAnonymous("public", "web"), middleware.WithCORS(middleware.CORS{Origins: []string{"https://a.example.com"}}))
	for origin, want := range map[string]string{"https://a.example.com": "https://a.example.com", "https://evil.test": ""} {
		_, h, refusal := admit(t, stage, corsRequest(http.MethodGet, "/", "Origin", origin))
		refusedAs(t, refusal, 0, "")
		if got := h.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: %q, want %q", origin, got, want)
		}
	}
}
