package revocation_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/lua/breaker"
)

// TestCheckLeavesADeadServerAlone has 200 callers ask one that refuses connections.
func TestCheckLeavesADeadServerAlone(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", DialerRetries: 1, PoolSize: 1000, // beyond as many failures the client would try by itself
		Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED },
	})
	t.Cleanup(func() { rdb.Close() })
	var log strings.Builder // whose handler holds a lock
	s, err := revocation.New(rdb, revocation.WithTimeout(time.Minute), revocation.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	token := &authkey.Token{Issuer: "https://login.example.com/", ID: "t"}
	var callers sync.WaitGroup
	for range 200 {
		callers.Go(func() {
			if err := s.Check(t.Context(), "acme", token); !errors.Is(err, authkey.ErrUnavailable) {
				t.Errorf("Check: %v", err)
			}
		})
	}
	callers.Wait()
	for range 2 { // of which one may be a probe
		if err = s.Check(t.Context(), "acme", token); errors.Is(err, breaker.ErrOpen) {
			break
		}
	}
	if !errors.Is(err, breaker.ErrOpen) || s.OpenBreakers() != 1 {
		t.Errorf("%v, %d are open", err, s.OpenBreakers())
	}
	if n := strings.Count(log.String(), "part=revocations"); n != 1 {
		t.Errorf("%d lines: %s", n, log.String())
	}
	if _, err := s.Revoke(t.Context(), "acme", "https://login.example.com/", "t", time.Now().Add(time.Hour), "test"); errors.Is(err, breaker.ErrOpen) || err == nil {
		t.Errorf("a change: %v, want that it is tried", err)
	}
}
