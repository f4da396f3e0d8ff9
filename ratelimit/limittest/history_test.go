package limittest_test

import "math/big"

// entry is units that were admitted at a moment, in microseconds.
type entry struct{ at, units int64 }

// history is all that was admitted, in the order of time. Nothing is ever forgotten, so it is an exact
// judge of what a limiter let pass, and of what it should count.
type history []entry

// since returns the units of the last span of time before and at now.
func (h history) since(now, span int64) int64 {
	var n int64
	for i := len(h) - 1; i >= 0 && h[i].at > now-span; i-- {
		n += h[i].units
	}
	return n
}

// most returns the most units that were admitted within any span of time, the end not included.
func (h history) most(span int64) int64 {
	var most, n int64
	first := 0
	for _, e := range h {
		n += e.units
		for h[first].at <= e.at-span {
			n -= h[first].units
			first++
		}
		most = max(most, n)
	}
	return most
}

// total returns all units.
func (h history) total() (n int64) {
	for _, e := range h {
		n += e.units
	}
	return n
}

func (h history) fixedUsed(now, _, window int64) int64 {
	var n int64
	end := int64(0)
	for _, e := range h {
		if e.at >= end {
			n, end = 0, e.at+window
		}
		n += e.units
	}
	if now >= end {
		return 0
	}
	return n
}

// in returns the units of an aligned window.
func (h history) in(number, window int64) int64 {
	var n int64
	for _, e := range h {
		if e.at/window == number {
			n += e.units
		}
	}
	return n
}

func (h history) alignedUsed(now, _, window int64) int64 { return h.in(now/window, window) }

func (h history) slidingUsed(now, _, window int64) int64 {
	number := now / window
	left := (number+1)*window - now
	return h.in(number, window) + ceil(big.NewRat(h.in(number-1, window), window), left)
}

func (h history) bucketUsed(now, limit, window int64) int64 {
	level, at := new(big.Rat), int64(0)
	leak := func(to int64) {
		gone := new(big.Rat).Mul(big.NewRat(limit, window), new(big.Rat).SetInt64(to-at))
		if at = to; level.Sub(level, gone).Sign() < 0 {
			level.SetInt64(0)
		}
	}
	for _, e := range h {
		leak(e.at)
		level.Add(level, new(big.Rat).SetInt64(e.units))
	}
	leak(now)
	return ceil(level, 1)
}

// ceil returns r*n rounded up.
func ceil(r *big.Rat, n int64) int64 {
	r = new(big.Rat).Mul(r, new(big.Rat).SetInt64(n))
	up := new(big.Int).Add(r.Num(), new(big.Int).Sub(r.Denom(), big.NewInt(1)))
	return up.Div(up, r.Denom()).Int64()
}
