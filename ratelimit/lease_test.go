package ratelimit_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestCrashFreesItsUnits has a process hold all there is and never come back. By the clock of Redis its units
// are taken until the lease ends, and free from then on.
func TestCrashFreesItsUnits(t *testing.T) {
	t.Parallel()
	const lease = 300 * time.Millisecond
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, policy := range changing {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				g, p := newGate(t, rdb), policy(room{2, 1000, 400 * day})
				p.Lease = lease
				r := g.request(1, p)
				first, second := g.admit(r), g.admit(r)
				if !first.Allowed || !second.Allowed || second.Results[0].RetryAfter != 0 {
					t.Fatalf("%+v and %+v, want both allowed", first, second)
				}
				refused := 0
				for deadline := time.Now().Add(time.Minute); ; refused++ {
					d := g.admit(r)
					if ended := !d.At.Before(first.At.Add(lease)); d.Allowed != ended {
						t.Fatalf("%v after the first hold: allowed %t, want %t", d.At.Sub(first.At), d.Allowed, ended)
					}
					if d.Allowed {
						break
					}
					if d.RetryAfter() != 0 || d.Results[0].Used != 2 || d.Results[0].Remaining != 0 {
						t.Fatalf("refused: %+v, want both held, for nobody knows how long", d)
					}
					if time.Now().After(deadline) {
						t.Fatalf("nothing is free %v after the first hold", d.At.Sub(first.At))
					}
				}
				if refused == 0 {
					t.Error("the lease had ended before the first request; nothing was tested")
				}
				if _, err := g.settle(held(r, first.Hold, 1)); !errors.Is(err, ratelimit.ErrNotHeld) {
					t.Errorf("Settle after the lease: %v, want ErrNotHeld", err)
				}
			})
		}
	})
}

// TestHoldsAndRatesTogether asks for a place and for units of a rate in one request: both, or none.
func TestHoldsAndRatesTogether(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, rate := range changing {
			if name == "concurrency" {
				continue
			}
			for _, order := range []string{"place first", "rate first"} {
				t.Run(fmt.Sprintf("%s, %s", name, order), func(t *testing.T) {
					t.Parallel()
					g := newGate(t, rdb)
					place, units := ratelimit.Concurrent(2), rate(room{3, 1000, 400 * day}).Named("rate")
					place.Lease = time.Hour
					r, at, of := g.request(1, place, units), 0, 1
					if order == "rate first" {
						r, at, of = g.request(1, units, place), 1, 0
					}
					only := r // what can be settled of it
					only.Charges = r.Charges[at : at+1]
					counts := func(when string, held, used int64) {
						t.Helper()
						got := g.peek(r)
						if got[at].Held != held || got[at].Used != held || got[of].Used != used {
							t.Errorf("%s: %+v, want %d held and %d used", when, got, held, used)
						}
					}
					first := g.admit(r)
					g.admit(r)
					counts("two inside", 2, 2)
					if d := g.admit(r); d.Allowed || !d.Results[at].Exceeded || d.Results[of].Exceeded {
						t.Errorf("%+v, want it refused by the place", d)
					}
					counts("refused by the place", 2, 2)
					if _, err := g.settle(held(only, first.Hold, 0)); err != nil {
						t.Fatalf("Settle: %v", err)
					}
					counts("one left", 1, 2)
					third := g.admit(r)
					if _, err := g.settle(held(only, third.Hold, 0)); err != nil {
						t.Fatalf("Settle: %v", err)
					}
					counts("another came and left", 1, 3)
					if d := g.admit(r); d.Allowed || d.Results[at].Exceeded || !d.Results[of].Exceeded {
						t.Errorf("%+v, want it refused by the rate", d)
					}
					counts("refused by the rate", 1, 3)
				})
			}
		}
	})
}

// TestAtMostSoManyAtOnce counts who is inside.
func TestAtMostSoManyAtOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		const limit, callers = 3, 100
		g := newGate(t, rdb)
		p := ratelimit.Concurrent(limit)
		p.Lease = time.Hour
		r := g.request(1, p)
		g.peek(r)
		var inside, most, served atomic.Int64
		var group sync.WaitGroup
		for range callers {
			group.Go(func() {
				for { // until it was let in
					d, err := g.limiter.Admit(t.Context(), r)
					if err != nil {
						t.Errorf("Admit: %v", err)
						return
					}
					if !d.Allowed {
						continue
					}
					n := inside.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					g.peek(r) // takes a while, in which others come
					served.Add(1)
					inside.Add(-1)
					if _, err := g.limiter.Settle(t.Context(), held(r, d.Hold, 0)); err != nil {
						t.Errorf("Settle: %v", err)
					}
					return
				}
			})
		}
		group.Wait()
		if most.Load() > limit || served.Load() != callers {
			t.Errorf("%d at once, %d served; want at most %d, and %d", most.Load(), served.Load(), limit, callers)
		}
		if got := g.peek(r)[0]; got.Held != 0 || got.Used != 0 {
			t.Errorf("%+v when all have left, want nobody inside", got)
		}
	})
}
