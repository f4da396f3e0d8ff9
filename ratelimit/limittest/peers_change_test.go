package limittest_test

// What peers got wrong about limits that change, and units that are given back.

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// changedLimit has some units used under one capacity when an override makes it another one.
func changedLimit(t *testing.T, rdb redis.UniversalClient) {
	for _, tt := range []struct {
		name                string
		before, used, after int64
		want                map[ratelimit.Change]int64
	}{
		{"exhausted and raised", 10, 10, 100, map[ratelimit.Change]int64{
			ratelimit.KeepUsed: 10, ratelimit.Proportional: 100, ratelimit.Additive: 10, ratelimit.ResetUsed: 0,
		}},
		{"lowered below what is used", 100, 50, 10, map[ratelimit.Change]int64{
			ratelimit.KeepUsed: 50, ratelimit.Proportional: 5, ratelimit.Additive: 0, ratelimit.ResetUsed: 0,
		}},
		{"raised", 10, 3, 20, map[ratelimit.Change]int64{
			ratelimit.KeepUsed: 3, ratelimit.Proportional: 6, ratelimit.Additive: 3, ratelimit.ResetUsed: 0,
		}},
		{"lowered", 10, 9, 5, map[ratelimit.Change]int64{
			ratelimit.KeepUsed: 9, ratelimit.Proportional: 5, ratelimit.Additive: 4, ratelimit.ResetUsed: 0,
		}},
	} {
		for change, want := range tt.want {
			t.Run(fmt.Sprintf("%s, %q", tt.name, change), func(t *testing.T) {
				each(t, rdb, func(l *lane, k kind) {
					least := min(tt.before, tt.after)
					p := k.of(least, 30*24*time.Hour) // a burst of a hundred leaks soon enough
					l.override(ratelimit.Override{Limit: &least, Burst: tt.before - least})
					l.take(p, tt.used, true)
					l.take(p, tt.before-tt.used+1, false)
					l.override(ratelimit.Override{Limit: &least, Burst: tt.after - least, Change: change})
					left := max(tt.after-want, 0)
					for range 2 {
						if got := l.look(p, 1); got.Used != want || got.Remaining != left {
							l.Errorf("%d used, %d left; want %d and %d", got.Used, got.Remaining, want, left)
						}
					}
					l.take(p, left+1, false)
					l.take(p, left, true)
					if got := l.look(p, 1); got.Used != want+left || got.Remaining != 0 {
						l.Errorf("%d used, %d left after all was taken; want %d and none", got.Used, got.Remaining, want+left)
					}
				})
			})
		}
	}
}

// giveBack refunds one policy, and returns the result.
func (l *lane) giveBack(p ratelimit.Policy, cost int64, taken time.Time) ratelimit.Result {
	l.Helper()
	d, err := l.limiter.Refund(l.Context(), l.request(cost, p), taken)
	if err != nil {
		l.Fatalf("Refund: %v", err)
	}
	return d.Results[0]
}

// refund takes and gives back at one moment, in any order: what was given back never happened.
func refund(t *testing.T, rdb redis.UniversalClient) {
	frozen(t, rdb, func(l *lane, k kind) {
		p := k.of(10, time.Minute)
		l.clock.now = l.begin(time.Minute) + 1
		for _, n := range []int64{3, 1, 10, 1, 3} {
			d := l.admit(l.request(n, p))
			if got := l.giveBack(p, n, d.At); got.Cost != n || got.Used != 0 || got.Remaining != 10 {
				l.Errorf("took %d, got %d back: %d used, %d left; want none used", n, got.Cost, got.Used, got.Remaining)
			}
		}
		rapid.Check(t, func(rt *rapid.T) {
			l.org = redistest.Org(t)
			limit := rapid.Int64Range(1, 1_000_000).Draw(rt, "limit")
			p := k.of(limit, long)
			at := l.begin(long) + 1
			l.clock.now = at
			var taken []int64
			used := int64(0)
			for range 10 {
				if n := len(taken); n > 0 && rapid.Bool().Draw(rt, "give back") {
					i := rapid.IntRange(0, n-1).Draw(rt, "which")
					if got := l.giveBack(p, taken[i], time.UnixMicro(at)); got.Cost != taken[i] || got.Used != used-taken[i] {
						rt.Fatalf("%d of %d given back: %+v", taken[i], used, got)
					}
					used -= taken[i]
					taken = append(taken[:i], taken[i+1:]...)
					continue
				}
				cost := rapid.Int64Range(0, limit-used).Draw(rt, "cost")
				if got := l.take(p, cost, true); got.Used != used+cost || got.Remaining != limit-used-cost {
					rt.Fatalf("%d of %d taken besides %d: %+v", cost, limit, used, got)
				}
				used, taken = used+cost, append(taken, cost)
			}
		})
	})
}

// lateRefund gives back when a part of what was taken, or all of it, does not count any more. What others
// took since stays.
func lateRefund(t *testing.T, rdb redis.UniversalClient) {
	frozen(t, rdb, func(l *lane, k kind) {
		p := k.of(10, time.Minute)
		for _, later := range []time.Duration{time.Microsecond, 30 * time.Second, time.Minute - 1, time.Minute, 90 * time.Second, 2 * time.Minute} {
			l.org = redistest.Org(t)
			w := newWatch(rdb)
			l.begin(time.Minute)
			first := l.admit(l.request(10, p)).At
			l.clock.now += later.Microseconds()
			before := l.look(p, 1)
			others := min(5, before.Remaining)
			l.take(p, others, true)
			got := l.giveBack(p, 10, first)
			if got.Cost != before.Used || got.Used != others {
				l.Errorf("%v later %d of 10 given back, %d used; want %d, which still counted, and %d", later, got.Cost, got.Used, before.Used, others)
			}
			if got.Used > 0 {
				l.outlives(w, got)
			}
		}
	})
}
