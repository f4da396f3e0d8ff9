package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/cluster"
	"github.com/tollgate-go/tollgate/examples/faults/internal/row"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// reload is how often a client asks a cluster who owns what, and so how much later than the cluster it may know. The
// default, a minute, is how long everything on a dead master would fail.
const reload = 500 * time.Millisecond

// lag is the share of what was acknowledged that a replica may not have when its master is gone: replication does not
// wait, so what a master said a moment before may be lost, whatever a client does.
const lag = 0.05

// clustered returns the faults of a cluster.
func clustered() []row.Fault {
	kill := func(n *cluster.Node) error { n.Kill(); return nil }
	return []row.Fault{
		{
			Name: "F30", What: "dead master of a cluster", Lasts: takenOver + time.Second, MayLose: lag,
			Open: onCluster(func(c *party) (inject, heal action) {
				return c.breaks(kill), func(ctx context.Context) error {
					if err := c.broken.Restart(ctx); err != nil {
						return err
					}
					return c.Settled(ctx)
				}
			}),
			Check: replaced,
		},
		{
			Name: "F31", What: "failover of a cluster's master that is well", Harmless: true, Lasts: 2 * time.Second,
			Open: onCluster(func(c *party) (inject, heal action) {
				return c.failover(cluster.Graceful), func(ctx context.Context) error { return c.Settled(ctx) }
			}),
		},
		{
			Name: "F32", What: "takeover that asks nobody", Harmless: true, Lasts: 2 * time.Second, MayLose: lag,
			Open: onCluster(func(c *party) (inject, heal action) {
				return c.failover(cluster.Takeover), func(ctx context.Context) error { return c.Settled(ctx) }
			}),
		},
		{
			Name: "F34", What: "hung master of a cluster, 6 s", Lasts: 6 * time.Second, MayLose: lag,
			Open: onCluster(func(c *party) (inject, heal action) {
				return c.breaks((*cluster.Node).Pause), func(ctx context.Context) error {
					if err := c.broken.Resume(); err != nil {
						return err
					}
					return c.Settled(ctx)
				}
			}),
			Check: replaced,
		},
		{
			Name: "F35", What: "slot that moves to another master", Harmless: true,
			Open: onCluster(func(c *party) (inject, heal action) {
				return c.migrate, func(ctx context.Context) error { return c.Settled(ctx) }
			}),
		},
		{
			Name: "F38", What: "slots that nobody serves: master and replica hang", Lasts: 2 * cluster.NodeTimeout, MayLose: lag,
			Open: onCluster(func(c *party) (inject, heal action) {
				return func(ctx context.Context) error {
						if err := c.breaks((*cluster.Node).Pause)(ctx); err != nil {
							return err
						}
						return c.replica.Pause()
					}, func(ctx context.Context) error {
						if err := c.broken.Resume(); err != nil {
							return err
						}
						if err := c.replica.Resume(); err != nil {
							return err
						}
						return c.Settled(ctx)
					}
			}),
		},
	}
}

// victim is the org whose master is broken.
const victim = "org-0"

// takenOver is how long after a master's death its orgs may wait: the node timeout, the vote, and a reload.
const takenOver = cluster.NodeTimeout + 3*time.Second

// party is a cluster of one row.
type party struct {
	*cluster.Cluster
	broken, replica *cluster.Node // the master of victim, and its replica, when the fault began
}

// onCluster is a row whose service has a client of a cluster, as the README has it.
func onCluster(fault func(c *party) (inject, heal action)) opener {
	return func(ctx context.Context) (*row.Scene, error) {
		c, err := cluster.Start(ctx)
		if err != nil {
			return nil, err
		}
		admin := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ClusterStateReloadInterval: reload})
		inject, heal := fault(&party{Cluster: c})
		return &row.Scene{
			Client: func() redis.UniversalClient { return redis.NewClusterClient(small(c.Addrs())) },
			Admin:  admin, Inject: inject, Heal: heal, Servers: len(c.Addrs()),
			Close: func() {
				_ = admin.Close() // nothing is under way
				c.Close()
			},
		}, nil
	}
}

// small are the options of row.Small for a cluster.
func small(addrs []string) *redis.ClusterOptions {
	one := row.Small("")
	return &redis.ClusterOptions{
		Addrs: addrs, PoolSize: one.PoolSize, ClientName: one.ClientName, ContextTimeoutEnabled: true,
		DialTimeout: one.DialTimeout, ReadTimeout: one.ReadTimeout, WriteTimeout: one.WriteTimeout, PoolTimeout: one.PoolTimeout,
		ClusterStateReloadInterval: reload, MaintNotificationsConfig: row.Plain(),
	}
}

// breaks does something to the master of victim.
func (c *party) breaks(do func(*cluster.Node) error) action {
	return func(ctx context.Context) (err error) {
		if c.broken, c.replica, err = c.Owner(ctx, keyOf(victim)); err == nil && c.replica == nil {
			err = fmt.Errorf("%s has no replica", c.broken.Addr())
		}
		if err != nil {
			return err
		}
		return do(c.broken)
	}
}

// failover has the replica of victim's master take its place.
func (c *party) failover(how cluster.How) action {
	return func(ctx context.Context) error {
		return c.breaks(func(*cluster.Node) error { return c.Failover(ctx, c.replica, how) })(ctx)
	}
}

// migrate moves the slot of victim to another master and back.
func (c *party) migrate(ctx context.Context) error {
	slot, err := c.Slot(ctx, keyOf(victim))
	if err != nil {
		return err
	}
	return c.Migrate(ctx, slot, func(context.Context) {})
}

// keyOf returns what lies where all keys of an org lie.
func keyOf(org string) string { return "{" + bucket.Of(org) + "}" }

// replaced holds that the orgs of a master that is gone are served by its replica in time.
func replaced(_ context.Context, r *row.Run) error {
	first := time.Duration(-1)
	for i := range r.Calls {
		m := &r.Calls[i]
		if took := m.Began.Sub(r.Injected); m.Outcome == row.Acknowledged && m.Org == victim && took > time.Millisecond && (first < 0 || took < first) {
			first = took
		}
	}
	if first < 0 || first > takenOver {
		return fmt.Errorf("org %s was served %v after its master was gone, want at most %v", victim, first, takenOver)
	}
	return nil
}
