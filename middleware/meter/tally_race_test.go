package meter

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware"
)

// TestTalliesAddUp has many add at the edge of an hour, by tallies and by Record, while batches are made, fail, are
// refused and come twice, and until after Close: nothing is lost or counted twice, and the Stats tell it.
func TestTalliesAddUp(t *testing.T) {
	t.Parallel()
	var b book
	var calls atomic.Int64
	b.before = func(batch lua.UsageBatch) error {
		switch n := calls.Add(1); {
		case n%7 == 3 && batch.Hour%7200 == 0:
			return lua.ErrUsageRefused
		case n%5 == 1:
			return errDown
		}
		return nil
	}
	b.after = func(lua.UsageBatch) error {
		if calls.Load()%3 == 0 {
			return errDown // Redis has it, and nobody heard
		}
		return nil
	}
	m := open(t, &b)
	edge := noon.Truncate(time.Hour)
	shared := tallyOf(t, m, usage("acme", 1))
	const each, callers = 4000, 4
	var group sync.WaitGroup
	var done atomic.Bool
	for range 2 {
		group.Go(func() {
			for last := uint64(0); !done.Load(); {
				_ = m.Flush(context.Background())
				if s := m.Stats(); s.Recorded < last || s.Recorded > 2*callers*each || s.Recorded != s.Flushed+s.Pending {
					t.Errorf("recorded %d after %d, flushed %d, pending %d", s.Recorded, last, s.Flushed, s.Pending)
				} else {
					last = s.Recorded
				}
			}
		})
	}
	var adding sync.WaitGroup
	for range callers {
		own := tallyOf(t, m, usage("acme", 1))
		adding.Go(func() {
			for i := range each {
				at := edge.Add(time.Duration(i%3-1) * time.Nanosecond)
				switch i % 4 {
				case 0:
					m.Record(middleware.Usage{Org: "acme", Project: "shop", Product: "stores", Kind: "search", Units: 2, At: at})
				case 1:
					own.Add(2, at)
				default:
					shared.Add(2, at)
				}
				if i == each*3/4 {
					_ = m.Close(ended())
				}
			}
		})
	}
	adding.Wait()
	done.Store(true)
	group.Wait()
	for m.Flush(t.Context()) != nil {
	}
	s := m.Stats()
	if s.Recorded+s.Dropped != 2*callers*each || s.Flushed != s.Recorded || s.Pending != 0 || s.Entries != 0 || s.Dropped == 0 {
		t.Errorf("of %d: %+v", 2*callers*each, s)
	}
	b.want(t, map[string]int64{"acme": int64(s.Flushed)})
}

// TestTalliesMeet has many add to one cell at a time.
func TestTalliesMeet(t *testing.T) {
	t.Parallel()
	m := open(t, &book{})
	tally := tallyOf(t, m, usage("acme", 1))
	const each, callers = 200_000, 2
	var group sync.WaitGroup
	var ready atomic.Int64
	for range callers {
		group.Go(func() {
			for ready.Add(1); ready.Load() < callers; {
				runtime.Gosched()
			}
			for range each {
				tally.Add(1, noon)
			}
		})
	}
	group.Wait()
	wantStats(t, m, Stats{Recorded: each * callers, Pending: each * callers, Entries: 1})
}

// TestStatsWhileBatchesAreMade: what is on its way from a cell to a batch is pending.
func TestStatsWhileBatchesAreMade(t *testing.T) {
	t.Parallel()
	m := open(t, &book{})
	const all = 30_000
	for i := range all {
		u := usage("acme", 1)
		u.Project = strconv.Itoa(i)
		m.Record(u)
	}
	var group sync.WaitGroup
	var done atomic.Bool
	group.Go(func() {
		for !done.Load() {
			if s := m.Stats(); s.Recorded != all || s.Flushed+s.Pending != all {
				t.Errorf("recorded %d, flushed %d, pending %d, want %d in all", s.Recorded, s.Flushed, s.Pending, all)
				return
			}
		}
	})
	flush(t, m)
	done.Store(true)
	group.Wait()
	wantStats(t, m, Stats{Recorded: all, Flushed: all})
}
