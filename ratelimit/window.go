package ratelimit

import (
	"math/bits"

	"github.com/tollgate-go/tollgate/lua"
)

// never is the answer to "how long until" for what waiting cannot bring about.
const never int64 = -1

// window is the running window of a policy as the script left it, and answers what a client wants to
// know of it. The script alone decides; this arithmetic only foretells its decisions: exactly, but for
// a sliding window or a bucket that was changed and not charged since. What is stored then still ends with the old
// window, perhaps before the time told. Times are microseconds.
type window struct {
	algorithm         Algorithm
	start, length     int64
	current, previous int64
}

func windowOf(a Algorithm, s *lua.State) window {
	return window{algorithm: a, start: s.Start, length: s.Window, current: s.Current, previous: s.Previous}
}

// used returns the units that count against the limit at now.
func (w *window) used(now int64) int64 {
	switch {
	case w.algorithm == GCRA:
		return w.filled(now)
	case w.algorithm != SlidingWindow || w.previous == 0:
		return w.current
	}
	left := min(max(w.start+w.length-now, 0), w.length)
	return w.current + mulDivUp(w.previous, left, w.length)
}

// after returns how long from now until at most units are used, if nothing more is taken.
func (w *window) after(now, units int64) int64 {
	if units < 0 {
		return never
	}
	if w.used(now) <= units {
		return 0
	}
	end := w.start + w.length
	switch w.algorithm {
	case GCRA:
		return w.leaked(now, units)
	case FixedWindow, AlignedWindow, CalendarWindow:
		return end - now
	}
	if w.current <= units { // the previous window's share has to shrink
		return w.start + shrunk(w.previous, units-w.current, w.length) - now
	}
	return end + shrunk(w.current, units, w.length) - now
}

// filled returns the units in a bucket that is empty at start and current parts of 1/limit of a
// microsecond; previous is the limit.
func (w *window) filled(now int64) int64 {
	if now > w.start || w.previous == 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(w.start-now), uint64(w.previous))
	low, carry := bits.Add64(low, uint64(w.current), 0)
	quotient, rest := bits.Div64(high+carry, low, uint64(w.length))
	if rest > 0 {
		quotient++
	}
	return int64(quotient)
}

// leaked returns how long until at most units are left in a bucket, for units < filled.
func (w *window) leaked(now, units int64) int64 {
	high, low := bits.Mul64(uint64(units), uint64(w.length))
	if high == 0 && low < uint64(w.current) {
		return w.start + 1 - now
	}
	low, borrow := bits.Sub64(low, uint64(w.current), 0)
	early, _ := bits.Div64(high-borrow, low, uint64(w.previous))
	return w.start - now - int64(early)
}

// shrunk returns how far into the next window a window's count weighs at most units, for units < count.
func shrunk(count, units, length int64) int64 {
	return length - mulDiv(units, length, count)
}

// mulDiv returns a*b/c rounded down, for a <= c or b <= c.
func mulDiv(a, b, c int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	quotient, _ := bits.Div64(high, low, uint64(c))
	return int64(quotient)
}

func mulDivUp(a, b, c int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	quotient, rest := bits.Div64(high, low, uint64(c))
	if rest > 0 {
		quotient++
	}
	return int64(quotient)
}
