package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestFailuresAreChargedAtASetRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const perSecond = 200
		g := newGuesses(ratelimit.PerHour(1000))
		for range perSecond + 50 {
			g.calls(t, 1, "guess", here, unknown)
		}
		if n := g.budget.calls(); n != perSecond {
			t.Fatalf("%d charges at once, want %d", n, perSecond)
		}
		time.Sleep(time.Second)
		g.calls(t, 2, "guess", here, unknown)
		costs := []int64{g.budget.asked[perSecond].Charges[0].Cost, g.budget.asked[perSecond+1].Charges[0].Cost}
		if want := []int64{51, 1}; !slices.Equal(costs, want) {
			t.Errorf("charges of %v after a pause, want %v: what was added up, once", costs, want)
		}
		if used := g.budget.used[here]; used != perSecond+52 {
			t.Errorf("%d failures are counted of %d", used, perSecond+52)
		}
	})
}

// A flood from more networks than are remembered costs Redis no more than the set rate, and blocks nobody else.
func TestFloodOfFailuresFromManyNetworks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const networks, perSecond, seconds = 10_000, 200, 5
		g := newGuesses(ratelimit.PerMinute(3))
		addr := netip.MustParseAddr("10.0.0.0")
		for i := range networks {
			if i%(networks/seconds) == 0 && i > 0 {
				time.Sleep(time.Second)
			}
			addr = addr.Next()
			g.calls(t, 1, "guess", addr.String(), unknown)
		}
		if n, most := g.budget.calls(), perSecond*seconds; n > most || n < most-perSecond {
			t.Errorf("%d charges for %d failures in %d seconds, want about %d and no more", n, networks, seconds, most)
		}
		if n := middleware.FailingNetworks(g.stage); n != middleware.MaxNetworks {
			t.Errorf("%d networks are held, want %d", n, middleware.MaxNetworks)
		}
		g.calls(t, 5, goodKey, here, "200")
	})
}

// Also while Redis is asked too often, a process blocks what is over the limit by its own count.
func TestFailuresBlockWhileTheRateIsUsedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGuesses(ratelimit.PerMinute(3))
		addr := netip.MustParseAddr("10.0.0.0")
		for range 200 {
			addr = addr.Next()
			g.calls(t, 1, "guess", addr.String(), unknown)
		}
		g.calls(t, 3, "guess", here, unknown)
		g.calls(t, 3, "guess", here, blocked60)
		if n := g.budget.calls(); n != 200 {
			t.Errorf("%d charges, want the 200 of before", n)
		}
		g.calls(t, 1, "guess", there, unknown)
	})
}

func TestFailuresThatClientsHangUpOnAreCharged(t *testing.T) {
	t.Parallel()
	g := newGuesses(ratelimit.PerMinute(3))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := request(http.MethodGet, "/").WithContext(ctx)
	r.Header.Set("X-Api-Key", "guess")
	if _, _, refusal := admit(t, g.stage, r); refusal == nil || refusal.Status != http.StatusUnauthorized {
		t.Errorf("refusal %v, want 401", refusal)
	}
	if used := g.budget.used["192.0.2.1"]; used != 1 {
		t.Errorf("%d failures are counted, want 1", used)
	}
}

func TestMonitoredFailureBudget(t *testing.T) {
	t.Parallel()
	g := newGuesses(ratelimit.PerMinute(3).Monitored())
	g.calls(t, 300, "guess", here, unknown)
	outcomes := map[middleware.Outcome]int{}
	for _, e := range g.events {
		if e.Step == middleware.StepFailures {
			outcomes[e.Outcome]++
		}
	}
	if outcomes[middleware.OutcomeAllowed] != 3 || outcomes[middleware.OutcomeMonitored] == 0 || len(outcomes) != 2 {
		t.Errorf("outcomes %v, want 3 allowed and the others monitored", outcomes)
	}
}

// A limiter that monitors all lifts the budget, too, whether Redis answers or not.
func TestFailureBudgetOfAMonitoredLimiter(t *testing.T) {
	t.Parallel()
	g := newGuesses(ratelimit.PerMinute(3))
	g.budget.err = fmt.Errorf("%w, %w", ratelimit.ErrMonitored, ratelimit.ErrUnavailable)
	g.calls(t, 300, "guess", here, unknown)
	g.calls(t, 1, goodKey, here, "200")
}

func TestFailureBudgetOptions(t *testing.T) {
	t.Parallel()
	network, policy := middleware.ClientNetwork(), ratelimit.PerMinute(20)
	for want, option := range map[string]middleware.Option{
		"the limiter is nil":           middleware.WithFailureBudget(nil, policy, network),
		"the key needs a Name and Of":  middleware.WithFailureBudget(newBudget(), policy, middleware.Key{Name: "network"}),
		"a Limit of at least 1":        middleware.WithFailureBudget(newBudget(), ratelimit.PerMinute(0), network),
		"Window 0s must be":            middleware.WithFailureBudget(newBudget(), ratelimit.Policy{Limit: 1}, network),
		"no Lease":                     middleware.WithFailureBudget(newBudget(), policy.Reserved(time.Minute), network),
		"and a Window":                 middleware.WithFailureBudget(newBudget(), ratelimit.Concurrent(3), network),
		"partitioned by key":           middleware.WithFailureBudget(newBudget(), policy.By(ratelimit.ByKey), network),
		"trusted network number 1":     middleware.WithFailureBudget(newBudget(), policy, middleware.ClientNetwork(netip.Prefix{})),
		"must be 1 to 64 of A-Z":       middleware.WithFailureBudget(newBudget(), policy.Named("?"), network),
		"no Lease, Candidate or Payme": middleware.WithFailureBudget(newBudget(), policy.Paid(), network),
	} {
		if err := middleware.Authenticate(demoCallers(), option).Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
	both := middleware.Authenticate(demoCallers(), middleware.WithFailureBudget(nil, policy.Named("?"), network)).Err()
	if both == nil || !strings.Contains(both.Error(), "limiter is nil") || !strings.Contains(both.Error(), "Name must be") {
		t.Errorf("error %v, want both faults", both)
	}
	if err := middleware.Authenticate(demoCallers(), middleware.WithFailureBudget(newBudget(), policy.By("network"), network)).Err(); err != nil {
		t.Errorf("a policy that names the partition of the key: %v", err)
	}
}

// Requests of many networks at once, good and bad, lose no count and block nobody but who failed.
func TestFailuresAtOnce(t *testing.T) {
	t.Parallel()
	const networks, each = 20, 10
	b := newBudget()
	stage := middleware.Authenticate(demoCallers(), middleware.WithFailureBudget(b, ratelimit.PerHour(each), middleware.ClientNetwork()))
	var wait sync.WaitGroup
	for i := range networks {
		for range each {
			wait.Go(func() {
				g := guesses{stage: stage}
				g.calls(t, 1, goodKey, fmt.Sprintf("192.0.2.%d", i), "200")
				if i%2 == 0 {
					g.calls(t, 1, "guess", fmt.Sprintf("198.51.100.%d", i), unknown)
				}
			})
		}
	}
	wait.Wait()
	for i := range networks {
		want := int64(each)
		if i%2 == 1 {
			want = 0
		}
		if n := b.used[fmt.Sprintf("198.51.100.%d", i)]; n != want {
			t.Errorf("%d failures of network %d are counted, want %d", n, i, want)
		}
	}
	if len(b.asked) != networks/2*each {
		t.Errorf("%d calls to the limiter, want one for each of %d failures", len(b.asked), networks/2*each)
	}
}
