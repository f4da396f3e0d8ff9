package server_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/bench/internal/server"
)

func TestStart(t *testing.T) {
	t.Parallel()
	s, err := server.Start(t.Context(), "--maxmemory", "123mb")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr()})
	defer rdb.Close()
	for name, want := range map[string]string{"maxmemory": fmt.Sprint(123 << 20), "save": "", "appendonly": "no", "bind": "127.0.0.1"} {
		if got, err := rdb.ConfigGet(t.Context(), name).Result(); err != nil || got[name] != want {
			t.Errorf("CONFIG GET %s = %q, %v; want %q", name, got[name], err, want)
		}
	}
	info, err := rdb.Info(t.Context(), "server").Result()
	if want := fmt.Sprintf("process_id:%d\r\n", s.Pid()); err != nil || !strings.Contains(info, want) {
		t.Errorf("INFO server = %q, %v; want %q in it", info, err, want)
	}
	dir, err := rdb.ConfigGet(t.Context(), "dir").Result()
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Stop()
	if err := syscall.Kill(s.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is there after Stop: kill 0 = %v", err)
	}
	if _, err := os.Stat(dir["dir"]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is there after Stop: Stat = %v", err)
	}
}

func TestStartEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := server.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-s.Ended()
	if err := syscall.Kill(s.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is there after its context ended: kill 0 = %v", err)
	}
	s.Stop()
	if _, err := server.Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Start with a context that has ended = %v, want context.Canceled", err)
	}
}

func TestStartTellsWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	if s, err := server.Start(t.Context(), "--no-such-setting", "1"); err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Errorf("Start = %v, %v; want an error that names the setting", s, err)
	}
}

func TestStartWithoutRedis(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := server.Start(t.Context()); !errors.Is(err, server.ErrMissing) {
		t.Errorf("Start = %v, want ErrMissing", err)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	for _, masters := range []int{1, 3} {
		t.Run(fmt.Sprint(masters), func(t *testing.T) {
			t.Parallel()
			all, err := server.Cluster(t.Context(), masters)
			if err != nil {
				t.Fatal(err)
			}
			defer all.Stop()
			rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: all.Addrs()})
			defer rdb.Close()
			const keys = 100
			for i := range keys { // writes must be taken at once
				if err := rdb.Set(t.Context(), fmt.Sprint(i), i, 0).Err(); err != nil {
					t.Fatalf("SET: %v", err)
				}
			}
			var sum int64
			for _, s := range all {
				one := redis.NewClient(&redis.Options{Addr: s.Addr()})
				size, err := one.DBSize(t.Context()).Result()
				if err != nil || size == 0 {
					t.Errorf("%s holds %d keys, %v; want some", s.Addr(), size, err)
				}
				sum += size
				one.Close()
			}
			if sum != keys {
				t.Errorf("the masters hold %d keys, want %d", sum, keys)
			}
		})
	}
}

func TestClusterRefuses(t *testing.T) {
	t.Parallel()
	for _, masters := range []int{0, -1, 16_385} {
		if all, err := server.Cluster(t.Context(), masters); err == nil {
			all.Stop()
			t.Errorf("Cluster(%d) started", masters)
		}
	}
}
