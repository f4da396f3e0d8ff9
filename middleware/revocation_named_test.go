package middleware_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Who was revoked owes what it took all the same: settling and giving back ask nobody.
func TestSettlingLooksForNothing(t *testing.T) {
	t.Parallel()
	limiter := &watcher{behaviour: looks}
	rows := ratelimit.PerMinute(9).Named("rows")
	rows.Lease = time.Minute
	a, _, refusal := admit(t, middleware.Authenticate(newIssued(authkey.RevocationPending)).RateLimit(limiter, rows, ratelimit.PerMinute(5)), request(http.MethodGet, "/"))
	refusedAs(t, refusal, 0, "")
	if err := errors.Join(a.Settle(t.Context(), nil, "rows", 1), a.Refund(t.Context(), nil, "requests", 1)); err != nil {
		t.Fatal(err)
	}
	a.Done(http.StatusOK, 0)
	if len(limiter.settled) != 2 {
		t.Errorf("%d calls, want 2", len(limiter.settled))
	}
	for _, r := range limiter.settled {
		if r.Token != nil {
			t.Errorf("it was told to look for %+v", *r.Token)
		}
	}
}

// A limiter that does not look is named to the operator, and what it holds is given back.
func TestBlindLimiterIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := &watcher{behaviour: blind}
		rows := ratelimit.PerMinute(9).Named("rows")
		rows.Lease = time.Minute
		var events []middleware.Event
		observer := middleware.WithObserver(middleware.ObserverFunc(func(e middleware.Event) { events = append(events, e) }))
		stage := middleware.Authenticate(newIssued(authkey.RevocationPending), observer).RateLimit(limiter, rows)
		_, h, refusal := admit(t, stage, request(http.MethodGet, "/"))
		refusedAs(t, refusal, http.StatusServiceUnavailable, middleware.CodeUnavailable)
		if !strings.Contains(refusal.Error(), "*middleware_test.watcher does not look") {
			t.Errorf("the cause is %v", refusal)
		}
		if h.Get("RateLimit") != "" {
			t.Errorf("it learned of the limit: %v", h)
		}
		if e := events[len(events)-1]; e.Step != middleware.StepRateLimit || e.Outcome != middleware.OutcomeFailed || !errors.Is(e.Err, refusal) {
			t.Errorf("the last event is %+v", e)
		}
		synctest.Wait()
		if len(limiter.settled) != 1 || limiter.settled[0].Charges[0].Held != 1 || limiter.settled[0].Token != nil {
			t.Errorf("settled %+v, want what was held, without a token", limiter.settled)
		}
	})
}

// An authenticator that leaves a look to nobody is named, too.
func TestUnaskedDeferralIsNamed(t *testing.T) {
	t.Parallel()
	tokens := newIssued(authkey.RevocationPendingOpen)
	tokens.rude = true
	_, _, refusal := admit(t, middleware.Authenticate(tokens), request(http.MethodGet, "/"))
	refusedAs(t, refusal, http.StatusServiceUnavailable, middleware.CodeUnavailable)
	if !strings.Contains(refusal.Error(), "DeferRevocation") {
		t.Errorf("the cause is %v", refusal)
	}
}

// The answer to a preflight passes no limit, so the authenticator looks itself at a token in the address.
func TestPreflightDefersNothing(t *testing.T) {
	t.Parallel()
	tokens, limiter := newIssued(authkey.RevocationPending), &watcher{behaviour: looks, revoked: true}
	tokens.revoked = true
	auth := middleware.Authenticate(tokens, middleware.WithCORS(middleware.CORS{Origins: []string{"https://a.example.com"}}), middleware.WithSources(middleware.Query("key")))
	stage := auth.RateLimit(limiter, ratelimit.PerMinute(9))
	_, _, refusal := admit(t, stage, corsRequest(http.MethodOptions, "/?key=x", "Origin", "https://a.example.com", "Access-Control-Request-Method", "GET"))
	refusedAs(t, refusal, http.StatusUnauthorized, middleware.CodeInvalid)
	_, _, refusal = admit(t, stage, corsRequest(http.MethodGet, "/?key=x", "Origin", "https://a.example.com"))
	refusedAs(t, refusal, http.StatusUnauthorized, middleware.CodeInvalid)
	if tokens.looked != 1 || limiter.asked != 1 {
		t.Errorf("the authenticator looked %d times and the limiter %d, want once each", tokens.looked, limiter.asked)
	}
}

// A limit of networks is told of no identity, so it can find none stale.
func TestNetworkLimitKnowsNobody(t *testing.T) {
	t.Parallel()
	known, calls := demoCallers(), 0
	limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		if calls++; r.Org != "" || r.Token != nil {
			t.Errorf("it was told of %s and %+v", r.Org, r.Token)
		}
		return ratelimit.Decision{}, ratelimit.ErrStale
	})
	a, _, refusal := admit(t, middleware.Authenticate(known), request(http.MethodGet, "/"))
	refusedAs(t, refusal, 0, "")
	_, _, refusal = admit(t, middleware.LimitBy(middleware.Everyone(), limiter, ratelimit.PerMinute(9)), a.Request())
	refusedAs(t, refusal, http.StatusServiceUnavailable, middleware.CodeUnavailable)
	if calls != 1 || known.refreshes != 0 {
		t.Errorf("%d calls and %d looks anew, want one and none", calls, known.refreshes)
	}
}
