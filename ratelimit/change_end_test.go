package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestChangeOfTheEnd has overrides that end by themselves. What was charged under one comes back as it went:
// its Change governs its end, too.
func TestChangeOfTheEnd(t *testing.T) {
	t.Parallel()
	want := map[ratelimit.Change]int64{ // of 15 of 20 used, where the limit is ten again
		ratelimit.KeepUsed: 15, ratelimit.Proportional: 8, ratelimit.Additive: 5, ratelimit.ResetUsed: 0,
	}
	for name, policy := range changing {
		if name == "concurrency" || name == "held of a window" { // what is held is held
			continue
		}
		for change, want := range want {
			t.Run(fmt.Sprintf("%s, %q", name, change), func(t *testing.T) {
				t.Parallel()
				redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
					g, p := newGate(t, rdb), policy(room{10, 1000, 400 * day})
					for delay := 100 * time.Millisecond; ; delay *= 2 { // a busy machine may need more time
						g.org = redistest.Org(t)
						o := ratelimit.Override{Burst: 10, Change: change, ExpiresAt: g.admit(g.request(0, p)).At.Add(delay)}
						o, _, err := g.overrides.Set(t.Context(), withOrg(o, g.org), ratelimit.Always)
						if err != nil && delay < time.Minute {
							continue
						}
						if d := g.admit(g.request(15, p)); d.Allowed && d.Results[0].Source == "override:"+o.ID {
							break
						}
						if delay > time.Minute {
							t.Fatal("an override ended before anything could be charged under it")
						}
					}
					r := g.request(1, p)
					r.Peek = true
					d := g.admit(r)
					for d.Results[0].Source != ratelimit.SourcePolicy { // nothing moves but the clock of Redis
						d = g.admit(r)
					}
					for range 2 {
						if got := g.admit(r).Results[0]; got.Used != want || got.Remaining != max(10-want, 0) || got.Limit == 20 {
							t.Errorf("%+v after the end, want %d used", got, want)
						}
					}
					if left := max(10-want, 0); left > 0 {
						if d := g.admit(g.request(left+1, p)); d.Allowed {
							t.Errorf("%+v, want %d left", d, left)
						}
						if d := g.admit(g.request(left, p)); !d.Allowed || d.Results[0].Used != want+left {
							t.Errorf("%+v, want %d left", d, left)
						}
					}
				})
			})
		}
	}
}

func withOrg(o ratelimit.Override, org string) ratelimit.Override {
	o.Org = org
	return o
}

// TestChangeOfTheNext has one override take the place of another, or of none, before anything was charged
// under the first: the one that counts says how what was used comes over.
func TestChangeOfTheNext(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		p := ratelimit.Per(10, 300*day)
		org := func(limit int64, c ratelimit.Change) ratelimit.Override {
			return ratelimit.Override{Limit: new(limit), Change: c}
		}
		project := func(limit int64, c ratelimit.Change) ratelimit.Override {
			return ratelimit.Override{Project: "shop", Limit: new(limit), Change: c}
		}
		look := func(g gate, when string, want int64) {
			t.Helper()
			r := g.request(0, p)
			r.Peek = true
			if got := g.admit(r).Results[0]; got.Used != want {
				t.Errorf("%s: %d of %d used from %s, want %d", when, got.Used, got.Limit, got.Source, want)
			}
		}
		g := newGate(t, rdb)
		g.admit(g.request(10, p))
		g.set(org(100, ratelimit.Proportional))
		look(g, "ten times as much", 100)
		g.set(project(20, ratelimit.Additive))
		look(g, "a more specific one", 10)
		g.set(project(5, ratelimit.ResetUsed))
		look(g, "changed", 0)
		if _, err := g.overrides.Clear(t.Context(), g.org, "shop"); err != nil {
			t.Fatalf("Clear: %v", err)
		}
		look(g, "the less specific one again", 100)
		if _, err := g.overrides.Clear(t.Context(), g.org, ""); err != nil {
			t.Fatalf("Clear: %v", err)
		}
		look(g, "none, and nothing was charged meanwhile", 10)
		g.set(project(20, ratelimit.Proportional))
		g.set(org(40, ratelimit.Additive))
		look(g, "twice as much", 20)
		g.set(project(40, ratelimit.Proportional))
		g.admit(g.request(0, p)) // takes nothing, and leaves the state as it was
		look(g, "four times as much", 40)
		g.set(project(40, ratelimit.ResetUsed))
		g.admit(g.request(8, p))
		look(g, "reset, and charged", 8)
		g.set(project(40, ratelimit.Proportional))
		look(g, "the same limit", 8)
		if _, err := g.overrides.Clear(t.Context(), g.org, "shop"); err != nil {
			t.Fatalf("Clear: %v", err)
		}
		look(g, "the less specific one, of the same limit", 8)
		if _, err := g.overrides.Clear(t.Context(), g.org, ""); err != nil {
			t.Fatalf("Clear: %v", err)
		}
		look(g, "none: charged last under a reset", 0)
	})
}

// TestChangeOfTooMuch settles for more than the limit, and changes that. What is beyond the limit is no more than
// all of it, where it is what was available that stays.
func TestChangeOfTooMuch(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, tt := range []struct {
			limit int64
			want  map[ratelimit.Change]int64 // of 15 of 10 used
		}{
			{20, map[ratelimit.Change]int64{ratelimit.KeepUsed: 15, ratelimit.Proportional: 30, ratelimit.Additive: 10, ratelimit.ResetUsed: 0}},
			{5, map[ratelimit.Change]int64{ratelimit.KeepUsed: 15, ratelimit.Proportional: 8, ratelimit.Additive: 5, ratelimit.ResetUsed: 0}},
		} {
			for change, want := range tt.want {
				g, p := newGate(t, rdb), ratelimit.Per(10, 300*day).Reserved(time.Hour)
				r := g.request(1, p)
				d := g.admit(r)
				if _, err := g.settle(held(r, d.Hold, 15)); err != nil {
					t.Fatalf("Settle: %v", err)
				}
				g.set(ratelimit.Override{Limit: new(tt.limit), Change: change})
				if got := g.peek(r)[0]; got.Used != want || got.Remaining != max(tt.limit-want, 0) {
					t.Errorf("%q to %d: %d used, %d left, want %d used", change, tt.limit, got.Used, got.Remaining, want)
				}
				left := max(tt.limit-want, 0)
				if d := g.admit(g.request(left+1, p)); d.Allowed {
					t.Errorf("%q to %d: %d let pass, want %d", change, tt.limit, left+1, left)
				}
				if d := g.admit(g.request(left, p)); left > 0 && !d.Allowed {
					t.Errorf("%q to %d: %d refused", change, tt.limit, left)
				}
			}
		}
	})
}

// TestChangeWhileClosed blocks and lifts a limit: what was used before is used afterwards.
func TestChangeWhileClosed(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, policy := range changing {
			g, p := newGate(t, rdb), policy(room{10, 1000, 400 * day})
			g.admit(g.request(7, p))
			for _, access := range []ratelimit.Access{ratelimit.Blocked, ratelimit.Unlimited} {
				g.set(ratelimit.Override{Access: access})
				for range 3 {
					d := g.admit(g.request(5, p))
					if got := d.Results[0]; d.Allowed != (access == ratelimit.Unlimited) || got.Unlimited != d.Allowed || got.Remaining != 0 {
						t.Errorf("%s, %s: %+v", name, access, d)
					}
				}
				if _, err := g.overrides.Clear(t.Context(), g.org, ""); err != nil {
					t.Fatalf("Clear: %v", err)
				}
				if d := g.admit(g.request(4, p)); d.Allowed || d.Results[0].Used != 7 {
					t.Errorf("%s after %s: %+v, want seven used", name, access, d)
				}
			}
		}
	})
}
