package middleware_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// slow is a hook that has scripts take so long.
type slow time.Duration

func (s slow) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s slow) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			time.Sleep(time.Duration(s))
		}
		return next(ctx, cmd)
	}
}

func (s slow) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestHangUpsLiftNoLimit has a client exceed a limit that fails open, and hang up again and again on a Redis that answers
// within the timeout.
func TestHangUpsLiftNoLimit(t *testing.T) {
	t.Parallel()
	addr, who := redistest.StandaloneAddr(t), redistest.Org(t)
	synctest.Test(t, func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { rdb.Close() })
		rdb.AddHook(slow(130 * time.Millisecond))
		limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(200*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		key := middleware.Key{Name: "network", Of: func(*http.Request) string { return who }}
		s := middleware.LimitBy(key, limiter, ratelimit.PerHour(1)).OnFailure(middleware.FailOpen)
		passed := func() (n int) {
			for range 5 {
				if _, _, refusal := admit(t, s, request("GET", "/")); refusal == nil {
					n++
				}
			}
			return n
		}
		if n := passed(); n != 1 {
			t.Fatalf("%d passed of a limit of 1", n)
		}
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(115*time.Millisecond, cancel)
			_, _, _ = admit(t, s, request("GET", "/").WithContext(ctx)) // nobody sees what it came to
			cancel()
		}
		if n := passed(); n != 0 {
			t.Errorf("%d more passed after 10 had hung up", n)
		}
	})
}
