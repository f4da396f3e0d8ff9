package limittest_test

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestPitfalls holds against what limiters like this one are known to get wrong. What is held elsewhere:
//
//	the edge of two windows, a burst as large as the rate,
//	the sliding window's even spread                        TestWorstCase, TestWorstCaseTraffic
//	counting what was refused                               TestPeers/refusals_do_not_lengthen_the_wait
//	everybody comes back at once                            middleware.TestRetryAfter
//	products beyond the exact numbers of Lua                TestPeers/products_beyond_2^63, lua.TestShare
//	bounds of what can be configured                        TestLimiter/*/invalid, lua.TestAdmitBounds, lua.TestAdmitRefusesNumbers
//	a clock of the caller's own                             ratelimit.TestOverrideEndsByRedisTime
//	a client that repeats a charge                          TestPeers/a_lost_reply_charges_once, lua.TestLostReplyIsChargedOnce
//	a script that one node of a cluster has forgotten       lua.TestForgottenScriptIsLoadedOnce
//	a state without a TTL                                   TestPeers/a_key_that_lost_its_TTL_is_repaired, lua.TestAdmitMendsTheTTL
//	a Redis that evicts                                     telemetry.TestRedisThatEvicts
//	an evicted or lost epoch                                ratelimit.TestEpochIsLostOrDamaged, ratelimit.TestOrgIsFlushed
//	keys that a script does not declare                     lua.TestScriptsDeclareTheirKeys, lua.TestOneSlot
//	tenants whose keys meet                                 lua.TestKeysNeverMeet
//	limits on an identity that nobody has verified          middleware.TestWrongOrderDoesNotCompile
//	an X-Forwarded-For that the client wrote                middleware.TestClientNetwork, adaptertest Network/Spoofed
//	one lock around all I/O                                 TestPeers/no_lock_across_I/O
func TestPitfalls(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T, redis.UniversalClient){
		"a clock that is set back locks nobody out":     clockSetBack,
		"microseconds survive what Lua prints":          sixteenDigits,
		"counts of fifteen digits are exact":            fifteenDigits,
		"a rate that does not divide does not drift":    noDrift,
		"all keys of a check are in one slot":           oneSlot,
		"one command for each request, without a clock": oneCommand,
		"distinct tenants never share a count":          hostileNames,
		"overrides survive an idle bucket":              idleBucket,
		"what may not have happened is settled once":    settledOnce,
		"what a crash left held is free again":          holdEnds,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, test)
		})
	}
	t.Run("SCRIPT FLUSH in the middle charges once", func(t *testing.T) {
		t.Parallel()
		scriptFlush(t)
	})
}

// clockSetBack fills a limit and sets the clock back, as a failover to a primary with a slow clock does, or
// the mending of one that was ahead by years. What was taken a little later still counts. Whatever was
// taken, and however much later, all is free again within three windows.
func clockSetBack(t *testing.T, rdb redis.UniversalClient) {
	frozen(t, rdb, func(l *lane, k kind) {
		window := time.Minute
		for _, back := range []time.Duration{
			0, time.Microsecond, time.Millisecond, window / 4, window / 2, window - 1, window, 2 * window, 30 * window, 10 * 365 * 24 * time.Hour,
		} {
			w, p := newWatch(rdb), k.of(10, window).Named(fmt.Sprint("back-", back.Microseconds()))
			l.clock.now = l.begin(window) + (window/4 + back).Microseconds()
			l.take(p, 10, true)
			l.clock.now -= back.Microseconds()
			got := l.look(p, 1)
			if back <= window/2 && got.Remaining != 0 {
				l.Errorf("%v back: %d left, want none", back, got.Remaining)
			}
			if got.ResetAfter > 3*window {
				l.Errorf("%v back: reset after %v, want three windows at most", back, got.ResetAfter)
			}
			l.clock.now += got.ResetAfter.Microseconds()
			l.outlives(w, l.take(p, 10, true))
			l.take(p, 1, false)
		}
	})
}

// sixteenDigits has moments that 14 digits, as tostring prints, cannot tell apart.
func sixteenDigits(t *testing.T, rdb redis.UniversalClient) {
	frozen(t, rdb, func(l *lane, k kind) {
		p := k.of(1, time.Second)
		for _, now := range []int64{l.begin(time.Second) + 1, l.clock.now + 123_457, 4_102_444_800_999_983, 8_999_999_999_999_999} {
			l.org, l.clock.now = redistest.Org(t), now
			d := l.admit(l.request(1, p))
			if d.At.UnixMicro() != now {
				l.Errorf("decided at %d, want %d", d.At.UnixMicro(), now)
			}
			wait := d.Results[0].ResetAfter.Microseconds()
			l.clock.now = now + wait - 1
			l.take(p, 1, false)
			l.clock.now = now + wait
			l.take(p, 1, true)
		}
	})
}

func fifteenDigits(t *testing.T, rdb redis.UniversalClient) {
	each(t, rdb, func(l *lane, k kind) {
		limit := int64(ratelimit.MaxLimit)
		if k.name == "GCRA" { // more units than a window has microseconds leak meanwhile
			limit = 1_000_000
		}
		p := k.of(limit, long)
		for _, step := range []struct{ cost, left int64 }{
			{limit - 3, 3}, {1, 2}, {0, 2}, {1, 1}, {1, 0},
		} {
			if got := l.take(p, step.cost, true); got.Remaining != step.left || got.Used != limit-step.left {
				l.Errorf("after a cost of %d: %d used, %d left; want %d left", step.cost, got.Used, got.Remaining, step.left)
			}
		}
		l.take(p, 1, false)
	})
}

// noDrift takes units one by one, each as soon as it is told, and looks at the whole seconds.
func noDrift(t *testing.T, rdb redis.UniversalClient) {
	l := newLane(t, rdb)
	l.clock = newClock(t, rdb)
	for _, rate := range []int64{1, 3, 7, 11, 97} {
		p := ratelimit.Per(rate, time.Second).Bucket(2).Named(fmt.Sprint("rate-", rate))
		began := l.begin(time.Second)
		l.take(p, 1, true) // so that the bucket never runs dry, from where on it could not leak
		for i := range 2*rate + 1 {
			if at := began + (i*1_000_000+rate-1)/rate; l.clock.now != at {
				t.Fatalf("unit %d of %d per second passes at %d us, want %d", i, rate, l.clock.now-began, at-began)
			}
			l.clock.now += l.take(p, 1, true).NextAfter.Microseconds()
		}
	}
	for _, rate := range []int64{1_000_000, 3_000_000, 1_000_003} { // some in every microsecond
		p := ratelimit.Per(rate, time.Second).Bucket(5).Named(fmt.Sprint("rate-", rate))
		began, taken := l.begin(time.Second), int64(5)
		l.take(p, 5, true)
		for i := int64(1); i < 40; i++ {
			l.clock.now = began + i
			left := min(5, 5+rate*i/1_000_000-taken)
			if got := l.look(p, 1).Remaining; got != left {
				t.Fatalf("%d left of %d per second, %d us later; want %d", got, rate, i, left)
			}
			if left > 0 {
				l.take(p, left, true)
				taken += left
			}
		}
	}
}

// oneSlot asks the cluster where the keys lie that a limiter uses for one request.
func oneSlot(t *testing.T, rdb redis.UniversalClient) {
	for _, org := range []string{"", "{", "}", "{}", "{a}", "a{b}c{d}", "}{", ":", "%7B", "\x00é"} {
		l, w := newLane(t, rdb), newWatch(rdb)
		l.org += org
		r := l.request(1)
		for i, partition := range []ratelimit.Partition{ratelimit.ByOrg, ratelimit.ByProject, ratelimit.ByKey, "tenant"} {
			for j, k := range kinds {
				p := k.of(10, long).Named(fmt.Sprint("p", i, "-", j)).By(partition)
				p.Shared = j == 0
				r.Charges = append(r.Charges, ratelimit.Charge{Policy: p, Cost: 1, Value: "{value}" + org})
			}
		}
		if d := l.admit(r); !d.Allowed {
			t.Errorf("org %q: %+v, want it allowed", org, d)
		}
		if len(w.keys) < len(r.Charges)+1 {
			t.Fatalf("%d keys seen, want the epoch and %d states", len(w.keys), len(r.Charges))
		}
		if _, ok := rdb.(*redis.ClusterClient); !ok {
			continue
		}
		slots := map[int64]bool{}
		for _, key := range w.keys {
			slot, err := rdb.ClusterKeySlot(t.Context(), key).Result()
			if err != nil {
				t.Fatalf("CLUSTER KEYSLOT: %v", err)
			}
			slots[slot] = true
		}
		if len(slots) != 1 {
			t.Errorf("org %q: keys %q lie in %d slots", org, w.keys, len(slots))
		}
	}
}

// oneCommand looks at what is sent: one command for each request, and the same at any time, so no clock
// but Redis's can have a say: what differs is the cost, and that the first asks for a frame, which the others show.
func oneCommand(t *testing.T, rdb redis.UniversalClient) {
	each(t, rdb, func(l *lane, k kind) {
		p := k.of(10, long)
		l.take(p, 1, true) // reads the overrides
		w := newWatch(rdb)
		for range 5 {
			l.take(p, 1, true)
		}
		l.take(p, 9, false)
		if want := slices.Repeat([]string{"evalsha"}, 6); !slices.Equal(w.names, want) {
			l.Errorf("commands %q for 6 requests, want %q", w.names, want)
		}
		if len(w.sent) > 3 {
			l.Errorf("%d different commands for two different requests, and one that asks for a frame: %q", len(w.sent), slices.Collect(maps.Keys(w.sent)))
		}
	})
}

// hostileNames has callers whose names a careless key would run together. Each has a limit of one.
func hostileNames(t *testing.T, rdb redis.UniversalClient) {
	each(t, rdb, func(l *lane, k kind) {
		base := l.org
		for _, name := range [][3]string{ // org, value, endpoint
			{"", "a", "b:c"}, {"", "a:b", "c"}, {"", "a:b:c", ""}, {"", "", "a:b:c"}, {"", "a%3Ab", "c"}, {"", "a", "b%3Ac"},
			{":a", "b", ""}, {"%3Aa", "b", ""}, {":a", "b", ":"}, {"", "a", "b"},
			{"", "A", "b"}, {"", "a ", "b"}, {"", " a", "b"}, {"", "a\x00", "b"}, {"", "á", "b"}, {"", "a\u0301", "b"},
			{"", "{a}", "b"}, {"", "a", "{b}"}, {"{a}", "a", "b"}, {"", "*", "b"}, {"", "a*", "b"}, {"", "a\n", "b"}, {"", "a%", "b"}, {"", "a%25", "b"},
		} {
			r := l.request(1, k.of(1, long).By("tenant"))
			r.Org, r.Charges[0].Value, r.Endpoint = base+name[0], "v"+name[1], name[2]
			for _, allowed := range []bool{true, false} {
				if d := l.admit(r); d.Allowed != allowed {
					l.Errorf("%q: Allowed = %t, want %t: %+v", name, d.Allowed, allowed, d)
				}
			}
		}
	})
}

// idleBucket loses the counts, as when they expire, and keeps the overrides, which never do.
func idleBucket(t *testing.T, rdb redis.UniversalClient) {
	each(t, rdb, func(l *lane, k kind) {
		p := k.of(10, long)
		l.override(ratelimit.Override{Limit: new(int64(3))})
		w := newWatch(rdb)
		l.take(p, 3, true)
		for key, kept := range w.images(l) {
			if key == lua.EpochKey(l.org) || key == lua.OverridesKey(l.org) {
				if kept.expires != -1 {
					l.Errorf("%s ends at %v, want never", key, kept.expires)
				}
				continue
			}
			if err := rdb.Del(t.Context(), key).Err(); err != nil {
				l.Fatalf("DEL: %v", err)
			}
		}
		again := newLane(t, rdb) // a replica that starts now
		again.org = l.org
		for i, replica := range []*lane{again, l} {
			if got := replica.take(p, 1, true); got.Limit != 3 || got.Used != int64(i)+1 {
				l.Errorf("limit %d, %d used; want the override of 3, and a new count", got.Limit, got.Used)
			}
		}
	})
}

// scriptFlush makes a server of its own forget its scripts while callers charge.
func scriptFlush(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { rdb.Close() })
	w, l := newWatch(rdb), newLane(t, rdb)
	p := ratelimit.Per(300, long)
	var allowed atomic.Int64
	together(8, func(i int) {
		for n := range 50 {
			if n%5 == i%5 {
				if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
					t.Errorf("SCRIPT FLUSH: %v", err)
				}
			}
			d, err := l.limiter.Admit(t.Context(), l.request(1, p))
			if err != nil {
				t.Errorf("Admit: %v", err)
				return
			}
			if d.Allowed {
				allowed.Add(1)
			}
		}
	})
	if got := l.look(p, 1).Used; allowed.Load() != 300 || got != 300 {
		t.Errorf("%d of 400 allowed, %d counted; want 300", allowed.Load(), got)
	}
	if n := len(slices.DeleteFunc(w.names, func(name string) bool { return name != "eval" })); n < 10 {
		t.Errorf("the scripts were loaded %d times; nothing was tested", n)
	}
}
