package ratelimit

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// sources is what may change the policies of a request: the overrides of its org, and the rules of its plan. Nil
// where it has none.
type sources struct{ overrides, plan *overrideSet }

// store reads sets by name, and keeps them in memory. Safe for concurrent use.
type store struct {
	*overrideCache

	read    func(ctx context.Context, name string) (*overrideSet, error)
	timeout time.Duration
	loads   singleflight.Group

	hits, misses atomic.Uint64
}

// cachedPlans is how many plans are kept in memory, each in each bucket counted: all that there may be. With room
// for fewer, those that go around would cost each request one more read.
const cachedPlans = lua.MaxPlans * bucket.Count

// unseen stands for a stamp while no answer has told it. A missing stamp is told as 0.
const unseen int64 = -1

func newStore(size int, timeout time.Duration, read func(context.Context, string) (*overrideSet, error)) (*store, error) {
	cache, err := newOverrideCache(size)
	// All who wait for a read do so within their own time; it takes longer where an org has many.
	return &store{overrideCache: cache, read: read, timeout: max(timeout, time.Second)}, err
}

// get returns where a set is: as it is in memory, unless a stamp was seen that is not its own.
func (s *store) get(ctx context.Context, name string, seen int64, deadline time.Time) (*current, error) {
	if held, ok := s.Get(name); ok && (seen == unseen || held.has(seen)) {
		s.hits.Add(1)
		return held, nil
	}
	s.misses.Add(1)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	// The stamp is part of the name, so that nobody joins a read that began before the change.
	flight := s.loads.DoChan(name+"\x00"+strconv.FormatInt(seen, 10), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
		defer cancel()
		set, err := s.read(ctx, name)
		if err != nil {
			return nil, err
		}
		// Stamps are not compared: after a failover the stored one may be the older. If a slow read puts
		// back an old set, the next check finds it stale.
		return s.Add(name, set), nil
	})
	select {
	case result := <-flight:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*current), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// has reports whether the set is there, and of a stamp.
func (c *current) has(stamp int64) bool {
	set := c.Load()
	return set != nil && set.stamp == stamp
}

// held is where the sources of a Prepared are. Nil where it has none.
type held struct{ overrides, plan *current }

// sources returns what may change the policies of the request: from where it was last, unless an answer told stamps of
// the org and of the plans that are not those of what is there. began is when the caller's time did.
func (p *Prepared) sources(ctx context.Context, seen [2]int64, began time.Time) (from sources, err error) {
	l, r := p.limiter, &p.request
	if r.Org == "" {
		return from, nil
	}
	from, ok := p.held.Load().sources()
	if !ok || seen[0] != unseen {
		if from, err = p.hold(ctx, seen, began.Add(l.timeout)); err != nil {
			return from, err
		}
	} else {
		l.orgs.hits.Add(1)
		if from.plan != nil {
			l.plans.hits.Add(1)
		}
	}
	from.overrides = from.overrides.with(r.preview)
	return from, nil
}

// sources returns what is there, and whether it still is.
func (h *held) sources() (from sources, ok bool) {
	if h == nil {
		return from, false
	}
	from.overrides = h.overrides.Load()
	if h.plan == nil {
		return from, from.overrides != nil
	}
	from.plan = h.plan.Load()
	return from, from.overrides != nil && from.plan != nil
}

// hold finds where the sources are, and reads them where they are not in memory or have changed.
func (p *Prepared) hold(ctx context.Context, seen [2]int64, deadline time.Time) (from sources, err error) {
	l, r := p.limiter, &p.request
	for {
		at := new(held)
		if at.overrides, err = l.orgs.get(ctx, r.Org, seen[0], deadline); err != nil {
			return from, err
		}
		if validName(r.Plan) {
			if at.plan, err = l.plans.get(ctx, bucket.Of(r.Org)+r.Plan, seen[1], deadline); err != nil {
				return from, err
			}
		}
		p.held.Store(at)
		if from, ok := at.sources(); ok { // else it had to give way to others at once
			return from, nil
		}
	}
}

// current reports whether what was worked out goes by the sources that are there now.
func (p *Prepared) current(w *worked) bool {
	if p.request.Org == "" {
		return true
	}
	from, ok := p.held.Load().sources()
	return ok && from == w.sources
}

func (l *Limiter) readOrg(ctx context.Context, org string) (*overrideSet, error) {
	epoch, stored, err := l.conn.Overrides(ctx, org)
	if err != nil {
		return nil, err
	}
	l.clock.set(epoch.Now)
	set := &overrideSet{stamp: epoch.Limits, overrides: make(map[selector]*Override, len(stored))}
	for id, text := range stored {
		o, err := decodeOverride(l.sealer, org, id, text)
		if err != nil {
			return nil, err
		}
		set.overrides[o.selector()] = &o
	}
	return set, nil
}

// readPlan reads one plan, not all of them: those that this process serves may be few.
func (l *Limiter) readPlan(ctx context.Context, name string) (*overrideSet, error) {
	in, name := name[:bucket.Len], name[bucket.Len:]
	epoch, text, err := l.conn.Plan(ctx, in, name)
	if err != nil {
		return nil, err
	}
	l.clock.set(epoch.Now)
	p, _, err := decodePlan(l.sealer, name, text)
	return p.set(epoch.Limits), err
}

// clock estimates Redis time from the last answer. Only the choice of overrides that begin or end depends on it,
// and the script verifies that choice; a wrong estimate costs one more call, never a wrong decision.
type clock struct {
	began  time.Time
	offset atomic.Int64 // Redis time minus the time since began; 0 unknown
}

func (c *clock) set(now int64) { c.offset.Store(now - time.Since(c.began).Microseconds()) }

func (c *clock) now() (int64, bool) { return c.at(time.Now()) }

// at returns Redis's time at a moment of ours, and whether it is known.
func (c *clock) at(moment time.Time) (int64, bool) {
	offset := c.offset.Load()
	return offset + moment.Sub(c.began).Microseconds(), offset != 0
}
