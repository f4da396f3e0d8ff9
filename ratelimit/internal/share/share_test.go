package share_test

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit/internal/share"
)

const now = 1_700_000_000_000_000

// one returns a charge of a unit, of a policy of its own.
func one(i int, limit int64) lua.Charge {
	return lua.Charge{Key: strconv.Itoa(i), Algorithm: lua.Fixed, Limit: limit, Window: 1000, Units: 1, Role: lua.Enforced, Change: lua.NoChange}
}

func do(t *testing.T, table *share.Table, at int64, check lua.Check) lua.Answer {
	t.Helper()
	a, err := table.Do(at, &check)
	if err != nil {
		t.Fatalf("Do(%d, %+v): %v", at, check, err)
	}
	return a
}

func TestOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		limit, burst, window int64
		n                    int
		wantLimit, wantBurst int64
	}{
		{100, 0, 1000, 3, 33, 0},
		{100, 0, 1000, 1, 100, 0},
		{100, 0, 1000, 0, 100, 0},
		{2, 0, 1000, 3, 1, 0},
		{0, 0, 1000, 3, 0, 0},
		{0, 5, 1000, 3, 0, 1},
		{100, 20, 1000, 3, 33, 6},
		{100, 1, 1000, 3, 33, 1},
		{3, 3, lua.MaxWindow, 2, 1, 1},
		{3, 2_000_000, 69_120_000, 2, 1, 500_000}, // what leaks within the longest window at one, not at one and a half
		{lua.MaxUnits, lua.MaxUnits, 1000, 1, lua.MaxUnits, lua.MaxUnits},
	} {
		if limit, burst := share.Of(tt.limit, tt.burst, tt.window, tt.n); limit != tt.wantLimit || burst != tt.wantBurst {
			t.Errorf("Of(%d, %d, %d, %d) = %d, %d; want %d, %d", tt.limit, tt.burst, tt.window, tt.n, limit, burst, tt.wantLimit, tt.wantBurst)
		}
	}
}

// TestSharesAreNoMoreThanTheWhole: together n processes let pass what one would, or n where that is less.
func TestSharesAreNoMoreThanTheWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit, n := limits.Draw(t, "limit"), rapid.IntRange(1, 1000).Draw(t, "processes")
		got, _ := share.Of(limit, 0, 1000, n)
		if got*int64(n) > max(limit, int64(n)) || (got == 0) != (limit == 0) || limit >= int64(n) && limit-got*int64(n) >= int64(n) {
			t.Fatalf("%d shares of %d are %d each", n, limit, got)
		}
	})
}

// TestFullTable refuses what is new, and goes on with what it knows, until that has ended.
func TestFullTable(t *testing.T) {
	t.Parallel()
	table := share.NewTable(3)
	for i := range 3 {
		do(t, table, now, lua.Check{Charges: []lua.Charge{one(i, 5)}})
	}
	both := lua.Check{Charges: []lua.Charge{one(0, 5), one(3, 5)}}
	if _, err := table.Do(now, &both); !errors.Is(err, share.ErrFull) {
		t.Errorf("Do of one more: %v, want %v", err, share.ErrFull)
	}
	if got := do(t, table, now, lua.Check{Charges: []lua.Charge{one(0, 5)}}).States[0]; got.Current != 2 {
		t.Errorf("%d units are counted, want 2: a check that finds no room changes nothing", got.Current)
	}
	if a := do(t, table, now, lua.Check{Mode: lua.Peek, Charges: both.Charges}); a.Status != lua.Allowed || table.Len() != 3 {
		t.Errorf("a peek is %+v with %d entries, want it allowed and nothing new", a, table.Len())
	}
	if a := do(t, table, now, lua.Check{Charges: []lua.Charge{one(4, 0)}}); a.Status != lua.Refused || table.Len() != 3 {
		t.Errorf("a limit of zero is %+v with %d entries, want it refused and nothing new", a, table.Len())
	}
	if _, err := table.Do(now+1000, &both); !errors.Is(err, share.ErrFull) {
		t.Errorf("Do of one more within the same second: %v, want %v, for a full table is not looked through each time", err, share.ErrFull)
	}
	if a := do(t, table, now+2_000_000, both); a.Status != lua.Allowed || table.Len() != 2 {
		t.Errorf("Do when the windows have ended: %+v with %d entries, want it allowed, and two", a, table.Len())
	}
}

// TestHoldsTakeRoom has a policy hold until there is no room, by itself and behind another.
func TestHoldsTakeRoom(t *testing.T) {
	t.Parallel()
	table := share.NewTable(4)
	c := lua.Charge{Key: "c", Algorithm: lua.Concurrency, Limit: 100, Window: 1000, Units: 1, Role: lua.Enforced, Change: lua.NoChange, Lease: 1000}
	for i := range 3 {
		do(t, table, now, lua.Check{ID: strconv.Itoa(i), Charges: []lua.Charge{c}})
	}
	more := lua.Check{ID: "more", Charges: []lua.Charge{c}}
	if _, err := table.Do(now, &more); !errors.Is(err, share.ErrFull) {
		t.Errorf("Do of one more: %v, want %v", err, share.ErrFull)
	}
	do(t, table, now, lua.Check{ID: "1", Charges: []lua.Charge{c}}) // which is held already
	end := c
	end.Held = 1
	if a := do(t, table, now, lua.Check{Mode: lua.Settle, ID: "1", Charges: []lua.Charge{end}}); a.States[0].Done != 1 || a.States[0].Held != 2 {
		t.Errorf("Settle: %+v, want it done, and two held", a)
	}
	do(t, table, now, more)
	table.Sweep(now + 999)
	if n := table.Len(); n != 4 {
		t.Errorf("%d entries before the leases end, want 4", n)
	}
	table.Sweep(now + 1000)
	if n := table.Len(); n != 0 {
		t.Errorf("%d entries when the leases have ended, want none", n)
	}
}

func TestSweepAndClear(t *testing.T) {
	t.Parallel()
	table, long := share.NewTable(10), one(1, 5)
	long.Window = 5000
	do(t, table, now, lua.Check{Charges: []lua.Charge{one(0, 5), long}})
	if table.Sweep(now + 999); table.Len() != 2 {
		t.Errorf("%d entries, want 2: no window has ended", table.Len())
	}
	if table.Sweep(now + 1000); table.Len() != 1 {
		t.Errorf("%d entries, want 1: a window has ended", table.Len())
	}
	if got := do(t, table, now+1000, lua.Check{Charges: []lua.Charge{long}}).States[0]; got.Current != 2 {
		t.Errorf("%d units are counted in the window that runs, want 2", got.Current)
	}
	table.Clear()
	if got := do(t, table, now+1000, lua.Check{Charges: []lua.Charge{long}}).States[0]; got.Current != 1 {
		t.Errorf("%d units are counted after Clear, want 1", got.Current)
	}
}

// TestTogether has many ask at once: no more pass than the limit.
func TestTogether(t *testing.T) {
	t.Parallel()
	table := share.NewTable(100)
	var passed atomic.Int64
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			for range 50 {
				if a, err := table.Do(now, &lua.Check{Charges: []lua.Charge{one(0, 300), one(1, 900)}}); err == nil && a.Status == lua.Allowed {
					passed.Add(1)
				}
			}
		})
	}
	group.Wait()
	if n := passed.Load(); n != 300 {
		t.Errorf("%d passed, want 300", n)
	}
}
