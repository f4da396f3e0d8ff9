package middleware_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

type guard = func(*middleware.Authenticated) *middleware.Authenticated

// Names are compared as they are, and nobody without them is charged.
func TestRequire(t *testing.T) {
	t.Parallel()
	scope := func(s ...string) guard {
		return func(a *middleware.Authenticated) *middleware.Authenticated { return a.RequireScope(s...) }
	}
	anyScope := func(s ...string) guard {
		return func(a *middleware.Authenticated) *middleware.Authenticated { return a.RequireAnyScope(s...) }
	}
	role := func(s ...string) guard {
		return func(a *middleware.Authenticated) *middleware.Authenticated { return a.RequireRole(s...) }
	}
	permission := func(s ...string) guard {
		return func(a *middleware.Authenticated) *middleware.Authenticated { return a.RequirePermission(s...) }
	}
	feature := func(s ...string) guard {
		return func(a *middleware.Authenticated) *middleware.Authenticated { return a.RequireFeature(s...) }
	}
	org := func(header string) guard {
		return func(a *middleware.Authenticated) *middleware.Authenticated {
			return a.RequireOrg(func(*http.Request) string { return header })
		}
	}
	for name, row := range map[string]struct {
		guard guard
		code  string // "" passes
	}{
		"scope":                     {scope("read"), ""},
		"all scopes":                {scope("read", "write:maps"), ""},
		"one of two scopes":         {scope("read", "admin"), middleware.CodeScope},
		"scope that begins so":      {scope("write"), middleware.CodeScope},
		"scope that is longer":      {scope("read:all"), middleware.CodeScope},
		"scope in another case":     {scope("Read"), middleware.CodeScope},
		"any scope":                 {anyScope("admin", "read"), ""},
		"none of the scopes":        {anyScope("admin", "write"), middleware.CodeScope},
		"role":                      {role("admin", "editor"), ""},
		"another role":              {role("admin", "edit"), middleware.CodeRole},
		"a scope is no role":        {role("read"), middleware.CodeRole},
		"permission":                {permission("maps.read", "maps.write"), ""},
		"one of two permissions":    {permission("maps.read", "maps.delete"), middleware.CodePermission},
		"permission that begins so": {permission("maps"), middleware.CodePermission},
		"feature":                   {feature("beta"), ""},
		"features":                  {feature("beta", "dark"), middleware.CodeFeature},
		"org":                       {org("acme"), ""},
		"another org":               {org("yard"), middleware.CodeOrg},
		"org in another case":       {org("Acme"), middleware.CodeOrg},
		"no org":                    {org(""), middleware.CodeOrg},
		"two guards, the first":     {func(a *middleware.Authenticated) *middleware.Authenticated { return role("x")(scope("x")(a)) }, middleware.CodeScope},
		"two guards, the second":    {func(a *middleware.Authenticated) *middleware.Authenticated { return role("x")(scope("read")(a)) }, middleware.CodeRole},
		"two guards that let pass":  {func(a *middleware.Authenticated) *middleware.Authenticated { return org("acme")(feature("beta")(a)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens := newIssued(0)
			id := &tokens.identity
			id.Scopes, id.Roles, id.Permissions, id.Features = []string{"read", "write:maps"}, []string{"editor"}, []string{"maps.read", "maps.write"}, []string{"beta"}
			limiter := limiterFunc(allow)
			if row.code != "" {
				limiter = chargesNothing(t).(limiterFunc)
			}
			_, _, refusal := admit(t, row.guard(middleware.Authenticate(tokens)).RateLimit(limiter, ratelimit.PerMinute(9)), request(http.MethodGet, "/"))
			if row.code == "" {
				refusedAs(t, refusal, 0, "")
				return
			}
			refusedAs(t, refusal, http.StatusForbidden, row.code)
			if refusal != nil && strings.Contains(answerTo(refusal).Body.String(), "acme") {
				t.Errorf("it says whose it is: %s", answerTo(refusal).Body)
			}
		})
	}
}

// Whose a route is may be told by the route.
func TestRequireOrgOfRoute(t *testing.T) {
	t.Parallel()
	stage := middleware.Authenticate(newIssued(0)).RequireOrg(func(r *http.Request) string { return r.PathValue("org") })
	mux := http.NewServeMux()
	mux.HandleFunc("/orgs/{org}/items", func(w http.ResponseWriter, r *http.Request) {
		if _, refusal := stage.Admit(w.Header(), r, "GET /orgs/{org}/items"); refusal != nil {
			refusal.Render(w, r)
		}
	})
	for path, want := range map[string]int{"/orgs/acme/items": 200, "/orgs/yard/items": 403, "/orgs/acme%20/items": 403, "/orgs/acm%65/items": 200} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, request(http.MethodGet, path))
		if w.Code != want {
			t.Errorf("%s: status %d, want %d", path, w.Code, want)
		}
	}
}

func TestRequireClaim(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		path, claims string
		passes       bool
	}{
		"a string":                       {"tier", `{"tier":"gold"}`, true},
		"another string":                 {"tier", `{"tier":"lead"}`, false},
		"a string that begins so":        {"tier", `{"tier":"gold+"}`, false},
		"one of an array":                {"tier", `{"tier":["lead","gold"]}`, true},
		"none of an array":               {"tier", `{"tier":["lead","Gold"]}`, false},
		"an array of nothing":            {"tier", `{"tier":[]}`, false},
		"an array with null":             {"tier", `{"tier":["gold",null]}`, false},
		"an array with a number":         {"tier", `{"tier":["gold",1]}`, false},
		"an array in an array":           {"tier", `{"tier":[["gold"]]}`, false},
		"an object":                      {"tier", `{"tier":{"gold":true}}`, false},
		"a number":                       {"tier", `{"tier":1}`, false},
		"true":                           {"tier", `{"tier":true}`, false},
		"null":                           {"tier", `{"tier":null}`, false},
		"absent":                         {"tier", `{}`, false},
		"another case of the name":       {"tier", `{"Tier":"gold"}`, false},
		"within an object":               {"plan.tier", `{"plan":{"tier":"gold"}}`, true},
		"another case within":            {"plan.tier", `{"plan":{"TIER":"gold"}}`, false},
		"a name with a dot":              {"plan.tier", `{"plan.tier":"gold","plan":{"tier":"lead"}}`, true},
		"within what is no object":       {"plan.tier", `{"plan":"gold"}`, false},
		"a number as text in the values": {"tier", `{"tier":"7"}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens := newIssued(0)
			if err := json.Unmarshal([]byte(row.claims), &tokens.identity.Token.Claims); err != nil {
				t.Fatal(err)
			}
			_, _, refusal := admit(t, middleware.Authenticate(tokens).RequireClaim(row.path, "silver", "gold", "7"), request(http.MethodGet, "/"))
			if row.passes {
				refusedAs(t, refusal, 0, "")
			} else {
				refusedAs(t, refusal, http.StatusForbidden, middleware.CodeClaim)
			}
		})
	}
	_, _, refusal := admit(t, middleware.Authenticate(demoCallers()).RequireClaim("tier", "gold"), request(http.MethodGet, "/"))
	refusedAs(t, refusal, http.StatusForbidden, middleware.CodeClaim)
}

func TestMistakesOfGuards(t *testing.T) {
	t.Parallel()
	auth := middleware.Authenticate(newIssued(0))
	for name, row := range map[string]struct {
		stage middleware.Stage
		want  string
	}{
		"no scope":            {auth.RequireAnyScope(), "RequireAnyScope() needs a scope"},
		"scope with a space":  {auth.RequireAnyScope("a b"), "scope-token"},
		"no role":             {auth.RequireRole(), "RequireRole([]) needs a role"},
		"empty role":          {auth.RequireRole("a", ""), "needs a role, and no empty one"},
		"no permission":       {auth.RequirePermission(), "needs a permission"},
		"empty permission":    {auth.RequirePermission(""), "needs a permission"},
		"no feature":          {auth.RequireFeature(), "needs a feature"},
		"no claim":            {auth.RequireClaim("", "a"), "needs the path of a claim"},
		"no value":            {auth.RequireClaim("tier"), "RequireClaim"},
		"empty value":         {auth.RequireClaim("tier", ""), "RequireClaim"},
		"no function":         {auth.RequireOrg(nil), "RequireOrg(nil)"},
		"nothing to step to":  {auth.RequireAuthentication(middleware.StepUp{}), "RequireAuthentication"},
		"negative age":        {auth.RequireAuthentication(middleware.StepUp{MaxAge: -time.Second}), "MaxAge -1s"},
		"part of a second":    {auth.RequireAuthentication(middleware.StepUp{MaxAge: time.Millisecond}), "MaxAge 1ms"},
		"negative age, class": {auth.RequireAuthentication(middleware.StepUp{MaxAge: -time.Second, ACR: []string{"a"}}), "MaxAge -1s"},
		"empty class":         {auth.RequireAuthentication(middleware.StepUp{ACR: []string{""}}), "ACR"},
		"class with a quote":  {auth.RequireAuthentication(middleware.StepUp{ACR: []string{`a"`}}), "ACR"},
		"class of two":        {auth.RequireAuthentication(middleware.StepUp{ACR: []string{"a b"}}), "ACR"},
		"no stage":            {(*middleware.Authenticated)(nil).RequireRole("a"), "the stage is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := row.stage.Err(); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("Err() = %v, want %q in it", err, row.want)
			}
		})
	}
	if err := auth.Err(); err != nil {
		t.Errorf("the stage that others were derived from has the error %v", err)
	}
}

// What a stage requires does not change with what it was made of.
func TestGuardsKeepTheirNames(t *testing.T) {
	t.Parallel()
	scopes, roles := []string{"admin"}, []string{"root"}
	acr := []string{"gold"}
	auth := middleware.Authenticate(newIssued(0))
	stages := []middleware.Stage{auth.RequireScope(scopes...), auth.RequireRole(roles...), auth.RequireAuthentication(middleware.StepUp{ACR: acr})}
	scopes[0], roles[0], acr[0] = "search", "", ""
	for i, s := range stages {
		if _, _, refusal := admit(t, s, request(http.MethodGet, "/")); refusal == nil {
			t.Errorf("number %d lets pass who lacks what it was made with", i+1)
		}
	}
}

// A claim that a token lost meanwhile is missed when the identity is read anew.
func TestGuardsAskAgain(t *testing.T) {
	t.Parallel()
	tokens := newIssued(0)
	tokens.identity.Roles = []string{"editor"}
	limiter := limiterFunc(func(ratelimit.Request) (ratelimit.Decision, error) {
		tokens.identity.Roles = nil
		return ratelimit.Decision{}, ratelimit.ErrStale
	})
	_, _, refusal := admit(t, middleware.Authenticate(tokens).RequireRole("editor").RateLimit(limiter, ratelimit.PerMinute(9)), request(http.MethodGet, "/"))
	refusedAs(t, refusal, http.StatusForbidden, middleware.CodeRole)
}

// An identity of no org is not that of a request which tells none.
func TestRequireOrgOfNobody(t *testing.T) {
	t.Parallel()
	tokens := newIssued(0)
	tokens.identity.Org = ""
	_, _, refusal := admit(t, middleware.Authenticate(tokens).RequireOrg(func(*http.Request) string { return "" }), request(http.MethodGet, "/"))
	refusedAs(t, refusal, http.StatusForbidden, middleware.CodeOrg)
}
