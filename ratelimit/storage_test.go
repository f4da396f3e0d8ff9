package ratelimit_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestCheckStorage(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		if err := ratelimit.CheckStorage(t.Context(), rdb); err != nil {
			t.Errorf("CheckStorage: %v, want nothing wrong", err)
		}
	})
}

func TestCheckStorageFaults(t *testing.T) {
	t.Parallel()
	evicting := redistest.Start(t, "--maxmemory", "64mb", "--maxmemory-policy", "volatile-ttl")
	latent := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	safe := redistest.Start(t, "--maxmemory", "64mb")
	embedded := miniredis.RunT(t).Addr() // has nothing to tell
	gone := freed(t)
	const mend = "set maxmemory-policy noeviction"
	for _, tt := range []struct {
		name    string
		servers []string
		is, not []error
		texts   []string
		without string
	}{
		{"evicts", []string{evicting}, []error{ratelimit.ErrEviction}, []error{ratelimit.ErrUnavailable}, []string{evicting, `"volatile-ttl"`, "0 keys", mend}, "as long as"},
		{"would evict", []string{latent}, []error{ratelimit.ErrEviction}, []error{ratelimit.ErrUnavailable}, []string{latent, `"allkeys-lru"`, "maxmemory is 0", mend}, "since it started"},
		{"does not tell", []string{embedded}, []error{ratelimit.ErrUnavailable}, []error{ratelimit.ErrEviction}, []string{embedded, "noeviction"}, mend},
		{"does not answer", []string{gone}, []error{ratelimit.ErrUnavailable}, []error{ratelimit.ErrEviction}, []string{gone, "refused"}, mend},
		{"all at once", []string{evicting, safe, gone, latent}, []error{ratelimit.ErrEviction, ratelimit.ErrUnavailable}, nil, []string{evicting, latent, gone, mend}, safe},
		{"as it should be", []string{safe}, nil, nil, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := ratelimit.CheckStorage(t.Context(), clientOf(t, tt.servers))
			if (err != nil) != (len(tt.is) > 0) {
				t.Fatalf("CheckStorage: %v, want %v", err, tt.is)
			}
			for _, is := range tt.is {
				if !errors.Is(err, is) {
					t.Errorf("CheckStorage: %v, want %v", err, is)
				}
			}
			for _, not := range tt.not {
				if errors.Is(err, not) {
					t.Errorf("CheckStorage: %v, which is %v", err, not)
				}
			}
			for _, text := range tt.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("CheckStorage: %v, want it to hold %q", err, text)
				}
			}
			if tt.without != "" && strings.Contains(err.Error(), tt.without) {
				t.Errorf("CheckStorage: %v, want it without %q", err, tt.without)
			}
		})
	}
}

// clientOf returns a client of one server, or a ring of more.
func clientOf(t *testing.T, servers []string) redis.UniversalClient {
	t.Helper()
	if len(servers) == 1 {
		single := redis.NewClient(&redis.Options{Addr: servers[0], DialerRetries: 1})
		t.Cleanup(func() { single.Close() })
		return single
	}
	shards := map[string]string{}
	for _, addr := range servers {
		shards[addr] = addr
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: shards, HeartbeatFrequency: time.Hour, DialerRetries: 1})
	t.Cleanup(func() { ring.Close() })
	return ring
}

// freed returns an address where nobody listens any more.
func freed(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestCheckStorageEnds(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	defer listener.Close() // it accepts and says nothing
	silent := clientOf(t, []string{listener.Addr().String()})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		want error
	}{
		{"by itself", t.Context(), context.DeadlineExceeded},
		{"with its context", canceled, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := ratelimit.CheckStorage(tt.ctx, silent)
			if !errors.Is(err, ratelimit.ErrUnavailable) || !errors.Is(err, tt.want) || errors.Is(err, ratelimit.ErrEviction) {
				t.Errorf("CheckStorage: %v, want ErrUnavailable and %v", err, tt.want)
			}
		})
	}
	if err := ratelimit.CheckStorage(t.Context(), nil); err == nil || errors.Is(err, ratelimit.ErrEviction) {
		t.Errorf("CheckStorage of no client: %v, want an error that says so", err)
	}
}
