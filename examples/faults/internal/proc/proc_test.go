package proc_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/proc"
)

// TestLives has a server paused, killed and started again, with what it has on disk.
func TestLives(t *testing.T) {
	t.Parallel()
	s, err := proc.Start(t.Context(), proc.Config{Args: []string{"--appendonly", "yes"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	if err := rdb.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := rdb.Get(soon, "k").Err(); err == nil {
		t.Error("a paused server answered")
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	s.Kill()
	if err := s.Pause(); err == nil || s.Pid() != 0 {
		t.Errorf("Pause of a killed server = %v, its process is %d", err, s.Pid())
	}
	if err := rdb.Get(t.Context(), "k").Err(); err == nil {
		t.Error("a killed server answered")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err == nil {
		t.Error("a server that runs was started again")
	}
	again := redis.NewClient(&redis.Options{Addr: s.Addr()})
	t.Cleanup(func() { again.Close() })
	if got, err := again.Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("after a restart GET = %q, %v; want what was written", got, err)
	}
}

func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := proc.Start(t.Context(), proc.Config{}); !errors.Is(err, proc.ErrMissing) {
		t.Errorf("Start = %v, want ErrMissing", err)
	}
}

func TestTellsWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	if _, err := proc.Start(t.Context(), proc.Config{Args: []string{"--no-such-setting", "1"}}); err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Errorf("Start = %v, want an error that names the setting", err)
	}
}
