package middleware_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// events is an Observer that keeps what it was told.
type events struct {
	mu  sync.Mutex
	all []middleware.Event
}

func (o *events) Observe(e middleware.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, e)
}

// of returns how often a step ended so, and the last error.
func (o *events) of(step middleware.Step, outcome middleware.Outcome) (n int, last error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.all {
		if e.Step == step && e.Outcome == outcome {
			n, last = n+1, e.Err
		}
	}
	return n, last
}

// holding returns a stage before policies on a real Redis, for an org of its own, and what it tells.
func holding(t *testing.T, rdb redis.UniversalClient, policies ...ratelimit.Policy) (*middleware.Limited, *ratelimit.Limiter, ratelimit.Request, *events) {
	t.Helper()
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(calm))
	if err != nil {
		t.Fatal(err)
	}
	org, seen := redistest.Org(t), &events{}
	c := &callers{known: map[string]*authkey.Identity{goodKey: {Org: org, Project: "shop", Key: "07key"}}}
	r := ratelimit.Request{Org: org, Project: "shop", Key: "07key", Endpoint: "GET /v1/search"}
	for _, p := range policies {
		r.Charges = append(r.Charges, ratelimit.Charge{Policy: p, Cost: 1})
	}
	return middleware.Authenticate(c, middleware.WithObserver(seen)).RateLimit(limiter, policies...), limiter, r, seen
}

// until waits for something that happens beside the test.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline, tick := time.After(calm), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s did not come about", what)
		}
	}
}

// TestHoldLastsAsLongAsTheHandler runs a handler for several leases: its place is renewed meanwhile, and free
// when it is done.
func TestHoldLastsAsLongAsTheHandler(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		alone := ratelimit.Concurrent(1)
		alone.Lease = 600 * time.Millisecond
		stage, _, _, seen := holding(t, rdb, alone)
		first, _, refusal := admit(t, stage, request(http.MethodGet, "/v1/search"))
		if refusal != nil {
			t.Fatalf("the first request: %v", refusal)
		}
		for renewed := range 6 { // two leases long
			until(t, "a renewal", func() bool { n, _ := seen.of(middleware.StepRenew, middleware.OutcomeAllowed); return n > renewed })
			if _, _, refusal := admit(t, stage, request(http.MethodGet, "/v1/search")); refusal == nil || refusal.Status != http.StatusTooManyRequests {
				t.Fatalf("a second one, after %d renewals: %v, want it refused", renewed+1, refusal)
			}
		}
		first.Done(http.StatusOK, 0)
		second, _, refusal := admit(t, stage, request(http.MethodGet, "/v1/search"))
		if refusal != nil {
			t.Fatalf("when the first is done: %v", refusal)
		}
		second.Done(http.StatusOK, 0)
		if n, err := seen.of(middleware.StepSettle, middleware.OutcomeAllowed); n != 2 {
			t.Errorf("%d holds settled (%v), want 2", n, err)
		}
	})
}

// TestLostHoldIsTold has an operator reset the count under a running request.
func TestLostHoldIsTold(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		alone := ratelimit.Concurrent(1)
		alone.Lease = 30 * time.Millisecond
		stage, limiter, r, seen := holding(t, rdb, alone)
		a, _, refusal := admit(t, stage, request(http.MethodGet, "/v1/search"))
		if refusal != nil {
			t.Fatal(refusal)
		}
		if err := limiter.Reset(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		until(t, "a failed renewal", func() bool { n, _ := seen.of(middleware.StepRenew, middleware.OutcomeFailed); return n > 0 })
		a.Done(http.StatusOK, 0)
		for _, step := range []middleware.Step{middleware.StepRenew, middleware.StepSettle} {
			if n, err := seen.of(step, middleware.OutcomeFailed); n == 0 || !errors.Is(err, ratelimit.ErrNotHeld) {
				t.Errorf("%s failed %d times with %v, want ErrNotHeld", step, n, err)
			}
		}
	})
}

// TestSettleAndRefundOnRedis goes through what a handler can do with what it took, and reads the counts.
func TestSettleAndRefundOnRedis(t *testing.T) {
	t.Parallel()
	tokens := ratelimit.PerHour(100).Named("tokens").Reserved(time.Minute)
	calls := ratelimit.PerHour(100).Named("calls")
	for _, tt := range []struct {
		name          string
		handler       func(*middleware.Admission, *http.Request) error
		tokens, calls int64
	}{
		{"nothing", func(*middleware.Admission, *http.Request) error { return nil }, 40, 1},
		{"settled lower", func(a *middleware.Admission, r *http.Request) error {
			return a.Settle(r.Context(), nil, "tokens", 15)
		}, 15, 1},
		{"settled beyond the limit", func(a *middleware.Admission, r *http.Request) error {
			return a.Settle(r.Context(), nil, "tokens", 130)
		}, 130, 1},
		{"given back", func(a *middleware.Admission, r *http.Request) error {
			return errors.Join(a.Settle(r.Context(), nil, "tokens", 0), a.Refund(r.Context(), nil, "calls", 1))
		}, 0, 0},
		{"took more at once", func(a *middleware.Admission, r *http.Request) error {
			return errors.Join(a.Take(r.Context(), nil, "tokens", 5), a.Take(r.Context(), nil, "calls", 7), a.Refund(r.Context(), nil, "calls", 3))
		}, 45, 5},
		{"gave back what it took at once", func(a *middleware.Admission, r *http.Request) error {
			return errors.Join(a.Take(r.Context(), nil, "tokens", 5), a.Refund(r.Context(), nil, "tokens", 2))
		}, 43, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				limited, limiter, r, _ := holding(t, rdb, tokens, calls)
				stage := limited.Cost("tokens", func(*http.Request) (int64, error) { return 40, nil })
				a, _, refusal := admit(t, stage, request(http.MethodGet, "/v1/search"))
				if refusal != nil {
					t.Fatal(refusal)
				}
				if err := tt.handler(a, a.Request()); err != nil {
					t.Error(err)
				}
				a.Done(http.StatusOK, 0)
				r.Peek = true
				d, err := limiter.Admit(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if got := d.Results; got[0].Used != tt.tokens || got[0].Held != 0 || got[1].Used != tt.calls {
					t.Errorf("%d tokens (%d held) and %d calls used, want %d (0) and %d", got[0].Used, got[0].Held, got[1].Used, tt.tokens, tt.calls)
				}
				for what, err := range map[string]error{
					"Settle": a.Settle(t.Context(), nil, "tokens", 1), "Refund": a.Refund(t.Context(), nil, "calls", 1),
				} {
					if err == nil {
						t.Errorf("%s after the end: want an error", what)
					}
				}
			})
		})
	}
}

func TestHoldMistakes(t *testing.T) {
	t.Parallel()
	auth := middleware.Authenticate(demoCallers())
	if err := auth.RateLimit(limiterFunc(allow), ratelimit.Concurrent(1)).Err(); err == nil || !strings.Contains(err.Error(), `"concurrent" has a Lease`) {
		t.Errorf("a limiter that cannot hold: %v, want a mistake of the stage", err)
	}
	a, _, refusal := admit(t, auth.RateLimit(limiterFunc(allow), ratelimit.PerMinute(5)), request(http.MethodGet, "/v1/search"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	defer a.Done(http.StatusOK, 0)
	for want, err := range map[string]error{
		"has no Refund":           a.Refund(t.Context(), nil, "requests", 1),
		"units must be 0 to":      a.Settle(t.Context(), nil, "requests", -1),
		"units must be at least":  a.Refund(t.Context(), nil, "requests", -1),
		"no reservation":          a.Settle(t.Context(), nil, "requests", 1),
		"more than the request":   a.Refund(t.Context(), nil, "other", 1),
		"no stage of GET /v1/sea": a.Take(t.Context(), nil, "concurrent", 1),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error that says %q", err, want)
		}
	}
}

// TestTakeOfConcurrency: a policy that counts what runs has nothing to take.
func TestTakeOfConcurrency(t *testing.T) {
	t.Parallel()
	stage, _, _, _ := holding(t, redistest.Standalone(t), ratelimit.Concurrent(5))
	a, _, refusal := admit(t, stage, request(http.MethodGet, "/v1/search"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	defer a.Done(http.StatusOK, 0)
	if err := a.Take(t.Context(), nil, "concurrent", 1); err == nil || !strings.Contains(err.Error(), "takes nothing") {
		t.Errorf("Take = %v, want an error", err)
	}
	if err := a.Settle(t.Context(), nil, "concurrent", 0); !errors.Is(err, ratelimit.ErrNotHeld) {
		t.Errorf("Settle = %v, want an error: it ends with the request", err)
	}
}
