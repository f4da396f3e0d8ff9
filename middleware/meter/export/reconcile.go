package export

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware/meter"
)

// Query asks what an org's usage came to.
type Query struct {
	Org string
	// From and To are the range, at most 31 days: both are cut to the hour, and To is not in it.
	From, To time.Time
	// Grace is that of the Exporter; zero is its default.
	Grace time.Duration
	// Processes are the Stats of meters, to be told beside what Redis holds; they are of all orgs and hours that these
	// meters saw since they were made.
	Processes []meter.Stats
}

// Verdict says what is to be made of a row.
type Verdict string

// The verdicts.
const (
	// VerdictExported: all that was metered is exported.
	VerdictExported Verdict = "exported"
	// VerdictOpen: the hour is not over, or its grace is not.
	VerdictOpen Verdict = "open"
	// VerdictDue: the hour is over and has units that are not exported, and perhaps are on their way.
	VerdictDue Verdict = "due"
	// VerdictOver: more is exported of a name than there is: Redis lost usage, or somebody deleted the hour.
	VerdictOver Verdict = "over"
)

// Row is what came of an hour. Units.
type Row struct {
	Hour     time.Time // when it begins, UTC; zero for the total
	Metered  int64     // that Redis has
	Exported int64     // of these, that the sink accepted
	Claimed  int64     // beyond those, that are perhaps sent
	Left     int64     // metered and not exported, with those that are claimed
	Over     int64     // exported, and not metered any more
	Verdict  Verdict
}

// Report compares what was metered with what is exported.
type Report struct {
	Org   string
	Rows  []Row // of the hours that have usage, in their order
	Total Row
	// Of the Processes of the query: units that meters were given, but for calls that were invalid. Each that is Admitted
	// is Flushed, which makes it metered, or Pending, or Dropped. What a process replays from the journal of another is
	// metered too, and Admitted by that other.
	Admitted, Flushed, Pending, Dropped uint64
}

const (
	reportRange = 31 * 24 * time.Hour
	reportChunk = 24 // hours that are read at a time
)

// Reconcile tells what of an org's usage in a range of hours is exported. It reads Redis alone, and changes nothing: a
// call for each 24 hours, each within 2 seconds, whose cost grows with the names of these hours. Errors: ErrInvalid,
// ErrUnavailable.
func Reconcile(ctx context.Context, rdb redis.UniversalClient, q Query) (Report, error) {
	conn, err := lua.NewConn(rdb)
	if err := errors.Join(err, q.validate()); err != nil {
		return Report{}, err
	}
	if q.Grace == 0 {
		q.Grace = defaults().grace
	}
	report := Report{Org: q.Org}
	for part := range slices.Chunk(q.hours(), reportChunk) {
		exports, now, err := read(ctx, conn, q.Org, part)
		if err != nil {
			return Report{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		for i, names := range exports {
			if len(names) > 0 {
				closed := now-int64(q.Grace/time.Second) >= part[i]+3600
				report.Rows = append(report.Rows, newRow(part[i], names, closed))
			}
		}
	}
	report.total()
	for i := range q.Processes {
		report.add(&q.Processes[i])
	}
	return report, nil
}

func read(ctx context.Context, conn *lua.Conn, org string, hours []int64) ([][]lua.UsageExport, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, defaults().timeout)
	defer cancel()
	return conn.UsageExports(ctx, org, hours)
}

func (q *Query) validate() error {
	const last = 253402300800 // the year 10000
	var faults []error
	if q.Org == "" || len(q.Org) > 128 {
		faults = append(faults, fmt.Errorf("%w query: Org must be 1 to 128 bytes", ErrInvalid))
	}
	if q.From.Unix() < 0 || q.To.Unix() >= last || !q.From.Before(q.To) || q.To.Sub(q.From) > reportRange {
		faults = append(faults, fmt.Errorf("%w query: From must be before To, by at most 31 days, within the years 1970 to 9999", ErrInvalid))
	}
	if q.Grace < 0 {
		faults = append(faults, fmt.Errorf("%w query: Grace %v must not be negative", ErrInvalid, q.Grace))
	}
	return errors.Join(faults...)
}

// hours returns when the hours of the range begin.
func (q *Query) hours() []int64 {
	var hours []int64
	for hour := q.From.Unix() / 3600; hour < q.To.Unix()/3600; hour++ {
		hours = append(hours, hour*3600)
	}
	return hours
}

func newRow(hour int64, names []lua.UsageExport, closed bool) Row {
	row := Row{Hour: time.Unix(hour, 0).UTC()}
	for i := range names {
		n := &names[i]
		row.Metered += n.Metered
		row.Exported += min(n.Exported, n.Metered)
		row.Claimed += n.Claimed
		row.Left += max(n.Metered-n.Exported, 0)
		row.Over += max(n.Exported-n.Metered, 0)
	}
	row.judge(closed)
	return row
}

func (r *Row) judge(closed bool) {
	switch {
	case r.Over > 0:
		r.Verdict = VerdictOver
	case r.Left == 0:
		r.Verdict = VerdictExported
	case closed:
		r.Verdict = VerdictDue
	default:
		r.Verdict = VerdictOpen
	}
}

// total adds up the rows. Its verdict is the worst of theirs.
func (r *Report) total() {
	due := false
	for i := range r.Rows {
		row := &r.Rows[i]
		r.Total.Metered += row.Metered
		r.Total.Exported += row.Exported
		r.Total.Claimed += row.Claimed
		r.Total.Left += row.Left
		r.Total.Over += row.Over
		due = due || row.Verdict == VerdictDue
	}
	r.Total.judge(due)
}

func (r *Report) add(s *meter.Stats) {
	r.Admitted += s.Flushed + s.Pending + s.Dropped
	r.Flushed += s.Flushed
	r.Pending += s.Pending
	r.Dropped += s.Dropped
}

// String returns the report as a table.
func (r Report) String() string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(table, "hour\tmetered\texported\tclaimed\tleft\tover\tverdict\t\n")
	for i := range r.Rows {
		r.Rows[i].write(table, r.Rows[i].Hour.Format("2006-01-02T15:04Z"))
	}
	r.Total.write(table, "total")
	_ = table.Flush() // a Builder takes all
	if r.Admitted > 0 {
		_, _ = fmt.Fprintf(&text, "admitted %d = flushed %d + pending %d + dropped %d\n",
			r.Admitted, r.Flushed, r.Pending, r.Dropped)
	}
	return text.String()
}

func (r *Row) write(table *tabwriter.Writer, name string) {
	_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t\n", name, r.Metered, r.Exported, r.Claimed, r.Left, r.Over, r.Verdict)
}
