package cluster_test

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/cluster"
)

// TestChanges makes each change of a cluster once, and looks whether what was written stays.
func TestChanges(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := cluster.Start(ctx)
	must(t, err)
	defer c.Close()
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ClusterStateReloadInterval: 200 * time.Millisecond})
	defer rdb.Close()
	must(t, rdb.MSet(ctx, "{tag}a", 1, "{tag}b", 2).Err())
	slot, err := rdb.ClusterKeySlot(ctx, "{tag}").Result()
	must(t, err)

	first, replica := owner(ctx, t, c)
	must(t, c.Failover(ctx, replica, cluster.Graceful))
	must(t, c.Settled(ctx))
	second, replica := owner(ctx, t, c)
	if second == first || replica != first {
		t.Errorf("after a failover the owner is %s, its replica %s; want them to have changed places", second.Addr(), replica.Addr())
	}
	must(t, c.Failover(ctx, replica, cluster.Takeover))
	must(t, c.Settled(ctx))
	if now, _ := owner(ctx, t, c); now != first {
		t.Errorf("after a takeover the owner is %s, want %s", now.Addr(), first.Addr())
	}

	calls := 0
	must(t, c.Migrate(ctx, int(slot), func(context.Context) { calls++ }))
	must(t, c.Settled(ctx))
	third, replica := owner(ctx, t, c)
	if third == first || calls != 3 {
		t.Errorf("after a migration the owner is %s as before, the function was called %d times, want 3", third.Addr(), calls)
	}
	if err := third.Client().Wait(ctx, 1, time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	third.Kill()
	began := time.Now()
	for leads := false; !leads; leads, _ = replica.Leads(ctx) {
		must(t, ctx.Err())
	}
	if elapsed := time.Since(began); elapsed < cluster.NodeTimeout/2 {
		t.Errorf("the replica leads %v after its master died: it did not wait for the node timeout", elapsed)
	}
	var got []any
	for ok := false; !ok; ok = err == nil && len(got) == 2 {
		must(t, ctx.Err())
		got, err = rdb.MGet(ctx, "{tag}a", "{tag}b").Result()
	}
	if !slices.Equal(got, []any{"1", "2"}) {
		t.Errorf("MGET = %v after all changes, want what was written", got)
	}
}

func owner(ctx context.Context, t *testing.T, c *cluster.Cluster) (master, replica *cluster.Node) {
	t.Helper()
	for { // a node may not have heard yet who follows whom
		master, replica, err := c.Owner(ctx, "{tag}")
		must(t, err)
		if master != nil && replica != nil {
			return master, replica
		}
		runtime.Gosched()
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
