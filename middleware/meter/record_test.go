package meter

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware"
)

func TestRecordAddsUp(t *testing.T) {
	t.Parallel()
	var b book
	m := open(t, &b)
	for range 3 {
		m.Record(usage("acme", 2))
	}
	m.Record(usage("other", 5))
	wantStats(t, m, Stats{Recorded: 11, Pending: 11, Entries: 2})
	flush(t, m)
	wantStats(t, m, Stats{Recorded: 11, Flushed: 11})
	b.want(t, map[string]int64{"acme": 6, "other": 5})
	if len(b.calls) != 2 {
		t.Errorf("%d batches, want one for each org", len(b.calls))
	}
	flush(t, m)
	if len(b.calls) != 2 {
		t.Errorf("a flush of nothing sent %d batches", len(b.calls)-2)
	}
	if got := m.Stats().Orgs; got != 0 {
		t.Errorf("Orgs = %d after an idle flush, want 0", got)
	}
}

func TestRecordBounds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxName)
	for _, tt := range []struct {
		name  string
		edit  func(*middleware.Usage)
		valid bool
	}{
		{"plain", func(*middleware.Usage) {}, true},
		{"no project", func(u *middleware.Usage) { u.Project = "" }, true},
		{"longest names", func(u *middleware.Usage) {
			u.Org, u.Project, u.Product, u.Kind, u.Source = long, long, long, long, long
		}, true},
		{"most units", func(u *middleware.Usage) { u.Units = lua.MaxUsageUnits }, true},
		{"no time is now", func(u *middleware.Usage) { u.At = time.Time{} }, true},
		{"first hour", func(u *middleware.Usage) { u.At = time.Unix(0, 0) }, true},
		{"no org", func(u *middleware.Usage) { u.Org = "" }, false},
		{"no product", func(u *middleware.Usage) { u.Product = "" }, false},
		{"no kind", func(u *middleware.Usage) { u.Kind = "" }, false},
		{"long org", func(u *middleware.Usage) { u.Org = long + "x" }, false},
		{"long project", func(u *middleware.Usage) { u.Project = long + "x" }, false},
		{"long product", func(u *middleware.Usage) { u.Product = long + "x" }, false},
		{"long kind", func(u *middleware.Usage) { u.Kind = long + "x" }, false},
		{"long source", func(u *middleware.Usage) { u.Source = long + "x" }, false},
		{"zero units", func(u *middleware.Usage) { u.Units = 0 }, false},
		{"negative units", func(u *middleware.Usage) { u.Units = math.MinInt64 }, false},
		{"too many units", func(u *middleware.Usage) { u.Units = lua.MaxUsageUnits + 1 }, false},
		{"before 1970", func(u *middleware.Usage) { u.At = time.Unix(-1, 0) }, false},
		{"year 10000", func(u *middleware.Usage) { u.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b book
			m := open(t, &b)
			u := usage("acme", 3)
			tt.edit(&u)
			m.Record(u)
			want := Stats{Invalid: 1}
			if tt.valid {
				want = Stats{Recorded: uint64(u.Units), Pending: uint64(u.Units), Entries: 1}
			}
			wantStats(t, m, want)
		})
	}
}

func TestRecordDropsWhatHasNoRoom(t *testing.T) {
	t.Parallel()
	var b book
	m := open(t, &b, WithMaxPending(3))
	from := func(source string, units int64) middleware.Usage {
		u := usage("acme", units)
		u.Source = source
		return u
	}
	m.Record(from("", 1))
	m.Record(from("web", 1))
	m.Record(usage("other", 1))
	wantStats(t, m, Stats{Recorded: 3, Pending: 3, Entries: 3})

	m.Record(from("web", 10)) // known names have room
	m.Record(from("new", 10)) // a new source counts without it
	wantStats(t, m, Stats{Recorded: 23, Pending: 23, Entries: 3})

	m.Record(usage("third", 7))
	m.Record(middleware.Usage{Org: "acme", Product: "p", Kind: "k", Source: "new", Units: 8, At: noon})
	wantStats(t, m, Stats{Recorded: 23, Pending: 23, Dropped: 15, Entries: 3})

	flush(t, m)
	b.want(t, map[string]int64{"acme": 22, "other": 1})
	m.Record(usage("third", 7))
	wantStats(t, m, Stats{Recorded: 30, Flushed: 23, Pending: 7, Dropped: 15, Entries: 1})
}

func TestRecordDropsWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	m := open(t, &book{})
	m.Record(usage("acme", lua.MaxUsageUnits-1))
	m.Record(usage("acme", 1))
	m.Record(usage("acme", 1))
	wantStats(t, m, Stats{Recorded: lua.MaxUsageUnits, Pending: lua.MaxUsageUnits, Dropped: 1, Entries: 1})
}

func TestRecordDoesNotAllocate(t *testing.T) {
	m := open(t, &book{})
	u := usage("acme", 1)
	u.Source = "web"
	m.Record(u)
	if got := testing.AllocsPerRun(1000, func() { m.Record(u) }); got != 0 {
		t.Errorf("Record allocates %v times for a name that is pending, want 0", got)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		opt  Option
		ok   bool
	}{
		{"interval low", WithInterval(10 * time.Millisecond), true},
		{"interval too low", WithInterval(10*time.Millisecond - 1), false},
		{"interval high", WithInterval(time.Hour), true},
		{"interval too high", WithInterval(time.Hour + 1), false},
		{"timeout low", WithTimeout(time.Millisecond), true},
		{"timeout too low", WithTimeout(0), false},
		{"timeout high", WithTimeout(time.Minute), true},
		{"timeout too high", WithTimeout(time.Minute + 1), false},
		{"retention low", WithRetention(time.Hour), true},
		{"retention too low", WithRetention(time.Hour - 1), false},
		{"retention high", WithRetention(3660 * day), true},
		{"retention too high", WithRetention(3660*day + 1), false},
		{"pending low", WithMaxPending(1), true},
		{"pending too low", WithMaxPending(0), false},
		{"pending high", WithMaxPending(10_000_000), true},
		{"pending too high", WithMaxPending(10_000_001), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := defaults()
			if err := tt.opt.apply(&c); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrInvalid) {
				t.Errorf("apply = %v, want ok %t", err, tt.ok)
			}
		})
	}
}

func TestNewJoinsAllFaults(t *testing.T) {
	t.Parallel()
	m, err := New(nil, nil, WithTimeout(-1), WithMaxPending(-1))
	r, rerr := NewReader(nil, nil, WithTimeout(-1), WithMaxPending(-1))
	if m != nil || r != nil || err == nil || rerr == nil || err.Error() != rerr.Error() {
		t.Fatalf("New = %v, %v; NewReader = %v, %v; want the same error", m, err, r, rerr)
	}
	for _, text := range []string{"client is nil", "number 1 is nil", "WithTimeout(-1ns)", "WithMaxPending(-1)"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("New: %q does not name %q", err, text)
		}
	}
}
