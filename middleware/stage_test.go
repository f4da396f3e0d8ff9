package middleware_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestMistakesAreKept(t *testing.T) {
	t.Parallel()
	auth := middleware.Authenticate(demoCallers())
	limited := auth.RateLimit(limiterFunc(allow), ratelimit.PerMinute(10))
	metered := limited.Meter(&ledger{}, "stores", "search")
	anonymous := middleware.LimitBy(middleware.ClientNetwork(), limiterFunc(allow), ratelimit.PerMinute(10))
	for name, c := range map[string]struct {
		stage middleware.Stage
		want  string
	}{
		"no authenticator":       {middleware.Authenticate(nil), "an authenticator is needed"},
		"nil option":             {middleware.Authenticate(demoCallers(), nil), "option number 1 is nil"},
		"nil observer":           {middleware.Authenticate(demoCallers(), middleware.WithObserver(nil)), "WithObserver(nil)"},
		"nil renderer":           {middleware.Authenticate(demoCallers(), middleware.WithRenderer(nil)), "WithRenderer(nil)"},
		"realm with a quote":     {middleware.Authenticate(demoCallers(), middleware.WithRealm(`a"b`)), "WithRealm"},
		"no source":              {middleware.Authenticate(demoCallers(), middleware.WithSources()), "at least one source"},
		"zero source":            {middleware.Authenticate(demoCallers(), middleware.WithSources(middleware.Source{})), "zero Source"},
		"header of another":      {middleware.Authenticate(demoCallers(), middleware.WithSources(middleware.Header("authorization"))), "use Bearer"},
		"bad cookie name":        {middleware.Authenticate(demoCallers(), middleware.WithSources(middleware.Cookie("a b"))), "not a cookie's name"},
		"empty query name":       {middleware.Authenticate(demoCallers(), middleware.WithSources(middleware.Query(""))), "needs a name"},
		"no scope":               {auth.RequireScope(), "needs a scope"},
		"scope with a quote":     {auth.RequireScope(`a"`), "scope-token"},
		"no product":             {auth.RequireProduct(""), "needs a product"},
		"unknown mode":           {auth.RequireMode(9), "not a mode"},
		"no limiter":             {auth.RateLimit(nil, ratelimit.PerMinute(1)), "limiter is nil"},
		"no policy":              {auth.RateLimit(limiterFunc(allow)), "at least one policy"},
		"negative limit":         {auth.RateLimit(limiterFunc(allow), ratelimit.PerMinute(-1)), "Limit -1"},
		"two of a name":          {auth.RateLimit(limiterFunc(allow), ratelimit.PerMinute(1), ratelimit.PerHour(1)), `two policies are named "requests"`},
		"partition of no value":  {auth.RateLimit(limiterFunc(allow), ratelimit.PerMinute(1).By("tenant")), `Partition("tenant"`},
		"typed nil":              {auth.RateLimit((*ratelimit.Limiter)(nil), ratelimit.PerMinute(1)), "limiter is nil"},
		"unnamed key":            {middleware.LimitBy(middleware.Key{Of: func(*http.Request) string { return "" }}, limiterFunc(allow), ratelimit.PerMinute(1)), "a Name and Of"},
		"network of nothing":     {middleware.LimitBy(middleware.ClientNetwork(netip.Prefix{}), limiterFunc(allow), ratelimit.PerMinute(1)), "trusted network number 1"},
		"cost of no policy":      {limited.Cost("elements", middleware.Later), "no such policy"},
		"nil cost":               {limited.Cost("requests", nil), "nil"},
		"no such partition":      {limited.Partition("region", func(*http.Request) string { return "x" }), `Partition("region")`},
		"unknown failure":        {limited.OnFailure(9), "OnFailure(9)"},
		"nil recorder":           {limited.Meter(nil, "stores", "search"), "recorder is nil"},
		"meter without product":  {limited.Meter(&ledger{}, "", "search"), "product and kind"},
		"nil source of usage":    {metered.Source(nil), "Source(nil)"},
		"nil billable":           {metered.Billable(nil), "Billable(nil)"},
		"limit by nothing":       {middleware.LimitBy(middleware.Key{}, limiterFunc(allow), ratelimit.PerMinute(1)), "needs a key"},
		"limit by with identity": {middleware.LimitBy(middleware.Everyone(), limiterFunc(allow), ratelimit.PerMinute(1).By(ratelimit.ByOrg)), "key of its own"},
		"limit by nil option":    {anonymous.With(nil), "option number 1 is nil"},
		"kept to the end":        {auth.RequireScope().RateLimit(limiterFunc(allow), ratelimit.PerMinute(1)).Meter(&ledger{}, "a", "b"), "needs a scope"},
		"nil stage":              {(*middleware.Authenticated)(nil).RateLimit(limiterFunc(allow), ratelimit.PerMinute(1)), "the stage is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.stage.Err()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Err() = %v, want %q in it", err, c.want)
			}
		})
	}
	tenant := auth.RateLimit(limiterFunc(allow), ratelimit.PerMinute(1).By("tenant")).Partition("tenant", func(*http.Request) string { return "t" })
	for name, s := range map[string]middleware.Stage{"tenant": tenant, "authenticated": auth, "limited": limited, "metered": metered, "anonymous": anonymous} {
		if err := s.Err(); err != nil {
			t.Errorf("%s: the chain that others were derived from now has the error %v", name, err)
		}
	}
}

func TestDerivedStageLeavesItsOriginalAlone(t *testing.T) {
	t.Parallel()
	var monitored, costs []bool
	limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		monitored, costs = append(monitored, r.Charges[0].Policy.Monitor), append(costs, r.Charges[0].Cost == 0)
		return allow(r)
	})
	original := middleware.Authenticate(demoCallers()).RateLimit(limiter, ratelimit.PerMinute(10))
	derived := original.Monitor().Cost("requests", middleware.Later)
	for _, s := range []middleware.Stage{original, derived, original} {
		if _, _, refusal := admit(t, s, request("GET", "/v1/search")); refusal != nil {
			t.Fatal(refusal)
		}
	}
	if monitored[0] || !monitored[1] || monitored[2] || costs[0] || !costs[1] || costs[2] {
		t.Errorf("monitored %v, cost 0 %v; want only the second of each", monitored, costs)
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ method, pattern, want string }{
		{"GET", "GET /datasets/{id}/search", "GET /datasets/{id}/search"},
		{"HEAD", "GET /datasets/{id}", "GET /datasets/{id}"},
		{"HEAD", "/datasets", "GET /datasets"},
		{"POST", "/datasets", "POST /datasets"},
		{"BREW", "/pots", "OTHER /pots"},
		{"get", "/pots", "OTHER /pots"},
		{"GET", "/files/{path...}", "GET /files/{...}"},
		{"GET", "/files/", "GET /files/{...}"},
		{"GET", "/{$}", "GET /"},
		{"GET", "GET  /two/spaces", "GET /two/spaces"},
		{"GET", "api.example.com/v1", "GET api.example.com/v1"},
		{"GET", "", middleware.Unmatched},
		{"BREW", "", middleware.Unmatched},
	} {
		if got := middleware.EndpointOfPattern(c.method, c.pattern); got != c.want {
			t.Errorf("EndpointOfPattern(%q, %q) = %q, want %q", c.method, c.pattern, got, c.want)
		}
	}
}
