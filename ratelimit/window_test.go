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

// drawn is a state as stored, and the charge that meets it.
func drawn(t *rapid.T, windows, units *rapid.Generator[int64]) (limittest.Model, lua.Charge, ratelimit.Algorithm) {
	window := windows.Draw(t, "window")
	c := lua.Charge{Key: "k", Algorithm: lua.Sliding, Limit: lua.MaxUnits, Window: window, Enforced: true}
	at := present + rapid.Int64Range(-2*window, window).Draw(t, "at")
	current, previous := units.Draw(t, "current"), units.Draw(t, "previous")
	algorithm := rapid.SampledFrom([]ratelimit.Algorithm{
		ratelimit.SlidingWindow, ratelimit.FixedWindow, ratelimit.AlignedWindow, ratelimit.GCRA,
	}).Draw(t, "algorithm")
	switch algorithm {
	case ratelimit.FixedWindow:
		c.Algorithm = lua.Fixed
	case ratelimit.AlignedWindow:
		c.Algorithm, previous = lua.Calendar, present-present%window+window
	case ratelimit.GCRA:
		c.Algorithm = lua.GCRA
		c.Limit = rapid.OneOf(rapid.Int64Range(1, 20), rapid.Int64Range(1, lua.MaxWindow)).Draw(t, "rate")
		most := new(big.Int).Mul(big.NewInt(c.Limit), big.NewInt(lua.MaxWindow))
		most.Div(most, big.NewInt(window))
		c.Burst = lua.MaxUnits
		if most.IsInt64() {
			c.Burst = min(c.Burst, most.Int64())
		}
		at, previous = present+rapid.Int64Range(-3, lua.MaxWindow/window).Draw(t, "full")*window/c.Limit, c.Limit
		current = rapid.Int64Range(0, c.Limit-1).Draw(t, "parts")
	}
	return limittest.Model{"k": {
		Value: fmt.Sprintf("%s:%d:%d:%d:%d", c.Algorithm, at, window, current, previous),
	}}, c, algorithm
}

func stateAt(m limittest.Model, now int64, c lua.Charge) lua.State {
	return m.Admit(now, lua.Check{Peek: true, Charges: []lua.Charge{c}}).States[0]
}

func TestAfterIsExact(t *testing.T) {
	t.Parallel()
	windows := rapid.OneOf(
		rapid.Int64Range(1, 50), rapid.Int64Range(1, lua.MaxWindow), rapid.Int64Range(lua.MaxWindow-3, lua.MaxWindow),
	)
	counts := rapid.OneOf(
		rapid.Int64Range(0, 20), rapid.Int64Range(0, 2*lua.MaxUnits), rapid.Int64Range(2*lua.MaxUnits-3, 2*lua.MaxUnits),
	)
	rapid.Check(t, func(t *rapid.T) {
		m, c, algorithm := drawn(t, windows, counts)
		exact := true
		if rapid.IntRange(0, 3).Draw(t, "changed") == 0 {
			was := c.Window
			c.Window = windows.Draw(t, "effective window")
			exact = algorithm == ratelimit.FixedWindow || c.Window == was
			if algorithm == ratelimit.GCRA || algorithm == ratelimit.AlignedWindow {
				c.Window, exact = was, true // a change is the script's affair: its states are in the effective window
			}
		}
		s, used := stateAt(m, present, c), m.Used(present, c)
		for range 5 {
			units := rapid.OneOf(rapid.Int64Range(0, used), rapid.Int64Range(max(0, used-3), used+1)).Draw(t, "units")
			got, after := ratelimit.UsedAndAfter(algorithm, s, present, units)
			if got != used {
				t.Fatalf("%d used of %+v, want %d", got, s, used)
			}
			if (after == 0) != (used <= units) || after < 0 {
				t.Fatalf("%d after until %d of %d units are used", after, units, used)
			}
			if then := m.Used(present+after, c); then > units {
				t.Errorf("%d after, %d are used, want at most %d: %+v", after, then, units, s)
			}
			if after == 0 || !exact {
				continue
			}
			if before := m.Used(present+after-1, c); before <= units {
				t.Errorf("a microsecond before %d, only %d are used, want more than %d: %+v", after, before, units, s)
			}
		}
	})
}

// TestResultAgainstTime goes forward a microsecond at a time and looks when what was foretold happens.
func TestResultAgainstTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m, c, algorithm := drawn(t, rapid.Int64Range(1, 40), rapid.Int64Range(0, 14))
		c.Limit = rapid.Int64Range(0, 12).Draw(t, "limit")
		c.Cost = rapid.Int64Range(0, 14).Draw(t, "cost")
		capacity := c.Limit
		if algorithm == ratelimit.GCRA {
			c.Limit, c.Burst = rapid.Int64Range(1, 12).Draw(t, "rate"), rapid.Int64Range(1, 12).Draw(t, "burst")
			at := present + rapid.Int64Range(-3, c.Burst*c.Window/c.Limit-1).Draw(t, "full") // never more than full
			m["k"] = limittest.Entry{Value: fmt.Sprintf("g:%d:%d:%d:%d", at, c.Window, rapid.Int64Range(0, c.Limit-1).Draw(t, "parts"), c.Limit)}
			capacity = c.Burst
		}
		charge := ratelimit.Charge{Cost: c.Cost, Policy: ratelimit.Policy{
			Name: "p", Algorithm: algorithm, Limit: c.Limit, Window: time.Duration(c.Window) * time.Microsecond, Burst: c.Burst,
			Partition: ratelimit.ByKey, Monitor: rapid.Bool().Draw(t, "monitor"),
		}}
		s, used := stateAt(m, present, c), m.Used(present, c)
		remaining := max(0, capacity-used)
		// first returns how long until something holds.
		first := func(holds func(at int64) bool) time.Duration {
			for d := range 15 * c.Window {
				if holds(present + d) {
					return time.Duration(d) * time.Microsecond
				}
			}
			return ratelimit.Never
		}
		want := ratelimit.Result{
			Policy: "p", Partition: ratelimit.ByKey, Unit: "requests", Monitor: charge.Policy.Monitor, Limit: c.Limit, Window: charge.Policy.Window, Burst: c.Burst,
			Source: ratelimit.SourcePolicy, Cost: c.Cost, Exceeded: !s.Fits, Used: used, Remaining: remaining,
			ResetAfter: first(func(at int64) bool { return m.Used(at, c) == 0 }),
		}
		if used > 0 {
			want.NextAfter = first(func(at int64) bool { return capacity-m.Used(at, c) > remaining })
		}
		if want.Exceeded {
			want.RetryAfter = first(func(at int64) bool { return stateAt(m, at, c).Fits })
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
