package examples_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/middleware/admin/auditlog"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/middleware/meter/export"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// What follows compiles the parts of the README that are no programs of their own.

var (
	_ = options
	_ = keys
	_ = tokens
	_ = adminRoute
	_ = outages
)

func options(auth *middleware.Authenticated, limiter *ratelimit.Limiter, verifier *authkey.Verifier, usage *meter.Meter, cost middleware.CostFunc) error {
	auth = auth.RequireScope("search")                                                       // also RequireProduct, RequireMode
	bucket := ratelimit.PerSecond(10).Bucket(20)                                             // GCRA; also Fixed(), Aligned(), Quota(n, Monthly(1, zone))
	hourly := ratelimit.PerHour(9000).Named("hourly").By(ratelimit.ByOrg)                    // all policies of a stage are charged, or none
	tokens := ratelimit.PerMinute(90_000).Named("tokens").Of("tokens").Reserved(time.Minute) // Admission.Settle tells the real cost
	lower := ratelimit.PerHour(5000).Named("lower").By(ratelimit.ByOrg).InPlaceOf("hourly")  // a candidate: only tells where it would differ
	limited := auth.RateLimit(limiter, bucket, hourly, lower, tokens, ratelimit.Concurrent(20)).
		Cost("tokens", cost) // from the request; in the handler: Admission.Take, Refund. Monitor() refuses nothing
	busy := auth.RateLimit(limiter, ratelimit.PerMinute(60_000).Ahead(1000))  // from memory, up to 1000 units at a time; limiter.Close at the end
	public := middleware.LimitBy(middleware.ClientNetwork(), limiter, bucket) // where nobody is authenticated

	metrics, err := telemetry.New(telemetry.WithVerifier(verifier), telemetry.WithLimiter(limiter), telemetry.WithMeter(usage))
	auth = middleware.Authenticate(verifier, middleware.WithObserver(metrics)) // an ObserverFunc of yours is told why, by Event.Err
	public = public.With(middleware.WithObserver(metrics))
	prometheus.MustRegister(metrics)
	return errors.Join(err, limited.Err(), busy.Err(), public.Err(), auth.Err())
}

func keys(ctx context.Context, issuer *authkey.Issuer, verifier *authkey.Verifier, limiter *ratelimit.Limiter, networks, proxies []netip.Prefix) error {
	record, key, err1 := issuer.Issue(ctx, authkey.NewKey{Org: "acme", Project: "shop", Networks: networks}) // also Origins, Scopes, ExpiresAt
	_, next, err2 := issuer.Rotate(ctx, "acme", record.ID, authkey.Rotation{Overlap: 24 * time.Hour})        // the old one goes on for a day
	_, err3 := issuer.SetState(ctx, "acme", record.ID, 0, authkey.StateRevoked, "leaked")                    // for good; also Change, SetProject

	auth := middleware.Authenticate(verifier,
		middleware.WithTrustedProxies(proxies...),                                                            // whose X-Forwarded-For counts
		middleware.WithFailureBudget(limiter, ratelimit.PerMinute(20), middleware.ClientNetwork(proxies...)), // for guessers
		middleware.WithCORS(middleware.CORS{Origins: []string{"https://console.acme.example"}}))              // keys bring their own origins
	_, _ = key, next
	return errors.Join(err1, err2, err3, auth.Err())
}

func tokens(rdb redis.UniversalClient, verifier *authkey.Verifier, limiter *ratelimit.Limiter) error {
	keySets, err1 := jwks.New()              // of authkey/bearer/jwks: follows the keys that issuers publish
	revocations, err2 := revocation.New(rdb) // RevokeSubject and its like: refused with the next request, in the Redis call of its limit
	tokens, err3 := bearer.New([]bearer.Issuer{{
		URL: "https://login.example.com/", Audiences: []string{"https://api.example.com"}, MaxLifetime: time.Hour,
		Org:  "acme", // or each token names one, as by the claim org_id; Claims tells the names of org, project, scopes, roles
		Keys: keySets.Issuer("https://login.example.com/"),
	}}, bearer.WithRevocations(revocations))
	both, err4 := bearer.Beside(tokens, verifier)                                                         // told apart by shape, never by trying both
	each := middleware.Authenticate(both).RateLimit(limiter, ratelimit.PerMinute(60).By(ratelimit.ByKey)) // a subject; else they share the org's
	return errors.Join(err1, err2, err3, err4, each.Err())
}

func adminRoute(mux *http.ServeMux, token string, rdb redis.UniversalClient, store authkey.Store, issuer *authkey.Issuer, revocations *revocation.Store) error {
	overrides, err1 := ratelimit.NewOverrides(rdb)
	trail, err2 := auditlog.New(rdb) // of package middleware/admin/auditlog
	handler, err3 := admin.New(admin.Tokens(admin.Token{Name: "ops", Secret: token, Scopes: []string{admin.ScopeAll}}),
		admin.WithPrefix("/admin"), admin.WithKeys(store, issuer), admin.WithOverrides(overrides), admin.WithRevocations(revocations),
		admin.WithAuditLog(trail), admin.WithLogger(slog.Default())) // what has no option here is answered with 404
	mux.Handle("/admin/", handler)
	return errors.Join(err1, err2, err3)
}

func outages(rdb redis.UniversalClient, logger *slog.Logger, file io.Writer, panicking bool) error {
	store := redisstore.New(rdb, redisstore.WithLogger(logger))                                         // a line when a server is left alone, and one when it is back
	limiter, err1 := ratelimit.New(rdb, ratelimit.WithReplicas("api", 3), ratelimit.WithLogger(logger)) // shared by 3, until their heartbeats tell; limiter.Close leaves
	verifier, err2 := authkey.New(store, authkey.WithGrace(10*time.Minute))                             // or 0, where a revoked key must not pass in an outage
	usage, err3 := meter.New(rdb, meter.WithJournal("usage-journal"))                                   // on disk: kill -9 loses 100 ms, which Stats tells as LossBound
	exporter, err4 := export.New(rdb, export.NDJSON(file), export.WithLogger(logger))                   // go exporter.Run(ctx): hours that closed 15 minutes ago, as CloudEvents
	search := middleware.Authenticate(verifier).RateLimit(limiter, ratelimit.PerMinute(100)).OnFailure(middleware.FailLocal).Meter(usage, "stores", "search")
	limiter.SetOff(panicking) // the kill switch: no limit is asked or counted; keys are still checked
	metrics, err5 := telemetry.New(telemetry.WithRedis(rdb), telemetry.WithLimiter(limiter), telemetry.WithMeter(usage), telemetry.WithExporter(exporter))
	_ = metrics
	return errors.Join(err1, err2, err3, err4, err5, search.Err())
}
