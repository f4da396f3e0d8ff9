package ratelimit_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestStatsTellWhatEnds counts what two orgs have, as the hours go by.
func TestStatsTellWhatEnds(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		other := g
		other.org = redistest.Org(t)
		now := g.admit(g.request(0, ratelimit.PerHour(1))).At
		in := func(d time.Duration) time.Time { return now.Add(d) }
		const day = 24 * time.Hour
		for i, o := range []ratelimit.Override{
			{},
			{ExpiresAt: in(30 * time.Minute)},
			{ExpiresAt: in(90 * time.Minute)},
			{ExpiresAt: in(2 * day)},
			{ExpiresAt: in(30 * day)},
			{StartsAt: in(2 * time.Hour), ExpiresAt: in(3 * time.Hour)},
		} {
			o.Limit = new(int64(i))
			o.Project = string(rune('a' + i))
			g.set(o)
			if i == 1 {
				other.set(o)
			}
		}
		check := func(when string, hour, inDay, week int) {
			t.Helper()
			if s := g.limiter.Stats(); s.EndingHour != hour || s.EndingDay != inDay || s.EndingWeek != week {
				t.Errorf("%s: stats %+v, want %d, %d, %d", when, s, hour, inDay, week)
			}
		}
		check("before the change was read", 0, 0, 0)
		g.admit(g.request(0, ratelimit.PerHour(1)))
		check("one org in memory", 1, 2, 3)
		other.admit(other.request(0, ratelimit.PerHour(1)))
		check("two orgs", 2, 3, 4)
		g.limiter.ShiftClock(time.Hour)
		check("an hour later", 1, 1, 2) // the half hour is over
		g.limiter.ShiftClock(90 * time.Minute)
		check("after another has begun", 1, 1, 2)
		g.limiter.ShiftClock(24 * day)
		check("late", 0, 0, 1)
		if _, err := g.overrides.Clear(t.Context(), g.org, "d"); err != nil {
			t.Fatalf("Clear: %v", err)
		}
		g.admit(g.request(0, ratelimit.PerHour(1))) // which puts the clock right, too
		check("after one was deleted", 2, 3, 3)
	}, redistest.OrEmbedded())
}

// TestStatsForgetOrgs has a limiter with room for one org.
func TestStatsForgetOrgs(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	g := newGate(t, rdb)
	var err error
	if g.limiter, err = ratelimit.New(rdb, ratelimit.WithTimeout(time.Minute), ratelimit.WithCachedOrgs(1)); err != nil {
		t.Fatalf("New: %v", err)
	}
	for range 3 {
		g.org = redistest.Org(t)
		g.set(ratelimit.Override{Limit: new(int64(1)), ExpiresAt: time.Now().Add(30 * time.Minute)})
		g.admit(g.request(0, ratelimit.PerHour(1)))
		if s := g.limiter.Stats(); s.EndingHour != 1 || s.Orgs != 1 {
			t.Errorf("stats %+v, want those of one org", s)
		}
	}
	g.set(ratelimit.Override{Limit: new(int64(1))})
	g.admit(g.request(0, ratelimit.PerHour(1)))
	if s := g.limiter.Stats(); s.EndingHour != 0 || s.Orgs != 1 {
		t.Errorf("stats %+v after the end was taken away, want none that ends", s)
	}
}
