package ratelimit_test

import (
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// ownCluster starts three masters that are the test's own.
func ownCluster(t *testing.T) (*redis.ClusterClient, [3]*redis.Client) {
	t.Helper()
	const slots = 16384
	var nodes [3]*redis.Client
	for i := range nodes {
		nodes[i] = redis.NewClient(&redis.Options{Addr: redistest.Start(t, "--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1")})
		t.Cleanup(func() { nodes[i].Close() })
		must(t, nodes[i].Do(t.Context(), "cluster", "set-config-epoch", i+1).Err())
		must(t, nodes[i].ClusterAddSlotsRange(t.Context(), i*slots/len(nodes), (i+1)*slots/len(nodes)-1).Err())
		host, port, _ := net.SplitHostPort(nodes[0].Options().Addr)
		if i > 0 {
			must(t, nodes[i].ClusterMeet(t.Context(), host, port).Err())
		}
	}
	for _, node := range nodes {
		until(t, "the cluster takes writes", func() bool {
			info, err := node.ClusterInfo(t.Context()).Result()
			must(t, err)
			return strings.Contains(info, "cluster_state:ok\r\n") && strings.Contains(info, "cluster_known_nodes:3\r\n")
		})
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Options().Addr}})
	t.Cleanup(func() { rdb.Close() })
	return rdb, nodes
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOnceWhileSlotsMove moves the slot of a bucket around the servers of a cluster, key by key, under checks of that
// bucket and of all others.
func TestOnceWhileSlotsMove(t *testing.T) {
	t.Parallel()
	rdb, nodes := ownCluster(t)
	g := newGate(t, rdb)
	r := g.request(1, ratelimit.PerHour(1e6))
	g.admit(r)
	slot, err := rdb.ClusterKeySlot(t.Context(), lua.EpochKey(g.org)).Result()
	must(t, err)
	at := 0
	for i, node := range nodes {
		if node.Options().Addr == masterOf(t, rdb, lua.EpochKey(g.org)) {
			at = i
		}
	}
	// Others share the pipelines of that bucket.
	others := make([]ratelimit.Request, 0, bucket.Count)
	for _, org := range orgs(t) {
		o := r
		o.Org = org
		others = append(others, o)
	}
	stop, beside := make(chan struct{}), &tally{}
	var aside [8]chan struct{}
	for i := range aside {
		aside[i] = make(chan struct{})
		go func() {
			defer close(aside[i])
			for n := i; ; n += len(aside) {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := g.limiter.Admit(t.Context(), others[n%len(others)]); err != nil {
					beside.unknown.Add(1)
				} else {
					beside.admitted.Add(1)
				}
			}
		}()
	}
	done := load(t, g.limiter, r, 2000, func() {
		for range 6 {
			next := (at + 1) % len(nodes)
			move(t, nodes, slot, at, next)
			at = next
		}
	})
	close(stop)
	for _, one := range aside {
		<-one
	}
	done.admitted.Add(1)
	for _, o := range append(others, r) {
		o.Peek = true
		until(t, "the servers agree where the slots are", func() bool { _, err := g.limiter.Admit(t.Context(), o); return err == nil })
	}
	done.once(t, rdb, r)
	if d := g.admit(r); !d.Allowed {
		t.Errorf("after all moves: %v", d)
	}
	sum := int64(0)
	for _, o := range others {
		if o.Org != g.org {
			o.Peek = true
			sum += g.admit(o).Results[0].Used
		}
	}
	if sum < beside.admitted.Load() || sum > beside.admitted.Load()+beside.unknown.Load() {
		t.Errorf("beside: %d counted: %d admitted, %d unknown", sum, beside.admitted.Load(), beside.unknown.Load())
	}
}

// move moves a slot from one server to another, as redis-cli does.
func move(t *testing.T, nodes [3]*redis.Client, slot int64, from, to int) {
	t.Helper()
	ids := [3]string{}
	for i, node := range nodes {
		id, err := node.Do(t.Context(), "cluster", "myid").Text()
		must(t, err)
		ids[i] = id
	}
	ctx, source, target := t.Context(), nodes[from], nodes[to]
	must(t, target.Do(ctx, "cluster", "setslot", slot, "importing", ids[from]).Err())
	must(t, source.Do(ctx, "cluster", "setslot", slot, "migrating", ids[to]).Err())
	host, port, _ := net.SplitHostPort(target.Options().Addr)
	for {
		keys, err := source.ClusterGetKeysInSlot(ctx, int(slot), 1).Result()
		must(t, err)
		if len(keys) == 0 {
			break
		}
		must(t, source.Migrate(ctx, host, port, keys[0], 0, 5e9).Err())
	}
	for _, node := range []*redis.Client{target, source, nodes[3-from-to]} {
		must(t, node.Do(ctx, "cluster", "setslot", slot, "node", ids[to]).Err())
	}
	// The next owner is to know the epoch of this one, or theirs collide.
	until(t, "all servers have one epoch", func() bool {
		epochs := map[string]bool{}
		for _, node := range nodes {
			info, err := node.ClusterInfo(ctx).Result()
			must(t, err)
			_, rest, _ := strings.Cut(info, "cluster_current_epoch:")
			epoch, _, _ := strings.Cut(rest, "\r\n")
			epochs[epoch] = true
		}
		return len(epochs) == 1
	})
}
