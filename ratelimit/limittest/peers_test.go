package limittest_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// long is a window that does not roll while a test runs.
const long = 100 * 24 * time.Hour

// TestPeers holds against defects that other limiters were seen to have; each has the name of what
// should be instead. The tests of time are in
// peers_time_test.go, those of changes and refunds in peers_change_test.go, and those of concurrency and
// lost replies in strain_test.go.
func TestPeers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T, redis.UniversalClient){
		"zero limit refuses cleanly":                      zeroLimit,
		"cost above the burst is never, without a time":   neverFits,
		"remaining is exact for odd rates":                exactRemaining,
		"products beyond 2^63":                            largeProducts,
		"burst 60 of 60 per 6 s: worst window is bounded": sixtyPerSix,
		"edge of two windows":                             edge,
		"a window of 1.9 s lasts 1.9 s":                   oddWindow,
		"window below a second limits":                    shortWindow,
		"a key that lost its TTL is repaired":             lostTTL,
		"a refusal leaves the state bit for bit":          refusalLeavesAll,
		"refusals do not lengthen the wait":               retryingClient,
		"a lost reply charges once":                       lostReply,
		"peeks by 640 goroutines take nothing":            manyPeeks,
		"hot key: 64 goroutines 12,800 calls, no error":   hotKey,
		"no lock across I/O":                              noLock,
		"a changed limit does what its override says":     changedLimit,
		"refund round-trips exactly":                      refund,
		"a refund gives back what still counts":           lateRefund,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, test)
		})
	}
}

func zeroLimit(t *testing.T, rdb redis.UniversalClient) {
	each(t, rdb, func(l *lane, k kind) {
		w := newWatch(rdb)
		l.look(k.of(0, time.Minute), 1) // reads the overrides, which sets the epoch
		before := w.images(l)
		for _, cost := range []int64{1, 0, 10, ratelimit.MaxLimit} {
			if got := l.take(k.of(0, time.Minute), cost, false); got.RetryAfter != ratelimit.Never || got.Used != 0 || got.Remaining != 0 {
				l.Errorf("cost %d: %+v, want a refusal for good", cost, got)
			}
		}
		if after := w.images(l); !maps.Equal(before, after) {
			l.Errorf("stored %v, want %v", after, before)
		}
	})
}

func neverFits(t *testing.T, rdb redis.UniversalClient) {
	each(t, rdb, func(l *lane, k kind) {
		p := k.of(10, long)
		for _, cost := range []int64{20, 11, 20, ratelimit.MaxLimit, 20} {
			d := l.admit(l.request(cost, p))
			if d.Allowed || d.RetryAfter() != ratelimit.Never || d.Results[0].RetryAfter != ratelimit.Never {
				l.Errorf("cost %d: %+v, want a refusal for good", cost, d)
			}
		}
		l.take(p, 10, true)
		if got := l.take(p, 10, false); got.RetryAfter <= 0 {
			l.Errorf("cost 10 of 10 waits %v, want a time", got.RetryAfter)
		}
	})
}

func exactRemaining(t *testing.T, rdb redis.UniversalClient) {
	frozen(t, rdb, func(l *lane, k kind) {
		for _, rate := range []int64{1, 3, 7, 10, 99, 100_000, 1_000_003, 10_000_000} {
			l.begin(time.Second)
			if got := l.take(k.of(rate, time.Second).Named(fmt.Sprint("rate-", rate)), 1, true); got.Remaining != rate-1 {
				l.Errorf("%d left of %d after the first, want %d", got.Remaining, rate, rate-1)
			}
		}
		rapid.Check(t, func(rt *rapid.T) {
			l.org = redistest.Org(t)
			window := rapid.OneOf(rapid.Int64Range(1000, 20_000), rapid.Int64Range(1000, lua.MaxWindow)).Draw(rt, "window")
			limit := rapid.OneOf(rapid.Int64Range(1, 20), rapid.Int64Range(1, 1_000_000), rapid.Int64Range(1, lua.MaxWindow)).Draw(rt, "limit")
			p := k.of(limit, time.Duration(window)*time.Microsecond)
			l.begin(p.Window)
			var h history
			for range 8 {
				l.clock.now += rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, window/limit+1), rapid.Int64Range(0, window), rapid.Int64Range(0, 2*window)).Draw(rt, "wait")
				used := k.used(h, l.clock.now, limit, window)
				cost := rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, limit), rapid.Just(max(limit-used, 0)), rapid.Just(max(limit-used, 0)+1)).Draw(rt, "cost")
				d := l.admit(l.request(cost, p))
				if want := used+cost <= limit || cost == 0; d.Allowed != want {
					rt.Fatalf("cost %d with %d of %d used: Allowed = %t: %+v", cost, used, limit, d.Allowed, d)
				}
				if d.Allowed && cost > 0 {
					h = append(h, entry{l.clock.now, cost})
					used += cost
				}
				if got := d.Results[0]; got.Used != used || got.Remaining != max(limit-used, 0) {
					rt.Fatalf("%d used, %d left of %d per %d us; want %d used", got.Used, got.Remaining, limit, window, used)
				}
			}
		})
	})
}

func largeProducts(t *testing.T, rdb redis.UniversalClient) {
	rng := rand.New(rand.NewPCG(1, 1))
	frozen(t, rdb, func(l *lane, k kind) {
		for i, rate := range []struct {
			limit  int64
			window time.Duration
		}{
			{106_751, 24 * time.Hour}, {106_752, 24 * time.Hour}, {math.MaxInt32, 24 * time.Hour},
			{ratelimit.MaxLimit - 1, 24 * time.Hour}, {ratelimit.MaxLimit - 1, 400 * 24 * time.Hour}, {ratelimit.MaxLimit - 1, time.Second},
		} {
			if k.name == "GCRA" {
				rate.limit = min(rate.limit, lua.MaxWindow)
			}
			p, window := k.of(rate.limit, rate.window).Named(fmt.Sprint("p", i)), rate.window.Microseconds()
			began := l.begin(rate.window)
			h := history{{began, rate.limit}}
			l.take(p, rate.limit, true)
			l.take(p, 1, false)
			offsets := []int64{1, window / 3, window - 1, window, window + 1, window + window/3, 2*window - 1, 2 * window}
			for range 20 {
				offsets = append(offsets, rng.Int64N(2*window))
			}
			for _, at := range offsets {
				l.clock.now = began + at
				used := k.used(h, l.clock.now, rate.limit, window)
				fits, beyond := l.look(p, rate.limit-used), l.look(p, rate.limit-used+1)
				if fits.Used != used || fits.Exceeded || !beyond.Exceeded {
					l.Errorf("%d used of %d per %v, %d us later, want %d; the rest fits: %t, and one more: %t",
						fits.Used, rate.limit, rate.window, at, used, !fits.Exceeded, !beyond.Exceeded)
				}
			}
		}
		for _, p := range []ratelimit.Policy{k.of(ratelimit.MaxLimit+1, time.Hour), k.of(1, 400*24*time.Hour+time.Microsecond)} {
			if err := p.Validate(); !errors.Is(err, ratelimit.ErrInvalid) {
				l.Errorf("Validate of %v: %v, want ErrInvalid", p, err)
			}
			if _, err := l.limiter.Admit(t.Context(), l.request(1, p)); !errors.Is(err, ratelimit.ErrInvalid) {
				l.Errorf("Admit under %v: %v, want ErrInvalid", p, err)
			}
		}
	})
}

// refusalLeavesAll refuses in every way there is; nothing stored changes, nor does when it ends.
func refusalLeavesAll(t *testing.T, rdb redis.UniversalClient) {
	each(t, rdb, func(l *lane, k kind) {
		p, other := k.of(10, long), k.of(20, long).Named("other")
		l.admit(l.request(0, p, other)) // reads the overrides, which sets the epoch
		w := newWatch(rdb)
		l.admit(l.request(7, p, other))
		before := w.images(l)
		same := func(what string) {
			l.Helper()
			if after := w.images(l); !maps.Equal(before, after) {
				l.Errorf("%s: stored %v, want %v", what, after, before)
			}
		}
		for _, cost := range []int64{4, 8, 11, 1000, ratelimit.MaxLimit} {
			l.take(p, cost, false)
			same(fmt.Sprint("refused cost ", cost))
			if d := l.admit(l.request(cost, other, p)); d.Allowed {
				l.Errorf("cost %d of 10 and 20 is allowed", cost)
			}
			same("refused by one of two")
			if d := l.admit(l.request(cost, p.Monitored())); !d.Allowed || !d.Results[0].Exceeded {
				l.Errorf("monitored: %+v", d)
			}
			same("exceeded and monitored")
		}
		l.take(p, 0, true)
		same("cost 0")
		l.look(p, 3)
		same("peek")
		stale := l.request(1, p)
		stale.Epoch = 1
		if _, err := l.limiter.Admit(t.Context(), stale); !errors.Is(err, ratelimit.ErrStale) {
			l.Errorf("Admit = %v, want ErrStale", err)
		}
		same("stale")
		l.take(p, 3, true)
	})
}
