// Package cluster runs a Redis Cluster that faults are done to: three masters, each with a replica that takes its place.
//
//	c, err := cluster.Start(ctx)
//	if err != nil { ... }
//	defer c.Close()
//	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
//	master, replica, err := c.Owner(ctx, key)
//	master.Kill()                                        // or Pause, for longer than NodeTimeout
//	err = c.Failover(ctx, replica, cluster.Graceful)     // or Takeover
//	err = c.Migrate(ctx, slot, func(ctx context.Context) { ... }) // the slot lies on two masters meanwhile
//	err = c.Settled(ctx)                                 // each slot has a master and that has a replica again
package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/proc"
)

// NodeTimeout is how long a node may be silent until the others vote for its replica.
const NodeTimeout = 2 * time.Second

const (
	shards = 3
	slots  = 16_384
	// settleTimeout bounds how long a cluster may take to agree.
	settleTimeout = time.Minute
	poll          = 20 * time.Millisecond
)

// Node is a server of a cluster.
type Node struct {
	*proc.Server
	rdb *redis.Client
	id  string
}

// Client returns a client of this node alone, which Close closes.
func (n *Node) Client() *redis.Client { return n.rdb }

// Cluster is the servers of a cluster. Safe for concurrent use, but for two changes of it at a time.
type Cluster struct{ nodes []*Node }

// Start runs a cluster of empty servers, and returns when each of them knows all others and each master has a replica
// that is up to date. The arguments follow those of each server. Call Close when it is not needed any more. Errors:
// proc.ErrMissing, the context's, or what a server said.
func Start(ctx context.Context, args ...string) (*Cluster, error) {
	args = append([]string{
		"--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
		"--cluster-node-timeout", fmt.Sprint(NodeTimeout.Milliseconds()),
	}, args...)
	c := &Cluster{}
	for range 2 * shards {
		server, err := proc.Start(ctx, proc.Config{Args: args})
		if err != nil {
			c.Close()
			return nil, err
		}
		c.nodes = append(c.nodes, &Node{Server: server, rdb: redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})})
	}
	if err := c.form(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return c, nil
}

// form makes one cluster of empty servers: the first are masters, those behind them their replicas.
func (c *Cluster) form(ctx context.Context) error {
	for i, n := range c.nodes {
		var err error
		if n.id, err = n.rdb.Do(ctx, "cluster", "myid").Text(); err != nil {
			return err
		}
		// An epoch of its own for each, so that they need not settle that among themselves.
		err = n.rdb.Do(ctx, "cluster", "set-config-epoch", i+1).Err()
		if i < shards {
			err = errors.Join(err, n.rdb.ClusterAddSlotsRange(ctx, i*slots/shards, (i+1)*slots/shards-1).Err())
		}
		for _, other := range c.nodes[:i] { // all at once is quicker than to wait for gossip
			err = errors.Join(err, n.rdb.ClusterMeet(ctx, "127.0.0.1", other.Port()).Err())
		}
		if err != nil {
			return err
		}
	}
	for i, n := range c.nodes[shards:] {
		if err := n.until(ctx, "it knows its master", func() (bool, error) {
			text, err := n.rdb.ClusterNodes(ctx).Result()
			return strings.Contains(text, c.nodes[i].id) && !strings.Contains(text, "handshake"), err
		}); err != nil {
			return err
		}
		if err := n.rdb.ClusterReplicate(ctx, c.nodes[i].id).Err(); err != nil {
			return err
		}
	}
	return c.Settled(ctx)
}

// until polls a node.
func (n *Node) until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	again := time.NewTicker(poll)
	defer again.Stop()
	for {
		ok, err := done()
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: waited until %s: %w", n.Addr(), what, errors.Join(err, ctx.Err()))
		case <-again.C:
		}
	}
}

// living returns the nodes that run.
func (c *Cluster) living() []*Node {
	var living []*Node
	for _, n := range c.nodes {
		if n.Pid() != 0 {
			living = append(living, n)
		}
	}
	return living
}

// Settled waits until every node that runs takes commands and agrees with all others on who owns which slots, and until
// every master has a replica that is up to date, where both of a shard run. No node may be paused.
func (c *Cluster) Settled(ctx context.Context) error {
	living := c.living()
	for _, n := range living {
		if err := n.until(ctx, "the cluster is settled", func() (bool, error) { return c.settled(ctx, n, living) }); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) settled(ctx context.Context, n *Node, living []*Node) (bool, error) {
	info, err1 := n.rdb.ClusterInfo(ctx).Result()
	role, err2 := n.rdb.Info(ctx, "replication").Result()
	mine, paired, err3 := n.owners(ctx)
	theirs, _, err4 := living[0].owners(ctx)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return false, err
	}
	fresh := strings.Contains(role, "role:master\r\n") ||
		strings.Contains(role, "master_link_status:up\r\n") && strings.Contains(role, "master_sync_in_progress:0\r\n")
	return fresh && (paired || len(living) < len(c.nodes)) && mine == theirs && strings.Contains(info, "cluster_state:ok\r\n") &&
		strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r\n", len(c.nodes))), nil
}

// owners returns who owns which slots, as a node sees it, and whether all of them have a replica that has something.
func (n *Node) owners(ctx context.Context) (owners string, paired bool, err error) {
	ranges, err := n.rdb.ClusterSlots(ctx).Result() //nolint:staticcheck // what clients ask for, and Redis 6.2 has it
	byStart := make(map[int]string, len(ranges))
	paired = true
	for _, r := range ranges {
		if len(r.Nodes) > 0 {
			byStart[r.Start] = fmt.Sprint(r.End, r.Nodes[0].ID)
		}
		paired = paired && len(r.Nodes) > 1
	}
	return fmt.Sprint(byStart), paired, err
}

// Addrs returns host:port of all nodes, for redis.ClusterOptions.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		addrs[i] = n.Addr()
	}
	return addrs
}

// Owner returns the master that a key is on now, and a replica of it, nil where none is known: as the nodes that run see
// it.
func (c *Cluster) Owner(ctx context.Context, key string) (master, replica *Node, err error) {
	slot, err := c.Slot(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	return c.ownerOf(ctx, slot)
}

// Slot returns the slot of a key.
func (c *Cluster) Slot(ctx context.Context, key string) (int, error) {
	slot, err := c.living()[0].rdb.ClusterKeySlot(ctx, key).Result()
	if err != nil {
		return 0, fmt.Errorf("cluster: the slot of %q: %w", key, err)
	}
	return int(slot), nil
}

func (c *Cluster) ownerOf(ctx context.Context, slot int) (master, replica *Node, err error) {
	ranges, err := c.living()[0].rdb.ClusterSlots(ctx).Result() //nolint:staticcheck // as in owners
	for _, r := range ranges {
		if slot < r.Start || slot > r.End {
			continue
		}
		for i, told := range r.Nodes {
			switch n := c.byID(told.ID); {
			case i == 0:
				master = n
			case replica == nil:
				replica = n
			}
		}
	}
	if err == nil && master == nil {
		err = fmt.Errorf("nobody has slot %d", slot)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cluster: %w", err)
	}
	return master, replica, nil
}

func (c *Cluster) byID(id string) *Node {
	for _, n := range c.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// Close kills all nodes and removes what they have on disk.
func (c *Cluster) Close() {
	for _, n := range c.nodes {
		_ = n.rdb.Close()
		n.Server.Close()
	}
}
