package ratelimit_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// staleness is how long a lease may go by what was.
const staleness = time.Second

// redisTime tells what an org's server does.
func redisTime(t *testing.T, rdb redis.UniversalClient, org string) time.Time {
	t.Helper()
	conn := connOf(t, rdb)
	epoch, err := conn.Epoch(t.Context(), org)
	if err != nil {
		t.Fatalf("Epoch: %v", err)
	}
	return time.UnixMicro(epoch.Now)
}

// TestAheadHearsOfChanges within a second by the clock of Redis: of an epoch, an override, a plan and the end of monitoring.
func TestAheadHearsOfChanges(t *testing.T) {
	t.Parallel()
	type change struct {
		make func(g gate) (at time.Time)                // the Redis time from which on it counts, or a later one
		seen func(d ratelimit.Decision, err error) bool // that it acts
	}
	limit := func(d ratelimit.Decision, _ error) bool { return d.Results != nil && d.Results[0].Limit == 500 }
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		plans, plan := newPlans(t, rdb), planName(t, rdb)
		for name, c := range map[string]change{
			"revocation": {func(g gate) time.Time {
				if err := rdb.HIncrBy(t.Context(), lua.EpochKey(g.org), "keys", 1).Err(); err != nil {
					t.Errorf("HINCRBY: %v", err)
				}
				return redisTime(t, rdb, g.org)
			}, func(_ ratelimit.Decision, err error) bool { return errors.Is(err, ratelimit.ErrStale) }},
			"override": {func(g gate) time.Time {
				g.set(ratelimit.Override{Limit: new(int64(500))})
				return redisTime(t, rdb, g.org)
			}, limit},
			"override that resets": {func(g gate) time.Time {
				g.set(ratelimit.Override{Limit: new(int64(500)), Change: ratelimit.ResetUsed})
				return redisTime(t, rdb, g.org)
			}, limit},
			"plan": {func(g gate) time.Time {
				setPlan(t, plans, limited(plan, 500))
				return redisTime(t, rdb, g.org)
			}, limit},
		} {
			t.Run(name, func(t *testing.T) {
				g := replicas(t, rdb, 1)[0]
				epoch, err := connOf(t, rdb).Epoch(t.Context(), g.org)
				if err != nil {
					t.Fatalf("Epoch: %v", err)
				}
				r := g.request(1, ratelimit.PerHour(100_000).Ahead(10_000))
				r.Plan, r.Epoch = plan, epoch.Keys
				_, before := g.ahead(r)
				r.Charges[0].Cost = 0 // so that it is not used up, but comes to its end
				at := c.make(g)
				for {
					now := redisTime(t, rdb, g.org)
					d, err := g.limiter.Admit(t.Context(), r)
					switch {
					case c.seen(d, err):
						if err == nil && d.At.Before(before.At) {
							t.Errorf("decided at %v, before %v", d.At, before.At)
						}
						return
					case err != nil:
						t.Fatalf("Admit: %v", err)
					case now.Sub(d.At) > staleness || now.Sub(at) > staleness:
						t.Fatalf("%v after the change, %v after it was taken: a lease serves still", now.Sub(at), now.Sub(d.At))
					}
				}
			})
		}
	})
}

// TestAheadHearsAtOnce of what another request of the org was told, and of SetMonitor.
func TestAheadHearsAtOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		plans, plan := newPlans(t, rdb), planName(t, rdb)
		for name, change := range map[string]func(g gate){
			"override": func(g gate) { g.set(ratelimit.Override{Limit: new(int64(500))}) },
			"plan":     func(g gate) { setPlan(t, plans, limited(plan, 500)) },
		} {
			g := replicas(t, rdb, 1)[0]
			r, other := g.request(1, ratelimit.PerHour(100_000).Ahead(10_000)), g.request(1, ratelimit.PerHour(1).Named("other"))
			r.Plan, other.Plan, other.Project = plan, plan, "another"
			g.ahead(r)
			change(g)
			g.admit(other)
			if d := g.admit(r); d.Results[0].Limit != 500 {
				t.Errorf("%s: %v, want a limit of 500", name, d)
			}
		}
		g := replicas(t, rdb, 1)[0]
		r := g.request(1, ratelimit.PerHour(1000).Ahead(100))
		g.ahead(r)
		for _, on := range []bool{true, false} {
			g.limiter.SetMonitor(on)
			if d := g.admit(r); d.Results[0].Monitor != on {
				t.Errorf("monitored %t: %v", on, d)
			}
		}
	})
}

// TestAheadOverrideOnTime has an override begin: a lease that was taken before does not serve after it.
func TestAheadOverrideOnTime(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := replicas(t, rdb, 1)[0]
		r := g.request(1, ratelimit.PerHour(1_000_000).Ahead(100_000))
		start := redisTime(t, rdb, g.org).Add(700 * time.Millisecond)
		g.set(ratelimit.Override{Access: ratelimit.Blocked, StartsAt: start})
		leased, at := 0, time.Time{}
		for {
			now := redisTime(t, rdb, g.org)
			d := g.admit(r)
			if !d.Allowed {
				if now.Before(start) && d.At.Before(start) {
					t.Errorf("refused %v before it begins", start.Sub(now))
				}
				break
			}
			if d.At.Equal(at) {
				leased++
			}
			if at = d.At; !now.Before(start) {
				t.Fatalf("admitted %v after the override began", now.Sub(start))
			}
		}
		if leased == 0 {
			t.Error("there was no lease; nothing was tested")
		}
	})
}

// TestAheadWithoutRedis serves from the lease to its end, and then nobody.
func TestAheadWithoutRedis(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, done := range []bool{false, true} { // whether Redis did what it was asked for
			var cut atomic.Bool
			fail := func(redis.Cmder) error {
				if cut.Load() {
					return errors.New("cut")
				}
				return nil
			}
			hook := wire{before: fail}
			if done {
				hook = wire{after: fail}
			}
			g := newGate(t, client(t, rdb, hook))
			t.Cleanup(func() { _ = g.limiter.Close(context.WithoutCancel(t.Context())) })
			r := g.request(1, ratelimit.PerHour(1_000_000).Ahead(1000))
			admitted, last := g.ahead(r)
			for range 1000 { // until it is larger
				d := g.admit(r)
				admitted++
				last = d
			}
			cut.Store(true)
			charged := counted(t, rdb, r)[0]
			served := 0
			r.Charges[0].Cost = 0 // so that it comes to its end
			for {
				now := redisTime(t, rdb, g.org)
				d, err := g.limiter.Admit(t.Context(), r)
				if err != nil {
					if !errors.Is(err, ratelimit.ErrUnavailable) || now.Before(last.At) {
						t.Errorf("Admit: %v, want ErrUnavailable", err)
					}
					break
				}
				if served++; served <= 3 {
					r.Charges[0].Cost = 1 - r.Charges[0].Cost
				}
				admitted += d.Results[0].Cost
				if now.Sub(d.At) > staleness || !d.Allowed {
					t.Fatalf("done %t: %v, %v after it was taken", done, d, now.Sub(d.At))
				}
			}
			if admitted > charged {
				t.Errorf("done %t: %d admitted, %d of them without Redis, of %d charged before", done, admitted, served, charged)
			}
		}
	})
}

// TestAheadRefund gives back a unit that was used from a lease.
func TestAheadRefund(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, policy := range windowed {
			g := newGate(t, rdb)
			r := g.request(3, policy(10_000, 400*day).Ahead(100))
			admitted, d := g.ahead(r)
			if back, err := g.limiter.Refund(t.Context(), r, d.At); err != nil || back.Results[0].Cost != 3 {
				t.Errorf("%s: Refund: %v, %v", name, back, err)
			}
			g.end()
			if got := counted(t, rdb, r)[0]; got != admitted-3 {
				t.Errorf("%s: %d counted, want %d", name, got, admitted-3)
			}
		}
	})
}

// TestAheadAllOrNone: where one policy of a request takes nothing ahead, or cannot, each request asks Redis.
func TestAheadAllOrNone(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		ahead := ratelimit.PerHour(100_000).Ahead(1000)
		for name, other := range map[string]ratelimit.Policy{
			"strict":         ratelimit.PerHour(100_000),
			"monitored":      ahead.Monitored(),
			"a candidate":    ratelimit.PerHour(100_000).InPlaceOf(""),
			"a bucket":       ratelimit.PerHour(100_000).Bucket(1000),
			"places":         ratelimit.Concurrent(100_000),
			"held":           ratelimit.PerHour(100_000).Reserved(time.Minute),
			"a short window": ratelimit.Per(100_000, time.Second-time.Microsecond).Ahead(1000),
		} {
			g := replicas(t, rdb, 1)[0]
			r := g.request(1, ahead, other.Named("other"))
			var at time.Time
			for i := range int64(50) {
				d := g.admit(r)
				if !d.Allowed || !d.At.After(at) || d.Results[0].Used != i+1 {
					t.Fatalf("%s: request %d: %v", name, i, d)
				}
				at = d.At
			}
		}
	})
}
