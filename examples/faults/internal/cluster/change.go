package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// How is the way in which a replica takes its master's place.
type How string

// The ways of CLUSTER FAILOVER. A graceful one loses nothing, for the master waits until the replica has all of it; a
// takeover asks nobody, neither the master nor the others.
const (
	Graceful How = ""
	Takeover How = "TAKEOVER"
)

// Failover has a replica take the place of its master, and returns when it says that it has.
func (c *Cluster) Failover(ctx context.Context, replica *Node, how How) error {
	words := []any{"cluster", "failover"}
	if how != Graceful {
		words = append(words, string(how))
	}
	if err := replica.rdb.Do(ctx, words...).Err(); err != nil {
		return fmt.Errorf("cluster: failover of %s: %w", replica.Addr(), err)
	}
	return replica.until(ctx, "it is the master", func() (bool, error) { return replica.Leads(ctx) })
}

// Leads reports whether a node takes itself for a master.
func (n *Node) Leads(ctx context.Context) (bool, error) {
	role, err := n.rdb.Info(ctx, "replication").Result()
	return strings.Contains(role, "role:master\r\n"), err
}

// Migrate moves a slot to another master, key by key, as redis-cli does, and calls a function again and again while the
// slot lies on both: before the first key, after each, and when all are moved but the slot is not. Then nodes answer
// with MOVED, ASK and TRYAGAIN.
func (c *Cluster) Migrate(ctx context.Context, slot int, between func(context.Context)) error {
	source, _, err := c.ownerOf(ctx, slot)
	if err != nil {
		return err
	}
	var target *Node
	for _, n := range c.living() {
		if leads, e := n.Leads(ctx); e == nil && leads && n != source {
			target = n
		}
	}
	if target == nil {
		return errors.New("cluster: there is no other master")
	}
	err = errors.Join(target.rdb.Do(ctx, "cluster", "setslot", slot, "importing", source.id).Err(),
		source.rdb.Do(ctx, "cluster", "setslot", slot, "migrating", target.id).Err())
	if err != nil {
		return fmt.Errorf("cluster: migrate slot %d: %w", slot, err)
	}
	between(ctx)
	if err := move(ctx, slot, source, target, between); err != nil {
		return fmt.Errorf("cluster: migrate slot %d: %w", slot, err)
	}
	for _, n := range append([]*Node{target, source}, c.living()...) { // the target first: a slot without an owner would be lost
		if leads, e := n.Leads(ctx); e == nil && leads {
			err = errors.Join(err, n.rdb.Do(ctx, "cluster", "setslot", slot, "node", target.id).Err())
		}
	}
	return err
}

// move moves the keys of a slot.
func move(ctx context.Context, slot int, source, target *Node, between func(context.Context)) error {
	for {
		keys, err := source.rdb.ClusterGetKeysInSlot(ctx, slot, 1).Result()
		if err != nil || len(keys) == 0 {
			return err
		}
		for _, key := range keys {
			err := source.rdb.Do(ctx, "migrate", "127.0.0.1", target.Port(), key, 0, 5000, "replace").Err()
			if err != nil && !errors.Is(err, redis.Nil) {
				return err
			}
			between(ctx)
		}
	}
}
