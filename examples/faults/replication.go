package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/gate"
	"github.com/tollgate-go/tollgate/examples/faults/internal/proc"
	"github.com/tollgate-go/tollgate/examples/faults/internal/row"
	"github.com/tollgate-go/tollgate/examples/faults/internal/sentinel"
	"github.com/tollgate-go/tollgate/examples/faults/internal/wire"
)

// replication are the faults of a master that has a replica, and of one that has not even a disk.
func replication() []row.Fault {
	dead := func(g *group) (inject, heal action) {
		return func(ctx context.Context) error {
				err := g.remember(ctx)
				if err == nil {
					g.before.Kill()
				}
				return err
			}, func(ctx context.Context) error {
				if err := g.Replaced(ctx, g.before); err != nil {
					return err
				}
				now, err := g.Master(ctx)
				if err != nil {
					return err
				}
				// A master that keeps nothing must not come back as one: a replica of it would empty itself.
				if err := g.before.Restart(ctx, "--replicaof", "127.0.0.1 "+now.Port()); err != nil {
					return err
				}
				return g.Settled(ctx)
			}
	}
	told := func(g *group) (inject, heal action) { return g.Failover, g.Settled }
	return []row.Fault{
		{Name: "F33", What: "a replica that got nothing for a while is promoted", Open: promoted, Harmless: true, MayLose: 1, Check: lostInFault},
		{Name: "F42", What: "restart of a server that keeps nothing", Play: emptied},
		{Name: "F43", What: "Sentinels replace a master that is well, which goes on for a while", Open: underSentinels(told), Harmless: true, MayLose: 1, Check: lostInFault},
		{Name: "F43/paired", What: "the same, but it takes nothing without a replica", Open: underSentinels(told, paired...), Harmless: true, MayLose: lag},
		{Name: "F43/dead", What: "Sentinels replace a dead master", Open: underSentinels(dead), MayLose: lag},
	}
}

// paired has a master take nothing while it has no replica. A replica that is promoted leaves its master, which without
// this takes writes until the Sentinels tell it, too; they are lost.
var paired = []string{"--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"}

// group is the servers of one row and their Sentinels.
type group struct {
	*sentinel.Group
	before *proc.Server // the master that is replaced
}

func (g *group) remember(ctx context.Context) (err error) {
	g.before, err = g.Master(ctx)
	return err
}

// underSentinels is a row whose service asks Sentinels for its server.
func underSentinels(fault func(g *group) (inject, heal action), args ...string) opener {
	return func(ctx context.Context) (*row.Scene, error) {
		all, err := sentinel.Start(ctx, args...)
		if err != nil {
			return nil, err
		}
		g := &group{Group: all}
		admin := redis.NewClient(&redis.Options{Addr: sentinel.Name, Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
			master, err := g.Master(ctx)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, master.Addr())
		}})
		inject, heal := fault(g)
		one := row.Small("")
		return &row.Scene{
			Client: func() redis.UniversalClient {
				return redis.NewFailoverClient(&redis.FailoverOptions{
					MasterName: sentinel.Name, SentinelAddrs: g.Addrs(), PoolSize: one.PoolSize, ClientName: one.ClientName, ContextTimeoutEnabled: true,
					DialTimeout: one.DialTimeout, ReadTimeout: one.ReadTimeout, WriteTimeout: one.WriteTimeout, PoolTimeout: one.PoolTimeout,
				})
			},
			Admin: admin, Heal: heal,
			Inject: func(ctx context.Context) error {
				err := wait(ctx, "replica that has the keys", func() (bool, error) {
					n, err := admin.Wait(ctx, 1, time.Second).Result()
					return n >= 1, err
				})
				if err != nil {
					return err
				}
				return inject(ctx)
			},
			Close: func() {
				_ = admin.Close() // nothing is under way
				g.Close()
			},
		}, nil
	}
}

// promoted is a row in which the replica gets nothing for as long as the fault lasts, and then is the server.
func promoted(ctx context.Context) (*row.Scene, error) {
	master, err := proc.Start(ctx, proc.Config{})
	if err != nil {
		return nil, err
	}
	p := &place{Server: master}
	if p.link, err = wire.New(master.Addr()); err != nil {
		master.Close()
		return nil, err
	}
	_, port, _ := net.SplitHostPort(p.link.Addr())
	replica, err := proc.Start(ctx, proc.Config{Args: []string{"--replicaof", "127.0.0.1 " + port, "--repl-diskless-sync-delay", "0"}})
	if err != nil {
		p.link.Close()
		master.Close()
		return nil, err
	}
	copied := redis.NewClient(&redis.Options{Addr: replica.Addr()})
	var present atomic.Pointer[string]
	present.Store(new(master.Addr()))
	to := func(o *redis.Options) *redis.Client {
		o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: o.DialTimeout}).DialContext(ctx, network, *present.Load())
		}
		return redis.NewClient(o)
	}
	p.admin = to(&redis.Options{Addr: master.Addr()})
	return &row.Scene{
		Client: func() redis.UniversalClient { return to(row.Small(master.Addr())) },
		Admin:  p.admin,
		Inject: func(ctx context.Context) error {
			err := wait(ctx, "replica that is up to date", func() (bool, error) {
				n, err := p.admin.Wait(ctx, 1, time.Second).Result()
				role, e := copied.Info(ctx, "replication").Result()
				return n == 1 && strings.Contains(role, "master_link_status:up"), errors.Join(err, e)
			})
			return errors.Join(err, p.link.Poison("timeout", wire.Replies, map[string]any{"timeout": 0}))
		},
		Heal: func(ctx context.Context) error {
			present.Store(new(replica.Addr()))
			err := copied.ReplicaOf(ctx, "NO", "ONE").Err()
			master.Kill()
			return err
		},
		Close: func() {
			_ = copied.Close() // nothing is under way
			p.close()
			replica.Close()
		},
	}, nil
}

// lostInFault holds that nothing is lost but what was acknowledged in the fault.
func lostInFault(_ context.Context, r *row.Run) error {
	if may := r.Broken - r.Failed; r.Lost > may {
		return fmt.Errorf("%d calls are lost, and only %d were acknowledged in the fault", r.Lost, may)
	}
	return nil
}

// emptied restarts a server that keeps nothing. Its word is that there are no keys: callers are unknown, and a service
// cannot tell that from keys that were deleted. New keys are good at once, and limits begin anew.
func emptied(ctx context.Context, l *row.Line) error {
	server, err := proc.Start(ctx, proc.Config{})
	if err != nil {
		return err
	}
	defer server.Close()
	rdb := redis.NewClient(row.Small(server.Addr()))
	defer func() { _ = rdb.Close() }() // nothing is under way
	g, err := gate.New(rdb, gate.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = g.Close(ctx) }() // what is metered is of no use here
	v := &visitor{Gate: g, rdb: rdb, line: l}
	before, err := v.come(ctx)
	if err != nil {
		return err
	}
	l.Lost = before
	server.Kill()
	if err := server.Restart(ctx); err != nil {
		return err
	}
	if err := v.call(ctx, http.StatusUnauthorized, &l.Unknown); err != nil {
		return err
	}
	l.Counted, err = v.come(ctx)
	if err == nil && l.Unknown == 0 {
		err = errors.New("nobody is unknown, though all keys are gone")
	}
	return err
}

// visits is how often somebody calls.
const visits = 500

// visitor calls a service.
type visitor struct {
	*gate.Gate
	rdb  *redis.Client
	line *row.Line
	who  gate.Tenant
}

// come gets a new key and calls with it. It returns what is counted.
func (v *visitor) come(ctx context.Context) (int64, error) {
	tenants, err := gate.Seed(ctx, v.rdb, 0)
	if err != nil {
		return 0, err
	}
	v.who = tenants.Warm[0]
	if err := v.call(ctx, http.StatusOK, &v.line.Acknowledged); err != nil {
		return 0, err
	}
	counts, err := gate.Counted(ctx, v.rdb, []gate.Asked{{Tenant: v.who, Route: gate.Shared}})
	if err != nil {
		return 0, err
	}
	n := counts.Project[gate.Place{Org: v.who.Org, Project: v.who.Project, Route: gate.Shared}]
	if n == 0 || n > visits {
		err = fmt.Errorf("%d of %d calls are counted: limits begin anew", n, visits)
	}
	return n, err
}

// call calls so often, and counts the answers that it wants. A busy machine may come to 503 instead.
func (v *visitor) call(ctx context.Context, want int, answers *int64) error {
	for range visits {
		v.line.Calls++
		switch answer := v.Call(ctx, v.who, gate.Shared, ""); answer.Status {
		case want:
			*answers++
		case http.StatusServiceUnavailable:
			v.line.Ambiguous++
		default:
			return fmt.Errorf("a caller is told %d, want %d", answer.Status, want)
		}
	}
	return nil
}
