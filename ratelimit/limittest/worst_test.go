package limittest_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestWorstCase measures the most units that adversaries get within any span of time, against an exact
// history of what was admitted, and holds it against the bound, which is reached to the unit. To see the
// numbers: go test -run WorstCase -v.
//
// What is admitted within a span of time d, up to a window of length w with a limit of n, is at most
//
//	fixed window      2n - 1        all but the unit that began a window, at its end; and all of the next
//	aligned window    2n            the same, and nothing has to begin it
//	sliding window    n + n*d/w     see below
//	GCRA              b + n*d/w     a full bucket of b, and what leaks meanwhile
//
// rounded down, where d does not count the last moment: less than n + n within a window.
//
// Of a sliding window: let p units be admitted in an aligned window and then q more in the next one, the
// last of them when y of it has passed. That one fitted, so q + p*(w-y)/w <= n; and p <= n. Together
// p + q <= n + p*y/w <= n + n*y/w, and all of that lies within d only if y < d. So it is no stricter than
// a bucket of n units: an evenly spread window is what it takes for granted, and who takes n units in the
// last moment of one gets n-1 more while they fade. But unlike a fixed window, never all at once.
func TestWorstCase(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		const limit, window = 60, time.Minute
		const w = int64(window / time.Microsecond)
		fading := func(burst int64) func(int64) int64 {
			return func(span int64) int64 { return burst + limit*(span-1)/w }
		}
		whole := func(n int64) func(int64) int64 { return func(int64) int64 { return n } }
		per := ratelimit.Per(limit, window)
		l := newLane(t, rdb)
		l.clock = newClock(t, rdb)
		table := newTable("60 per minute", "1 us", "6 s", "15 s", "30 s", "1 min")
		for _, tt := range []struct {
			name   string
			policy ratelimit.Policy
			bound  func(span int64) int64
		}{
			{"fixed window", per.Fixed(), whole(2*limit - 1)},
			{"aligned window", per.Aligned(), whole(2 * limit)},
			{"sliding window", per, fading(limit)},
			{"GCRA, burst 60", per.Bucket(60), fading(60)},
			{"GCRA, burst 30", per.Bucket(30), fading(30)},
			{"GCRA, burst 6", per.Bucket(6), fading(6)},
			{"GCRA, burst 1", per.Bucket(1), fading(1)},
			{"GCRA, burst 90", per.Bucket(90), fading(90)},
		} {
			attacks := l.attacks(tt.policy)
			row := []any{tt.name}
			for _, span := range []int64{1, w / 10, w / 4, w / 2, w} {
				got, bound := most(attacks, span), tt.bound(span)
				row = append(row, got)
				if got > bound || span == w && got != bound {
					t.Errorf("%s: %d units within %d us, want %d at the worst", tt.name, got, span, bound)
				}
			}
			table.add(row...)
		}
		t.Log(table)
	})
}

// attacks has adversaries against a policy take as much as they can, each from a count of its own, and
// returns what each of them took. Each takes one unit or all at the first or the last moment of an
// aligned window, all it can get at another moment, and from then on whatever becomes free as soon as it
// does, for two windows.
func (l *lane) attacks(p ratelimit.Policy) []history {
	l.Helper()
	last := p.Window.Microseconds() - 1
	var all []history
	for _, first := range []int64{0, last} {
		for _, units := range []int64{1, cmp.Or(p.Burst, p.Limit)} {
			for _, pause := range []int64{1, last} {
				all = append(all, l.attack(p, first, units, pause))
			}
		}
	}
	return all
}

// most returns the most units that any adversary got within a span of time.
func most(attacks []history, span int64) (n int64) {
	for _, h := range attacks {
		n = max(n, h.most(span))
	}
	return n
}

func (l *lane) attack(p ratelimit.Policy, first, units, pause int64) history {
	l.Helper()
	l.org = redistest.Org(l)
	l.clock.now = l.begin(p.Window) + first
	var h history
	take := func(n int64) ratelimit.Result {
		h = append(h, entry{l.clock.now, n})
		return l.take(p, n, true)
	}
	take(units)
	end := l.clock.now + 2*p.Window.Microseconds()
	l.clock.now += pause
	got := l.look(p, 1)
	for {
		if got.Remaining > 0 {
			got = take(got.Remaining)
		}
		if l.clock.now += got.NextAfter.Microseconds(); l.clock.now >= end {
			return h
		}
		got = take(1)
	}
}

// table is numbers for people to read.
type table struct {
	text   strings.Builder
	writer *tabwriter.Writer
}

func newTable(head ...any) *table {
	t := &table{}
	t.writer = tabwriter.NewWriter(&t.text, 0, 0, 2, ' ', 0)
	t.text.WriteByte('\n')
	t.add(head...)
	return t
}

func (t *table) add(row ...any) {
	for _, cell := range row {
		_, _ = fmt.Fprintf(t.writer, "%v\t", cell)
	}
	_, _ = fmt.Fprintln(t.writer)
}

func (t *table) String() string {
	t.writer.Flush()
	return t.text.String()
}
