package sentinel_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/sentinel"
)

// TestMasterIsReplaced replaces the master on demand, and then kills it.
func TestMasterIsReplaced(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g, err := sentinel.Start(ctx)
	must(t, err)
	defer g.Close()
	rdb := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: sentinel.Name, SentinelAddrs: g.Addrs()})
	defer rdb.Close()
	must(t, rdb.Set(ctx, "key", "value", 0).Err())
	must(t, rdb.Wait(ctx, 1, time.Second).Err())
	first, err := g.Master(ctx)
	must(t, err)
	must(t, g.Failover(ctx))
	must(t, g.Settled(ctx))
	second, err := g.Master(ctx)
	must(t, err)
	if second == first {
		t.Errorf("the master is %s still", first.Addr())
	}
	second.Kill()
	must(t, g.Replaced(ctx, second))
	if third, err := g.Master(ctx); err != nil || third != first {
		t.Errorf("Master = %v, %v; want the first again", third, err)
	}
	for value, err := "", error(nil); value != "value"; value, err = rdb.Get(ctx, "key").Result() {
		if ctx.Err() != nil {
			t.Fatalf("GET = %q, %v; want what was written", value, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
