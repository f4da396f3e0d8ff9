package lua_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
)

// rates are ten units in 90 ms by each algorithm, of which seven leak from a bucket of five.
var rates = map[lua.Algorithm]lua.Charge{
	lua.Fixed:    {Algorithm: lua.Fixed, Limit: 10, Window: 90_000, Role: lua.Enforced, Change: lua.NoChange},
	lua.Sliding:  {Algorithm: lua.Sliding, Limit: 10, Window: 90_000, Role: lua.Enforced, Change: lua.NoChange},
	lua.Calendar: {Algorithm: lua.Calendar, Limit: 10, Window: 90_000, Role: lua.Enforced, Change: lua.NoChange},
	lua.GCRA:     {Algorithm: lua.GCRA, Limit: 7, Window: 90_000, Burst: 5, Role: lua.Enforced, Change: lua.NoChange},
}

// TestRefund plays histories on each algorithm, and knows what is stored after each deed.
func TestRefund(t *testing.T) {
	t.Parallel()
	freeze(t, func(t *testing.T, f *frozen) {
		for _, tt := range []struct {
			name      string
			algorithm lua.Algorithm
			deeds     []deed
		}{
			{"as taken", lua.Fixed, []deed{
				{mode: lua.Take, units: 2, done: 1, state: "f:0:90000:10:0:2:0:0 until 90"},
				{at: 100, mode: lua.Take, units: 3, done: 1, state: "f:0:90000:10:0:5:0:0 until 90"},
				{at: 200, mode: lua.Refund, units: 3, taken: 100, done: 3, state: "f:0:90000:10:0:2:0:0 until 90"},
				{at: 300, mode: lua.Refund, units: 2, done: 2},
				{at: 300, mode: lua.Refund, units: 2},
			}},
			{"as taken", lua.Sliding, []deed{
				{mode: lua.Take, units: 2, done: 1, state: "s:0:90000:10:0:2:0:0 until 180"},
				{at: 100, mode: lua.Take, units: 3, done: 1, state: "s:100:90000:10:0:5:0:0 until 180"},
				{at: 200, mode: lua.Refund, units: 3, taken: 100, done: 3, state: "s:200:90000:10:0:2:0:0 until 180"},
				{at: 300, mode: lua.Refund, units: 2, done: 2},
			}},
			{"as taken", lua.Calendar, []deed{
				{at: 50, mode: lua.Take, units: 2, done: 1, state: "c:50:90000:10:0:2:89950:0 until 90"},
				{at: 100, mode: lua.Take, units: 3, done: 1, state: "c:100:90000:10:0:5:89900:0 until 90"},
				{at: 200, mode: lua.Refund, units: 3, taken: 100, done: 3, state: "c:200:90000:10:0:2:89800:0 until 90"},
				{at: 300, mode: lua.Refund, units: 2, taken: 50, done: 2},
			}},
			{"as taken", lua.GCRA, []deed{ // a unit leaks in 12857 1/7 microseconds
				{mode: lua.Take, units: 2, done: 1, capacity: 7, state: "g:0:90000:5:0:7:25714:2 until 26"},
				{at: 100, mode: lua.Take, units: 3, done: 1, capacity: 7, state: "g:100:90000:5:0:7:64185:5 until 65"},
				{at: 200, mode: lua.Refund, units: 3, taken: 100, done: 3, capacity: 7, state: "g:200:90000:5:0:7:25514:2 until 26"},
				{at: 300, mode: lua.Refund, units: 2, done: 2, capacity: 7},
			}},
			{"more than was taken", lua.Fixed, []deed{
				{mode: lua.Take, units: 2, done: 1, state: "f:0:90000:10:0:2:0:0 until 90"},
				{at: 1, mode: lua.Refund, units: lua.MaxUnits, done: 2},
			}},
			{"more than was taken", lua.GCRA, []deed{
				{mode: lua.Take, units: 2, done: 1, capacity: 7, state: "g:0:90000:5:0:7:25714:2 until 26"},
				{at: 1, mode: lua.Refund, units: lua.MaxUnits, done: 2, capacity: 7},
			}},
			{"of a window that has rolled", lua.Fixed, []deed{
				{mode: lua.Take, units: 9, done: 1, state: "f:0:90000:10:0:9:0:0 until 90"},
				{at: 90_000, mode: lua.Refund, units: 9, state: "f:0:90000:10:0:9:0:0 until 90"},
				{at: 90_001, mode: lua.Take, units: 4, done: 1, state: "f:90001:90000:10:0:4:0:0 until 181"},
				{at: 90_002, mode: lua.Refund, units: 4, taken: 90_000, state: "f:90001:90000:10:0:4:0:0 until 181"},
				{at: 90_002, mode: lua.Refund, units: 3, taken: 90_001, done: 3, state: "f:90001:90000:10:0:1:0:0 until 181"},
			}},
			{"of a window that has rolled", lua.Calendar, []deed{
				{mode: lua.Take, units: 9, done: 1, state: "c:0:90000:10:0:9:90000:0 until 90"},
				{at: 100_000, mode: lua.Take, units: 4, done: 1, state: "c:100000:90000:10:0:4:80000:0 until 180"},
				{at: 100_000, mode: lua.Refund, units: 4, taken: 89_999, state: "c:100000:90000:10:0:4:80000:0 until 180"},
				{at: 100_000, mode: lua.Refund, units: 1, taken: 90_000, done: 1, state: "c:100000:90000:10:0:3:80000:0 until 180"},
			}},
			{"of the window before", lua.Sliding, []deed{ // half of which still counts
				{at: 10, mode: lua.Take, units: 6, done: 1, state: "s:10:90000:10:0:6:0:0 until 180"},
				{at: 135_000, mode: lua.Refund, units: 4, taken: 10, done: 2, state: "s:135000:90000:10:0:0:2:0 until 180"},
				{at: 135_000, mode: lua.Take, units: 3, done: 1, state: "s:135000:90000:10:0:3:2:0 until 270"},
				{at: 135_001, mode: lua.Refund, units: 3, taken: 135_000, done: 3, state: "s:135001:90000:10:0:0:2:0 until 180"},
				{at: 135_001, mode: lua.Refund, units: 9, taken: 10, done: 1},
			}},
			{"of a window long before", lua.Sliding, []deed{
				{mode: lua.Take, units: 6, done: 1, state: "s:0:90000:10:0:6:0:0 until 180"},
				{at: 179_999, mode: lua.Take, units: 3, done: 1, state: "s:179999:90000:10:0:3:6:0 until 270"},
				{at: 180_000, mode: lua.Refund, units: 9, taken: 89_999, state: "s:180000:90000:10:0:0:3:0 until 270"},
			}},
			{"what has leaked since", lua.GCRA, []deed{ // two of five, then all
				{mode: lua.Take, units: 5, done: 1, capacity: 7, state: "g:0:90000:5:0:7:64285:5 until 65"},
				{at: 25_715, mode: lua.Refund, units: 5, done: 3, capacity: 7},
			}},
			{"under a limit of zero", lua.Fixed, []deed{
				{mode: lua.Take, units: 2, done: 1, state: "f:0:90000:10:0:2:0:0 until 90"},
				{at: 1, mode: lua.Refund, units: 2, capacity: -1, state: "f:0:90000:10:0:2:0:0 until 90"},
			}},
			{"of nothing", lua.Sliding, []deed{
				{mode: lua.Refund, units: 2},
				{mode: lua.Take, units: 2, done: 1, state: "s:0:90000:10:0:2:0:0 until 180"},
				{at: 1, mode: lua.Refund, state: "s:0:90000:10:0:2:0:0 until 180"},
			}},
		} {
			t.Run(fmt.Sprintf("%s, algorithm %s", tt.name, tt.algorithm), func(t *testing.T) {
				f.begin(t, rates[tt.algorithm])
				f.play(tt.deeds)
			})
		}
	})
}

// TestRefundOfSlowBucket gives back of a bucket whose rate was lowered so far that it would leak for longer than
// any state lives. What it loses by that was not given back.
func TestRefundOfSlowBucket(t *testing.T) {
	t.Parallel()
	freeze(t, func(t *testing.T, f *frozen) {
		c := rates[lua.GCRA]
		c.Window, c.Limit, c.Burst, c.Units = lua.MaxWindow, 5, 5, 5
		f.begin(t, c)
		if got := f.do(lua.Check{}, c); got.Status != lua.Allowed {
			t.Fatalf("%+v, want a full bucket", got)
		}
		c.Limit, c.Burst, c.Units = 1, 1, 1
		got := f.do(lua.Check{Mode: lua.Refund}, c).States[0]
		if got.Done != 1 || got.Start-epoch != lua.MaxWindow {
			t.Errorf("%+v, want one given back, and a bucket that leaks for the longest window", got)
		}
	})
}

// TestRefundIsExact takes units and gives them back at one moment: whatever the rate, the state is what it
// was to the last digit, or gone if it was empty. Only the time of the last charge moves.
func TestRefundIsExact(t *testing.T) {
	t.Parallel()
	freeze(t, func(t *testing.T, f *frozen) {
		rapid.Check(t, func(rt *rapid.T) {
			c := rates[rapid.SampledFrom([]lua.Algorithm{lua.Fixed, lua.Sliding, lua.Calendar, lua.GCRA}).Draw(rt, "algorithm")]
			c.Window = rapid.OneOf(rapid.Int64Range(1000, 100_000), rapid.Int64Range(1000, lua.MaxWindow)).Draw(rt, "window")
			c.Limit = rapid.OneOf(rapid.Int64Range(1, 100), rapid.Int64Range(1, 1_000_000_000)).Draw(rt, "limit")
			room := c.Limit
			if c.Algorithm == lua.GCRA {
				c.Burst = rapid.Int64Range(1, c.Limit).Draw(rt, "burst")
				room = c.Burst
			}
			f.begin(t, c)
			begins := c.Window - epoch%c.Window // so that no window rolls meanwhile
			f.now = begins + rapid.Int64Range(0, c.Window-501).Draw(rt, "now")
			first := rapid.Int64Range(0, room).Draw(rt, "first")
			c.Units = first
			f.do(lua.Check{}, c)
			f.now += rapid.Int64Range(0, 500).Draw(rt, "later")
			c.Units = 0
			before := settled(f)
			room -= most(c, f.do(lua.Check{Mode: lua.Peek}, c))
			c.Units = rapid.Int64Range(0, room).Draw(rt, "units")
			if got := f.do(lua.Check{}, c); got.Status != lua.Allowed {
				rt.Fatalf("%d of %d refused: %+v", c.Units, room, got)
			}
			if got := f.do(lua.Check{Mode: lua.Refund, At: epoch + f.now}, c).States[0]; got.Done != c.Units {
				rt.Fatalf("%d of %d given back: %+v", got.Done, c.Units, got)
			}
			if after := settled(f); after != before {
				rt.Fatalf("%q became %q", before, after)
			}
		})
	})
}

// most returns no fewer units than a state counts.
func most(c lua.Charge, a lua.Answer) int64 {
	s := a.States[0]
	if c.Algorithm != lua.GCRA {
		return s.Current + s.Previous
	}
	return min(int64(float64(max(s.Start+1-a.Now, 0))*float64(c.Limit)/float64(c.Window))+2, c.Burst)
}

// settled returns what is stored, but for the time of the last charge: of a bucket when it is empty.
func settled(f *frozen) string {
	f.Helper()
	text, _ := f.stored()
	text, _, _ = strings.Cut(text, " ")
	parts := strings.Split(text, ":")
	if len(parts) != 8 {
		return text
	}
	at, y := number(f.T, parts[1]), number(f.T, parts[6])
	switch lua.Algorithm(parts[0]) {
	case lua.GCRA, lua.Calendar:
		if at+y <= f.now {
			return ""
		}
		parts[6] = strconv.FormatInt(at+y, 10)
	}
	parts[1] = ""
	return strings.Join(parts, ":")
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Errorf("%q: %v", text, err)
	}
	return n
}
