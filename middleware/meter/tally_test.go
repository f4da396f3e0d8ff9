package meter

import (
	"context"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware"
)

// tallyOf returns a tally of a usage, which has to have one.
func tallyOf(t *testing.T, m *Meter, u middleware.Usage) middleware.Tally {
	t.Helper()
	tally := m.Tally(u)
	if tally == nil {
		t.Fatalf("no tally of %+v", u)
	}
	return tally
}

// hours adds up what a book was told, by hour; each batch once.
func (b *book) hours() map[int64]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, seen := map[int64]int64{}, map[int64]bool{}
	for _, batch := range b.calls {
		if batch.Number > b.decided[mark{batch.Org, batch.Process}] || seen[batch.Number] {
			continue
		}
		seen[batch.Number] = true
		for _, e := range batch.Entries {
			all[batch.Hour] += e.Units
		}
	}
	return all
}

func TestTallyIsRecord(t *testing.T) {
	t.Parallel()
	var b book
	m := open(t, &b)
	tally, twin := tallyOf(t, m, usage("acme", 0)), tallyOf(t, m, usage("acme", 7))
	wantStats(t, m, Stats{})
	for _, step := range []struct {
		do   func()
		want Stats
	}{
		{func() { tally.Add(2, noon) }, Stats{Recorded: 2, Pending: 2, Entries: 1}},
		{func() { tally.Add(3, noon) }, Stats{Recorded: 5, Pending: 5, Entries: 1}},
		{func() { m.Record(usage("acme", 1)) }, Stats{Recorded: 6, Pending: 6, Entries: 1}},
		{func() { twin.Add(1, noon) }, Stats{Recorded: 7, Pending: 7, Entries: 1}},
		{func() { flush(t, m) }, Stats{Recorded: 7, Flushed: 7}},
		{func() { tally.Add(4, noon) }, Stats{Recorded: 11, Flushed: 7, Pending: 4, Entries: 1}},
		{func() {
			tally.Add(0, noon)
			tally.Add(-1, noon)
			tally.Add(lua.MaxUsageUnits+1, noon)
			tally.Add(math.MinInt64, noon)
		},
			Stats{Recorded: 11, Flushed: 7, Pending: 4, Entries: 1, Invalid: 4}},
		{func() { tally.Add(1, time.Unix(-1, 0)); tally.Add(1, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) },
			Stats{Recorded: 11, Flushed: 7, Pending: 4, Entries: 1, Invalid: 6}},
		{func() { tally.Add(1, noon.Add(time.Hour)) }, Stats{Recorded: 12, Flushed: 7, Pending: 5, Entries: 2, Invalid: 6}},
		{func() { flush(t, m); flush(t, m) }, Stats{Recorded: 12, Flushed: 12, Invalid: 6}},
	} {
		step.do()
		wantStats(t, m, step.want)
	}
	b.want(t, map[string]int64{"acme": 12})
}

func TestTallyOfWhatIsInvalid(t *testing.T) {
	t.Parallel()
	m := open(t, &book{})
	long := usage("acme", 1)
	long.Source = strings.Repeat("x", maxName+1)
	for name, u := range map[string]middleware.Usage{"no org": {Product: "p", Kind: "k"}, "no kind": {Org: "o", Product: "p"}, "a long source": long} {
		if tally := m.Tally(u); tally != nil {
			t.Errorf("%s: there is a tally", name)
		}
	}
	wantStats(t, m, Stats{})
}

func TestTallyKnowsTheHour(t *testing.T) {
	t.Parallel()
	var b book
	m := open(t, &b)
	tally, edge := tallyOf(t, m, usage("acme", 1)), noon.Truncate(time.Hour)
	for _, at := range []time.Duration{0, time.Hour - 1, time.Hour, -1, 0, -1} {
		tally.Add(1, edge.Add(at))
	}
	flush(t, m)
	hour := edge.Unix()
	if got, want := b.hours(), (map[int64]int64{hour - 3600: 2, hour: 3, hour + 3600: 1}); !maps.Equal(got, want) {
		t.Errorf("by hour: %v, want %v", got, want)
	}
}

func TestTallyHeedsTheBounds(t *testing.T) {
	t.Parallel()
	t.Run("of units", func(t *testing.T) {
		t.Parallel()
		m := open(t, &book{})
		tally := tallyOf(t, m, usage("acme", 1))
		tally.Add(lua.MaxUsageUnits-1, noon)
		tally.Add(1, noon)
		tally.Add(1, noon)
		wantStats(t, m, Stats{Recorded: lua.MaxUsageUnits, Pending: lua.MaxUsageUnits, Dropped: 1, Entries: 1})
	})
	t.Run("of names", func(t *testing.T) {
		t.Parallel()
		var b book
		m := open(t, &b, WithMaxPending(2))
		m.Record(usage("acme", 1))
		m.Record(usage("other", 1))
		web := usage("acme", 1)
		web.Source = "web"
		sourced, third := tallyOf(t, m, web), tallyOf(t, m, usage("third", 1))
		sourced.Add(10, noon) // counts without its source
		third.Add(5, noon)
		wantStats(t, m, Stats{Recorded: 12, Pending: 12, Dropped: 5, Entries: 2})
		flush(t, m)
		sourced.Add(20, noon) // and has it again when there is room
		wantStats(t, m, Stats{Recorded: 32, Flushed: 12, Pending: 20, Dropped: 5, Entries: 1})
		flush(t, m)
		if last := b.calls[len(b.calls)-1]; last.Entries[0].Source != "web" {
			t.Errorf("the source is %q", last.Entries[0].Source)
		}
	})
}

// TestTallyReturnsToItsSource as soon as there is room again, though what it counted without is still pending.
func TestTallyReturnsToItsSource(t *testing.T) {
	t.Parallel()
	var b book
	down := true
	b.before = func(batch lua.UsageBatch) error {
		if down && batch.Org == "acme" {
			return errDown
		}
		return nil
	}
	m := open(t, &b, WithMaxPending(3))
	m.Record(usage("acme", 1))
	if m.Flush(t.Context()) == nil {
		t.Fatal("it was flushed")
	}
	web := usage("acme", 1)
	web.Source = "web"
	tally := tallyOf(t, m, web)
	m.Record(usage("acme", 1))
	m.Record(usage("other", 1))
	tally.Add(10, noon)
	wantStats(t, m, Stats{Recorded: 13, Pending: 13, Entries: 3, Failures: m.Stats().Failures})
	if m.Flush(t.Context()) == nil {
		t.Fatal("it was flushed")
	}
	tally.Add(20, noon)
	down = false
	flush(t, m)
	for _, e := range b.calls[len(b.calls)-1].Entries {
		if want := map[string]int64{"": 11, "web": 20}[e.Source]; e.Units != want {
			t.Errorf("%d units from %q, want %d", e.Units, e.Source, want)
		}
	}
	b.want(t, map[string]int64{"acme": 32, "other": 1})
}

func TestTallyOfWhatIsClosed(t *testing.T) {
	t.Parallel()
	var b book
	down := true
	b.before = func(lua.UsageBatch) error {
		if down {
			return errDown
		}
		return nil
	}
	m := open(t, &b)
	tally := tallyOf(t, m, usage("acme", 1))
	tally.Add(1, noon)
	if m.Flush(t.Context()) == nil {
		t.Fatal("it was flushed")
	}
	tally.Add(2, noon) // while a batch is open, so that Close leaves it as it is
	if m.Close(ended()) == nil {
		t.Fatal("it was closed")
	}
	tally.Add(4, noon)
	wantStats(t, m, Stats{Recorded: 3, Pending: 3, Dropped: 4, Entries: 2})
	down = false
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	tally.Add(8, noon)
	wantStats(t, m, Stats{Recorded: 3, Flushed: 3, Dropped: 12})
	b.want(t, map[string]int64{"acme": 3})
}

// ended returns a context that has ended.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestTallyDoesNotAllocate(t *testing.T) {
	m := open(t, &book{})
	tally := tallyOf(t, m, usage("acme", 1))
	tally.Add(1, noon)
	if got := testing.AllocsPerRun(1000, func() { tally.Add(1, noon) }); got != 0 {
		t.Errorf("Add allocates %v times for a name that is pending, want 0", got)
	}
}
