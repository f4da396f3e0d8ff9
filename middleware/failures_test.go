package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// budget is a Limiter with one fixed window for each value, on the clock of the test.
type budget struct {
	mu    sync.Mutex
	used  map[string]int64
	ends  map[string]time.Time
	asked []ratelimit.Request
	err   error
}

func newBudget() *budget { return &budget{used: map[string]int64{}, ends: map[string]time.Time{}} }

func (b *budget) Admit(ctx context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, r)
	if err := errors.Join(ctx.Err(), b.err); err != nil {
		return ratelimit.Decision{}, err
	}
	c, now := r.Charges[0], time.Now()
	if !now.Before(b.ends[c.Value]) {
		b.used[c.Value], b.ends[c.Value] = 0, now.Add(c.Policy.Window)
	}
	result := ratelimit.Result{Policy: c.Policy.Name, Partition: c.Policy.Partition, Limit: c.Policy.Limit, Monitor: c.Policy.Monitor, Cost: c.Cost}
	if b.used[c.Value]+c.Cost > c.Policy.Limit {
		result.Exceeded, result.RetryAfter = true, b.ends[c.Value].Sub(now)
	} else {
		b.used[c.Value] += c.Cost
	}
	return ratelimit.Decision{Allowed: !result.Exceeded || c.Policy.Monitor, Results: []ratelimit.Result{result}}, nil
}

func (b *budget) calls() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.asked)
}

// guesses is a stage with a failure budget, and who asks it.
type guesses struct {
	who    *callers
	budget *budget
	stage  middleware.Stage
	events []middleware.Event
}

func newGuesses(policy ratelimit.Policy) *guesses {
	g := &guesses{who: demoCallers(), budget: newBudget()}
	g.stage = middleware.Authenticate(g.who,
		middleware.WithFailureBudget(g.budget, policy, middleware.ClientNetwork()),
		middleware.WithObserver(middleware.ObserverFunc(func(e middleware.Event) { g.events = append(g.events, e) })))
	return g
}

// call shows a key from an address and returns the status and code: "200" where it passes.
func (g *guesses) call(t *testing.T, key, addr string) string {
	t.Helper()
	r := request(http.MethodGet, "/v1/search")
	r.Header.Set("X-Api-Key", key)
	r.RemoteAddr = addr + ":4711"
	if strings.Contains(addr, ":") {
		r.RemoteAddr = "[" + addr + "]:4711"
	}
	_, _, refusal := admit(t, g.stage, r)
	if refusal == nil {
		return "200"
	}
	return fmt.Sprintf("%d %s %v", refusal.Status, refusal.Code, refusal.RetryAfter)
}

func (g *guesses) calls(t *testing.T, n int, key, addr, want string) {
	t.Helper()
	for i := range n {
		if got := g.call(t, key, addr); got != want {
			t.Fatalf("call %d of %d with %q from %s: %s, want %s", i+1, n, key, addr, got, want)
		}
	}
}

const (
	here, there = "192.0.2.1", "192.0.2.2"
	unknown     = "401 invalid_credential 0s"
	blocked60   = "429 too_many_failures 1m0s"
)

func TestFailuresBlockTheirNetwork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGuesses(ratelimit.PerMinute(3).Fixed())
		g.calls(t, 5, goodKey, here, "200")
		if n := g.budget.calls(); n != 0 {
			t.Fatalf("%d calls to the limiter for good requests, want none", n)
		}
		g.calls(t, 3, "guess", here, unknown)
		g.calls(t, 1, "guess", here, blocked60) // is told so by the limiter
		asked, charged := g.who.asked, g.budget.calls()
		if charged != 4 {
			t.Errorf("%d calls to the limiter for 4 failures, want 4", charged)
		}
		g.calls(t, 100, "guess", here, blocked60)
		g.calls(t, 100, goodKey, here, blocked60)
		if g.who.asked != asked || g.budget.calls() != charged {
			t.Errorf("from a blocked network the authenticator was asked %d times and the limiter %d, want never", g.who.asked-asked, g.budget.calls()-charged)
		}
		g.calls(t, 2, goodKey, there, "200")
		g.calls(t, 1, "guess", there, unknown)
		time.Sleep(59500 * time.Millisecond)
		g.calls(t, 1, goodKey, here, "429 too_many_failures 1s")
		time.Sleep(500 * time.Millisecond)
		g.calls(t, 2, goodKey, here, "200")
		g.calls(t, 3, "guess", here, unknown)
	})
}

func TestWhatCountsAsAFailure(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err     error
		charges int
	}{
		"unknown":       {fmt.Errorf("no such key: %w", authkey.ErrUnknown), 1},
		"malformed":     {authkey.ErrMalformed, 0},
		"revoked":       {authkey.ErrRevoked, 0},
		"disabled":      {authkey.ErrDisabled, 0},
		"expired":       {authkey.ErrExpired, 0},
		"not yet valid": {authkey.ErrNotYetValid, 0},
		"suspended":     {authkey.ErrSuspended, 0},
		"an outage":     {authkey.ErrUnavailable, 0},
		"an outage of one of two that were asked": {errors.Join(authkey.ErrUnknown, authkey.ErrUnavailable), 0},
		"anything else": {errors.New("out of the blue"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGuesses(ratelimit.PerMinute(3))
			g.who.err = row.err
			g.call(t, "guess", here)
			if n := g.budget.calls(); n != row.charges {
				t.Errorf("%d charges, want %d", n, row.charges)
			}
		})
	}
	t.Run("no credential, and two", func(t *testing.T) {
		t.Parallel()
		g := newGuesses(ratelimit.PerMinute(3))
		g.calls(t, 5, "", here, "401 missing_credential 0s")
		g.calls(t, 5, "a,b", here, "400 malformed_credential 0s")
		if n := g.budget.calls(); n != 0 {
			t.Errorf("%d charges, want none", n)
		}
	})
}

// A block that ends early does not end that of another network.
func TestBlocksEndOneByOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGuesses(ratelimit.PerMinute(3).Fixed())
		g.calls(t, 1, "guess", there, unknown)
		time.Sleep(30 * time.Second)
		g.calls(t, 3, "guess", here, unknown)
		g.calls(t, 1, "guess", here, blocked60)
		g.calls(t, 2, "guess", there, unknown)
		g.calls(t, 1, "guess", there, "429 too_many_failures 30s")
		time.Sleep(40 * time.Second)
		g.calls(t, 1, goodKey, there, "200")
		g.calls(t, 1, goodKey, here, "429 too_many_failures 20s")
	})
}

// What the limiter lets pass is not held against a network by the process's own count.
func TestTheLimiterDecidesOnFailures(t *testing.T) {
	t.Parallel()
	stage := middleware.Authenticate(demoCallers(), middleware.WithFailureBudget(limiterFunc(allow), ratelimit.PerMinute(3), middleware.ClientNetwork()))
	g := &guesses{stage: stage}
	g.calls(t, 20, "guess", here, unknown)
	if n := middleware.FailingNetworks(stage); n != 0 {
		t.Errorf("%d networks are held, want none that is not blocked", n)
	}
}

// Whatever ids the keys name and whatever endpoint they are shown to, one network has one count, and its own.
func TestFailuresAreCountedByNetworkAlone(t *testing.T) {
	t.Parallel()
	g := newGuesses(ratelimit.PerMinute(3))
	g.calls(t, 1, "guess", "2001:db8:0:1::1", unknown)
	g.calls(t, 1, "other-guess", "2001:db8:0:1:ffff::2", unknown)
	g.calls(t, 1, "guess", "2001:db8:0:2::1", unknown)
	var got []string
	for _, r := range g.budget.asked {
		c := r.Charges[0]
		got = append(got, c.Value)
		if r.Org+r.Project+r.Key != "" || r.Epoch != 0 || !c.Policy.Shared || c.Policy.Partition != "network" || c.Policy.Name != "failures" || c.Cost != 1 {
			t.Errorf("asked %+v, want an anonymous charge of 1 to a policy by network for all endpoints", r)
		}
	}
	if want := []string{"2001:db8:0:1::/64", "2001:db8:0:1::/64", "2001:db8:0:2::/64"}; !slices.Equal(got, want) {
		t.Errorf("charged %v, want %v", got, want)
	}
}

// What the limiter does not answer for is charged once, and blocks by the process's own count also where the limiter
// answers in between.
func TestFailuresThatTheLimiterLoses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGuesses(ratelimit.PerMinute(3).Fixed())
		lost := fmt.Errorf("%w: timeout", ratelimit.ErrUnavailable)
		for range 2 {
			g.budget.err = lost
			g.calls(t, 1, "guess", here, unknown)
			g.budget.err = nil
			g.calls(t, 1, "guess", here, unknown)
		}
		g.budget.err = lost
		g.calls(t, 1, "guess", here, unknown)
		g.budget.err = nil
		g.calls(t, 1, "guess", here, blocked60)
		if used := g.budget.used[here]; used != 3 {
			t.Errorf("%d failures are charged, want the 3 that were answered for, which are within the limit", used)
		}
		g.calls(t, 1, goodKey, here, blocked60)
		for i, r := range g.budget.asked {
			if cost := r.Charges[0].Cost; cost != 1 {
				t.Errorf("charge %d of %d, want 1: none is charged again", i+1, cost)
			}
		}
		time.Sleep(time.Minute)
		g.calls(t, 1, goodKey, here, "200")
	})
}

// An authenticator that names nobody lets nobody pass, and it is not the client's failure.
func TestAuthenticatorThatNamesNobody(t *testing.T) {
	t.Parallel()
	g := newGuesses(ratelimit.PerMinute(1))
	g.who.known["odd"] = nil
	g.calls(t, 5, "odd", here, "503 unavailable 1s")
	if n := g.budget.calls(); n != 0 {
		t.Errorf("%d charges, want none", n)
	}
	for _, e := range g.events {
		if e.Step != middleware.StepAuthenticate || e.Outcome != middleware.OutcomeFailed || e.Identity != nil {
			t.Errorf("event %+v, want one of an authentication that failed", e)
		}
	}
	bare := &guesses{stage: middleware.Authenticate(g.who)}
	bare.calls(t, 1, "odd", here, "503 unavailable 1s")
	bare.calls(t, 1, goodKey, here, "200")
}

func TestFailureBudgetWithoutALimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGuesses(ratelimit.PerMinute(3))
		g.budget.err = fmt.Errorf("%w: connection refused", ratelimit.ErrUnavailable)
		g.calls(t, 3, "guess", here, unknown)
		time.Sleep(10 * time.Second)
		g.calls(t, 1, "guess", here, "429 too_many_failures 50s") // as the process has counted by itself
		g.calls(t, 1, goodKey, there, "200")
		time.Sleep(50 * time.Second)
		g.calls(t, 1, goodKey, here, "200")
		g.calls(t, 3, "guess", there, unknown)
		time.Sleep(time.Minute)
		g.calls(t, 3, "guess", there, unknown) // those of a window ago are forgotten
		g.calls(t, 1, "guess", there, blocked60)
		opened := 0
		for _, e := range g.events {
			if e.Step == middleware.StepFailures {
				opened++
				if e.Outcome != middleware.OutcomeOpened || !errors.Is(e.Err, ratelimit.ErrUnavailable) {
					t.Errorf("event %+v, want one of an outage that was let pass", e)
				}
			}
		}
		if opened != 11 {
			t.Errorf("%d events, want one for each of the 11 failures", opened)
		}
		// Each failure was charged once, although nobody knows whether it arrived.
		for _, r := range g.budget.asked {
			if r.Charges[0].Cost != 1 {
				t.Errorf("a charge of %d after one that failed, want 1", r.Charges[0].Cost)
			}
		}
		g.budget.err = nil
		g.calls(t, 3, "guess", here, unknown)
		g.calls(t, 1, "guess", here, blocked60)
	})
}
