package ratelimit_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// tally is what became of checks of one unit each.
type tally struct{ admitted, unknown, refused atomic.Int64 }

// load makes checks until both are over: the least number of them, and what happens meanwhile. Half of the callers ask for
// the count of all endpoints, and so together.
func load(t *testing.T, l *ratelimit.Limiter, r ratelimit.Request, least int64, meanwhile func()) *tally {
	t.Helper()
	var group sync.WaitGroup
	var over atomic.Bool
	done := &tally{}
	for range 16 {
		group.Go(func() {
			for !over.Load() || done.admitted.Load()+done.unknown.Load() < least {
				switch d, err := l.Admit(t.Context(), r); {
				case errors.Is(err, ratelimit.ErrUnavailable):
					done.unknown.Add(1)
				case err != nil:
					t.Errorf("Admit: %v", err)
					return
				case d.Allowed:
					done.admitted.Add(1)
				default:
					done.refused.Add(1)
				}
			}
		})
	}
	meanwhile()
	over.Store(true)
	group.Wait()
	return done
}

// once holds that what counts is what was admitted, and of what nobody knows each check at most once.
func (y *tally) once(t *testing.T, rdb redis.UniversalClient, r ratelimit.Request) {
	t.Helper()
	g := newGate(t, rdb)
	r.Peek = true
	used, admitted, unknown := g.admit(r).Results[0].Used, y.admitted.Load(), y.unknown.Load()
	if used < admitted || used > admitted+unknown || y.refused.Load() > 0 {
		t.Errorf("%d counted: %d admitted, %d unknown, %d refused", used, admitted, unknown, y.refused.Load())
	}
	t.Logf("%d counted: %d admitted, %d unknown", used, admitted, unknown)
}

// TestOnceWithLostReplies cuts connections between a call and its reply. The client has go-redis's repetitions.
func TestOnceWithLostReplies(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		cut, proxies := throughProxies(t, rdb, redis.UniversalOptions{MaxRetries: 3})
		g := newGate(t, cut)
		r := g.request(1, ratelimit.PerHour(1e6))
		g.admit(r)
		for _, p := range proxies {
			p.lose(5)
		}
		done := load(t, g.limiter, r, 1500, func() {})
		lost := 0
		for _, p := range proxies {
			lost += p.lose(0)
		}
		if lost < 10 || done.unknown.Load() == 0 {
			t.Errorf("%d replies lost, %d checks of which nobody knows", lost, done.unknown.Load())
		}
		done.admitted.Add(1) // the first
		done.once(t, rdb, r)
	})
}

// TestOnceWithFailingDials has every third connection not come about, and cuts those that do.
func TestOnceWithFailingDials(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		var dials, failed atomic.Int64
		cut, proxies := throughProxies(t, rdb, redis.UniversalOptions{
			MaxRetries: 3, DialerRetries: 1,
			Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if dials.Add(1)%3 == 0 {
					failed.Add(1)
					return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("refused by the test")}
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			},
		})
		g := newGate(t, cut)
		r := g.request(1, ratelimit.PerHour(1e6))
		until(t, "a warm limiter", func() bool {
			p := r
			p.Peek = true
			_, err := g.limiter.Admit(t.Context(), p)
			return err == nil
		})
		for _, p := range proxies {
			p.lose(4)
		}
		done := load(t, g.limiter, r, 1500, func() {})
		for _, p := range proxies {
			p.lose(0)
		}
		if failed.Load() < 5 {
			t.Errorf("%d dials failed", failed.Load())
		}
		done.once(t, rdb, r)
	})
}

// TestOnceWithoutScript has a server forget the script between calls and under them: each check is decided all the same.
func TestOnceWithoutScript(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { rdb.Close() })
	g := newGate(t, rdb)
	r := g.request(1, ratelimit.PerHour(1e6))
	flush := func() {
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Errorf("SCRIPT FLUSH: %v", err)
		}
	}
	for range 20 {
		flush()
		g.admit(r)
	}
	done := load(t, g.limiter, r, 1500, func() {
		for range 300 {
			flush()
		}
	})
	if unknown := done.unknown.Load(); unknown > 0 {
		t.Errorf("of %d checks nobody knows, although nothing was lost", unknown)
	}
	done.admitted.Add(20)
	done.once(t, rdb, r)
}
