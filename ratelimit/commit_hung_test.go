package ratelimit_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/breaker"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// patient has a client that waits for ever, so that whoever returns does so by himself.
var patient = redis.UniversalOptions{ReadTimeout: -1, WriteTimeout: -1, MaxRetries: -1}

func newLimiter(t *testing.T, rdb redis.UniversalClient, opts ...ratelimit.Option) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(rdb, opts...)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return l
}

// TestHungRedis has servers hold all bytes back until every caller has returned, each in its own time.
func TestHungRedis(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		hung, proxies := throughProxies(t, rdb, patient)
		g := newGate(t, hung)
		r := g.request(1, ratelimit.PerHour(1e6))
		short, long := newLimiter(t, hung), newLimiter(t, hung, ratelimit.WithTimeout(time.Minute))
		g.limiter = long
		for _, l := range []*ratelimit.Limiter{short, long} {
			until(t, "a warm limiter", func() bool { _, err := l.Admit(t.Context(), r); return err == nil })
		}
		for _, p := range proxies {
			p.hold()
		}
		var group sync.WaitGroup
		ask := func(l *ratelimit.Limiter, ctx func() (context.Context, context.CancelFunc), causes ...error) {
			for range 8 {
				group.Go(func() {
					for range 5 {
						ctx, cancel := ctx()
						_, err := l.Admit(ctx, r)
						cancel()
						if !errors.Is(err, ratelimit.ErrUnavailable) || !slices.ContainsFunc(causes, func(cause error) bool { return errors.Is(err, cause) }) {
							t.Errorf("Admit: %v, want ErrUnavailable of %v", err, causes)
						}
					}
				})
			}
		}
		within := func(d time.Duration) func() (context.Context, context.CancelFunc) {
			return func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), d) }
		}
		ask(long, within(5*time.Millisecond), context.DeadlineExceeded)
		ask(long, within(20*time.Millisecond), context.DeadlineExceeded)
		ask(long, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			return ctx, cancel
		}, context.Canceled)
		ask(short, within(time.Hour), context.DeadlineExceeded, breaker.ErrOpen) // once it is left alone
		group.Wait()
		for _, p := range proxies {
			p.release()
		}
		for _, l := range []*ratelimit.Limiter{short, long} {
			until(t, "Redis answers again", func() bool { _, err := l.Admit(t.Context(), r); return err == nil })
			until(t, "nothing is under way", func() bool {
				flying, late := l.Flights()
				return flying == 0 && late == 0 && l.Waiting() == 0
			})
		}
	})
}

// TestHungConnections has calls hang on their way, and those after them not: whoever asks often is answered before
// these are, whether it is the limiter's time that ends or the callers' own.
func TestHungConnections(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, own := range map[string]time.Duration{"the limiter's time": time.Hour, "the callers' own": 60 * time.Millisecond} {
			t.Run(name, func(t *testing.T) {
				v, counted := newValve(t, rdb)
				g := newGate(t, counted)
				g.limiter = newLimiter(t, counted, ratelimit.WithTimeout(200*time.Millisecond))
				r := g.request(1, ratelimit.PerHour(1e6))
				until(t, "a warm limiter", func() bool { _, err := g.limiter.Admit(t.Context(), r); return err == nil })
				const hung = 6 // three times those that may be under way
				open := v.close(t, hung)
				lost := 0
				until(t, "an answer", func() bool {
					ctx, cancel := context.WithTimeout(t.Context(), own)
					defer cancel()
					_, err := g.limiter.Admit(ctx, r)
					lost++
					return err == nil
				})
				if _, held := v.count(); held != hung || lost <= hung {
					t.Errorf("%d calls hang after %d requests, want %d", held, lost, hung)
				}
				open()
			})
		}
	})
}

// TestManyHungConnections: the breaker leaves a server alone that hangs, so that few calls are given up, and its probes add
// only so many to them.
func TestManyHungConnections(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		v, counted := newValve(t, rdb)
		g := newGate(t, counted)
		g.limiter = newLimiter(t, counted, ratelimit.WithTimeout(20*time.Millisecond))
		r := g.request(1, ratelimit.PerHour(1e6))
		until(t, "a warm limiter", func() bool { _, err := g.limiter.Admit(t.Context(), r); return err == nil })
		open := v.close(t, -1)
		refused := func() int {
			at := 0
			for ; ; at++ {
				_, err := g.limiter.Admit(t.Context(), r)
				if !errors.Is(err, ratelimit.ErrUnavailable) {
					t.Fatalf("Admit: %v, want ErrUnavailable", err)
				}
				if errors.Is(err, breaker.ErrOpen) {
					return at
				}
			}
		}
		if waited := refused(); waited < 5 || waited > 16 {
			t.Errorf("%d requests waited until the breaker opened, want 5 and few more", waited)
		}
		if _, cluster := rdb.(*redis.ClusterClient); !cluster { // there nobody flies who cannot ask where slots are
			until(t, "so many given up", func() bool {
				refused()
				flying, late := g.limiter.Flights()
				return late == 16 && flying <= 2
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := g.limiter.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v, want the end of its context", err)
		}
		open()
		if err := g.limiter.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// TestHungNode holds that a server that hangs is nothing to those who ask another.
func TestHungNode(t *testing.T) {
	t.Parallel()
	rdb := redistest.Cluster(t)
	hung, proxies := throughProxies(t, rdb, patient)
	g, orgs := newGate(t, hung), orgs(t)
	g.limiter = newLimiter(t, hung)
	bad := masterOf(t, rdb, lua.EpochKey(orgs[0]))
	request := func(org string) ratelimit.Request {
		r := g.request(1, ratelimit.PerHour(1e6))
		r.Org = org
		return r
	}
	for _, org := range orgs {
		until(t, "a warm limiter", func() bool { _, err := g.limiter.Admit(t.Context(), request(org)); return err == nil })
	}
	proxies[bad].hold()
	g.limiter.Admit(t.Context(), request(orgs[0])) //nolint:errcheck // it is not answered, which the next shows
	for _, org := range orgs {
		if masterOf(t, rdb, lua.EpochKey(org)) == bad {
			if _, err := g.limiter.Admit(t.Context(), request(org)); !errors.Is(err, ratelimit.ErrUnavailable) {
				t.Errorf("Admit: %v, want ErrUnavailable", err)
			}
			continue
		}
		until(t, "an answer of another server", func() bool { _, err := g.limiter.Admit(t.Context(), request(org)); return err == nil })
	}
	proxies[bad].release()
	until(t, "an answer of the server", func() bool { _, err := g.limiter.Admit(t.Context(), request(orgs[0])); return err == nil })
}

// TestHungFirstCall: a client that knows no server yet asks one where a bucket lies, and that one may not answer.
func TestHungFirstCall(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{silent(t)}, ReadTimeout: -1, WriteTimeout: -1, MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	r := ratelimit.Request{Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(1).By("network"), Cost: 1, Value: "v"}}}
	for name, l := range map[string]*ratelimit.Limiter{
		"the limiter's time": newLimiter(t, rdb), "the caller's own": newLimiter(t, rdb, ratelimit.WithTimeout(time.Minute)),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		if name == "the caller's own" {
			ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		}
		_, err := l.Admit(ctx, r)
		cancel()
		if !errors.Is(err, ratelimit.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

// TestCancelledIsNotSent has callers leave before their turn comes.
func TestCancelledIsNotSent(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newCrowd(t, rdb)
		r := c.request(1, ratelimit.PerHour(100))
		first, open := c.hold(r)
		ctx, cancel := context.WithCancel(t.Context())
		var gone, there []*decided
		for i := range 20 {
			if i%2 == 0 {
				gone = append(gone, c.ask(ctx, r))
			} else {
				there = append(there, c.ask(t.Context(), r))
			}
		}
		cancel()
		until(t, "they have left", func() bool {
			for _, d := range gone {
				select {
				case <-d.done:
				default:
					return false
				}
			}
			return true
		})
		open()
		for _, d := range gone {
			if !errors.Is(d.err, context.Canceled) || !errors.Is(d.err, ratelimit.ErrUnavailable) {
				t.Errorf("who left: %v, %v", d.Decision, d.err)
			}
		}
		for _, d := range append(there, first) {
			if d.err != nil || !d.Allowed {
				t.Errorf("who stayed: %v, %v", d.Decision, d.err)
			}
		}
		if used := c.used(rdb, r)[0]; used != 11 {
			t.Errorf("%d used, want 11: those who left were not asked for", used)
		}
	})
}
