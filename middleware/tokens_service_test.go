package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/dpop"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// tokenService is one replica of a service whose callers have bearer tokens: its own keys, limiter and meter.
type tokenService struct {
	service
	setup  tokenSetup
	keys   *jwks.Cache
	caller atomic.Pointer[authkey.Identity] // of the last request that was served
}

// tokenSetup is what replicas differ in.
type tokenSetup struct {
	issuers []*authtest.Issuer
	route   tokenRoute // limitedRoute where nil
	// budget is how long Redis may take; zero: calm.
	budget time.Duration
	// unrevoked has no revocations; outage is told of those that nobody could look for.
	unrevoked bool
	outage    func(error)
	cached    bool // tokens that were verified
	keys      []jwks.Option
	policies  []ratelimit.Policy // plenty where nil
	chosen    func(*middleware.Limited) *middleware.Limited
}

// tokenOrigin is how clients write the address of a tokenService in proofs.
const tokenOrigin = "https://api.example.com"

// newTokenService returns a replica with a client of its own; its meter has another, so that it disturbs no count.
func newTokenService(t *testing.T, dial func(*testing.T) redis.UniversalClient, setup tokenSetup) *tokenService {
	t.Helper()
	return newTokenServiceOn(t, dial(t), dial(t), setup)
}

func newTokenServiceOn(t *testing.T, rdb, metering redis.UniversalClient, setup tokenSetup) *tokenService {
	t.Helper()
	setup = setup.filled()
	s := &tokenService{setup: setup}
	verifier := s.newVerifier(t, rdb)
	var err error
	if s.limiter, err = ratelimit.New(rdb, ratelimit.WithTimeout(setup.budget)); err != nil {
		t.Fatal(err)
	}
	if s.usage, err = meter.New(metering); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), calm)
		defer cancel()
		if err := s.usage.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	auth := middleware.Authenticate(verifier, middleware.WithDPoP("ES256"))
	limited := setup.chosen(auth.RequireScope("search").RateLimit(s.limiter, setup.policies...)).Meter(s.usage, "stores", "search")
	s.handler = setup.route(auth, limited, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		admission, _ := middleware.FromContext(r.Context())
		s.caller.Store(admission.Identity())
		s.served.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	return s
}

func (s tokenSetup) filled() tokenSetup {
	if s.route == nil {
		s.route = limitedRoute
	}
	if s.budget == 0 {
		s.budget = calm
	}
	if s.policies == nil {
		s.policies = plenty
	}
	if s.chosen == nil {
		s.chosen = func(l *middleware.Limited) *middleware.Limited { return l }
	}
	return s
}

func (s *tokenService) newVerifier(t *testing.T, rdb redis.UniversalClient) *bearer.Verifier {
	t.Helper()
	setup := s.setup
	var err error
	s.keys, err = jwks.New(append([]jwks.Option{jwks.WithHTTPClient(setup.issuers[0].Client()), jwks.WithLoopback()}, setup.keys...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.keys.Close(); err != nil {
			t.Error(err)
		}
	})
	revocations, err := revocation.New(rdb, revocation.WithLifetime(time.Hour), revocation.WithTimeout(setup.budget))
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := dpop.New(rdb, []string{tokenOrigin}, dpop.WithTimeout(setup.budget))
	if err != nil {
		t.Fatal(err)
	}
	options := []bearer.Option{bearer.WithProofs(proofs)}
	if !setup.unrevoked {
		options = append(options, bearer.WithRevocations(revocations))
	}
	if setup.outage != nil {
		options = append(options, bearer.WithOpenRevocations(setup.outage))
	}
	if setup.cached {
		options = append(options, bearer.WithCache(100, time.Minute))
	}
	var issuers []bearer.Issuer
	for _, i := range setup.issuers {
		issuers = append(issuers, bearer.Issuer{
			URL: i.URL(), Audiences: []string{authtest.Audience}, Keys: s.keys.Issuer(i.URL()),
			MaxLifetime: time.Hour, Orgs: []string{bearer.AnyOrg},
		})
	}
	verifier, err := bearer.New(issuers, options...)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.keys.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return verifier
}

// tokenRoute mounts the stages of a tokenService at GET /v1/search.
type tokenRoute func(auth *middleware.Authenticated, limited middleware.Stage, h http.Handler) http.Handler

func limitedRoute(_ *middleware.Authenticated, limited middleware.Stage, h http.Handler) http.Handler {
	return routed(limited, h)
}

func unlimitedRoute(auth *middleware.Authenticated, _ middleware.Stage, h http.Handler) http.Handler {
	return routed(auth.RequireScope("search"), h)
}

// groupRoute authenticates a whole group, of which the route has a limit.
func groupRoute(auth *middleware.Authenticated, limited middleware.Stage, h http.Handler) http.Handler {
	return httpkit.Middleware(auth)(routed(limited, h))
}

func routed(stage middleware.Stage, h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/search", httpkit.Middleware(stage)(h))
	return mux
}

// mint returns a token of an org's shop, with more claims over it.
func mint(i *authtest.Issuer, org string, more authtest.Claims) string {
	claims := authtest.Claims{"scope": "search", "org_id": org, "project_id": "shop"}
	for name, value := range more {
		claims[name] = value
	}
	return i.Mint(claims)
}

// get calls with a token, and fields besides.
func (s *tokenService) get(token string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/v1/search", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// want calls with a token and reports an answer that has another status.
func (s *tokenService) want(t *testing.T, what, token string, status int) *httptest.ResponseRecorder {
	t.Helper()
	w := s.get(token)
	if w.Code != status {
		t.Errorf("%s: %d %s, want %d", what, w.Code, w.Body, status)
	}
	return w
}

// used asks, without charging, what the limits of a caller have used.
func (s *tokenService) used(t *testing.T, org, project, key string) map[string]int64 {
	t.Helper()
	request := ratelimit.Request{Org: org, Project: project, Key: key, Endpoint: "GET /v1/search"}
	for _, policy := range s.setup.policies {
		request.Charges = append(request.Charges, ratelimit.Charge{Policy: policy})
	}
	decision, err := s.limiter.Admit(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]int64{}
	for _, result := range decision.Results {
		used[string(result.Partition)] = result.Used
	}
	return used
}
