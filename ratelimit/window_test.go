package ratelimit_test

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit"
	"github.com/tollgate-go/tollgate/ratelimit/limittest"
)

// The model is asked what happens; what the limiter foretells has to come true.

const present = int64(1_800_000_000_000_000)

// drawn is a state as stored, and the charge that meets it: perhaps under another capacity, window or rate,
// and with something held besides.
func drawn(t *rapid.T, windows, limits, units *rapid.Generator[int64]) (*limittest.Model, lua.Charge, ratelimit.Algorithm) {
	algorithm := rapid.SampledFrom([]ratelimit.Algorithm{
		ratelimit.SlidingWindow, ratelimit.FixedWindow, ratelimit.AlignedWindow, ratelimit.GCRA,
	}).Draw(t, "algorithm")
	window, limit := windows.Draw(t, "window"), max(1, limits.Draw(t, "limit"))
	c := lua.Charge{
		Key: "k", Algorithm: lua.Sliding, Limit: limit, Window: window, Role: lua.Enforced, Holds: true,
		Change: rapid.SampledFrom([]lua.Change{lua.NoChange, lua.KeepUsed, lua.Proportional, lua.Additive, lua.ResetUsed}).Draw(t, "change"),
	}
	at, x, y, z, capacity := present+rapid.Int64Range(-2*window, window).Draw(t, "at"), units.Draw(t, "x"), units.Draw(t, "y"), int64(0), limit
	switch algorithm {
	case ratelimit.FixedWindow:
		c.Algorithm = lua.Fixed
	case ratelimit.AlignedWindow:
		c.Algorithm, at, y = lua.Calendar, present-rapid.Int64Range(0, window).Draw(t, "ago"), rapid.Int64Range(0, 2*window).Draw(t, "left")
	case ratelimit.GCRA:
		c.Algorithm = lua.GCRA
		c.Limit = min(limit, lua.MaxWindow)
		c.Burst, capacity = burst(t, &c, limits), burst(t, &c, limits)
		full := new(big.Int).Mul(big.NewInt(capacity), big.NewInt(window))
		full.Div(full, big.NewInt(c.Limit))
		at, x = present-rapid.Int64Range(0, 3).Draw(t, "ago"), c.Limit
		y, z = rapid.Int64Range(0, full.Int64()).Draw(t, "left"), rapid.Int64Range(0, x-1).Draw(t, "parts")
	}
	if rapid.IntRange(0, 2).Draw(t, "changed") == 0 { // since the state was stored
		c.Limit = max(1, limits.Draw(t, "effective limit"))
		if algorithm == ratelimit.GCRA {
			c.Limit = min(c.Limit, lua.MaxWindow)
			c.Burst = burst(t, &c, limits)
		} else if rapid.Bool().Draw(t, "window changed") {
			c.Window = windows.Draw(t, "effective window")
		}
	}
	m := limittest.NewModel()
	m.States["k"] = limittest.Entry{Value: fmt.Sprintf("%s:%d:%d:%d:%d:%d:%d:%d", c.Algorithm, at, window, capacity, rapid.IntRange(0, 3).Draw(t, "under"), x, y, z)}
	if rapid.IntRange(0, 3).Draw(t, "held") == 0 {
		held := rapid.Int64Range(1, 5).Draw(t, "units held")
		m.Holds[lua.HoldsKey("k")] = map[string]int64{fmt.Sprintf("%d:id", held): present + 1}
	}
	return m, c, algorithm
}

// burst draws one that leaks within the longest window.
func burst(t *rapid.T, c *lua.Charge, units *rapid.Generator[int64]) int64 {
	most := new(big.Int).Mul(big.NewInt(c.Limit), big.NewInt(lua.MaxWindow))
	most.Div(most, big.NewInt(c.Window))
	b := max(1, units.Draw(t, "burst"))
	if most.IsInt64() {
		b = min(b, most.Int64())
	}
	return b
}

func capacityOf(c lua.Charge) int64 {
	if c.Algorithm == lua.GCRA {
		return c.Burst
	}
	return c.Limit
}

func stateAt(m *limittest.Model, now int64, c lua.Charge) lua.State {
	return m.Admit(now, lua.Check{Mode: lua.Peek, Charges: []lua.Charge{c}}).States[0]
}

// usedAt returns what counts at a time, if what is held is renewed until then.
func usedAt(m *limittest.Model, now int64, c lua.Charge) int64 {
	for _, holds := range m.Holds {
		for member := range holds {
			holds[member] = now + 1
		}
	}
	return m.Used(now, c)
}

// within reports whether at most so many units count at a time. Where what is held has to be given back for
// that, which may happen at any moment, it counts as given back.
func within(m *limittest.Model, now int64, c lua.Charge, held, units int64) bool {
	if units < held {
		units += held
	}
	return usedAt(m, now, c) <= units
}

func TestAfterIsExact(t *testing.T) {
	t.Parallel()
	windows := rapid.OneOf(
		rapid.Int64Range(1, 50), rapid.Int64Range(1, lua.MaxWindow), rapid.Int64Range(lua.MaxWindow-3, lua.MaxWindow),
	)
	limits := rapid.OneOf(rapid.Int64Range(1, 20), rapid.Int64Range(1, lua.MaxUnits), rapid.Int64Range(lua.MaxUnits-3, lua.MaxUnits))
	counts := rapid.OneOf(
		rapid.Int64Range(0, 20), rapid.Int64Range(0, 2*lua.MaxUnits), rapid.Int64Range(2*lua.MaxUnits-3, 2*lua.MaxUnits),
	)
	rapid.Check(t, func(t *rapid.T) {
		m, c, algorithm := drawn(t, windows, limits, counts)
		s, used := stateAt(m, present, c), usedAt(m, present, c)
		for range 5 {
			units := rapid.OneOf(rapid.Int64Range(0, used), rapid.Int64Range(max(0, used-3), used+1)).Draw(t, "units")
			got, after := ratelimit.UsedAndAfter(algorithm, s, capacityOf(c), present, units)
			if got != used {
				t.Fatalf("%d used of %+v, want %d", got, s, used)
			}
			if (after == 0) != within(m, present, c, s.Held, units) || after < 0 {
				t.Fatalf("%d after until %d of %d units are used: %+v", after, units, used, s)
			}
			if after == 0 {
				continue
			}
			if !within(m, present+after, c, s.Held, units) {
				t.Errorf("%d after, %d are used, want at most %d: %+v", after, usedAt(m, present+after, c), units, s)
			}
			if within(m, present+after-1, c, s.Held, units) {
				t.Errorf("a microsecond before %d, only %d are used, want more than %d: %+v", after, usedAt(m, present+after-1, c), units, s)
			}
		}
	})
}

// TestResultAgainstTime goes forward a microsecond at a time and looks when what was foretold happens.
func TestResultAgainstTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m, c, algorithm := drawn(t, rapid.Int64Range(1, 40), rapid.Int64Range(1, 12), rapid.Int64Range(0, 14))
		if rapid.IntRange(0, 9).Draw(t, "nothing allowed") == 0 {
			c.Limit = 0
		}
		c.Units = rapid.Int64Range(0, 14).Draw(t, "cost")
		capacity := capacityOf(c)
		if c.Limit == 0 {
			capacity = 0
		}
		charge := ratelimit.Charge{Cost: c.Units, Policy: ratelimit.Policy{
			Name: "p", Algorithm: algorithm, Limit: c.Limit, Window: time.Duration(c.Window) * time.Microsecond, Burst: c.Burst,
			Partition: ratelimit.ByKey, Monitor: rapid.Bool().Draw(t, "monitor"),
		}}
		s, used := stateAt(m, present, c), usedAt(m, present, c)
		remaining := max(0, capacity-used)
		// first returns how long until at most so many units are used.
		first := func(units int64) time.Duration {
			if units < 0 {
				return ratelimit.Never
			}
			for d := range 1000 * c.Window {
				if within(m, present+d, c, s.Held, units) {
					return time.Duration(d) * time.Microsecond
				}
			}
			t.Fatalf("%d units are used for ever", units)
			return 0
		}
		want := ratelimit.Result{
			Policy: "p", Partition: ratelimit.ByKey, Unit: "requests", Algorithm: algorithm, Monitor: charge.Policy.Monitor,
			Limit: c.Limit, Window: charge.Policy.Window, Burst: c.Burst, Source: ratelimit.SourcePolicy, Level: ratelimit.LevelPolicy, Cost: c.Units,
			Exceeded: s.Done == 0, Used: used, Held: s.Held, Remaining: remaining, ResetAfter: first(0),
		}
		if used > 0 {
			want.NextAfter = first(min(used, capacity) - 1)
		}
		if want.Exceeded {
			want.RetryAfter = first(capacity - c.Units)
			if capacity == 0 {
				want.RetryAfter = ratelimit.Never
			}
		}
		if got := ratelimit.ResultOf(charge, s, present); got != want {
			t.Errorf("of %+v:\ngot  %+v\nwant %+v", s, got, want)
		}
	})
}

func TestDecisionRetryAfter(t *testing.T) {
	t.Parallel()
	exceeded := func(d time.Duration) ratelimit.Result { return ratelimit.Result{Exceeded: true, RetryAfter: d} }
	monitored := exceeded(ratelimit.Never)
	monitored.Monitor = true
	for _, tt := range []struct {
		name string
		d    ratelimit.Decision
		want time.Duration
	}{
		{"zero", ratelimit.Decision{}, 0},
		{"allowed", ratelimit.Decision{Allowed: true, Results: []ratelimit.Result{monitored}}, 0},
		{"longest", ratelimit.Decision{Results: []ratelimit.Result{exceeded(1), exceeded(3), exceeded(2), {NextAfter: 9, ResetAfter: 9}}}, 3},
		{"never", ratelimit.Decision{Results: []ratelimit.Result{exceeded(1), exceeded(ratelimit.Never), exceeded(2)}}, ratelimit.Never},
		{"monitored do not count", ratelimit.Decision{Results: []ratelimit.Result{monitored, exceeded(2)}}, 2},
	} {
		if got := tt.d.RetryAfter(); got != tt.want {
			t.Errorf("%s: RetryAfter = %v, want %v", tt.name, got, tt.want)
		}
	}
}
