package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// losing is a limiter whose answers do not arrive, or come when something else has happened.
type losing struct {
	*ratelimit.Limiter
	lost  bool
	after func()
}

func (l *losing) Admit(ctx context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	d, err := l.Limiter.Admit(ctx, r)
	if l.lost {
		return ratelimit.Decision{}, ratelimit.ErrUnavailable
	}
	if l.after != nil {
		l.after()
	}
	return d, err
}

func callerOf(r ratelimit.Request) *callers {
	return &callers{known: map[string]*authkey.Identity{goodKey: {Org: r.Org, Project: r.Project, Key: r.Key}}}
}

// free waits until nothing is held of a request's policies.
func free(t *testing.T, limiter *ratelimit.Limiter, r ratelimit.Request) {
	t.Helper()
	r.Peek = true
	until(t, "the end of all holds", func() bool {
		d, err := limiter.Admit(t.Context(), r)
		return err == nil && d.Results[0].Held == 0
	})
}

// TestLostAnswerHoldsNothing: the script held a place, and nobody was told.
func TestLostAnswerHoldsNothing(t *testing.T) {
	t.Parallel()
	_, limiter, r, _ := holding(t, redistest.Standalone(t), ratelimit.Concurrent(3))
	stage := middleware.Authenticate(callerOf(r)).RateLimit(&losing{Limiter: limiter, lost: true}, ratelimit.Concurrent(3))
	for range 3 {
		if _, _, refusal := admit(t, stage, request(http.MethodGet, "/")); refusal == nil || refusal.Status != http.StatusServiceUnavailable {
			t.Fatalf("without an answer: %v, want 503", refusal)
		}
	}
	free(t, limiter, r)
}

// TestHangUpHoldsNothing: clients go away while the limiter is asked.
func TestHangUpHoldsNothing(t *testing.T) {
	t.Parallel()
	stage, limiter, r, _ := holding(t, redistest.Standalone(t), ratelimit.Concurrent(3))
	for i := range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(i)*10*time.Microsecond, cancel)
		if a, _, refusal := admit(t, stage, request(http.MethodGet, "/").WithContext(ctx)); refusal == nil {
			a.Done(http.StatusOK, 0)
		}
		cancel()
	}
	free(t, limiter, r)
}

// TestGivenUpWhileAsked: the request was over, as behind http.TimeoutHandler, when a stage within was admitted.
func TestGivenUpWhileAsked(t *testing.T) {
	t.Parallel()
	tokens := ratelimit.PerHour(100).Named("tokens").Reserved(time.Hour)
	_, limiter, r, _ := holding(t, redistest.Standalone(t), tokens)
	auth, metered := middleware.Authenticate(callerOf(r)), &ledger{}
	outer, _, refusal := admit(t, auth.RateLimit(limiter, ratelimit.PerHour(9).Named("outer")).Meter(metered, "p", "k"), request(http.MethodGet, "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	late := &losing{Limiter: limiter, after: func() { outer.Done(http.StatusServiceUnavailable, 0) }}
	if _, refusal := auth.RateLimit(late, tokens).Admit(http.Header{}, outer.Request(), "GET /v1/search"); refusal == nil {
		t.Error("a stage within a request that is over was admitted")
	}
	free(t, limiter, r)
	if len(metered.rows) != 1 {
		t.Errorf("metered %d times, want once", len(metered.rows))
	}
}

// TestSettledTooLateIsNotRefunded: nothing was taken, so nothing of others is given back.
func TestSettledTooLateIsNotRefunded(t *testing.T) {
	t.Parallel()
	tokens := ratelimit.PerHour(100).Named("tokens").Reserved(time.Hour)
	stage, limiter, r, _ := holding(t, redistest.Standalone(t), tokens)
	a, _, refusal := admit(t, stage, request(http.MethodGet, "/"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	defer a.Done(http.StatusOK, 0)
	r.Charges[0].AtOnce, r.Charges[0].Cost = true, 50 // another's
	_, err := limiter.Admit(t.Context(), r)
	if err := errors.Join(err, limiter.Reset(t.Context(), r)); err != nil {
		t.Fatal(err)
	}
	if _, err := limiter.Admit(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := a.Settle(t.Context(), nil, "tokens", 40); !errors.Is(err, ratelimit.ErrNotHeld) {
		t.Errorf("Settle = %v, want ErrNotHeld", err)
	}
	if err := a.Refund(t.Context(), nil, "tokens", 40); err == nil {
		t.Error("Refund gave back what the request never took")
	}
	r.Peek = true
	if d, err := limiter.Admit(t.Context(), r); err != nil || d.Results[0].Used != 50 {
		t.Errorf("%d used (%v), want the other's 50", d.Results[0].Used, err)
	}
}

// TestGoneClientHoldsNothing: the client hangs up while the handler runs.
func TestGoneClientHoldsNothing(t *testing.T) {
	t.Parallel()
	stage, limiter, r, _ := holding(t, redistest.Standalone(t), ratelimit.Concurrent(1))
	ctx, hangUp := context.WithCancel(t.Context())
	a, _, refusal := admit(t, stage, request(http.MethodGet, "/").WithContext(ctx))
	if refusal != nil {
		t.Fatal(refusal)
	}
	hangUp()
	a.Done(http.StatusOK, 0)
	r.Peek = true
	if d, err := limiter.Admit(t.Context(), r); err != nil || d.Results[0].Held != 0 {
		t.Errorf("%d held (%v) after the end, want nothing", d.Results[0].Held, err)
	}
}

// TestShortestLeaseIsRenewedInTime: two policies hold, the longer lease first.
func TestShortestLeaseIsRenewedInTime(t *testing.T) {
	t.Parallel()
	short := ratelimit.Concurrent(1).Named("short")
	short.Lease = 600 * time.Millisecond
	for _, policies := range [][]ratelimit.Policy{{ratelimit.Concurrent(1), short}, {short, ratelimit.Concurrent(1)}} {
		stage, _, _, seen := holding(t, redistest.Standalone(t), policies...)
		a, _, refusal := admit(t, stage, request(http.MethodGet, "/"))
		if refusal != nil {
			t.Fatal(refusal)
		}
		until(t, "a renewal within the shorter lease", func() bool { n, _ := seen.of(middleware.StepRenew, middleware.OutcomeAllowed); return n > 3 })
		a.Done(http.StatusOK, 0)
	}
}

// TestPaymentIsAskedForAlone: 402 tells that paying helps, so no other kind of policy may have refused, wherever
// it stands.
func TestPaymentIsAskedForAlone(t *testing.T) {
	t.Parallel()
	none, paid := ratelimit.PerHour(0).Named("none"), ratelimit.PerHour(0).Named("paid").Paid()
	for status, policies := range map[int][][]ratelimit.Policy{
		http.StatusTooManyRequests: {{none, paid}, {paid, none}, {none}},
		http.StatusPaymentRequired: {{paid}},
	} {
		for _, p := range policies {
			stage, _, _, _ := holding(t, redistest.Standalone(t), p...)
			if _, _, refusal := admit(t, stage, request(http.MethodGet, "/")); refusal == nil || refusal.Status != status {
				t.Errorf("%v: %v, want %d", p, refusal, status)
			}
		}
	}
}
