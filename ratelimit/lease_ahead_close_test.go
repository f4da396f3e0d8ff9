package ratelimit_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestAheadCrash has a process take units ahead and never come back: they are missed until the window ends, and others get
// what is left, and no more.
func TestAheadCrash(t *testing.T) {
	t.Parallel()
	const limit = 1000
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, policy := range windowed {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				lost := client(t, rdb, wire{})
				a, b := newGate(t, lost), newGate(t, rdb)
				b.org = a.org
				t.Cleanup(func() { _ = a.limiter.Close(context.WithoutCancel(t.Context())) })
				p := policy(limit, 400*day)
				admitted, _ := a.ahead(a.request(1, p.Ahead(limit)))
				lost.Close() // and what it held is held
				r := b.request(1, p)
				charged := counted(t, rdb, r)[0]
				if charged <= admitted {
					t.Fatalf("%d charged, %d admitted; want more charged", charged, admitted)
				}
				for b.admit(r).Allowed {
					admitted++
				}
				if got := counted(t, rdb, r)[0]; got != limit || admitted >= limit {
					t.Errorf("%d counted and %d admitted of %d, want all and less", got, admitted, limit)
				}
			})
		}
	})
}

// TestAheadClose gives back what is left, once.
func TestAheadClose(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, policy := range windowed {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				g := newGate(t, rdb)
				r := g.request(2, policy(1000, 400*day).Ahead(500))
				admitted, _ := g.ahead(r)
				if got := counted(t, rdb, r)[0]; got <= admitted {
					t.Errorf("%d counted, %d admitted: there is no lease", got, admitted)
				}
				for range 2 {
					g.end()
					if got := counted(t, rdb, r)[0]; got != admitted {
						t.Errorf("%d counted after Close, %d admitted", got, admitted)
					}
				}
				if _, err := g.limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrUnavailable) {
					t.Errorf("Admit after Close: %v, want ErrUnavailable", err)
				}
			})
		}
	})
}

// TestAheadCloseWhileOff gives back what is left, though the limiter decides nothing.
func TestAheadCloseWhileOff(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		r := g.request(1, ratelimit.Per(1000, 400*day).Ahead(500))
		admitted, _ := g.ahead(r)
		g.limiter.SetOff(true)
		g.end()
		if got := counted(t, rdb, r)[0]; got != admitted {
			t.Errorf("%d counted after Close, %d admitted", got, admitted)
		}
	})
}

// TestAheadCloseUnderLoad closes while many ask: who was admitted was counted, and nothing else is.
func TestAheadCloseUnderLoad(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for round := range 20 {
			g := newGate(t, rdb)
			p := ratelimit.PerHour(1_000_000).Fixed()
			r := g.request(1, p.Ahead(50), p.Named("next").Ahead(30))
			var admitted, unavailable atomic.Int64
			var group sync.WaitGroup
			started := make(chan struct{}, 1)
			for range 16 {
				group.Go(func() {
					for {
						d, err := g.limiter.Admit(t.Context(), r)
						if err != nil {
							if !errors.Is(err, ratelimit.ErrUnavailable) {
								t.Errorf("Admit: %v", err)
							}
							unavailable.Add(1)
							return
						}
						if d.Allowed && admitted.Add(1) == int64(200+50*round) {
							started <- struct{}{}
						}
					}
				})
			}
			<-started
			g.end()
			group.Wait()
			for i, got := range counted(t, rdb, r) {
				if got != admitted.Load() {
					t.Errorf("policy %d: %d counted, %d admitted", i, got, admitted.Load())
				}
			}
		}
	})
}

// TestAheadCloseTells that it did not give back what it could not.
func TestAheadCloseTells(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, end := range map[string]struct {
			close func(g gate, servers redis.UniversalClient) error
			want  error
		}{
			"no time": {func(g gate, _ redis.UniversalClient) error {
				ctx, cancel := context.WithCancel(g.Context())
				cancel()
				return g.limiter.Close(ctx)
			}, context.Canceled},
			"no Redis": {func(g gate, servers redis.UniversalClient) error {
				servers.Close()
				return g.limiter.Close(g.Context())
			}, ratelimit.ErrUnavailable},
		} {
			servers := client(t, rdb, wire{})
			g := newGate(t, servers)
			g.ahead(g.request(1, ratelimit.PerHour(1000).Ahead(100)))
			if err := end.close(g, servers); !errors.Is(err, end.want) {
				t.Errorf("%s: %v, want %v", name, err, end.want)
			}
		}
	})
}
