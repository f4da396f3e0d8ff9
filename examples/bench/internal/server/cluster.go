package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Servers are processes that belong together.
type Servers []*Server

// slots is how many hash slots a Redis Cluster has.
const slots = 16_384

// formTimeout bounds how long a cluster may take to agree; a master waits some two seconds before it takes writes.
const formTimeout = time.Minute

// Cluster runs as many masters as it is told, at least one, without replicas and with equal parts of the slots, and
// returns when each of them knows all others and takes writes. The arguments are as of Start. Errors as of Start.
func Cluster(ctx context.Context, masters int, args ...string) (Servers, error) {
	if masters < 1 || masters > slots {
		return nil, fmt.Errorf("server: a cluster of %d masters, must be 1 to %d", masters, slots)
	}
	args = append([]string{"--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"}, args...)
	var all Servers
	for range masters {
		s, err := Start(ctx, args...)
		if err != nil {
			all.Stop()
			return nil, err
		}
		all = append(all, s)
	}
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	if err := all.form(ctx); err != nil {
		all.Stop()
		return nil, fmt.Errorf("server: a cluster of %d masters: %w", masters, err)
	}
	return all, nil
}

// form makes one cluster of empty servers.
func (all Servers) form(ctx context.Context) error {
	host, port, _ := strings.Cut(all[0].addr, ":")
	for i, s := range all {
		rdb := redis.NewClient(&redis.Options{Addr: s.addr})
		defer func() { _ = rdb.Close() }()
		first, next := i*slots/len(all), (i+1)*slots/len(all)
		// An epoch of its own for each, so that they need not settle that among themselves.
		if err := rdb.Do(ctx, "cluster", "set-config-epoch", i+1).Err(); err != nil {
			return err
		}
		if err := rdb.ClusterAddSlotsRange(ctx, first, next-1).Err(); err != nil {
			return err
		}
		if i > 0 {
			if err := rdb.ClusterMeet(ctx, host, port).Err(); err != nil {
				return err
			}
		}
	}
	for _, s := range all {
		if err := s.awaitCluster(ctx, len(all)); err != nil {
			return err
		}
	}
	return nil
}

// awaitCluster polls until a server knows as many nodes, and all of the slots.
func (s *Server) awaitCluster(ctx context.Context, nodes int) error {
	rdb := redis.NewClient(&redis.Options{Addr: s.addr})
	defer func() { _ = rdb.Close() }()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	known := fmt.Sprintf("cluster_known_nodes:%d\r\n", nodes)
	for {
		info, err := rdb.ClusterInfo(ctx).Result()
		if err != nil {
			return err
		}
		if strings.Contains(info, "cluster_state:ok\r\n") && strings.Contains(info, known) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %q", s.addr, ctx.Err(), info)
		case <-again.C:
		}
	}
}

// Addrs returns host:port of each, for redis.ClusterOptions.
func (all Servers) Addrs() []string {
	addrs := make([]string, len(all))
	for i, s := range all {
		addrs[i] = s.addr
	}
	return addrs
}

// Stop stops them all.
func (all Servers) Stop() {
	for _, s := range all {
		s.Stop()
	}
}
