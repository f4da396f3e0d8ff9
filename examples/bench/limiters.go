package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/bench/internal/contest"
	"github.com/tollgate-go/tollgate/examples/bench/internal/pin"
	"github.com/tollgate-go/tollgate/examples/bench/internal/rival"
	"github.com/tollgate-go/tollgate/examples/bench/internal/server"
)

// Names of tables, of callers and keys, as targets find them.
const (
	tableAllowed = "limiter, allowed: callers %d, keys %d"
	tableDenied  = "limiter, denied: callers %d, keys %d"
	tableThree   = "three policies of one request: callers %d, keys %d"
	tableCluster = "cluster of three masters: callers %d, keys %d"
)

// limiter compares limiters whose limits are not reached.
func (b *bench) limiter(ctx context.Context) error {
	return b.standalone(ctx, func(s *stand) error {
		all := []contest.Contestant{
			rival.RedisRate(s.place), rival.Strict(s.place, s.tenants), rival.Leased(s.place, s.tenants), rival.GCRA(s.place, s.tenants),
			rival.RedisRateAutoPipeline(s.place), rival.Throttled(s.place), rival.Ulule(s.place), rival.Httprate(s.place),
			rival.Rueidis(s.place), rival.Naive(s.place), rival.EvalSha(s.place), rival.EvalShaAutoPipeline(s.place), rival.Ping(s.place),
		}
		if err := s.compare(ctx, tableAllowed, contest.Allowing, all); err != nil {
			return err
		}
		setting := b.setting(128, b.projects, contest.Allowing)
		three := []contest.Contestant{rival.RedisRateThree(s.place), rival.Three(s.place, s.tenants)}
		return b.contest(ctx, tableThree, "A check is a request here.", setting, s.watch, three)
	})
}

// denied compares limiters whose limits are used up.
func (b *bench) denied(ctx context.Context) error {
	return b.standalone(ctx, func(s *stand) error {
		all := []contest.Contestant{
			rival.RedisRate(s.place), rival.Strict(s.place, s.tenants), rival.Remembering(s.place, s.tenants),
			rival.RedisRateAutoPipeline(s.place), rival.Throttled(s.place), rival.Ulule(s.place), rival.Httprate(s.place), rival.Rueidis(s.place), rival.EvalShaAutoPipeline(s.place),
		}
		return s.compare(ctx, tableDenied, contest.Denying, all)
	})
}

// cluster compares those that can use a cluster.
func (b *bench) cluster(ctx context.Context) error {
	masters, err := server.Cluster(ctx, 3)
	if err != nil {
		return err
	}
	defer masters.Stop()
	place := rival.Place{Addrs: masters.Addrs(), Prefix: "bench"}
	tenants, err := rival.NewTenants(ctx, place, b.projects, b.orgs)
	if err != nil {
		return err
	}
	watch := contest.NewWatch(place.Addrs...)
	defer func() { _ = watch.Close() }()
	all := []contest.Contestant{
		rival.RedisRate(place), rival.Strict(place, tenants), rival.RedisRateAutoPipeline(place), rival.Rueidis(place), rival.EvalSha(place),
	}
	return b.contest(ctx, tableCluster, "The masters, too, share the cores of this machine.", b.setting(128, b.projects, contest.Allowing), watch, all)
}

// stand is a Redis of its own with tenants.
type stand struct {
	bench   *bench
	redis   *server.Server
	place   rival.Place
	tenants *rival.Tenants
	watch   *contest.Watch
}

func (b *bench) standalone(ctx context.Context, do func(*stand) error) error {
	s := &stand{bench: b}
	var err error
	if s.redis, err = server.Start(ctx); err != nil {
		return err
	}
	defer s.redis.Stop()
	s.place = rival.Place{Addrs: []string{s.redis.Addr()}, Prefix: "bench"}
	if s.tenants, err = rival.NewTenants(ctx, s.place, b.projects, b.orgs); err != nil {
		return err
	}
	s.watch = contest.NewWatch(s.redis.Addr())
	defer func() { _ = s.watch.Close() }()
	return do(s)
}

// compare runs contestants in each setting. A caller alone is pinned to another core than Redis.
func (s *stand) compare(ctx context.Context, name string, limits contest.Limits, all []contest.Contestant) error {
	for _, callers := range []int{1, 16, 128} {
		note, undo := "", func() error { return nil }
		if callers == 1 {
			note = "Redis is pinned to one core and the caller to another."
			pinned, err := pin.Apart(s.redis.Pid())
			if err != nil {
				note = "Nothing is pinned to a core: " + err.Error() + "."
			} else {
				undo = pinned
			}
		}
		for _, keys := range []int{s.bench.projects, 1} {
			if err := s.bench.contest(ctx, name, note, s.bench.setting(callers, keys, limits), s.watch, all); err != nil {
				_ = undo() // the first error counts
				return err
			}
		}
		if err := undo(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) setting(callers, keys int, limits contest.Limits) contest.Setting {
	return contest.Setting{Callers: callers, Keys: keys, Limits: limits, Rounds: b.rounds, Warm: b.warm, For: b.length}
}

// contest adds a table in which all are compared with the first.
func (b *bench) contest(ctx context.Context, name, note string, s contest.Setting, watch *contest.Watch, all []contest.Contestant) error {
	table, err := contest.Run(ctx, s, watch, all)
	if err != nil {
		return err
	}
	table.Name, table.Note, table.Base = fmt.Sprintf(name, s.Callers, s.Keys), note, all[0].Name
	return b.add(table)
}

// redisVersion asks a server that it starts for that.
func redisVersion(ctx context.Context) (string, error) {
	s, err := server.Start(ctx)
	if err != nil {
		return "", err
	}
	defer s.Stop()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr()})
	defer func() { _ = rdb.Close() }()
	info, err := rdb.Info(ctx, "server").Result()
	for line := range strings.Lines(info) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			return version, err
		}
	}
	return "unknown", err
}
