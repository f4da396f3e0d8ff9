package ratelimit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
)

// Limiter decides requests against Redis. Safe for concurrent use; it has nothing to close.
type Limiter struct {
	config

	orgs    *store
	plans   *store // by bucket and name
	clock   clock
	monitor atomic.Bool
	stale   atomic.Uint64
}

// attempts bounds how often a check is asked again after a change. The second attempt fails only if somebody changes
// the org's keys or limits, or a plan of its bucket, within the same millisecond.
const attempts = 8

// New returns a Limiter on a Redis client: standalone, Sentinel, Cluster or Ring. It does not dial and
// starts nothing. The error joins all that is wrong with the arguments.
func New(rdb redis.UniversalClient, opts ...Option) (*Limiter, error) {
	c, err := configure(rdb, config{timeout: 50 * time.Millisecond, cachedOrgs: 10_000}, opts)
	if err != nil {
		return nil, err
	}
	l := &Limiter{config: c, clock: clock{began: time.Now()}}
	if l.orgs, err = newStore(c.cachedOrgs, c.timeout, l.readOrg); err != nil {
		return nil, err
	}
	l.plans, err = newStore(cachedPlans, c.timeout, l.readPlan)
	return l, err
}

// Admit decides a request. Either all its enforced charges are taken or held, or none.
//
// It makes one Redis call, and one or two more when the org's overrides are not in memory or were
// changed, and as many when its plan is not or was. It returns within the timeout and as soon as ctx ends.
//
// Errors: ErrInvalid, ErrRevoked and ErrStale took nothing; a request that is both revoked and stale is ErrRevoked.
// ErrUnavailable means that nobody knows: the charges may have been taken, once; it wraps the context's error where
// that was the cause.
func (l *Limiter) Admit(ctx context.Context, r Request) (Decision, error) {
	mode := lua.Take
	if r.Peek {
		mode = lua.Peek
	}
	if r.Hold == "" && !r.Peek && slices.ContainsFunc(r.Charges, func(c Charge) bool { return c.lease() > 0 }) {
		r.Hold = rand.Text()
	}
	if faults := r.compared(); len(faults) > 0 {
		return Decision{}, errors.Join(faults...)
	}
	return l.ask(ctx, &r, lua.Check{Mode: mode})
}

// put puts a request to the script, again for as long as a change makes the answer stale.
func (l *Limiter) put(ctx context.Context, r *Request, check lua.Check) (Decision, error) {
	if err := r.validate(); err != nil {
		return Decision{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	now, known := l.clock.now()
	seen := [...]int64{unseen, unseen}
	for range attempts {
		from, err := l.sources(ctx, r, seen)
		if err != nil {
			return Decision{}, unavailable(err)
		}
		if !known { // nobody has told us Redis's time yet; overrides just did, if the org has any
			now, _ = l.clock.now()
		}
		limits := r.fill(&check, from, now)
		answers, err := l.conn.Admit(ctx, []lua.Check{check})
		if err != nil {
			return Decision{}, unavailable(err)
		}
		a := &answers[0]
		l.clock.set(a.Now)
		switch a.Status {
		case lua.Allowed, lua.Refused:
			d := r.decision(a, limits, check.Mode)
			d.TokenChecked = check.Token != nil
			return d, nil
		case lua.Invalid:
			return Decision{}, fmt.Errorf("%w request: Redis refused a number of it", ErrInvalid)
		case lua.Revoked:
			return Decision{}, ErrRevoked
		}
		l.stale.Add(1)
		now, known = a.Now, true
		if r.Epoch != 0 && a.Epochs[0].Keys != r.Epoch {
			return Decision{}, ErrStale
		}
		for i := range a.Epochs {
			seen[i] = a.Epochs[i].Limits
		}
	}
	return Decision{}, fmt.Errorf("%w: the limits of the org changed %d times meanwhile", ErrUnavailable, attempts)
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }
