package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/bench/internal/measure"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const (
	endpoint = "GET /v1/search"
	mostOrgs = 100_000
	fillers  = 256              // callers that fill a keyspace
	patience = 10 * time.Second // for one check: a slow one is to be measured, not to be cut
)

// sample is what one run gave, by what was measured.
type sample map[metric]float64

// target is a limiter on servers of its own, and the projects that it is asked for.
type target struct {
	rdb      redis.UniversalClient
	limiter  *ratelimit.Limiter
	projects int
	orgs     []string
	names    []string // of the projects of each org
	epochs   []int64  // of the orgs
	charges  []ratelimit.Charge

	bareBytes, bareKeys float64 // what Redis held before it was filled
	once                sample  // what is measured but once
}

// policies returns as many policies as it is told, each a strict sliding window that is never full.
func policies(n int) []ratelimit.Policy {
	all := make([]ratelimit.Policy, n)
	for i := range all {
		all[i] = ratelimit.PerHour(1_000_000_000)
		if i > 0 {
			all[i] = all[i].Named(fmt.Sprintf("policy-%d", i+1))
		}
	}
	return all
}

// limitKey names what a project's first policy is counted under.
func limitKey(org, project string) string {
	return lua.LimitKey(org, string(ratelimit.ByProject), project, endpoint, "requests", lua.Sliding)
}

// newTarget spreads projects over orgs, ten to each while that makes no more than mostOrgs, and makes a limiter that
// can keep the overrides of all orgs in memory. It asks nothing.
func newTarget(rdb redis.UniversalClient, projects int, policies []ratelimit.Policy) (*target, error) {
	orgs := min(max(projects/10, 1), mostOrgs)
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(patience), ratelimit.WithCachedOrgs(orgs))
	if err != nil {
		return nil, err
	}
	t := &target{
		rdb: rdb, limiter: limiter, projects: projects, orgs: make([]string, orgs), epochs: make([]int64, orgs),
		names: make([]string, (projects+orgs-1)/orgs), once: sample{},
	}
	for i := range t.orgs {
		t.orgs[i] = fmt.Sprintf("org-%05d", i)
	}
	for i := range t.names {
		t.names[i] = fmt.Sprintf("project-%04d", i)
	}
	for _, p := range policies {
		t.charges = append(t.charges, ratelimit.Charge{Policy: p, Cost: 1})
	}
	return t, nil
}

// ask makes the request of a project, which must be allowed. Of itself it allocates nothing.
func (t *target) ask(ctx context.Context, project int) error {
	org := project % len(t.orgs)
	return t.admit(ctx, t.orgs[org], t.epochs[org], t.names[project/len(t.orgs)])
}

func (t *target) admit(ctx context.Context, org string, epoch int64, project string) error {
	decision, err := t.limiter.Admit(ctx, ratelimit.Request{
		Org: org, Project: project, Epoch: epoch, Endpoint: endpoint, Charges: t.charges,
	})
	if err == nil && !decision.Allowed {
		err = fmt.Errorf("growth: refused, and that limit is to be out of reach: %v", decision)
	}
	return err
}

// fill brings every project into Redis: once each, through the limiter, so that what is stored is what the limiter
// stores. The epochs of the orgs and what else it takes are there before, and are not weighed.
func (t *target) fill(ctx context.Context) error {
	conn, err := lua.NewConn(t.rdb)
	if err != nil {
		return err
	}
	heap, began := measure.Heap(), time.Now()
	err = each(ctx, len(t.orgs), func(ctx context.Context, org int) error {
		epoch, err := conn.Epoch(ctx, t.orgs[org])
		t.epochs[org] = epoch.Keys
		return err
	})
	if err != nil {
		return err
	}
	err = each(ctx, fillers, func(ctx context.Context, i int) error { // so that Redis has its connections and scripts
		return t.admit(ctx, "another-org", 0, t.names[i%len(t.names)])
	})
	if err != nil {
		return err
	}
	for range 2 { // what Redis takes to tell it, it keeps from the first time on
		if t.bareBytes, t.bareKeys, err = t.stored(ctx); err != nil {
			return err
		}
	}
	if err := each(ctx, t.projects, t.ask); err != nil {
		return err
	}
	t.once[fillSeconds] = time.Since(began).Seconds()
	t.once[heapMB] = (float64(measure.Heap()) - float64(heap)) / 1e6
	return nil
}

// each calls do with 0 to n-1, many at once, until the first error.
func each(ctx context.Context, n int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var working sync.WaitGroup
	for range min(fillers, n) {
		working.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	working.Wait()
	return context.Cause(ctx)
}

// run has callers ask for projects at random, and tells what a check cost. What it does to warm up is not counted.
func (t *target) run(ctx context.Context, callers int, o options) (sample, error) {
	ask := func(ctx context.Context, caller *rand.Rand) error { return t.ask(ctx, caller.IntN(t.projects)) }
	if _, err := measure.Drive(ctx, callers, o.warm, ask); err != nil {
		return nil, err
	}
	server, err := measure.ServerCPU(ctx, t.rdb)
	if err != nil {
		return nil, err
	}
	before := measure.Now()
	load, err := measure.Drive(ctx, callers, o.length, ask)
	if err != nil {
		return nil, err
	}
	spent := measure.Now().Since(before)
	after, err := measure.ServerCPU(ctx, t.rdb)
	if err != nil {
		return nil, err
	}
	calls := float64(load.Calls())
	s := sample{
		rate: load.PerSecond(), p50: micros(load.Latency.Quantile(0.5)), p99: micros(load.Latency.Quantile(0.99)),
		redisCPU: micros(after-server) / calls, clientCPU: micros(spent.CPU) / calls, allocs: float64(spent.Allocs) / calls,
	}
	return s, t.weigh(ctx, s)
}

// weigh adds what Redis holds, and what was measured but once.
func (t *target) weigh(ctx context.Context, s sample) error {
	bytes, keys, err := t.stored(ctx)
	if err != nil {
		return err
	}
	limits := float64(t.projects * len(t.charges))
	if keys-t.bareKeys < limits {
		return fmt.Errorf("growth: Redis has %v keys more than at first, for %v limits", keys-t.bareKeys, limits)
	}
	s[redisMB], s[keyCount], s[limitBytes] = bytes/1e6, keys-t.bareKeys, (bytes-t.bareBytes)/limits
	for m, value := range t.once {
		s[m] = value
	}
	return nil
}

// stored tells the memory that Redis uses, but for its connections, and how many keys it has.
func (t *target) stored(ctx context.Context) (bytes, keys float64, err error) {
	bytes, err1 := measure.Stored(ctx, t.rdb)
	size, err2 := t.rdb.DBSize(ctx).Result() // of all masters
	return bytes, float64(size), errors.Join(err1, err2)
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
