package ratelimit_test

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestQueueIsFull: who finds as many waiting as may gets an error while they wait, and is not charged.
func TestQueueIsFull(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		const waiting = 5
		c := newCrowd(t, rdb, ratelimit.WithQueue(waiting))
		r := c.request(1, ratelimit.PerHour(100))
		first, open := c.hold(r)
		all := []*decided{first}
		for range waiting {
			all = append(all, c.ask(t.Context(), r))
		}
		for range 3 {
			if d, err := c.limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrUnavailable) || d.Allowed {
				t.Errorf("beyond the queue: %v, %v; want ErrUnavailable", d, err)
			}
		}
		open()
		for _, d := range all {
			if d.err != nil || !d.Allowed {
				t.Errorf("who waited: %v, %v", d.Decision, d.err)
			}
		}
		if used := c.used(rdb, r)[0]; used != waiting+1 {
			t.Errorf("%d used, want %d", used, waiting+1)
		}
		if d := c.admit(r); !d.Allowed {
			t.Errorf("after them: %v", d)
		}
	})
}

// TestClose: what came before is answered, what comes later is not asked, and Close waits for the former.
func TestClose(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newCrowd(t, rdb)
		r := c.request(1, ratelimit.PerHour(100))
		first, open := c.hold(r)
		all := []*decided{first}
		for range 5 {
			all = append(all, c.ask(t.Context(), r))
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.limiter.Close(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("Close while a call hangs: %v, want that its context ended", err)
		}
		other := r
		other.Org = redistest.Org(t) // perhaps of a server that was never asked
		for _, r := range []ratelimit.Request{r, other} {
			if _, err := c.limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrUnavailable) {
				t.Errorf("Admit after Close: %v, want ErrUnavailable", err)
			}
		}
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- c.limiter.Close(t.Context()) }()
		}
		select {
		case err := <-closed:
			t.Errorf("Close returned %v while calls wait", err)
		default:
		}
		open()
		for range 2 {
			if err := <-closed; err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		for _, d := range all {
			if d.err != nil || !d.Allowed {
				t.Errorf("who waited: %v, %v", d.Decision, d.err)
			}
		}
		if err := c.limiter.Close(t.Context()); err != nil {
			t.Errorf("Close again: %v", err)
		}
		if used := c.used(rdb, r)[0]; used != 6 {
			t.Errorf("%d used, want 6", used)
		}
		if err := rdb.Ping(t.Context()).Err(); err != nil {
			t.Errorf("the client: %v, want it open", err)
		}
	})
}

// TestCloseUnused: nothing to wait for.
func TestCloseUnused(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { rdb.Close() })
	l := newLimiter(t, rdb)
	for range 2 {
		if err := l.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	r := ratelimit.Request{Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(1).By("network"), Value: "v"}}}
	if _, err := l.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrUnavailable) {
		t.Errorf("Admit: %v, want ErrUnavailable", err)
	}
}
