package limittest

import (
	"fmt"
	"math/big"

	"github.com/tollgate-go/tollgate/lua"
)

// page is the state of a calendar window: the units of one period.
type page struct {
	at, start, end int64
	length         int64
	units          *big.Int
}

// openPage turns to the page of the present. What was written on another counts if that was after this one
// began, and while the other lasts.
func openPage(now int64, c lua.Charge, n [4]int64, stored bool) *page {
	p := &page{at: now, start: c.Start, length: c.Window, units: new(big.Int)}
	if c.Start == 0 {
		p.start = now / c.Window * c.Window
	}
	p.end = p.start + p.length
	if stored && n[0] >= p.start && n[0] < p.end && n[3] > now {
		p.at, p.units = n[0], big.NewInt(n[2])
	}
	return p
}

func (p *page) used(int64) *big.Int { return p.units }

func (p *page) take(now int64, c lua.Charge) Entry {
	p.units = new(big.Int).Add(p.units, big.NewInt(c.Cost))
	p.at = max(p.at, now)
	return Entry{Value: fmt.Sprintf("c:%d:%d:%d:%d", p.at, p.length, p.units, p.end), End: p.end}
}

func (p *page) state(fits bool) lua.State {
	return lua.State{Fits: fits, Start: p.start, Window: p.length, Current: p.units.Int64(), Previous: p.end}
}

// bucket is the state of a GCRA: when it will be empty, as an exact fraction of microseconds.
type bucket struct {
	empty         *big.Rat
	limit, window int64
}

// validBucket reports whether a bucket leaks empty within the longest window.
func validBucket(c lua.Charge) bool {
	if c.Limit > lua.MaxWindow || c.Burst < 0 || c.Burst > lua.MaxTime {
		return false
	}
	full, bound := new(big.Int).Mul(big.NewInt(c.Burst), big.NewInt(c.Window)), new(big.Int).Mul(big.NewInt(c.Limit), big.NewInt(lua.MaxWindow))
	return c.Limit == 0 || full.Cmp(bound) <= 0
}

func openBucket(now int64, c lua.Charge, n [4]int64, stored bool) *bucket {
	b := &bucket{empty: new(big.Rat).SetInt64(now), limit: c.Limit, window: c.Window}
	if !stored || n[0] < now || c.Limit == 0 || n[2] >= n[3] || n[3] > lua.MaxWindow {
		return b
	}
	empty := new(big.Rat).Add(new(big.Rat).SetInt64(n[0]), big.NewRat(n[2], n[3]))
	old := &bucket{limit: n[3], window: n[1], empty: empty}
	switch {
	case n[0]-now > lua.MaxWindow: // longer than any bucket leaks
		old.empty = new(big.Rat).Add(new(big.Rat).SetInt64(now+lua.MaxWindow), big.NewRat(n[2], n[3]))
		b.fill(old.used(now))
	case old.limit == b.limit && old.window == b.window:
		b.empty = old.empty
	default:
		b.fill(old.used(now))
	}
	full := new(big.Rat).SetInt64(now)
	if full.Add(full, b.leak(big.NewInt(c.Burst))); b.empty.Cmp(full) > 0 {
		b.empty = full
	}
	return b
}

// leak returns how long units take to leak.
func (b *bucket) leak(units *big.Int) *big.Rat {
	return new(big.Rat).SetFrac(new(big.Int).Mul(units, big.NewInt(b.window)), big.NewInt(b.limit))
}

func (b *bucket) fill(units *big.Int) { b.empty = new(big.Rat).Add(b.empty, b.leak(units)) }

func (b *bucket) used(now int64) *big.Int {
	if b.limit == 0 {
		return new(big.Int)
	}
	left := new(big.Rat).Sub(b.empty, new(big.Rat).SetInt64(now))
	left.Mul(left, big.NewRat(b.limit, b.window))
	up := new(big.Int).Add(left.Num(), new(big.Int).Sub(left.Denom(), big.NewInt(1)))
	return up.Div(up, left.Denom())
}

func (b *bucket) take(_ int64, c lua.Charge) Entry {
	b.fill(big.NewInt(c.Cost))
	s := b.state(true)
	return Entry{Value: fmt.Sprintf("g:%d:%d:%d:%d", s.Start, s.Window, s.Current, s.Previous), End: s.Start + 1}
}

func (b *bucket) state(fits bool) lua.State {
	whole := new(big.Int).Div(b.empty.Num(), b.empty.Denom())
	parts := new(big.Rat).Sub(b.empty, new(big.Rat).SetInt(whole))
	parts.Mul(parts, new(big.Rat).SetInt64(b.limit))
	return lua.State{Fits: fits, Start: whole.Int64(), Window: b.window, Current: new(big.Int).Div(parts.Num(), parts.Denom()).Int64(), Previous: b.limit}
}
