package ratelimit_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/breaker"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// bubble runs a test in a bubble of testing/synctest, with a valve on the way to a Redis, and a limiter that was asked once.
func bubble(t *testing.T, test func(t *testing.T, v *valve, g gate, r ratelimit.Request), opts ...ratelimit.Option) {
	t.Helper()
	server := redistest.StandaloneAddr(t)
	synctest.Test(t, func(t *testing.T) {
		v, rdb := new(valve), redis.NewClient(&redis.Options{Addr: server})
		t.Cleanup(func() { rdb.Close() })
		rdb.AddHook(v)
		g := newGate(t, rdb)
		r := g.request(1, ratelimit.PerHour(1e6))
		g.admit(r) // it has all the time there is
		g.limiter = newLimiter(t, rdb, opts...)
		g.admit(r)
		test(t, v, g, r)
	})
}

// fails has a limiter ask until the breaker opens, and returns what opens the valve.
func (v *valve) fails(t *testing.T, g gate, r ratelimit.Request) (open func()) {
	t.Helper()
	open = v.close(t, -1)
	for range 5 {
		if _, err := g.limiter.Admit(t.Context(), r); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Admit: %v, want that it is late", err)
		}
	}
	if _, err := g.limiter.Admit(t.Context(), r); !errors.Is(err, breaker.ErrOpen) {
		t.Fatalf("Admit: %v, want ErrOpen", err)
	}
	return open
}

// TestWhoLeavesOpensNoBreaker has callers leave in a row, as late as can be, a Redis that answers within the timeout.
func TestWhoLeavesOpensNoBreaker(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, v *valve, g gate, r ratelimit.Request) {
		v.alter = func([]redis.Cmder) { time.Sleep(130 * time.Millisecond) }
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 115*time.Millisecond)
			_, err := g.limiter.Admit(ctx, r)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who left: %v", err)
			}
		}
		if _, err := g.limiter.Admit(t.Context(), r); err != nil {
			t.Errorf("who stayed: %v; %d breakers are open", err, g.limiter.Stats().OpenBreakers)
		}
	}, ratelimit.WithTimeout(200*time.Millisecond))
}

// TestProbeWhoseCallerLeaves: a probe that hangs is over when it is late, whoever waits for it still, and the next one
// may find the server well.
func TestProbeWhoseCallerLeaves(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, v *valve, g gate, r ratelimit.Request) {
		open := v.fails(t, g, r)
		time.Sleep(250 * time.Millisecond) // a probe is due
		_, before := v.count()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, err := g.limiter.Admit(ctx, r)
		cancel()
		if _, held := v.count(); !errors.Is(err, context.DeadlineExceeded) || held != before+1 {
			t.Fatalf("the probe: %v, and %d more calls hang", err, held-before)
		}
		v.spent()
		time.Sleep(300 * time.Millisecond) // it is late, and the next is due
		if _, err := g.limiter.Admit(t.Context(), r); err != nil {
			t.Errorf("Admit: %v, of a Redis that is well", err)
		}
		open()
	}, ratelimit.WithTimeout(50*time.Millisecond))
}

// spent lets all through that come from now on.
func (v *valve) spent() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.most = 0
}

// slowLog takes longer for a line than any caller waits.
type slowLog struct{ slog.Handler }

func (slowLog) Handle(context.Context, slog.Record) error {
	time.Sleep(time.Second)
	return nil
}

// TestSlowLogHoldsNoAnswerBack: whoever's call tells that a server is back has its answer before a log has the line.
func TestSlowLogHoldsNoAnswerBack(t *testing.T) {
	t.Parallel()
	log := slog.New(slowLog{slog.Default().Handler()})
	bubble(t, func(t *testing.T, v *valve, g gate, r ratelimit.Request) {
		open := v.fails(t, g, r)
		open()
		time.Sleep(2 * time.Second) // the log has the line that it is away, and a probe is due
		began := time.Now()
		if _, err := g.limiter.Admit(t.Context(), r); err != nil || time.Since(began) != 0 {
			t.Errorf("Admit: %v after %v, want an answer at once", err, time.Since(began))
		}
		time.Sleep(2 * time.Second) // until the log has its line
	}, ratelimit.WithTimeout(100*time.Millisecond), ratelimit.WithLogger(log))
}
