package share

import (
	"math"
	"math/bits"

	"github.com/tollgate-go/tollgate/lua"
)

// most is what stands for a quotient that is larger: beyond all bounds, and small enough to be added to.
const most = math.MaxInt64 / 4

// divide returns a*b/c rounded down, and the rest; none of the three is below zero.
func divide(a, b, c int64) (quotient, rest int64) {
	high, low := bits.Mul64(uint64(a), uint64(b))
	if high >= uint64(c) {
		return most, 0
	}
	q, r := bits.Div64(high, low, uint64(c))
	return int64(min(q, most)), int64(r)
}

// part returns units*of/whole rounded up.
func part(units, of, whole int64) int64 {
	quotient, rest := divide(units, of, whole)
	if rest > 0 {
		quotient++
	}
	return quotient
}

// whole returns a/b rounded up.
func whole(a, b int64) int64 { return (a + b - 1) / b }

// total returns a sum that is not below zero, nor beyond what is ever counted.
func total(count, units int64) int64 { return max(min(count+units, 2*lua.MaxUnits), 0) }

// Of returns the share of one of n processes: of a limit and, where it is a bucket's, of the burst. Both are rounded down,
// but never to nothing, so that together the n may let pass n where a limit is smaller than that. A burst that the share
// of the rate would not leak in time is cut, as package lua demands. The window is in microseconds.
func Of(limit, burst, window int64, n int) (int64, int64) {
	of := func(units int64) int64 { return max(units/int64(max(n, 1)), min(units, 1)) }
	limit, burst = of(limit), of(burst)
	if limit > 0 && burst > 0 {
		longest, _ := divide(limit, lua.MaxWindow, window)
		burst = min(burst, longest)
	}
	return limit, burst
}
