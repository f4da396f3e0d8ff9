// Package demo is the service that the examples put behind Tollgate: the same routes, limits and keys
// whatever the router is. An example adds the one thing that differs, how its router mounts a stage.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/middleware/admin/auditlog"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/middleware/self"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// The tenant that the demo key belongs to.
const (
	Org     = "demo"
	Project = "demo"
)

// Failures logs why a request could not be judged, and why a credential was refused, which its client is not told: on
// one line each, whatever a token says of itself, and without secrets.
var Failures = middleware.ObserverFunc(func(e middleware.Event) {
	if e.Outcome == middleware.OutcomeFailed || e.Step == middleware.StepAuthenticate && e.Outcome == middleware.OutcomeRefused {
		log.Printf("%s: %s: %q", e.Endpoint, e.Outcome, e.Err)
	}
})

// Service is what an example mounts.
type Service struct {
	// Whoami only authenticates. Search, Items and Matrix also limit and count; Public limits callers
	// who need no key.
	Whoami, Search, Items, Matrix, Public middleware.Stage
	// Admin is mounted under /admin, Metrics under /metrics, and Self under /v1/self behind Whoami.
	Admin, Metrics, Self http.Handler

	apiKey, adminToken string
	usage              *meter.Meter
	uses               *authkey.Uses
}

// New builds the service on a Redis: everything that asks, limits and counts, and one key to try. A request
// waits for Redis no longer than the budget.
func New(ctx context.Context, rdb redis.UniversalClient, budget time.Duration) (*Service, error) {
	format, err := authkey.NewFormat("demo", "test")
	if err != nil {
		return nil, err
	}
	store := redisstore.New(rdb, redisstore.WithTimeout(2*time.Second))
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		return nil, err
	}
	uses, err := authkey.NewUses(store)
	if err != nil {
		return nil, err
	}
	verifier, err := authkey.New(store, authkey.WithFormat(format), authkey.WithTimeout(budget), authkey.WithUses(uses))
	if err != nil {
		return nil, err
	}
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(budget))
	if err != nil {
		return nil, err
	}
	_, key, err := issuer.Issue(ctx, authkey.NewKey{
		Org: Org, Project: Project, Name: "demo", Scopes: []string{authkey.ScopeWrite}, Products: []string{"demo"},
	})
	if err != nil {
		return nil, fmt.Errorf("demo: issue the demo key: %w", err)
	}
	usage, err := meter.New(rdb)
	if err != nil {
		return nil, err
	}
	s := &Service{apiKey: key.Reveal(), adminToken: rand.Text(), usage: usage, uses: uses}
	collector, err := telemetry.New(
		telemetry.WithVerifier(verifier), telemetry.WithLimiter(limiter), telemetry.WithMeter(usage), telemetry.WithRedis(rdb),
	)
	if err != nil {
		return nil, err
	}
	s.stages(verifier, limiter, collector)
	registry := prometheus.NewRegistry()
	if err := registry.Register(collector); err != nil {
		return nil, err
	}
	s.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	if s.Admin, err = s.admin(rdb, store, issuer, limiter); err != nil {
		return nil, err
	}
	s.Self, err = self.New(self.WithPrefix("/v1/self"), self.WithLimits(limiter), self.WithUsage(usage),
		self.WithRoute("GET /v1/search", s.Search.Policies()...))
	return s, err
}

// stages builds the ways of the requests. An adapter panics with what is wrong in them.
func (s *Service) stages(verifier *authkey.Verifier, limiter *ratelimit.Limiter, observer middleware.Observer) {
	auth := middleware.Authenticate(verifier, middleware.WithObserver(observer), middleware.WithObserver(Failures),
		middleware.WithFailureBudget(limiter, ratelimit.PerMinute(60), middleware.ClientNetwork()))
	s.Whoami = auth
	s.Search = auth.RateLimit(limiter, ratelimit.Per(10, searchWindow).Fixed()).Meter(s.usage, "demo", "search")
	s.Items = auth.RateLimit(limiter, ratelimit.PerMinute(1000)).Meter(s.usage, "demo", "item")
	s.Matrix = auth.RateLimit(limiter, ratelimit.PerSecond(10).Fixed(), ratelimit.PerSecond(1000).Fixed().Named("elements")).
		Cost("elements", matrixCost).
		Meter(s.usage, "demo", "matrix")
	s.Public = middleware.LimitBy(middleware.ClientNetwork(), limiter, ratelimit.PerMinute(60).Fixed()).
		With(middleware.WithObserver(observer))
}

func (s *Service) admin(rdb redis.UniversalClient, store authkey.Store, issuer *authkey.Issuer, limiter *ratelimit.Limiter) (http.Handler, error) {
	overrides, err := ratelimit.NewOverrides(rdb)
	if err != nil {
		return nil, err
	}
	plans, err := ratelimit.NewPlans(rdb)
	if err != nil {
		return nil, err
	}
	trail, err := auditlog.New(rdb)
	if err != nil {
		return nil, err
	}
	return admin.New(admin.Tokens(admin.Token{Name: "demo-operator", Secret: s.adminToken, Scopes: []string{admin.ScopeAll}}),
		admin.WithPrefix("/admin"),
		admin.WithOverrides(overrides),
		admin.WithPlans(plans),
		admin.WithKeys(store, issuer),
		admin.WithUsage(s.usage),
		admin.WithAuditLog(trail),
		admin.WithIdempotency(rdb),
		admin.WithLimits(limiter),
		admin.WithRoute("GET /v1/search", s.Search.Policies()...),
		admin.WithRoute("GET /v1/items/{id}", s.Items.Policies()...),
		admin.WithRoute("POST /v1/matrix", s.Matrix.Policies()...),
	)
}

// Close flushes what was counted and noted.
func (s *Service) Close(ctx context.Context) error {
	return errors.Join(s.usage.Close(ctx), s.uses.Close(ctx))
}
