package meter

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware"
)

// cell is the units of one name in one hour. It holds some while it is pending, and none from when a batch took them:
// then what comes goes to another. So whoever has it at hand adds to it without a lock.
type cell struct {
	hour  int64
	units atomic.Int64
	// journaled is how many units of it the journal was told of. It is the shard's.
	journaled int64
}

func newCell(hour, units int64) *cell {
	c := &cell{hour: hour}
	c.units.Store(units)
	return c
}

// add reports whether the cell is pending, and the units have room in it.
func (c *cell) add(units int64) bool {
	for {
		held := c.units.Load()
		if held == 0 || held > lua.MaxUsageUnits-units {
			return false
		}
		if c.units.CompareAndSwap(held, held+units) {
			return true
		}
	}
}

// empty takes all units, for good.
func (c *cell) empty() int64 { return c.units.Swap(0) }

// journal returns the units that the journal is to have of the cell. The caller holds the shard, and tells it.
func (c *cell) journal(n lua.UsageName) lua.UsageEntry {
	c.journaled = c.units.Load()
	return lua.UsageEntry{UsageName: n, Units: c.journaled}
}

// sum returns the units of some cells.
func sum(cells map[name]*cell) (all uint64) {
	for _, c := range cells {
		all += uint64(c.units.Load())
	}
	return all
}

// retire puts other cells in the place of those that tallies have at hand, which then have to ask. The caller holds the
// shard.
func (s *shard) retire() {
	for _, a := range s.accounts {
		for n, c := range a.units {
			fresh := newCell(n.hour, c.empty())
			fresh.journaled = c.journaled
			a.units[n] = fresh
		}
	}
}

// tally is a name with the cell that it was last added to.
type tally struct {
	meter *Meter
	usage middleware.Usage
	last  atomic.Pointer[cell]
}

// Tally returns the count of usage with these names; nil where Record would call it invalid. It takes no memory in the
// Meter, and nothing has to be closed.
func (m *Meter) Tally(usage middleware.Usage) middleware.Tally {
	usage.Units, usage.At = 1, time.Time{}
	if _, ok := m.nameOf(&usage); !ok {
		return nil
	}
	usage.Source = strings.Clone(usage.Source) // it may be a piece of a whole request
	return &tally{meter: m, usage: usage}
}

// Add is Record: an atomic addition while the hour is the same and the name is pending.
func (t *tally) Add(units int64, at time.Time) {
	if c := t.last.Load(); c != nil && units >= 1 && units <= lua.MaxUsageUnits {
		if past := at.Unix() - c.hour; past >= 0 && past < 3600 && c.add(units) {
			return
		}
	}
	usage := t.usage
	usage.Units, usage.At = units, at
	if c := t.meter.record(&usage); c != nil {
		t.last.Store(c)
	}
}
