package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newCollector(t *testing.T, opts ...telemetry.Option) *telemetry.Collector {
	t.Helper()
	c, err := telemetry.New(opts...)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return c
}

func compare(t *testing.T, c prometheus.Collector, want string, names ...string) {
	t.Helper()
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

// gate is an authenticator and a limiter that answer what a test wants.
type gate struct {
	authErr, limitErr error
	decision          ratelimit.Decision
}

func (g *gate) Authenticate(context.Context, authkey.Presented) (*authkey.Identity, error) {
	return &authkey.Identity{Org: "acme", Project: "shop", Key: "k1", Epoch: 1}, g.authErr
}

func (g *gate) Refresh(ctx context.Context, p authkey.Presented, _ *authkey.Identity) (*authkey.Identity, error) {
	return g.Authenticate(ctx, p)
}

func (g *gate) Admit(context.Context, ratelimit.Request) (ratelimit.Decision, error) {
	return g.decision, g.limitErr
}

// pass sends one request through a stage.
func pass(t *testing.T, stage middleware.Stage, key string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/items/7", http.NoBody)
	if key != "" {
		r.Header.Set("X-API-Key", key)
	}
	if a, refusal := stage.Admit(http.Header{}, r, "GET /v1/items/{id}"); refusal == nil {
		a.Done(http.StatusOK, 0)
	}
}

func TestObserveStages(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	g := &gate{decision: ratelimit.Decision{Allowed: true}}
	auth := middleware.Authenticate(g, middleware.WithObserver(c))
	stage := auth.RateLimit(g, ratelimit.PerMinute(10)).OnFailure(middleware.FailOpen)
	if err := stage.Err(); err != nil {
		t.Fatalf("stage: %v", err)
	}
	pass(t, stage, "a-key")
	pass(t, stage, "a-key")
	pass(t, stage, "")
	g.decision = ratelimit.Decision{Results: []ratelimit.Result{{Policy: "requests", Exceeded: true}}}
	pass(t, stage, "a-key")
	g.limitErr = fmt.Errorf("%w: %w", ratelimit.ErrUnavailable, context.DeadlineExceeded)
	pass(t, stage, "a-key")
	pass(t, auth.RateLimit(g, ratelimit.PerMinute(10)), "a-key")
	g.authErr = fmt.Errorf("%w: %w", authkey.ErrUnavailable, errors.New("connection refused"))
	pass(t, stage, "a-key")
	g.authErr = authkey.ErrRevoked
	pass(t, stage, "a-key")

	compare(t, c, `
# HELP tollgate_decisions_total Decisions on requests, by step, outcome, code and endpoint.
# TYPE tollgate_decisions_total counter
tollgate_decisions_total{code="none",endpoint="GET /v1/items/{id}",outcome="allowed",step="authenticate"} 5
tollgate_decisions_total{code="missing_credential",endpoint="GET /v1/items/{id}",outcome="refused",step="authenticate"} 1
tollgate_decisions_total{code="invalid_credential",endpoint="GET /v1/items/{id}",outcome="refused",step="authenticate"} 1
tollgate_decisions_total{code="unavailable",endpoint="GET /v1/items/{id}",outcome="failed",step="authenticate"} 1
tollgate_decisions_total{code="none",endpoint="GET /v1/items/{id}",outcome="allowed",step="rate_limit"} 2
tollgate_decisions_total{code="limit_reached",endpoint="GET /v1/items/{id}",outcome="refused",step="rate_limit"} 1
tollgate_decisions_total{code="unavailable",endpoint="GET /v1/items/{id}",outcome="opened",step="rate_limit"} 1
tollgate_decisions_total{code="unavailable",endpoint="GET /v1/items/{id}",outcome="failed",step="rate_limit"} 1
# HELP tollgate_redis_errors_total Outages that a step met, by class.
# TYPE tollgate_redis_errors_total counter
tollgate_redis_errors_total{class="timeout",step="rate_limit"} 2
tollgate_redis_errors_total{class="unavailable",step="authenticate"} 1
`, "tollgate_decisions_total", "tollgate_redis_errors_total")
}

func TestObserveDurations(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	c.Observe(middleware.Event{Step: middleware.StepAuthenticate, Outcome: middleware.OutcomeAllowed, Duration: 60 * time.Microsecond})
	c.Observe(middleware.Event{Step: middleware.StepHandler, Outcome: middleware.OutcomeAllowed, Duration: 2 * time.Second})
	c.Observe(middleware.Event{Step: middleware.StepHandler, Outcome: middleware.OutcomeAllowed, Duration: 20 * time.Second})
	compare(t, c, `
# HELP tollgate_step_duration_seconds Time that a step of a request took.
# TYPE tollgate_step_duration_seconds histogram
`+histogram("authenticate", 6e-05, map[string]int{"0.0001": 1}, 1)+histogram("handler", 22, map[string]int{"2.5": 1}, 2),
		"tollgate_step_duration_seconds")
	if n := testutil.CollectAndCount(c, "tollgate_decisions_total"); n != 1 {
		t.Errorf("%d series of decisions, want 1: a handler decides nothing", n)
	}
}

// histogram writes the series of a step: from holds how many came at a bucket and stay in all after it.
func histogram(step string, sum float64, from map[string]int, count int) string {
	var text strings.Builder
	n := 0
	for _, le := range []string{
		"5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
		"0.1", "0.25", "0.5", "1", "2.5", "5", "10",
	} {
		n += from[le]
		fmt.Fprintf(&text, "tollgate_step_duration_seconds_bucket{step=%q,le=%q} %d\n", step, le, n)
	}
	fmt.Fprintf(&text, "tollgate_step_duration_seconds_bucket{step=%q,le=\"+Inf\"} %d\n", step, count)
	fmt.Fprintf(&text, "tollgate_step_duration_seconds_sum{step=%q} %v\n", step, sum)
	fmt.Fprintf(&text, "tollgate_step_duration_seconds_count{step=%q} %d\n", step, count)
	return text.String()
}

// values returns the values of a label of a metric, and how many series have each.
func values(t *testing.T, c prometheus.Collector, metric, label string) map[string]int {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatalf("Register: %v", err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatalf("Gather: %v", err)
	}
	found := map[string]int{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == metric && l.GetName() == label {
					found[l.GetValue()]++
				}
			}
		}
	}
	return found
}

func TestEndpointsAreBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		opts []telemetry.Option
		most int
	}{
		{"default", nil, 500},
		{"chosen", []telemetry.Option{telemetry.WithMaxEndpoints(3)}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCollector(t, tt.opts...)
			var group sync.WaitGroup
			for i := range 1000 {
				group.Go(func() {
					c.Observe(middleware.Event{Step: middleware.StepAuthenticate, Outcome: middleware.OutcomeAllowed, Endpoint: "GET /" + strconv.Itoa(i)})
				})
			}
			group.Wait()
			got := values(t, c, "tollgate_decisions_total", "endpoint")
			if len(got) != tt.most+1 || got[telemetry.Other] != 1 {
				t.Errorf("%d endpoints, %d of them %q; want %d and it", len(got), got[telemetry.Other], telemetry.Other, tt.most)
			}
			for endpoint := range got {
				c.Observe(middleware.Event{Step: middleware.StepAuthenticate, Outcome: middleware.OutcomeAllowed, Endpoint: endpoint})
			}
			if again := values(t, c, "tollgate_decisions_total", "endpoint"); !maps.Equal(again, got) {
				t.Errorf("endpoints changed when they came again: %v", again)
			}
		})
	}
}

func TestOtherLabelsAreBounded(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	for i := range 200 {
		text := strconv.Itoa(i)
		c.Observe(middleware.Event{
			Step: middleware.Step(text), Outcome: middleware.Outcome(text), Endpoint: "GET /",
			Err: &middleware.Error{Code: text},
		})
	}
	for label, most := range map[string]int{"step": 16, "outcome": 16, "code": 64} {
		if got := values(t, c, "tollgate_decisions_total", label); len(got) != most+1 {
			t.Errorf("%d values of %s, want %d and %q", len(got), label, most, telemetry.Other)
		}
	}
}

func TestObserveInvalidText(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	c.Observe(middleware.Event{Step: middleware.StepRequire, Outcome: middleware.OutcomeAllowed, Endpoint: "GET /\xff"})
	if got := values(t, c, "tollgate_decisions_total", "endpoint"); got["GET /\uFFFD"] != 1 {
		t.Errorf("endpoints = %v, want the text repaired", got)
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	c := newCollector(t)
	e := middleware.Event{Step: middleware.StepRateLimit, Outcome: middleware.OutcomeAllowed, Endpoint: "GET /", Duration: time.Millisecond}
	c.Observe(e)
	if got := testing.AllocsPerRun(1000, func() { c.Observe(e) }); got != 0 {
		t.Errorf("Observe allocates %v times for an event that came before, want 0", got)
	}
}

func TestNewJoinsAllFaults(t *testing.T) {
	t.Parallel()
	c, err := telemetry.New(
		nil, telemetry.WithVerifier(nil), telemetry.WithLimiter(nil), telemetry.WithMeter(nil), telemetry.WithExporter(nil),
		telemetry.WithMaxEndpoints(0), telemetry.WithMaxEndpoints(10_001), telemetry.WithRedis(nil), telemetry.WithIssuers(nil),
	)
	if c != nil || !errors.Is(err, telemetry.ErrInvalid) {
		t.Fatalf("New = %v, %v; want ErrInvalid", c, err)
	}
	for _, text := range []string{
		"number 1 is nil", "WithVerifier(nil)", "WithLimiter(nil)", "WithMeter(nil)", "WithExporter(nil)", "WithMaxEndpoints(0)", "WithMaxEndpoints(10001)", "WithRedis(nil)", "WithIssuers(nil)",
	} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("New: %q does not name %q", err, text)
		}
	}
	if _, err := telemetry.New(telemetry.WithMaxEndpoints(1), telemetry.WithMaxEndpoints(10_000)); err != nil {
		t.Errorf("New at the bounds: %v", err)
	}
}
