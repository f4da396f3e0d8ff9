package ratelimit

import (
	"math"
	"math/bits"

	"github.com/tollgate-go/tollgate/lua"
)

// never is the answer to "how long until" for what waiting cannot bring about.
const never int64 = -1

// window is the state of a policy as the script left it, and answers what a client wants to know of it. The
// script alone decides; this arithmetic only foretells its decisions, exactly, as long as nothing more is
// taken, held or given back. Times are microseconds.
type window struct {
	*lua.State
	algorithm Algorithm
	capacity  int64
}

// used returns the units that count against the limit at now, those that are held besides.
func (w *window) used(now int64) int64 { return w.carried(w.counted(now)) }

// after returns how long from now until at most units are used or held. What is held may end at any moment:
// where it has to, it is taken as ended.
func (w *window) after(now, units int64) int64 {
	if units < 0 {
		return never
	}
	if units >= w.Held {
		units -= w.Held
	}
	if w.used(now) <= units {
		return 0
	}
	counted, always := w.countedOf(units)
	if always {
		return 0
	}
	return min(w.shrinks(now, counted), max(w.Ends-now, 0))
}

// carried returns what units come to that were counted under another capacity, as state.lua does.
func (w *window) carried(units int64) int64 {
	switch w.Change {
	case lua.Proportional:
		return min(mulDivUp(units, w.capacity, w.Was), 2*MaxLimit)
	case lua.Additive:
		return max(min(units, w.Was)-max(w.Was-w.capacity, 0), 0)
	case lua.ResetUsed:
		return 0
	}
	return units
}

// countedOf returns the most that may be counted for at most units to be carried; always, if any may be.
func (w *window) countedOf(units int64) (counted int64, always bool) {
	switch w.Change {
	case lua.Proportional:
		return mulDiv(units, w.Was, w.capacity), false
	case lua.Additive:
		counted = units + max(w.Was-w.capacity, 0)
		return counted, counted >= w.Was
	case lua.ResetUsed:
		return 0, true
	}
	return units, false
}

// counted returns the units that the script counts at now.
func (w *window) counted(now int64) int64 {
	switch {
	case w.algorithm == GCRA:
		return w.filled(now)
	case w.algorithm != SlidingWindow || w.Previous == 0:
		return w.Current
	}
	left := min(max(w.Start+w.Window-now, 0), w.Window)
	return w.Current + mulDivUp(w.Previous, left, w.Window)
}

// shrinks returns how long from now until at most units are counted, for units < counted.
func (w *window) shrinks(now, units int64) int64 {
	switch {
	case w.algorithm == GCRA:
		return w.leaked(now, units)
	case w.algorithm != SlidingWindow:
		return w.Ends - now
	case w.Current <= units: // the previous window's share has to shrink
		return w.Start + shrunk(w.Previous, units-w.Current, w.Window) - now
	}
	return w.Start + w.Window + shrunk(w.Current, units, w.Window) - now
}

// filled returns the units in a bucket.
func (w *window) filled(now int64) int64 {
	if now > w.Start || w.Previous == 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(w.Start-now), uint64(w.Previous))
	low, carry := bits.Add64(low, uint64(w.Current), 0)
	return up(divide(high+carry, low, w.Window))
}

// leaked returns how long until at most units are left in a bucket.
func (w *window) leaked(now, units int64) int64 {
	high, low := bits.Mul64(uint64(units), uint64(w.Window))
	if high == 0 && low < uint64(w.Current) {
		return w.Start + 1 - now
	}
	low, borrow := bits.Sub64(low, uint64(w.Current), 0)
	early, _ := divide(high-borrow, low, w.Previous)
	return w.Start - now - early
}

// shrunk returns how far into the next window a window's count weighs at most units, for units < count.
func shrunk(count, units, length int64) int64 {
	return length - mulDiv(units, length, count)
}

// mulDiv returns a*b/c rounded down.
func mulDiv(a, b, c int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	quotient, _ := divide(high, low, c)
	return quotient
}

// mulDivUp returns a*b/c rounded up.
func mulDivUp(a, b, c int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	return up(divide(high, low, c))
}

// divide returns a quotient, at most half of the largest number, and whether there is a rest.
func divide(high, low uint64, by int64) (quotient int64, rest bool) {
	if high >= uint64(by) {
		return math.MaxInt64 / 2, false
	}
	q, r := bits.Div64(high, low, uint64(by))
	return int64(min(q, math.MaxInt64/2)), r > 0
}

func up(quotient int64, rest bool) int64 {
	if rest {
		quotient++
	}
	return quotient
}
