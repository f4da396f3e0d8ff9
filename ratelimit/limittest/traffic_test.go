package limittest_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// traffic is when requests arrive, in microseconds from the beginning of the first of several windows.
type traffic struct {
	name     string
	arrivals []int64
}

// count is what one policy did with traffic.
type count struct {
	policy      ratelimit.Policy
	bound       int64 // on the units within a window
	admitted    history
	over, under int // admitted, or refused, where the history of what was admitted says otherwise
}

// TestWorstCaseTraffic holds each algorithm against an exact log: a request is wrongly admitted if within
// the window that ends with it the limit was admitted already, and wrongly refused if it was not. To see
// the numbers: go test -run WorstCase -v.
func TestWorstCaseTraffic(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		const limit, window, windows, seed = 30, 3 * time.Second, 16, 1
		l := newLane(t, rdb)
		l.clock = newClock(t, rdb)
		table := newTable("30 per 3 s", "", "requests", "admitted", "by an exact log", "wrongly admitted", "wrongly refused", "most in 3 s", "bound")
		for _, tr := range trafficOf(rand.New(rand.NewPCG(seed, seed)), limit, windows, window.Microseconds()) {
			l.org = redistest.Org(t)
			began := l.begin(window)
			counts := []*count{
				{policy: ratelimit.Per(limit, window).Named("sliding"), bound: 2*limit - 1},
				{policy: ratelimit.Per(limit, window).Fixed().Named("fixed"), bound: 2*limit - 1},
				{policy: ratelimit.Per(limit, window).Aligned().Named("aligned"), bound: 2 * limit},
				{policy: ratelimit.Per(limit, window).Bucket(limit).Named("GCRA-30"), bound: 2*limit - 1},
				{policy: ratelimit.Per(limit, window).Bucket(5).Named("GCRA-5"), bound: limit + 5 - 1},
			}
			exact := l.drive(began, tr.arrivals, counts)
			n := len(tr.arrivals)
			for _, c := range counts {
				admitted, most := c.admitted.total(), c.admitted.most(window.Microseconds())
				table.add(tr.name, c.policy.Name, n, admitted, exact.total(), percent(c.over, n), percent(c.under, n), most, c.bound)
				switch {
				case most > c.bound:
					t.Errorf("%s, %s: %d units within a window, want at most %d", tr.name, c.policy.Name, most, c.bound)
				case tr.name == "even, 0.9 of the limit" && admitted != int64(n):
					t.Errorf("%s, %s: %d of %d admitted, want all", tr.name, c.policy.Name, admitted, n)
				case (c.policy.Name == "fixed" || c.policy.Name == "aligned") && c.under > 0:
					t.Errorf("%s, %s: %d requests wrongly refused", tr.name, c.policy.Name, c.under)
				}
			}
		}
		t.Logf("seed %d%v", seed, table)
	})
}

func percent(n, of int) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of)) }

// drive sends traffic through all policies at once: one that is monitored takes what fits, whatever the
// others find. It returns what an exact log would have admitted.
func (l *lane) drive(began int64, arrivals []int64, counts []*count) (exact history) {
	l.Helper()
	for _, at := range arrivals {
		l.clock.now = began + at
		var policies []ratelimit.Policy
		for _, c := range counts {
			policies = append(policies, c.policy.Monitored())
		}
		d := l.admit(l.request(1, policies...))
		for i, c := range counts {
			span := c.policy.Window.Microseconds()
			full := c.admitted.since(l.clock.now, span) >= c.policy.Limit
			admitted := !d.Results[i].Exceeded
			switch {
			case admitted && full:
				c.over++
			case !admitted && !full:
				c.under++
			}
			if admitted {
				c.admitted = append(c.admitted, entry{l.clock.now, 1})
			}
		}
		if p := counts[0].policy; exact.since(l.clock.now, p.Window.Microseconds()) < p.Limit {
			exact = append(exact, entry{l.clock.now, 1})
		}
	}
	return exact
}

// trafficOf returns traffic of several windows: even, random as of many callers, and in bursts.
func trafficOf(rng *rand.Rand, limit, windows int, window int64) []traffic {
	var all []traffic
	for _, load := range []float64{0.9, 1.5} {
		mean := float64(window) / float64(limit) / load
		even, random := traffic{name: fmt.Sprintf("even, %.1f of the limit", load)}, traffic{name: fmt.Sprintf("random, %.1f of the limit", load)}
		for at := 0.0; at < float64(windows)*float64(window); at += mean {
			even.arrivals = append(even.arrivals, int64(at))
		}
		for at := 0.0; at < float64(windows)*float64(window); at += mean * rng.ExpFloat64() {
			random.arrivals = append(random.arrivals, int64(at))
		}
		all = append(all, even, random)
	}
	bursts := traffic{name: "bursts of 1 to 60"}
	for at := int64(0); at < int64(windows)*window; at += rng.Int64N(2 * window) {
		for range 1 + rng.IntN(2*limit) {
			at += rng.Int64N(window / 300)
			bursts.arrivals = append(bursts.arrivals, at)
		}
	}
	return append(all, bursts)
}
