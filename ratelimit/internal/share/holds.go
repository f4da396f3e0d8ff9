package share

import (
	"maps"
	"math"

	"github.com/tollgate-go/tollgate/lua"
)

// hold is units that are held under an id.
type hold struct {
	units int64
	id    string
}

// holds are those of a policy, and when each ends.
type holds struct {
	ends map[hold]int64

	// The sum of those that count, from a time until another, so that they are not gone through each time; and how many
	// do not.
	units, from, until int64
	stale              int
}

// gone reports whether a hold does not count any more, as holds.lua says it.
func gone(now, end int64) bool { return end <= now || end > now+2*lua.MaxLease }

// sum returns the units that are held now.
func (h *holds) sum(now int64) int64 {
	if len(h.ends) == 0 {
		return 0
	}
	if now < h.from || now >= h.until {
		h.begin(now)
		for of, end := range h.ends {
			if !gone(now, end) {
				h.units += of.units
				h.until = min(h.until, end)
				continue
			}
			h.stale++
			if end > now {
				h.until = min(h.until, end-2*lua.MaxLease)
			}
		}
	}
	return h.units
}

// known reports whether there is such a hold, and has whether it counts.
func (h *holds) known(of hold) bool { return h.ends[of] != 0 }

func (h *holds) has(now int64, of hold) bool { return h.known(of) && !gone(now, h.ends[of]) }

// begin sets the sum to that of none.
func (h *holds) begin(now int64) { h.units, h.from, h.until, h.stale = 0, now, math.MaxInt64, 0 }

// sweep forgets the holds that are gone, and returns how many.
func (h *holds) sweep(now int64) (n int) {
	h.sum(now)
	if n, h.stale = h.stale, 0; n > 0 {
		maps.DeleteFunc(h.ends, func(_ hold, end int64) bool { return gone(now, end) })
	}
	return n
}

// hold holds units; again it only lasts longer.
func (t *Table) hold(now int64, p *policy, of hold) {
	h, end := &p.entry.holds, now+p.Lease
	t.holds -= h.sweep(now)
	if len(h.ends) == 0 {
		h.ends = make(map[hold]int64)
		h.begin(now)
	}
	if !h.known(of) {
		h.units += of.units
		t.holds++
	}
	h.ends[of], h.until = end, min(h.until, end)
	p.held = h.units
	t.put(p)
}

// release ends a hold, which counts.
func (t *Table) release(now int64, p *policy, of hold) {
	h := &p.entry.holds
	t.holds -= h.sweep(now)
	delete(h.ends, of)
	t.holds--
	h.units -= of.units
	p.held = h.units
	t.put(p)
}
