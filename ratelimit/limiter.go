package ratelimit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/breaker"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// Limiter decides requests against Redis. Safe for concurrent use. Requests that are decided at the same time share calls
// to Redis.
type Limiter struct {
	config

	orgs     *store
	plans    *store // by bucket and name
	clock    clock
	queues   queues
	calls    sync.Pool // *call
	prepared table
	leases   leases
	replicas replicas
	local    local
	monitor  atomic.Bool
	off      atomic.Bool
	stale    atomic.Uint64
	refused  atomic.Uint64
	reset    [bucket.Count]atomic.Int64 // Redis time when counts of a bucket were last reset
	given    [bucket.Count]atomic.Int64 // Redis time when units of a bucket were last given back, held on or forgotten
}

// attempts bounds how often a check is asked again after a change. The second attempt fails only if somebody changes
// the org's keys or limits, or a plan of its bucket, within the same millisecond.
const attempts = 8

// New returns a Limiter on a Redis client: standalone, Sentinel, Cluster or Ring. It does not dial and
// starts nothing but, with WithReplicas alone, one goroutine. The error joins all that is wrong with the arguments.
func New(rdb redis.UniversalClient, opts ...Option) (*Limiter, error) {
	c, err := configure(rdb, config{timeout: 50 * time.Millisecond, cachedOrgs: 10_000, prepared: 1 << 14, inFlight: 2, queued: 1 << 14, heartbeat: time.Second}, opts)
	if err != nil {
		return nil, err
	}
	c.conn = c.conn.Guarded(breaker.Log(c.logger, "limits"))
	l := &Limiter{config: c, clock: clock{began: time.Now()}}
	l.queues.config, l.queues.byNode = &l.config, make(map[any]*queue)
	l.prepared.init(c.prepared)
	l.leases.holders = make(map[*Prepared]struct{})
	if l.orgs, err = newStore(c.cachedOrgs, c.timeout, l.readOrg); err != nil {
		return nil, err
	}
	if l.plans, err = newStore(cachedPlans, c.timeout, l.readPlan); err != nil {
		return nil, err
	}
	l.local.init(&l.clock)
	l.replicas.start(&l.config)
	return l, nil
}

// Close gives back what was taken ahead, waits until the requests that are under way are decided, or ctx ends, and leaves
// the group of WithReplicas: give it a deadline. Those that come later get ErrUnavailable. The client stays open. To close it again is harmless. Without
// WithReplicas, and a policy that has a Prefetch, a Limiter that nobody uses any more needs no Close, for nothing of it runs.
func (l *Limiter) Close(ctx context.Context) error {
	err := errors.Join(l.leases.close(ctx), l.queues.close(ctx))
	l.local.close()
	l.replicas.close(ctx)
	return err
}

// Admit decides a request. Either all its enforced charges are taken or held, or none.
//
// With WithRefusals, what was refused a moment ago is refused from memory. Else it makes one Redis call, which it shares with others that come at the same time, and one or two more when the org's
// overrides are not in memory or were changed, and as many when its plan is not or was. It returns within the timeout
// and as soon as ctx ends.
//
// Errors: ErrInvalid, ErrRevoked and ErrStale took nothing; a request that is both revoked and stale is ErrRevoked.
// ErrUnavailable means that nobody knows: the charges may have been taken, once; it wraps the context's error where
// that was the cause.
func (l *Limiter) Admit(ctx context.Context, r Request) (Decision, error) {
	if l.off.Load() {
		return Decision{}, errOff
	}
	ask := question{check: lua.Check{Mode: lua.Take}, Call: Call{Epoch: r.Epoch, Token: r.Token}, hold: r.Hold}
	if r.Peek {
		ask.check.Mode = lua.Peek
	}
	if r.Hold == "" && !r.Peek && slices.ContainsFunc(r.Charges, func(c Charge) bool { return c.lease() > 0 }) {
		ask.hold = rand.Text()
	}
	if faults := r.compared(); len(faults) > 0 {
		return Decision{}, errors.Join(faults...)
	}
	p, err := l.find(&r, false)
	if err != nil {
		return Decision{}, err
	}
	var room [8]int64
	ask.Costs = room[:0]
	for i := range r.Charges {
		ask.Costs = append(ask.Costs, r.Charges[i].Cost)
	}
	var d Decision
	err = p.decide(ctx, &ask, &d)
	return d, err
}

// ask decides a request that is like no other.
func (l *Limiter) ask(ctx context.Context, r *Request, check lua.Check) (Decision, error) {
	p, err := l.prepare(r)
	if err != nil {
		return Decision{}, err
	}
	ask, d := question{check: check, Call: Call{Epoch: r.Epoch, Token: r.Token}, hold: r.Hold}, Decision{}
	if ofLocal(r.Hold) && check.Mode != lua.Reset {
		return p.decideLocal(&ask)
	}
	err = p.decide(ctx, &ask, &d)
	return d, err
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }
