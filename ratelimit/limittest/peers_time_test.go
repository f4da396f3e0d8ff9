package limittest_test

// What peers got wrong about time, with a clock that the test sets.

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// sixtyPerSix is the worst case of a bucket as large as its rate, and how a smaller one mends it.
func sixtyPerSix(t *testing.T, rdb redis.UniversalClient) {
	l := newLane(t, rdb)
	l.clock = newClock(t, rdb)
	for burst, want := range map[int64]int64{60: 119, 6: 65} {
		p := ratelimit.Per(60, 6*time.Second).Bucket(burst)
		if got := most(l.attacks(p), p.Window.Microseconds()); got != want {
			t.Errorf("burst %d: %d units within 6 s, want %d at the worst", burst, got, want)
		}
	}
}

// edge asks for a unit every 10 ms around the edge of two windows. Only the two that forget a window as a
// whole let nearly twice the limit of 5 pass, as their documentation tells.
func edge(t *testing.T, rdb redis.UniversalClient) {
	most := map[string]int64{"sliding window": 4, "fixed window": 9, "aligned window": 9, "GCRA": 6}
	frozen(t, rdb, func(l *lane, k kind) {
		p := k.of(5, time.Second)
		began := l.begin(time.Second)
		l.take(p, 1, true)
		var passed int64
		for at := range int64(25) {
			l.clock.now = began + 900_000 + 10_000*at
			if d := l.admit(l.request(1, p)); d.Allowed {
				passed++
			}
		}
		if passed != most[k.name] {
			l.Errorf("%d of 5 per second passed within 250 ms, want %d", passed, most[k.name])
		}
	})
}

func oddWindow(t *testing.T, rdb redis.UniversalClient) {
	frozen(t, rdb, func(l *lane, k kind) {
		w, p := newWatch(rdb), k.of(1, 1900*time.Millisecond)
		began := l.begin(p.Window)
		got := l.take(p, 1, true)
		if got.ResetAfter < p.Window || got.ResetAfter > 2*p.Window {
			l.Errorf("reset after %v, want 1.9 s at least", got.ResetAfter)
		}
		l.outlives(w, got)
		for _, ms := range []int64{1, 1000, 1100, 1500, 1899} {
			l.clock.now = began + 1000*ms
			l.take(p, 1, false)
		}
		l.clock.now = began + got.ResetAfter.Microseconds() - 1
		l.take(p, 1, false)
		l.clock.now++
		l.take(p, 1, true)
	})
}

func shortWindow(t *testing.T, rdb redis.UniversalClient) {
	frozen(t, rdb, func(l *lane, k kind) {
		for _, window := range []time.Duration{time.Millisecond, 1500 * time.Microsecond, 100 * time.Millisecond, 999 * time.Millisecond} {
			w, p := newWatch(rdb), k.of(2, window).Named("p"+fmt.Sprint(window.Microseconds()))
			began := l.begin(window)
			l.take(p, 1, true)
			got := l.take(p, 1, true)
			l.outlives(w, got)
			refused := l.take(p, 1, false)
			l.clock.now = began + refused.RetryAfter.Microseconds() - 1
			l.take(p, 1, false)
			l.clock.now++
			l.take(p, 1, true)
		}
	})
}

// outlives checks that what is stored lives, to the millisecond, until it counts nothing any more, and
// not much longer; a bucket that has a frame lives as much longer as that may be shown.
func (l *lane) outlives(w *watch, r ratelimit.Result) {
	l.Helper()
	kept := w.images(l)
	if len(kept) == 0 {
		l.Error("nothing is stored")
	}
	for key, image := range kept {
		end := time.Duration(l.clock.now)*time.Microsecond + r.ResetAfter
		late := time.Millisecond
		state := strings.TrimSuffix(key, ":n")
		if _, framed := kept[lua.CountKey(state)]; framed && strings.HasSuffix(state, ":g") {
			late += bucketLife * time.Microsecond
		}
		if image.expires < end || image.expires > end+late {
			l.Errorf("%s ends %v after it counts nothing, want within %v", key, image.expires-end, late)
		}
	}
}

func lostTTL(t *testing.T, rdb redis.UniversalClient) {
	frozen(t, rdb, func(l *lane, k kind) {
		w, p := newWatch(rdb), k.of(3, time.Minute)
		l.begin(p.Window)
		l.take(p, 3, true)
		for key := range w.images(l) {
			if err := rdb.Persist(t.Context(), key).Err(); err != nil {
				l.Fatalf("PERSIST: %v", err)
			}
		}
		refused := l.take(p, 3, false)
		l.clock.now += refused.RetryAfter.Microseconds()
		l.outlives(w, l.take(p, 3, true))
	})
}

// retryingClient is refused a hundred times, and may pass when it was told at the first.
func retryingClient(t *testing.T, rdb redis.UniversalClient) {
	frozen(t, rdb, func(l *lane, k kind) {
		p := k.of(10, time.Second)
		began := l.begin(time.Second)
		l.take(p, 10, true)
		wait := l.take(p, 8, false).RetryAfter.Microseconds()
		for i := range int64(100) {
			l.clock.now = began + wait*i/100
			if got := l.take(p, 8, false).RetryAfter.Microseconds(); got != began+wait-l.clock.now {
				l.Fatalf("after %d refusals it waits %d us, want %d", i, got, began+wait-l.clock.now)
			}
		}
		l.clock.now = began + wait
		l.take(p, 8, true)
	})
}
