// Package sentinel runs a Redis master and its replica under three Sentinels, who put the replica in the master's place
// when they are told to, or when the master is gone.
//
//	s, err := sentinel.Start(ctx)
//	if err != nil { ... }
//	defer s.Close()
//	rdb := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: sentinel.Name, SentinelAddrs: s.Addrs()})
//	err = s.Failover(ctx)
package sentinel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/proc"
)

// Name is what the Sentinels call the master.
const Name = "gate"

// DownAfter is how long the master may be silent until a Sentinel takes it for gone.
const DownAfter = time.Second

const (
	sentinels     = 3
	settleTimeout = time.Minute
	poll          = 20 * time.Millisecond
	again         = 3 * time.Second // a Sentinel that gave up is told once more
)

// Group is the servers and their Sentinels. Safe for concurrent use.
type Group struct {
	dir       string // of what the Sentinels write down
	data      []*proc.Server
	sentinels []*proc.Server
	asked     []*redis.SentinelClient // one of each Sentinel
}

// Start runs empty servers, and returns when the Sentinels know each other, the master and its replica. Call Close when
// it is not needed any more. The arguments follow those of the master and the replica. Errors: proc.ErrMissing, the
// context's, or what a server said.
func Start(ctx context.Context, args ...string) (*Group, error) {
	g := &Group{}
	if err := g.start(ctx, args); err != nil {
		g.Close()
		return nil, fmt.Errorf("sentinel: %w", err)
	}
	return g, nil
}

func (g *Group) start(ctx context.Context, args []string) (err error) {
	if g.dir, err = os.MkdirTemp("", "faults-sentinel-"); err != nil {
		return err
	}
	args = append([]string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}, args...)
	for range 2 {
		server, err := proc.Start(ctx, proc.Config{Args: args})
		if err != nil {
			return err
		}
		g.data = append(g.data, server)
		args = append(args, "--replicaof", "127.0.0.1 "+server.Port())
	}
	for i := range sentinels {
		file := filepath.Join(g.dir, fmt.Sprintf("%d.conf", i))
		text := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]s 2\nsentinel down-after-milliseconds %[1]s %[3]d\nsentinel failover-timeout %[1]s 10000\n",
			Name, g.data[0].Port(), DownAfter.Milliseconds())
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		server, err := proc.Start(ctx, proc.Config{File: file, Args: []string{"--sentinel"}, Ready: "Sentinel ID is"})
		if err != nil {
			return err
		}
		g.sentinels = append(g.sentinels, server)
		asked := redis.NewSentinelClient(&redis.Options{Addr: server.Addr()})
		g.asked = append(g.asked, asked)
		// They look a few times a second at what they look at each 2 and 10 s, and do not give up for half a minute because
		// a busy machine let them wait.
		cmd := redis.NewStatusCmd(ctx, "sentinel", "debug", "info-period", 500, "publish-period", 100, "slave-reconf-timeout", 1000,
			"tilt-trigger", settleTimeout.Milliseconds(), "tilt-period", 1000)
		if err := asked.Process(ctx, cmd); err != nil {
			return err
		}
	}
	return g.Settled(ctx)
}

// Settled waits until all Sentinels know each other, agree on the master, and have a replica that can take its place.
func (g *Group) Settled(ctx context.Context) error {
	return g.until(ctx, "the Sentinels agree", func() (bool, error) {
		master, err := g.master(ctx)
		if err != nil {
			return false, err
		}
		for _, s := range g.asked {
			told, err1 := s.Master(ctx, Name).Result()
			replicas, err2 := s.Replicas(ctx, Name).Result()
			if err := errors.Join(err1, err2); err != nil {
				return false, err
			}
			ready := told["port"] == master.Port() && told["num-other-sentinels"] == fmt.Sprint(sentinels-1) && told["flags"] == "master"
			fresh := false
			for _, r := range replicas {
				fresh = fresh || r["flags"] == "slave" && r["master-link-status"] == "ok" && r["master-port"] == master.Port()
			}
			if !ready || !fresh {
				return false, nil
			}
		}
		return true, nil
	})
}

func (g *Group) until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sentinel: waited until %s: %w", what, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}

// Addrs returns host:port of the Sentinels.
func (g *Group) Addrs() []string {
	addrs := make([]string, len(g.sentinels))
	for i, s := range g.sentinels {
		addrs[i] = s.Addr()
	}
	return addrs
}

// Master returns the server that the first Sentinel takes for the master.
func (g *Group) Master(ctx context.Context) (*proc.Server, error) {
	master, err := g.master(ctx)
	if err != nil {
		return nil, fmt.Errorf("sentinel: %w", err)
	}
	return master, nil
}

func (g *Group) master(ctx context.Context) (*proc.Server, error) {
	addr, err := g.asked[0].GetMasterAddrByName(ctx, Name).Result()
	if err != nil || len(addr) != 2 {
		return nil, fmt.Errorf("who is the master: %v, %w", addr, err)
	}
	for _, server := range g.data {
		if server.Addr() == net.JoinHostPort(addr[0], addr[1]) {
			return server, nil
		}
	}
	return nil, fmt.Errorf("the master is a stranger at %s", strings.Join(addr, ":"))
}

// Failover has the replica take the master's place, and returns when the first Sentinel says that it has.
func (g *Group) Failover(ctx context.Context) error {
	before, err := g.Master(ctx)
	if err != nil {
		return err
	}
	asked := time.Time{}
	return g.until(ctx, "there is another master", func() (bool, error) {
		now, err := g.master(ctx)
		if err != nil || now != before || time.Since(asked) < again {
			return now != nil && now != before, err
		}
		asked = time.Now() // it may refuse, or give up: what it knows of the replica may be too old on a busy machine
		return false, g.asked[0].Failover(ctx, Name).Err()
	})
}

// Replaced waits until the first Sentinel takes another than this for the master.
func (g *Group) Replaced(ctx context.Context, before *proc.Server) error {
	return g.until(ctx, "there is another master", func() (bool, error) {
		now, err := g.master(ctx)
		return now != nil && now != before, err
	})
}

// Close kills all servers and removes what they have on disk.
func (g *Group) Close() {
	for _, asked := range g.asked {
		_ = asked.Close()
	}
	for _, server := range append(g.sentinels, g.data...) {
		server.Close()
	}
	_ = os.RemoveAll(g.dir)
}
