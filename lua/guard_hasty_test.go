package lua

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

// mute is a hook that answers nobody before his context ends.
type mute struct{}

func (mute) DialHook(next redis.DialHook) redis.DialHook { return next }

func (mute) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (mute) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		<-ctx.Done()
		cmd.SetErr(ctx.Err())
		return ctx.Err()
	}
}

// TestHastyCallersOpenNoBreaker: whose deadline ends before a server that is well could have answered says nothing of it;
// who has waited for 20 ms does.
func TestHastyCallersOpenNoBreaker(t *testing.T) {
	t.Parallel()
	for gives, open := range map[time.Duration]int{time.Nanosecond: 0, patience - 1: 0, patience: 1} {
		t.Run(gives.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
				t.Cleanup(func() { rdb.Close() })
				rdb.AddHook(mute{})
				conn, _ := guardedConn(t, rdb)
				for range 5 {
					if err := conn.UseProof(within(t, gives), redistest.Org(t), "id", time.Second); !errors.Is(err, context.DeadlineExceeded) {
						t.Fatalf("UseProof: %v", err)
					}
				}
				if n := conn.OpenBreakers(); n != open {
					t.Errorf("%d are open after 5 who gave it %v, want %d", n, gives, open)
				}
			})
		})
	}
}
