package examples_test

import (
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// What follows compiles the parts of the README that are no programs of their own.

var (
	_ = options
	_ = adminRoute
)

func options(auth *middleware.Authenticated, limiter *ratelimit.Limiter, verifier *authkey.Verifier, usage *meter.Meter, cost middleware.CostFunc) error {
	auth = auth.RequireScope("search")                                                       // also RequireProduct, RequireMode
	bucket := ratelimit.PerSecond(10).Bucket(20)                                             // GCRA; also Fixed(), Aligned(), Quota(n, Monthly(1, zone))
	hourly := ratelimit.PerHour(9000).Named("hourly").By(ratelimit.ByOrg)                    // all policies of a stage are charged, or none
	tokens := ratelimit.PerMinute(90_000).Named("tokens").Of("tokens").Reserved(time.Minute) // Admission.Settle tells the real cost
	lower := ratelimit.PerHour(5000).Named("lower").By(ratelimit.ByOrg).InPlaceOf("hourly")  // a candidate: only tells where it would differ
	limited := auth.RateLimit(limiter, bucket, hourly, lower, tokens, ratelimit.Concurrent(20)).
		Cost("tokens", cost) // from the request; in the handler: Admission.Take, Refund. Monitor() refuses nothing
	public := middleware.LimitBy(middleware.ClientNetwork(), limiter, bucket) // where nobody is authenticated

	metrics, err := telemetry.New(telemetry.WithVerifier(verifier), telemetry.WithLimiter(limiter), telemetry.WithMeter(usage))
	auth = middleware.Authenticate(verifier, middleware.WithObserver(metrics)) // every decision, every failure
	public = public.With(middleware.WithObserver(metrics))
	prometheus.MustRegister(metrics)
	return errors.Join(err, limited.Err(), public.Err(), auth.Err())
}

func adminRoute(mux *http.ServeMux, token string, overrides *ratelimit.Overrides) error {
	handler, err := admin.New(admin.BearerToken(token), admin.WithPrefix("/admin"), admin.WithOverrides(overrides))
	mux.Handle("/admin/", handler)
	return err
}
