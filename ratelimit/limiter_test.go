package ratelimit_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestChangeActsOnTheNextRequest has two replicas, both with warm caches, and no waiting.
func TestChangeActsOnTheNextRequest(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		a, b := newGate(t, rdb), newGate(t, rdb)
		b.org = a.org
		p := ratelimit.PerHour(1000)
		limits := func(want int64, source string) {
			t.Helper()
			for _, g := range []gate{a, b, a, b} {
				if got := g.admit(g.request(1, p)).Results[0]; got.Limit != want || source != "" && got.Source != source {
					t.Errorf("limit %d from %s, want %d from %s", got.Limit, got.Source, want, source)
				}
			}
		}
		limits(1000, ratelimit.SourcePolicy)
		o := a.set(ratelimit.Override{Project: "shop", Limit: new(int64(500))})
		limits(500, "override:"+o.ID)
		o = b.set(ratelimit.Override{Project: "shop", Limit: new(int64(400))})
		limits(400, "override:"+o.ID)
		other := a.set(ratelimit.Override{Project: "shop", Endpoint: endpoint, Limit: new(int64(300))})
		limits(300, "override:"+other.ID)
		if err := b.overrides.Delete(t.Context(), a.org, other.ID, ratelimit.Always); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		limits(400, "override:"+o.ID)
		if _, err := a.overrides.Clear(t.Context(), a.org, "shop"); err != nil {
			t.Fatalf("Clear: %v", err)
		}
		limits(1000, ratelimit.SourcePolicy)
		for _, g := range []gate{a, b} {
			// Each change made one answer old; all else came from memory.
			if got := g.limiter.Stats(); got.Stale != 5 || got.Misses != 6 || got.Orgs != 1 {
				t.Errorf("stats %+v, want 5 stale, 6 misses, 1 org", got)
			}
		}
	}, redistest.OrEmbedded())
}

// TestEpochIsLostOrDamaged does to the epoch what failovers, evictions and other programs do. The next
// request obeys what is stored, and the one after it is served from memory again.
func TestEpochIsLostOrDamaged(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(context.Context, redis.UniversalClient, string) error{
		"lost": func(ctx context.Context, rdb redis.UniversalClient, org string) error {
			return rdb.Del(ctx, lua.EpochKey(org)).Err()
		},
		"limits lost": func(ctx context.Context, rdb redis.UniversalClient, org string) error {
			return rdb.HDel(ctx, lua.EpochKey(org), "limits").Err()
		},
		"set back": func(ctx context.Context, rdb redis.UniversalClient, org string) error {
			return rdb.HIncrBy(ctx, lua.EpochKey(org), "limits", -1_000_000).Err()
		},
		"set to 1": func(ctx context.Context, rdb redis.UniversalClient, org string) error {
			return rdb.HSet(ctx, lua.EpochKey(org), "limits", 1).Err()
		},
		"set ahead": func(ctx context.Context, rdb redis.UniversalClient, org string) error {
			return rdb.HIncrBy(ctx, lua.EpochKey(org), "limits", 1_000_000_000_000).Err()
		},
		"damaged": func(ctx context.Context, rdb redis.UniversalClient, org string) error {
			return rdb.HSet(ctx, lua.EpochKey(org), "limits", "1.5").Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				a, b := newGate(t, rdb), newGate(t, rdb)
				b.org = a.org
				p := ratelimit.PerHour(1000)
				a.set(ratelimit.Override{Limit: new(int64(500))})
				a.admit(a.request(1, p))
				b.admit(b.request(1, p))
				// The stored override changes, and the epoch does not tell as it should.
				a.set(ratelimit.Override{Limit: new(int64(400))})
				if err := harm(t.Context(), rdb, a.org); err != nil {
					t.Fatalf("harm: %v", err)
				}
				for _, g := range []gate{a, b} {
					for range 3 {
						if got := g.admit(g.request(1, p)).Results[0]; got.Limit != 400 {
							t.Errorf("limit %d, want 400", got.Limit)
						}
					}
					if got := g.limiter.Stats(); got.Stale > 2 {
						t.Errorf("stats %+v: still stale", got)
					}
				}
				a.set(ratelimit.Override{Limit: new(int64(300))})
				for _, g := range []gate{a, b} {
					if got := g.admit(g.request(1, p)).Results[0]; got.Limit != 300 {
						t.Errorf("limit %d after the next change, want 300", got.Limit)
					}
				}
			}, redistest.OrEmbedded())
		})
	}
}

func TestOrgIsFlushed(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		p := ratelimit.PerHour(2)
		g.set(ratelimit.Override{Limit: new(int64(1))})
		g.admit(g.request(1, p))
		state := lua.LimitKey(g.org, "project", "shop", endpoint, "requests", lua.Sliding)
		if n, err := rdb.Del(t.Context(), lua.EpochKey(g.org), lua.OverridesKey(g.org), state).Result(); err != nil || n != 3 {
			t.Fatalf("DEL = %d, %v; want 3 keys", n, err)
		}
		if d := g.admit(g.request(2, p)); !d.Allowed || d.Results[0].Limit != 2 || d.Results[0].Used != 2 {
			t.Errorf("%+v, want the policy as coded, unused before", d)
		}
	}, redistest.OrEmbedded())
}

func TestStaleIdentity(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		conn, err := lua.NewConn(rdb)
		if err != nil {
			t.Fatalf("NewConn: %v", err)
		}
		epoch, err := conn.Epoch(t.Context(), g.org)
		if err != nil {
			t.Fatalf("Epoch: %v", err)
		}
		r := g.request(1, ratelimit.PerHour(10))
		r.Epoch = epoch.Keys
		if d := g.admit(r); !d.Allowed {
			t.Errorf("current identity: %+v", d)
		}
		g.set(ratelimit.Override{Limit: new(int64(9))}) // limits changed, keys did not
		if d := g.admit(r); !d.Allowed || d.Results[0].Limit != 9 {
			t.Errorf("after a change of limits: %+v", d)
		}
		for _, change := range []func() error{
			func() error { return rdb.HIncrBy(t.Context(), lua.EpochKey(g.org), "keys", 1).Err() },
			func() error { return rdb.HIncrBy(t.Context(), lua.EpochKey(g.org), "keys", -2).Err() },
			func() error { return rdb.Del(t.Context(), lua.EpochKey(g.org)).Err() },
		} {
			if err := change(); err != nil {
				t.Fatalf("change: %v", err)
			}
			if d, err := g.limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrStale) || d.Allowed || d.Results != nil {
				t.Errorf("Admit = %+v, %v; want ErrStale", d, err)
			}
		}
		r.Epoch = 0
		if d := g.admit(r); d.Results[0].Used != 3 {
			t.Errorf("%d used, want 3: stale requests take nothing", d.Results[0].Used)
		}
	}, redistest.OrEmbedded())
}

// TestOverrideEndsByRedisTime has an override end while the limiter's idea of the time is wrong by far.
func TestOverrideEndsByRedisTime(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]time.Duration{"right": 0, "ahead": 5 * time.Hour, "behind": -5 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				g := newGate(t, rdb)
				p := ratelimit.PerHour(1000)
				redisTime := func() time.Time { return g.admit(g.request(0, p.Named("clock"))).At }
				long := g.set(ratelimit.Override{Limit: new(int64(7))})
				end := redisTime().Add(500 * time.Millisecond)
				short := g.set(ratelimit.Override{Project: "shop", Limit: new(int64(5)), ExpiresAt: end})
				if !short.ExpiresAt.Equal(end) {
					t.Errorf("ends at %v, want %v", short.ExpiresAt, end)
				}
				before := 0
				for {
					g.limiter.ShiftClock(wrong)
					d := g.admit(g.request(0, p))
					want, source := int64(7), "override:"+long.ID
					if d.At.Before(end) {
						want, source = 5, "override:"+short.ID
						before++
					}
					if got := d.Results[0]; got.Limit != want || got.Source != source {
						t.Fatalf("%v before its end: limit %d from %s, want %d from %s", end.Sub(d.At), got.Limit, got.Source, want, source)
					}
					if !d.At.Before(end) {
						break
					}
				}
				if before == 0 {
					t.Error("the override ended before the first request; nothing was tested")
				}
			}, redistest.OrEmbedded())
		})
	}
}

// silent is a server that takes everything and answers nothing.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
	return listener.Addr().String()
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, addr string
		org        string
	}{
		{"nobody listens", "127.0.0.1:1", "acme"},
		{"no answer to the overrides", silent(t), "acme"},
		{"no answer to the check", silent(t), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// The client would wait for ever.
			rdb := redis.NewClient(&redis.Options{Addr: tt.addr, ReadTimeout: -1, WriteTimeout: -1, MaxRetries: -1, DialerRetries: 1})
			t.Cleanup(func() { rdb.Close() })
			limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(20*time.Millisecond))
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			overrides, err := ratelimit.NewOverrides(rdb, ratelimit.WithTimeout(20*time.Millisecond))
			if err != nil {
				t.Fatalf("NewOverrides: %v", err)
			}
			r := ratelimit.Request{Org: tt.org, Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(1).By("network"), Cost: 1, Value: "v"}}}
			silent := tt.addr != "127.0.0.1:1"
			d, err := limiter.Admit(t.Context(), r)
			if !errors.Is(err, ratelimit.ErrUnavailable) || d.Allowed || silent && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Admit = %+v, %v; want ErrUnavailable", d, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := limiter.Admit(ctx, r); !errors.Is(err, ratelimit.ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("Admit of a caller who is gone: %v, want ErrUnavailable and context.Canceled", err)
			}
			_, listErr := overrides.List(t.Context(), "acme")
			_, _, setErr := overrides.Set(t.Context(), ratelimit.Override{Org: "acme", Limit: new(int64)}, ratelimit.Always)
			_, clearErr := overrides.Clear(t.Context(), "acme", "")
			for i, err := range []error{listErr, setErr, clearErr, overrides.Delete(t.Context(), "acme", "id", ratelimit.Always)} {
				if !errors.Is(err, ratelimit.ErrUnavailable) {
					t.Errorf("call %d: %v, want ErrUnavailable", i, err)
				}
			}
		})
	}
}
