package meter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
)

// Reader tells what was used. A Meter is one; make one with NewReader where nothing is recorded. Safe
// for concurrent use; it has nothing to close.
type Reader struct {
	conn    *lua.Conn
	timeout time.Duration
}

// NewReader returns a Reader on a Redis client. It does not dial and starts nothing. The error joins all
// that is wrong with the arguments.
func NewReader(rdb redis.UniversalClient, opts ...Option) (*Reader, error) {
	reader, _, err := configure(rdb, opts)
	return reader, err
}

// Query asks what an org used.
type Query struct {
	Org string
	// Project is one project, or "" for all of the org.
	Project string
	// From and To are the range, at most 400 days: both are cut to the hour, and To is not in it.
	From, To time.Time
	// Step is how long each period is; "" is Hour. The first and the last period count only what is
	// within the range.
	Step Step
}

// Step is the length of the periods that usage is told by, in UTC.
type Step string

// The steps.
const (
	Hour  Step = "hour"
	Day   Step = "day"
	Month Step = "month"
)

// Item is what a project used of one thing in one period.
type Item struct {
	Period                         time.Time // when it begins, UTC
	Project, Product, Kind, Source string
	Units                          int64
}

const (
	maxRange = 400 * day
	maxItems = 1_000_000
	chunk    = 100 // hours that are read at a time
)

// Usage returns what a query asks for, by period, project, product, kind and source, in that order; what
// was not used has no item. Usage that a Meter still has pending is not in it.
//
// It makes a call to Redis, to the primary, for each 100 hours of the range, each within the timeout; use
// in Redis memory grows with the answer of a chunk. Errors: ErrInvalid, for a query out of bounds or an
// answer of more than a million items; ErrUnavailable.
func (r *Reader) Usage(ctx context.Context, q Query) ([]Item, error) {
	if err := q.validate(); err != nil {
		return nil, err
	}
	hours := q.hours()
	sums := make(map[Item]int64) // by an Item without its Units
	for part := range slices.Chunk(hours, chunk) {
		usage, err := r.read(ctx, q.Org, part)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		for i, entries := range usage {
			period := q.Step.begin(time.Unix(part[i], 0).UTC())
			for _, e := range entries {
				if q.Project == "" || e.Project == q.Project {
					sums[Item{Period: period, Project: e.Project, Product: e.Product, Kind: e.Kind, Source: e.Source}] += e.Units
				}
			}
		}
		if len(sums) > maxItems {
			return nil, fmt.Errorf("%w query: the answer has more than %d items; ask for a shorter range, a longer step or one project", ErrInvalid, maxItems)
		}
	}
	return sorted(sums), nil
}

func (r *Reader) read(ctx context.Context, org string, hours []int64) ([][]lua.UsageEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return r.conn.Usage(ctx, org, hours)
}

func (q *Query) validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w query: "+format, append([]any{ErrInvalid}, args...)...))
	}
	if q.Org == "" || len(q.Org) > maxName {
		fault("Org must be 1 to %d bytes", maxName)
	}
	if len(q.Project) > maxName {
		fault("Project must be at most %d bytes", maxName)
	}
	switch q.Step {
	case "", Hour, Day, Month:
	default:
		fault("Step %.20q must be %q, %q or %q", string(q.Step), Hour, Day, Month)
	}
	switch {
	case q.From.Unix() < 0 || q.To.Unix() >= maxHour:
		fault("From and To must be within the years 1970 to 9999")
	case !q.From.Before(q.To):
		fault("From must be before To")
	case q.To.Sub(q.From) > maxRange:
		fault("From %v to %v is more than %d days", q.From, q.To, maxRange/day)
	}
	return errors.Join(faults...)
}

// hours returns when the hours of the range begin.
func (q *Query) hours() []int64 {
	const seconds = int64(time.Hour / time.Second)
	first, end := q.From.Unix()/seconds, q.To.Unix()/seconds
	hours := make([]int64, end-first)
	for i := range hours {
		hours[i] = (first + int64(i)) * seconds
	}
	return hours
}

// begin returns when the period that an hour lies in begins.
func (s Step) begin(hour time.Time) time.Time {
	switch s {
	case Day:
		return hour.Truncate(day)
	case Month:
		return time.Date(hour.Year(), hour.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return hour
}

func sorted(sums map[Item]int64) []Item {
	items := make([]Item, 0, len(sums))
	for item, units := range sums {
		item.Units = units
		items = append(items, item)
	}
	slices.SortFunc(items, func(a, b Item) int {
		return cmp.Or(
			a.Period.Compare(b.Period), cmp.Compare(a.Project, b.Project), cmp.Compare(a.Product, b.Product),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Source, b.Source),
		)
	})
	return items
}
