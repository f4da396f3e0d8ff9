package ratelimit_test

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

	"github.com/tollgate-go/tollgate/lua/breaker"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestLimiterLeavesADeadServerAlone has 200 callers of as many orgs ask one that refuses connections: checks and what is
// read for them have one breaker, and the log has one line.
func TestLimiterLeavesADeadServerAlone(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", DialerRetries: 1, PoolSize: 1000, // beyond as many failures the client would try by itself
		Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED },
	})
	t.Cleanup(func() { rdb.Close() })
	lines := make(chan string, 100)
	l, err := ratelimit.New(rdb, ratelimit.WithTimeout(time.Minute), ratelimit.WithLogger(slog.New(slog.NewTextHandler(writer(lines), nil))))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(n int) error {
		r := ratelimit.Request{Org: "acme", Project: "shop", Key: "k", Endpoint: endpoint, Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(1), Cost: 1}}}
		if n%2 == 0 { // nobody's limit has nothing to read
			r = ratelimit.Request{Endpoint: endpoint, Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(1), Cost: 1, Value: "somebody"}}}
			r.Charges[0].Policy.Partition = "network"
		}
		_, err := l.Admit(t.Context(), r)
		return err
	}
	var callers sync.WaitGroup
	for n := range 200 {
		callers.Go(func() {
			if err := ask(n); !errors.Is(err, ratelimit.ErrUnavailable) {
				t.Errorf("Admit: %v", err)
			}
		})
	}
	callers.Wait()
	for n := range 20 {
		if err = ask(n); errors.Is(err, breaker.ErrOpen) {
			break
		}
	}
	if !errors.Is(err, breaker.ErrOpen) || l.Stats().OpenBreakers != 1 {
		t.Errorf("%v, stats %+v", err, l.Stats())
	}
	if line := <-lines; !strings.Contains(line, "part=limits") || len(lines) > 0 { // after the answers, which do not wait for it
		t.Errorf("%s, and %d more lines; want one", line, len(lines))
	}
}

// writer sends on what is written to it.
type writer chan string

func (w writer) Write(line []byte) (int, error) {
	w <- string(line)
	return len(line), nil
}
