package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const day = 24 * time.Hour

// room is what an override, or none, leaves a policy: so many units at once, and how fast they come back.
type room struct {
	fits, rate int64 // rate: of a GCRA
	window     time.Duration
}

// changed is one history of a policy whose limit changes, and what is to be used after each step, worked out
// from the words of Change. Windows are so long that nothing rolls or leaks meanwhile.
type changed struct {
	*rapid.T
	replicas [2]gate
	policy   ratelimit.Policy
	coded    room
	now      room
	change   ratelimit.Change // of the override that counts
	override bool

	used  int64 // at the last charge
	was   room  // that it was charged under
	after ratelimit.Change
}

// changing are the algorithms, with policies that let so many units pass at once.
var changing = map[string]func(t room) ratelimit.Policy{
	"sliding window":  func(t room) ratelimit.Policy { return ratelimit.Per(t.fits, t.window) },
	"fixed window":    func(t room) ratelimit.Policy { return ratelimit.Per(t.fits, t.window).Fixed() },
	"aligned window":  func(t room) ratelimit.Policy { return ratelimit.Per(t.fits, t.window).Aligned() },
	"calendar window": func(t room) ratelimit.Policy { return ratelimit.Quota(t.fits, ratelimit.Monthly(1, nil)) },
	"GCRA":            func(t room) ratelimit.Policy { return ratelimit.Per(t.rate, t.window).Bucket(t.fits) },
	"concurrency": func(t room) ratelimit.Policy {
		p := ratelimit.Concurrent(t.fits)
		p.Lease = day
		return p
	},
	"held of a window": func(t room) ratelimit.Policy { return ratelimit.Per(t.fits, t.window).Reserved(day) },
}

// TestChange changes limits, windows and bursts on what is in use, in every mode, and ends the overrides that
// did. Two replicas with warm caches tell at once what is used, and let pass what is left, to the unit.
func TestChange(t *testing.T) {
	t.Parallel()
	for name, policy := range changing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				a, b := newGate(t, rdb), newGate(t, rdb)
				seen := map[string]int{}
				rapid.Check(t, func(rt *rapid.T) {
					c := &changed{T: rt, replicas: [2]gate{a, b}}
					org := redistest.Org(t)
					c.replicas[0].org, c.replicas[1].org = org, org
					c.coded = room{draw(rt, "fits", 1, 40), draw(rt, "rate", 300, 1000), time.Duration(draw(rt, "days", 100, 400)) * day}
					c.policy = policy(c.coded)
					c.now, c.was = c.coded, c.coded
					c.charge(0)
					for range 3 {
						c.charge(1)
						c.turn()
						seen[string("change "+c.change)]++
						if c.raised() {
							seen["raise of what was exhausted"]++
						}
						c.look(0)
						c.look(1)
						c.charge(0)
					}
				})
				for _, what := range []string{"change ", "change proportional", "change additive", "change reset", "raise of what was exhausted"} {
					if seen[what] == 0 {
						t.Errorf("no history met %q: %v", what, seen)
					}
				}
			})
		})
	}
}

func draw(rt *rapid.T, label string, low, high int64) int64 {
	return rapid.Int64Range(low, high).Draw(rt, label)
}

// turn sets another override, or deletes the one that there is.
func (c *changed) turn() {
	g := c.replicas[draw(c.T, "who", 0, 1)]
	if c.override && draw(c.T, "delete", 0, 3) == 0 {
		if _, err := g.overrides.Clear(g.Context(), g.org, "shop"); err != nil {
			c.Fatalf("Clear: %v", err)
		}
		c.now, c.override, c.change = c.coded, false, ""
		return
	}
	o := ratelimit.Override{Org: g.org, Project: "shop", Change: rapid.SampledFrom([]ratelimit.Change{
		ratelimit.KeepUsed, ratelimit.Proportional, ratelimit.Additive, ratelimit.ResetUsed,
	}).Draw(c.T, "change")}
	c.now = c.coded
	if c.policy.Algorithm == ratelimit.GCRA {
		c.now.rate, o.Burst = draw(c.T, "rate", 300, 1000), draw(c.T, "burst", 0, 200)
		c.now.fits += o.Burst
		o.Limit = new(c.now.rate)
	} else {
		limit := draw(c.T, "limit", 0, 60)
		if limit > 0 {
			o.Burst = draw(c.T, "burst", 0, 10)
		}
		o.Limit, c.now.fits = new(limit), limit+o.Burst
	}
	if draw(c.T, "window", 0, 1) == 1 {
		o.Window = time.Duration(draw(c.T, "days", 100, 400)) * day
		c.now.window = o.Window
	}
	if _, _, err := g.overrides.Set(g.Context(), o, ratelimit.Always); err != nil {
		c.Fatalf("Set: %v", err)
	}
	c.override, c.change = true, o.Change
}

// holds reports whether what counts is held, and so as many units whatever the limit is.
func (c *changed) holds() bool { return c.policy.Lease > 0 }

// same reports whether what was charged was charged under these terms.
func (c *changed) same() bool {
	a := c.policy.Algorithm
	return c.was.fits == c.now.fits && (c.was.window == c.now.window || a == ratelimit.CalendarWindow) && (a != ratelimit.GCRA || c.was.rate == c.now.rate)
}

// want returns the units that are to be used now. Where no override counts, what comes back does so as it went.
func (c *changed) want() int64 {
	change := c.change
	if !c.override {
		change = c.after
	}
	if c.same() || c.holds() || c.used == 0 {
		return c.used
	}
	switch change {
	case ratelimit.Proportional:
		return (c.used*c.now.fits + c.was.fits - 1) / c.was.fits
	case ratelimit.Additive:
		available := min(max(c.was.fits-c.used, 0), c.now.fits) + max(c.now.fits-c.was.fits, 0)
		return c.now.fits - available
	case ratelimit.ResetUsed:
		return 0
	}
	return c.used
}

// raised holds that a raise helps at once: by all of it, or by its share of what was left.
func (c *changed) raised() bool {
	raise := c.now.fits - c.was.fits
	if raise <= 0 || c.used > c.was.fits {
		return false
	}
	change, left := c.change, c.now.fits-c.want()
	if !c.override {
		change = c.after
	}
	if change == ratelimit.Proportional && !c.holds() {
		if whole := (c.was.fits - c.used) * c.now.fits / c.was.fits; left != whole {
			c.Fatalf("%d left after a raise from %d to %d with %d used, want %d", left, c.was.fits, c.now.fits, c.used, whole)
		}
		return false
	}
	if left < raise {
		c.Fatalf("%d left after a raise of %d", left, raise)
	}
	return c.used == c.was.fits
}

func (c *changed) ask(replica int, cost int64, peek bool) ratelimit.Decision {
	g := c.replicas[replica]
	r := g.request(cost, c.policy)
	r.Peek = peek
	d, err := g.limiter.Admit(g.Context(), r)
	if err != nil {
		c.Fatalf("Admit: %v", err)
	}
	return d
}

// look asks a replica, and takes nothing.
func (c *changed) look(replica int) {
	want := c.want()
	if got := c.ask(replica, 1, true).Results[0]; got.Used != want || got.Remaining != max(c.now.fits-want, 0) {
		c.Fatalf("%d used, %d left: want %d of %d used; %s", got.Used, got.Remaining, want, c.now.fits, c)
	}
}

// charge takes what is drawn, if it fits: all that is left, or one too many, among others.
func (c *changed) charge(replica int) {
	used := c.want()
	left := max(c.now.fits-used, 0)
	cost := rapid.OneOf(rapid.SampledFrom([]int64{left, left + 1}), rapid.Int64Range(0, left)).Draw(c.T, "cost")
	fits := c.now.fits > 0 && cost <= left
	d := c.ask(replica, cost, false)
	if d.Allowed != fits {
		c.Fatalf("cost %d allowed: %t, want %d left; %s", cost, d.Allowed, left, c)
	}
	if fits && cost > 0 {
		c.used, c.was, c.after = used+cost, c.now, c.change
		if c.holds() {
			c.after = ""
		}
	}
	if got := d.Results[0]; got.Used != c.want() {
		c.Fatalf("%d used after a cost of %d, want %d; %s", got.Used, cost, c.want(), c)
	}
}

func (c *changed) String() string {
	return fmt.Sprintf("%d were used of %+v, charged as %q; now %+v, changed as %q", c.used, c.was, c.after, c.now, c.change)
}
