package ratelimit_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	location, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return location
}

func TestPeriodAround(t *testing.T) {
	t.Parallel()
	paris, havana, gaza := zone(t, "Europe/Paris"), zone(t, "America/Havana"), zone(t, "Asia/Gaza")
	for name, c := range map[string]struct {
		period         ratelimit.Period
		at, start, end string
	}{
		"day":                      {ratelimit.Daily(nil), "2026-03-05T23:59:59.999999Z", "2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z"},
		"first moment of a day":    {ratelimit.Daily(nil), "2026-03-05T00:00:00Z", "2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z"},
		"day of another zone":      {ratelimit.Daily(paris), "2026-01-05T23:30:00Z", "2026-01-05T23:00:00Z", "2026-01-06T23:00:00Z"},
		"day of 23 hours":          {ratelimit.Daily(paris), "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		"day of 25 hours":          {ratelimit.Daily(paris), "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		"day that has no midnight": {ratelimit.Daily(havana), "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"},
		"day of two midnights":     {ratelimit.Daily(gaza), "2015-10-22T21:30:00Z", "2015-10-22T21:00:00Z", "2015-10-23T22:00:00Z"},
		"month":                    {ratelimit.Monthly(1, nil), "2026-02-28T23:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		"from a billing day":       {ratelimit.Monthly(15, nil), "2026-03-14T00:00:00Z", "2026-02-15T00:00:00Z", "2026-03-15T00:00:00Z"},
		"on the billing day":       {ratelimit.Monthly(15, nil), "2026-03-15T00:00:00Z", "2026-03-15T00:00:00Z", "2026-04-15T00:00:00Z"},
		"day 31 in a short month":  {ratelimit.Monthly(31, nil), "2026-03-01T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"},
		"day 31 in a leap year":    {ratelimit.Monthly(31, nil), "2028-03-01T00:00:00Z", "2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"},
		"over the end of a year":   {ratelimit.Monthly(20, nil), "2027-01-03T00:00:00Z", "2026-12-20T00:00:00Z", "2027-01-20T00:00:00Z"},
		"month of another zone":    {ratelimit.Monthly(1, paris), "2026-03-31T22:30:00Z", "2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			start, end := c.period.Around(at)
			if s, e := start.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339); s != c.start || e != c.end {
				t.Errorf("%s is around %s: %s to %s, want %s to %s", c.period, c.at, s, e, c.start, c.end)
			}
		})
	}
}

// Periods follow one another without a gap, and each moment is in the one that is around it.
func TestPeriodsFollowOneAnother(t *testing.T) {
	t.Parallel()
	zones := []*time.Location{nil, zone(t, "Europe/Paris"), zone(t, "America/Havana"), zone(t, "Australia/Lord_Howe"), zone(t, "Asia/Kathmandu")}
	rapid.Check(t, func(t *rapid.T) {
		location := rapid.SampledFrom(zones).Draw(t, "zone")
		period := ratelimit.Daily(location)
		if anchor := rapid.IntRange(0, 31).Draw(t, "anchor"); anchor > 0 {
			period = ratelimit.Monthly(anchor, location)
		}
		at := time.UnixMicro(rapid.Int64Range(0, 4_000_000_000_000_000).Draw(t, "at"))
		start, end := period.Around(at)
		if at.Before(start) || !at.Before(end) {
			t.Fatalf("%v is not within %v to %v", at, start, end)
		}
		if before, next := period.Around(start.Add(-time.Microsecond)); !next.Equal(start) || !before.Before(start) {
			t.Errorf("the period before ends at %v, want %v", next, start)
		}
		if next, _ := period.Around(end); !next.Equal(end) {
			t.Errorf("the period after begins at %v, want %v", next, end)
		}
	})
}

// A process whose clock is a season ahead still counts in Redis's month.
func TestQuotaGoesByRedisTime(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		quota := ratelimit.Quota(3, ratelimit.Monthly(1, nil))
		first := g.admit(g.request(1, quota))
		start, end := ratelimit.Monthly(1, nil).Around(first.At)
		if r := first.Results[0]; r.Window != end.Sub(start) || r.Used != 1 || !first.At.Add(r.ResetAfter).Equal(end) {
			t.Errorf("%+v at %v, want one used in the month from %v to %v", r, first.At, start, end)
		}
		g.limiter.ShiftClock(90 * 24 * time.Hour)
		if r := g.admit(g.request(1, quota)).Results[0]; r.Used != 2 {
			t.Errorf("%+v with the clock ahead, want two used in the same month", r)
		}
	})
}

// An override may leave a rate at which the burst would leak for longer than a state can live.
func TestOverriddenBucketStaysWithinBounds(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		bucket := ratelimit.PerSecond(1000).Bucket(1_000_000)
		if r := g.admit(g.request(1, bucket)).Results[0]; r.Burst != 1_000_000 || r.Remaining != 999_999 {
			t.Errorf("%+v, want a burst of a million, less one", r)
		}
		g.set(ratelimit.Override{Limit: new(int64(1)), Window: time.Hour})
		if r := g.admit(g.request(1, bucket)).Results[0]; r.Limit != 1 || r.Burst != 400*24 || r.Exceeded {
			t.Errorf("%+v, want a burst that leaks within 400 days", r)
		}
		g.set(ratelimit.Override{Limit: new(int64(ratelimit.MaxLimit))})
		if r := g.admit(g.request(1, bucket)).Results[0]; r.Limit != 34_560_000_000_000 || r.Exceeded {
			t.Errorf("%+v, want the largest rate that a bucket can have", r)
		}
		g.set(ratelimit.Override{Limit: new(int64(0))})
		d, err := g.limiter.Admit(t.Context(), g.request(1, bucket))
		if err != nil || d.Allowed || d.Results[0].RetryAfter != ratelimit.Never {
			t.Errorf("%+v, %v; want a refusal for good", d, err)
		}
	})
}
