package limittest_test

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// settle ends what a request holds, for another cost, and returns the result.
func (l *lane) settle(r ratelimit.Request, held, cost int64) (ratelimit.Result, error) {
	l.Helper()
	r.Charges = slices.Clone(r.Charges)
	for i := range r.Charges {
		r.Charges[i].Held, r.Charges[i].Cost = held, cost
	}
	d, err := l.limiter.Settle(l.Context(), r)
	if len(d.Results) == 0 {
		l.Fatalf("Settle = %+v, %v; want a result", d, err)
	}
	return d.Results[0], err
}

// settledOnce reserves units under a name. Whoever does not know whether that happened can end it by the
// name: it is given back once if it did, and nothing is if it did not.
func settledOnce(t *testing.T, rdb redis.UniversalClient) {
	each(t, rdb, func(l *lane, k kind) {
		p := k.of(20, long).Reserved(time.Hour)
		l.take(k.of(20, long), 2, true) // what others took
		r := l.request(5, p)
		r.Hold = "never sent"
		if got, err := l.settle(r, 5, 0); !errors.Is(err, ratelimit.ErrNotHeld) || got.Used != 2 {
			l.Errorf("settled what was never held: %+v, %v; want ErrNotHeld and 2 used", got, err)
		}
		f := &faults{mark: []byte(l.org)}
		limiter := l.through(f)
		r.Hold = "reply lost"
		eof := io.EOF
		l.look(p, 1)
		if _, err := limiter.Admit(t.Context(), r); err != nil { // warms the connection, and holds 5 already
			l.Fatalf("Admit: %v", err)
		}
		f.next.Store(&eof)
		if _, err := limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrUnavailable) {
			l.Errorf("Admit = %v, want ErrUnavailable", err)
		}
		if got := l.look(p, 1); got.Used != 7 || got.Held != 5 {
			l.Errorf("%d used, %d of it held, after the same hold twice; want 7 and 5", got.Used, got.Held)
		}
		if got, err := l.settle(r, 5, 3); err != nil || got.Used != 5 || got.Held != 0 {
			l.Errorf("settled for 3: %+v, %v; want 5 used", got, err)
		}
		for _, cost := range []int64{3, 0, 10} {
			if got, err := l.settle(r, 5, cost); !errors.Is(err, ratelimit.ErrNotHeld) || got.Used != 5 {
				l.Errorf("settled again for %d: %+v, %v; want ErrNotHeld and 5 used", cost, got, err)
			}
		}
	})
}

// holdEnds has a process crash that holds all there is.
func holdEnds(t *testing.T, rdb redis.UniversalClient) {
	frozen(t, rdb, func(l *lane, k kind) {
		for _, p := range []ratelimit.Policy{k.of(10, long).Reserved(time.Minute), ratelimit.Concurrent(10).Named("at-once")} {
			began, w := l.begin(time.Minute), newWatch(rdb)
			l.take(p, 10, true)
			l.clock.now = began + p.Lease.Microseconds() - 1
			l.take(p, 1, false)
			l.clock.now++
			l.take(p, 10, true)
			for key, kept := range w.images(l) {
				if end := time.Duration(l.clock.now)*time.Microsecond + p.Lease; kept.expires < end || kept.expires > end+time.Millisecond {
					l.Errorf("%s ends %v after the hold", key, kept.expires-end)
				}
			}
		}
	})
}
