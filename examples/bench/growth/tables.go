package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/bench/internal/server"
	"github.com/tollgate-go/tollgate/examples/bench/internal/stat"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const someProjects = 1000 // where it is not projects that grow

// ofProjects grows the keyspace tenfold from point to point, each on a server of its own.
func ofProjects(ctx context.Context, o options) (*table, error) {
	key := limitKey("org-00042", "project-0007")
	t := &table{
		Name: "projects", Title: "Projects, asked for at random; one strict sliding window each", views: [][]metric{speed, size},
		Notes: []string{
			fmt.Sprintf("Ten projects to an org, in at most %d orgs. Every check compares the org's epoch. A limit has a key of %d bytes:", mostOrgs, len(key)),
			key,
			"CPU and allocations are for each check: those of Redis, and those of this process, callers included. Redis MB is",
			"used_memory without its connections, bytes/limit what each limit added to that, heap MB what the first requests of all",
			"projects left in this process, and filled in s how long these took.",
		},
	}
	var targets []*target
	for power, projects := 0, 1; power <= o.max; power, projects = power+1, projects*10 {
		if power < o.from {
			continue
		}
		o.progress.Printf("projects: filling 10^%d", power)
		at, stop, err := standalone(ctx, projects, policies(1))
		if err != nil {
			return nil, err
		}
		defer stop()
		for _, callers := range o.callers {
			t.Rows = append(t.Rows, row{Of: fmt.Sprintf("10^%d", power), Value: projects, Callers: callers})
			targets = append(targets, at)
		}
	}
	return t, t.measure(o, func(i int) (sample, error) { return targets[i].run(ctx, t.Rows[i].Callers, o) })
}

// ofPolicies adds policies to one request.
func ofPolicies(ctx context.Context, o options) (*table, error) {
	t := &table{
		Name: "policies", Title: fmt.Sprintf("Policies in one request, %d projects", someProjects), views: [][]metric{speed},
		Notes: []string{"All are decided at once, all or nothing. Everything is for each request, not for each policy."},
	}
	var targets []*target
	for n := range o.policies {
		at, stop, err := standalone(ctx, someProjects, policies(n+1))
		if err != nil {
			return nil, err
		}
		defer stop()
		t.Rows = append(t.Rows, row{Of: fmt.Sprint(n + 1), Value: n + 1, Callers: slices.Max(o.callers)})
		targets = append(targets, at)
	}
	return t, t.measure(o, func(i int) (sample, error) { return targets[i].run(ctx, t.Rows[i].Callers, o) })
}

// ofMasters adds masters to a cluster.
func ofMasters(ctx context.Context, o options) (*table, error) {
	t := &table{
		Name: "masters", Title: fmt.Sprintf("Masters of a cluster, %d projects", someProjects), views: [][]metric{speed},
		Notes: []string{"All masters and callers share the cores of one machine, so this shows what a cluster costs, not how it scales:",
			"with a machine for each master, Redis has that much more CPU, and a check costs what it costs here."},
	}
	var targets []*target
	for n := range o.masters {
		o.progress.Printf("masters: forming a cluster of %d", n+1)
		all, err := server.Cluster(ctx, n+1)
		if err != nil {
			return nil, err
		}
		defer all.Stop()
		rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: all.Addrs(), ContextTimeoutEnabled: true})
		defer func() { _ = rdb.Close() }()
		at, err := filled(ctx, rdb, someProjects, policies(1))
		if err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, row{Of: fmt.Sprint(n + 1), Value: n + 1, Callers: slices.Max(o.callers)})
		targets = append(targets, at)
	}
	return t, t.measure(o, func(i int) (sample, error) { return targets[i].run(ctx, t.Rows[i].Callers, o) })
}

// ofAlgorithms stores one count of each algorithm for each project.
func ofAlgorithms(ctx context.Context, o options) (*table, error) {
	running := ratelimit.Concurrent(1_000_000)
	running.Lease = time.Hour // longer than all this takes
	all := []ratelimit.Policy{
		policies(1)[0],
		policies(1)[0].Fixed(),
		policies(1)[0].Aligned(),
		ratelimit.Quota(1_000_000_000, ratelimit.Monthly(1, time.UTC)),
		ratelimit.PerHour(1).Bucket(1000),
		running,
	}
	t := &table{
		Name: "algorithm", Title: fmt.Sprintf("What each algorithm stores, %d projects, one request of each", o.stored),
		views: [][]metric{{keyCount, limitBytes}},
		Notes: []string{
			"Concurrency is with one request that runs. The calendar's count has no endpoint in its key. The allocator of Redis",
			"rounds up, so that values of different lengths often take the same.",
		},
	}
	for i, p := range all {
		t.Rows = append(t.Rows, row{Of: p.Algorithm.String(), Value: i})
	}
	return t, t.measure(o, func(i int) (sample, error) {
		at, stop, err := standalone(ctx, o.stored, all[i:i+1])
		if err != nil {
			return nil, err
		}
		defer stop()
		s := sample{}
		return s, at.weigh(ctx, s)
	})
}

// standalone starts a server and fills it. Whoever gets a target calls stop.
func standalone(ctx context.Context, projects int, policies []ratelimit.Policy) (at *target, stop func(), err error) {
	s, err := server.Start(ctx)
	if err != nil {
		return nil, nil, err
	}
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), ContextTimeoutEnabled: true})
	stop = func() {
		_ = rdb.Close() // nothing of it is wanted any more
		s.Stop()
	}
	if at, err = filled(ctx, rdb, projects, policies); err != nil {
		stop()
	}
	return at, stop, err
}

func filled(ctx context.Context, rdb redis.UniversalClient, projects int, policies []ratelimit.Policy) (*target, error) {
	t, err := newTarget(rdb, projects, policies)
	if err != nil {
		return nil, err
	}
	return t, t.fill(ctx)
}

// measure runs each row once a round, beginning with another one each time so that no row is always the first, and sums
// up what came of it.
func (t *table) measure(o options, run func(i int) (sample, error)) error {
	values := make([]map[metric][]float64, len(t.Rows))
	for round := range o.rounds {
		o.progress.Printf("%s: round %d of %d", t.Name, round+1, o.rounds)
		for k := range t.Rows {
			i := (round + k) % len(t.Rows)
			s, err := run(i)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", t.Name, t.Rows[i].Of, err)
			}
			if values[i] == nil {
				values[i] = map[metric][]float64{}
			}
			for m, value := range s {
				values[i][m] = append(values[i][m], value)
			}
		}
	}
	for i := range t.Rows {
		t.Rows[i].Values = map[metric]stat.Spread{}
		for m, numbers := range values[i] {
			t.Rows[i].Values[m] = stat.Of(numbers)
		}
	}
	return nil
}
