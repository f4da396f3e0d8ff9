package ratelimit_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// windowed are policies of so many units in a window that can be taken ahead, whose windows are long enough for a test not
// to meet an edge; all but the last can be shorter.
var windowed = map[string]func(limit int64, window time.Duration) ratelimit.Policy{
	"sliding": ratelimit.Per,
	"fixed":   func(limit int64, window time.Duration) ratelimit.Policy { return ratelimit.Per(limit, window).Fixed() },
	"aligned": func(limit int64, window time.Duration) ratelimit.Policy {
		return ratelimit.Per(limit, window).Aligned()
	},
	"calendar": func(limit int64, _ time.Duration) ratelimit.Policy {
		return ratelimit.Quota(limit, ratelimit.Monthly(1, nil))
	},
}

// replicas returns gates of one org, each with a limiter of its own, which end with the test.
func replicas(t *testing.T, rdb redis.UniversalClient, n int) []gate {
	t.Helper()
	gates := make([]gate, n)
	for i := range gates {
		gates[i] = newGate(t, rdb)
		gates[i].org = gates[0].org
		t.Cleanup(func() { gates[i].end() })
	}
	return gates
}

// end closes the limiter.
func (g gate) end() {
	g.Helper()
	if err := g.limiter.Close(context.WithoutCancel(g.Context())); err != nil {
		g.Errorf("Close: %v", err)
	}
}

// counted tells what Redis has counted of a request's charges.
func counted(t *testing.T, rdb redis.UniversalClient, r ratelimit.Request) []int64 {
	t.Helper()
	g := newGate(t, rdb) // has no leases
	g.org = r.Org
	var used []int64
	for _, result := range g.peek(r) {
		used = append(used, result.Used)
	}
	return used
}

// ahead has a gate ask until it has a lease, which is when a decision is older than the one before it is new, and returns
// what was admitted.
func (g gate) ahead(r ratelimit.Request) (admitted int64, last ratelimit.Decision) {
	g.Helper()
	var at time.Time
	for deadline := time.Now().Add(time.Minute); ; {
		d := g.admit(r)
		if d.Allowed {
			admitted += r.Charges[0].Cost
		}
		if d.At.Equal(at) {
			return admitted, d
		}
		if at = d.At; time.Now().After(deadline) {
			g.Fatal("there is no lease")
		}
	}
}

// TestAheadNeverExceeds has many callers of three replicas ask for more than there is, of one count and of 20. What they
// were admitted is what Redis counts when all is given back, and is at most the limit; who was refused before that was so
// for no more than what leases held; and what these held can be taken in the end.
func TestAheadNeverExceeds(t *testing.T) {
	t.Parallel()
	const limit, prefetch, callers = 1000, 100, 40
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, policy := range windowed {
			for _, mixed := range []bool{false, true} {
				for _, keys := range []int{1, 20} {
					t.Run(fmt.Sprintf("%s, mixed %t, %d keys", name, mixed, keys), func(t *testing.T) {
						t.Parallel()
						gates := replicas(t, rdb, 3)
						admitted, early := make([]atomic.Int64, keys), make([]atomic.Int64, keys)
						request := func(g gate, key int, cost int64) ratelimit.Request {
							r := g.request(cost, policy(limit/int64(keys), 400*day).Ahead(prefetch/int64(keys)))
							r.Project = fmt.Sprint("project", key)
							return r
						}
						var group sync.WaitGroup
						for i := range 3 * callers {
							group.Go(func() {
								done := 0
								for n := i; done < keys; n++ { // until each count is used up
									cost, key := int64(1), n%keys
									if mixed {
										cost = int64(n/keys%3 + 1)
									}
									d, err := gates[i%3].limiter.Admit(t.Context(), request(gates[i%3], key, cost))
									if err != nil {
										t.Errorf("Admit: %v", err)
										return
									}
									if r := d.Results[0]; r.Remaining < 0 || r.Used+r.Remaining != r.Limit {
										t.Errorf("%+v: used and remaining are not the limit", r)
									}
									if done++; d.Allowed {
										admitted[key].Add(cost)
										done = 0
									}
								}
							})
						}
						group.Wait()
						for i := range admitted {
							early[i].Store(admitted[i].Load())
						}
						for _, g := range gates {
							g.end()
						}
						for key := range keys {
							r, most := request(gates[0], key, 1), int64(limit/keys)
							r.Charges[0].Policy.Prefetch = 0
							if got := counted(t, rdb, r)[0]; got != admitted[key].Load() || got > most {
								t.Errorf("key %d: %d counted, %d admitted, of %d", key, got, admitted[key].Load(), most)
							}
							if least := most - int64(3*prefetch/keys) - 2; early[key].Load() < least {
								t.Errorf("key %d: refused when %d were admitted, want at least %d", key, early[key].Load(), least)
							}
							g := newGate(t, rdb)
							g.org, r.Org = gates[0].org, gates[0].org
							for range most - admitted[key].Load() {
								if !g.admit(r).Allowed {
									t.Errorf("key %d: refused, although there is room", key)
								}
							}
							if g.admit(r).Allowed {
								t.Errorf("key %d: admitted beyond the limit", key)
							}
						}
					})
				}
			}
		}
	})
}

// TestAheadEdges asks through the edges of short windows. A unit is charged to the window in which it is used, or a later
// one: none of one that is over by the clock of this machine, which Redis has too.
func TestAheadEdges(t *testing.T) {
	t.Parallel()
	const limit, callers, window = 3000, 20, time.Second
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, policy := range windowed {
			if name == "calendar" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				gates := replicas(t, rdb, 3)
				p := policy(limit, window).Ahead(300)
				var mu sync.Mutex
				admitted, leased := map[int64]int64{}, 0 // by when the window ends, or what it begins with
				var group sync.WaitGroup
				begun := time.Now()
				for i := range 3 * callers {
					group.Go(func() {
						g, cost := gates[i%3], int64(1+i%2)
						for n := 0; time.Since(begun) < 3500*time.Millisecond; n++ {
							before := time.Now()
							d, err := g.limiter.Admit(t.Context(), g.request(cost, p))
							if err != nil {
								t.Errorf("Admit: %v", err)
								return
							}
							if !d.Allowed {
								continue
							}
							key := d.At.Truncate(window).UnixMicro()
							ends := d.At.Truncate(window).Add(window)
							if name == "fixed" {
								ends = d.At.Add(d.Results[0].ResetAfter)
								key = ends.UnixMicro()
							}
							if !before.Before(ends) {
								t.Errorf("admitted %v after the end of the window that it was charged to", before.Sub(ends))
							}
							mu.Lock()
							admitted[key] += cost
							if d.At.Before(before) {
								leased++
							}
							mu.Unlock()
						}
					})
				}
				group.Wait()
				for key, n := range admitted {
					if n > limit {
						t.Errorf("%d admitted in the window of %d, want at most %d", n, key, limit)
					}
				}
				if len(admitted) < 3 || leased == 0 {
					t.Errorf("%d windows, %d decided from memory; nothing was tested", len(admitted), leased)
				}
			})
		}
	})
}
