package ratelimit_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestWhatIsValidComesBack holds for all fields at their bounds: what Validate lets pass can be read again,
// since what cannot be read stops the org.
func TestWhatIsValidComesBack(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		g := newGate(t, rdb)
		now := g.admit(g.request(0, ratelimit.PerHour(1))).At
		seen := map[ratelimit.State]int{}
		rapid.Check(t, func(rt *rapid.T) {
			o := drawTerms(rt)
			o.Org = g.org
			o.StartsAt = pick(rt, "start", time.Time{}, now.Add(-time.Hour+time.Nanosecond), now.Add(time.Hour), time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
			o.ExpiresAt = pick(rt, "end", time.Time{}, now.Add(2*time.Hour).In(time.FixedZone("east", 7200)), time.Date(2200, 12, 31, 23, 59, 59, 999_999_999, time.UTC))
			o.Reason = rapid.StringN(0, 100, 500).Draw(rt, "reason")
			if err := o.Validate(); err != nil {
				rt.Skip(err)
			}
			stored, _, err := g.overrides.Set(t.Context(), o, ratelimit.Always)
			if err != nil {
				rt.Fatalf("Set: %v", err)
			}
			got, err := g.overrides.Get(t.Context(), g.org, stored.ID)
			if err != nil || !reflect.DeepEqual(got, stored) {
				rt.Fatalf("Get = %+v, %v\nwant %+v", got, err, stored)
			}
			for name, times := range map[string][2]time.Time{"start": {o.StartsAt, got.StartsAt}, "end": {o.ExpiresAt, got.ExpiresAt}} {
				if !times[0].Truncate(time.Microsecond).Equal(times[1]) || times[0].IsZero() != times[1].IsZero() {
					rt.Fatalf("%s %v came back as %v", name, times[0], times[1])
				}
			}
			o.ID, o.Revision, o.CreatedAt, o.UpdatedAt, o.State = got.ID, got.Revision, got.CreatedAt, got.UpdatedAt, got.State
			o.StartsAt, o.ExpiresAt = got.StartsAt, got.ExpiresAt
			if !reflect.DeepEqual(got, o) {
				rt.Fatalf("Get = %+v\nwant %+v", got, o)
			}
			if want := o.StartsAt.After(now); want != (got.State == ratelimit.StatePending) || got.State == ratelimit.StateEnded {
				rt.Fatalf("state %q of what starts at %v, at %v", got.State, o.StartsAt, now)
			}
			seen[got.State]++
		})
		if len(seen) != 2 {
			t.Errorf("states %v, want two", seen)
		}
	}, redistest.OrEmbedded())
}

// TestOverrideBegins has two replicas that know of an override before it begins, and that hear of nothing
// when it does.
func TestOverrideBegins(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]time.Duration{"right": 0, "ahead": 5 * time.Hour, "behind": -5 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				a, b, other := newGate(t, rdb), newGate(t, rdb), newGate(t, rdb)
				b.org, other.org = a.org, a.org
				p := ratelimit.PerHour(1000)
				redisTime := func() time.Time { return other.admit(other.request(0, p.Named("clock"))).At }
				below := a.set(ratelimit.Override{Limit: new(int64(7))})
				var start time.Time
				var above ratelimit.Override
				ask := func(g gate) (begun bool) {
					t.Helper()
					g.limiter.ShiftClock(wrong)
					d := g.admit(g.request(0, p))
					want, source, level := int64(7), "override:"+below.ID, ratelimit.LevelOrg
					if begun = !d.At.Before(start); begun {
						want, source, level = 5, "override:"+above.ID, ratelimit.LevelProject
					}
					if got := d.Results[0]; got.Limit != want || got.Source != source || got.Level != level {
						t.Fatalf("%v before its start: limit %d from %s, level %s, want %d from %s", start.Sub(d.At), got.Limit, got.Source, got.Level, want, source)
					}
					return begun
				}
				// Both are to read it before it begins, which a busy machine may need more time for.
				for delay := 200 * time.Millisecond; ; delay *= 2 {
					start = redisTime().Add(delay)
					above = a.set(ratelimit.Override{Project: "shop", Limit: new(int64(5)), StartsAt: start, ExpiresAt: start.Add(time.Hour)})
					if !ask(a) && !ask(b) {
						break
					}
					if delay > 10*time.Second {
						t.Fatalf("an override that begins in %v began before it was read", delay)
					}
				}
				misses := [2]uint64{a.limiter.Stats().Misses, b.limiter.Stats().Misses}
				for redisTime().Before(start) { // nothing moves but the clock of Redis
				}
				if !ask(a) || !ask(b) {
					t.Error("the override had begun for a third replica, but not for both")
				}
				if got := [2]uint64{a.limiter.Stats().Misses, b.limiter.Stats().Misses}; got != misses {
					t.Errorf("%d look-ups that memory did not answer, want %d: the override was known", got, misses)
				}
				a.set(ratelimit.Override{Project: "shop", Limit: new(int64(4)), StartsAt: start.Add(time.Hour)})
				if got := b.admit(b.request(0, p)).Results[0]; got.Limit != 7 {
					t.Errorf("limit %d after the start was put off, want 7", got.Limit)
				}
			}, redistest.OrEmbedded())
		})
	}
}

// TestTermsAct asks the limiter, where other tests ask what it is given.
func TestTermsAct(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		window, bucket := ratelimit.PerHour(3), ratelimit.PerHour(3).Bucket(2)
		for _, tt := range []struct {
			name   string
			policy ratelimit.Policy
			o      ratelimit.Override
			fits   int64 // at once
		}{
			{"burst of a window", window, ratelimit.Override{Burst: 4}, 7},
			{"burst of another limit", window, ratelimit.Override{Limit: new(int64(1)), Burst: 4}, 5},
			{"burst of a bucket", bucket, ratelimit.Override{Burst: 4}, 6},
			{"burst of a closed policy", ratelimit.PerHour(0), ratelimit.Override{Burst: 4}, 0},
			{"blocked window", window, ratelimit.Override{Access: ratelimit.Blocked}, 0},
			{"blocked bucket", bucket, ratelimit.Override{Access: ratelimit.Blocked}, 0},
		} {
			g := newGate(t, rdb)
			g.set(tt.o)
			if d := g.admit(g.request(tt.fits+1, tt.policy)); d.Allowed || d.Results[0].Remaining != tt.fits {
				t.Errorf("%s: %+v, want at most %d at once", tt.name, d, tt.fits)
			}
			if d := g.admit(g.request(tt.fits, tt.policy)); d.Allowed != (tt.fits > 0) {
				t.Errorf("%s: %+v, want %d at once", tt.name, d, tt.fits)
			}
		}
	}, redistest.OrEmbedded())
}
