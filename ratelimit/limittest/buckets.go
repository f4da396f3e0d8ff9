package limittest

import (
	"math/big"

	"github.com/tollgate-go/tollgate/lua"
)

// page is the state of a calendar window: the units of one period.
type page struct {
	at, start, end, ends int64
	length               int64
	units                *big.Int
}

func newPage(now int64, c lua.Charge) *page {
	p := &page{at: now, start: c.Start, length: c.Window, units: new(big.Int), ends: now}
	if c.Start == 0 {
		p.start = now / c.Window * c.Window
	}
	p.end = p.start + p.length
	return p
}

// openPage turns to the page of the present. What was written on another counts if that was after this one
// began, and while the other lasts.
func openPage(now int64, c lua.Charge, stored *state) account {
	p := newPage(now, c)
	p.ends = min(stored.at+stored.y, p.end)
	if stored.at < p.start || stored.at >= p.end || p.ends <= now {
		return nil
	}
	p.at, p.units = stored.at, big.NewInt(stored.x)
	return p
}

func (p *page) counted(int64) *big.Int { return new(big.Int).Set(p.units) }

func (p *page) fill(_, units int64) { p.units = big.NewInt(units) }

func (p *page) add(now, units, taken int64) (at, x, y, z int64) {
	if units > 0 || taken >= p.start {
		p.units = bounded(p.units, units)
	}
	p.at, p.ends = max(p.at, now), p.end
	return p.at, p.units.Int64(), p.end - p.at, 0
}

func (p *page) state() lua.State {
	return lua.State{Start: p.start, Window: p.length, Current: p.units.Int64(), Ends: p.ends}
}

// bucket is the state of a GCRA: when it will be empty, as an exact fraction of microseconds, at the rate at
// which it leaks.
type bucket struct {
	policy        lua.Charge
	empty         *big.Rat
	limit, window int64
	ends          int64
}

// validBucket reports whether a bucket leaks empty within the longest window.
func validBucket(c lua.Charge) bool {
	if c.Limit > lua.MaxWindow || c.Burst < 0 || c.Burst > lua.MaxUnits {
		return false
	}
	full, bound := new(big.Int).Mul(big.NewInt(c.Burst), big.NewInt(c.Window)), new(big.Int).Mul(big.NewInt(c.Limit), big.NewInt(lua.MaxWindow))
	return c.Limit == 0 || full.Cmp(bound) <= 0
}

func whole(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

func newBucket(now int64, c lua.Charge) *bucket {
	return &bucket{policy: c, empty: whole(now), limit: c.Limit, window: c.Window, ends: now}
}

func openBucket(now int64, c lua.Charge, stored *state) account {
	limit, left, parts := stored.x, stored.y, stored.z
	if c.Limit == 0 || limit < 1 || limit > lua.MaxWindow || left > lua.MaxWindow || parts >= limit {
		return nil
	}
	b := &bucket{policy: c, limit: limit, window: stored.window, empty: big.NewRat(parts, limit)}
	if units := new(big.Int).Mul(big.NewInt(left), big.NewInt(limit)); units.Div(units, big.NewInt(b.window)).Cmp(big.NewInt(4*lua.MaxUnits)) > 0 {
		return nil
	}
	b.empty.Add(b.empty, whole(stored.at+left))
	// Which rate is the faster is asked of floating point numbers, as the script has no others.
	if float64(c.Limit)*float64(b.window) > float64(b.limit)*float64(c.Window) {
		units := b.counted(stored.at)
		b.limit, b.window, b.empty = c.Limit, c.Window, whole(stored.at)
		b.empty.Add(b.empty, b.leak(units))
	}
	if ahead := stored.at - now; ahead > 0 && b.leak(big.NewInt(stored.capacity)).Cmp(whole(ahead+1)) < 0 {
		return nil
	}
	if b.empty.Cmp(whole(now)) < 0 {
		return nil
	}
	b.ends = b.floor() + 1
	return b
}

// leak returns how long units take to leak.
func (b *bucket) leak(units *big.Int) *big.Rat {
	return new(big.Rat).SetFrac(new(big.Int).Mul(units, big.NewInt(b.window)), big.NewInt(b.limit))
}

func (b *bucket) floor() int64 { return new(big.Int).Div(b.empty.Num(), b.empty.Denom()).Int64() }

func (b *bucket) counted(now int64) *big.Int {
	if b.limit == 0 {
		return new(big.Int)
	}
	left := new(big.Rat).Sub(b.empty, whole(now))
	left.Mul(left, big.NewRat(b.limit, b.window))
	up := new(big.Int).Add(left.Num(), new(big.Int).Sub(left.Denom(), big.NewInt(1)))
	return up.Div(up, left.Denom())
}

func (b *bucket) fill(now, units int64) {
	b.limit, b.window = b.policy.Limit, b.policy.Window
	b.empty = new(big.Rat).Add(whole(now), b.leak(big.NewInt(units)))
}

func (b *bucket) add(now, units, taken int64) (at, x, y, z int64) {
	if units < 0 { // what leaked since then cannot be given back
		since := max(min(now-taken, lua.MaxWindow), 0)
		leaked := new(big.Int)
		for _, rate := range [][2]int64{{b.policy.Limit, b.policy.Window}, {b.limit, b.window}} {
			n := new(big.Int).Mul(big.NewInt(since), big.NewInt(rate[0]))
			leaked = most(leaked, n.Div(n, big.NewInt(rate[1])))
		}
		leaked.Add(leaked, big.NewInt(units))
		units = least(leaked, new(big.Int)).Int64()
	}
	if b.limit != b.policy.Limit || b.window != b.policy.Window {
		b.fill(now, b.counted(now).Int64())
	}
	if used := b.counted(now); used.Add(used, big.NewInt(units)).Cmp(big.NewInt(2*lua.MaxUnits)) > 0 {
		b.fill(now, 2*lua.MaxUnits)
	} else {
		b.empty.Add(b.empty, b.leak(big.NewInt(units)))
	}
	if b.empty.Cmp(whole(now)) < 0 {
		b.empty = whole(now)
	}
	if b.empty.Cmp(whole(now+lua.MaxWindow+1)) >= 0 {
		b.empty = whole(now + lua.MaxWindow)
	}
	b.ends = b.floor() + 1
	s := b.state()
	return now, b.limit, s.Start - now, s.Current
}

func (b *bucket) state() lua.State {
	parts := new(big.Rat).Sub(b.empty, whole(b.floor()))
	parts.Mul(parts, whole(b.limit))
	return lua.State{
		Start: b.floor(), Window: b.window, Current: new(big.Int).Div(parts.Num(), parts.Denom()).Int64(), Previous: b.limit, Ends: b.ends,
	}
}
