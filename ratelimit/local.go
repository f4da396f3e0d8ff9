package ratelimit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/ratelimit/internal/share"
)

// Bounds of what is decided from memory while Redis is away.
const (
	// maxLocal is how many counts and holds there may be, about 40 MB of them. Who finds no room is not decided.
	maxLocal = 1 << 17
	// localKept is for how long counts are kept after the last one was asked for: an outage that comes again and again
	// has one share.
	localKept = time.Hour
	// localSweep is how often those are forgotten that have ended.
	localSweep = time.Minute
	// localRetry is told who asks for more than the share, but not more than the limit, and localWait is the longest that
	// others are told: Redis may be back.
	localRetry = time.Second
	localWait  = time.Minute
	// localHold begins the names of what is held here, and of nothing that Redis knows.
	localHold = "local\x00"
)

// errAlone says that nobody told how many processes there are.
var errAlone = errors.New("the limiter knows no share of its limits; make it with ratelimit.WithReplicas")

// local is the share of a Limiter in the limits of its group.
type local struct {
	table            *share.Table
	clock            *clock
	allowed, refused atomic.Uint64
	last             atomic.Int64 // when it was asked last, nanoseconds since the clock began

	mu       sync.Mutex
	timer    *time.Timer
	sweeping atomic.Bool // the timer runs
	closed   atomic.Bool
}

// AdmitLocal decides a request as Admit does while Redis is away, from memory: each policy for one of as many processes as
// Replicas says. Limits and bursts are divided by that, rounded down, but never to nothing; units are counted as Redis
// counts them, all of the request's or none, since Redis was last away. It makes no call, takes microseconds, and returns
// at once. A stage of package middleware calls it that has OnFailure(FailLocal).
//
// It goes by the overrides and the plan that are in memory, so that who is blocked or lifted there stays so, and else by
// the policies as coded; by the time of Redis as this process last heard it, and its own clock since then. It does not
// look at Epoch and Token, nor at what Redis counted before: in the window in which Redis goes away its limit can
// pass once by Redis and once here, and so can what is left of a month's quota. All processes together let
// pass no more than the limit, or one unit each where they are more than that, if the number of them is right; see
// WithReplicas. Who asks for more than the share at once is refused, though the limit may allow it.
//
// What it counts takes up to 131,072 counts and holds of memory, some 40 MB, and is forgotten when it has ended, or an
// hour after the last call. Where there is no room for more, callers that have no count yet get ErrUnavailable: they are
// not let pass.
//
// The decision's results tell of the share, and of no wait beyond a minute, nor that only paying helps, for Redis may be
// back before; unless the limit as a whole refuses. Its Hold is never empty where the request was admitted, and not the Request's:
// Settle, Renew and Refund with it end, prolong and give back here, not at Redis. A Hold is of the process that gave it.
//
// Errors: ErrInvalid as Admit; ErrUnavailable without WithReplicas, where there is no room, after Close, and when ctx has
// ended.
func (l *Limiter) AdmitLocal(ctx context.Context, r Request) (Decision, error) {
	if l.off.Load() {
		return Decision{}, errOff
	}
	if err := ctx.Err(); err != nil {
		return Decision{}, unavailable(err)
	}
	if faults := r.compared(); len(faults) > 0 {
		return Decision{}, errors.Join(faults...)
	}
	p, err := l.find(&r, false)
	if err != nil {
		return Decision{}, err
	}
	ask := question{check: lua.Check{Mode: lua.Take}, hold: localHold + rand.Text()}
	if r.Peek {
		ask.check.Mode = lua.Peek
	}
	for i := range r.Charges {
		ask.Costs = append(ask.Costs, r.Charges[i].Cost)
	}
	if err := p.admissible(&ask); err != nil {
		return Decision{}, err
	}
	if l.local.closed.Load() {
		return Decision{}, unavailable(errClosed)
	}
	d, err := p.decideLocal(&ask)
	switch {
	case err != nil || r.Peek:
		return d, err
	case d.Allowed:
		l.local.allowed.Add(1)
		d.Hold = ask.hold
	default:
		l.local.refused.Add(1)
	}
	return d, nil
}

// ofLocal reports whether a hold is one of AdmitLocal.
func ofLocal(hold string) bool { return strings.HasPrefix(hold, localHold) }

// decideLocal answers a question from memory.
func (p *Prepared) decideLocal(ask *question) (d Decision, err error) {
	l := p.limiter
	n := l.Replicas()
	if n == 0 {
		return d, unavailable(errAlone)
	}
	now := l.clock.local()
	w := *p.work(p.known(), now, ask.decides())
	limits := w.limits
	w.limits = slices.Clone(limits)
	check := ask.check
	check.ID = ask.hold
	for i := range w.limits {
		e := &w.limits[i]
		if e.uncounted {
			continue
		}
		e.limit, e.burst = share.Of(e.limit, e.burst, e.window.Microseconds(), n)
		charge := w.charges[i]
		charge.Limit, charge.Burst, charge.Units = e.limit, e.burst, p.cost(ask, i)
		check.Charges = append(check.Charges, charge)
	}
	c := call{prepared: p, check: check}
	if c.answer, err = l.local.table.Do(now, &check); err != nil {
		return d, unavailable(fmt.Errorf("the local share of the limits: %w", err))
	}
	l.local.used()
	w.decision(&c, ask, &d)
	for i := range d.Results {
		d.Results[i].temper(&limits[i])
	}
	return d, nil
}

// temper has a result of a share tell of what Redis may say as soon as it is back, unless the limit as a whole refuses.
func (r *Result) temper(whole *effective) {
	if whole.limit == 0 || r.Cost > whole.capacity(r.Algorithm) {
		return
	}
	r.Payment = false
	if r.RetryAfter == Never {
		r.RetryAfter = localRetry
	}
	r.RetryAfter, r.NextAfter = min(r.RetryAfter, localWait), min(r.NextAfter, localWait)
}

// known returns what may change the policies of the request, as far as it is in memory.
func (p *Prepared) known() sources {
	r, l := &p.request, p.limiter
	if r.Org == "" {
		return sources{}
	}
	from, _ := p.held.Load().sources()
	if from.overrides == nil {
		if at, ok := l.orgs.Peek(r.Org); ok {
			from.overrides = at.Load()
		}
	}
	if from.plan == nil && validName(r.Plan) {
		if at, ok := l.plans.Peek(bucket.Of(r.Org) + r.Plan); ok {
			from.plan = at.Load()
		}
	}
	return from
}

func (l *local) init(c *clock) { l.table, l.clock = share.NewTable(maxLocal), c }

// used notes that something may be kept, and has it forgotten in time.
func (l *local) used() {
	l.last.Store(int64(time.Since(l.clock.began)))
	if l.sweeping.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed.Load() && !l.sweeping.Swap(true) {
		l.timer = time.AfterFunc(localSweep, l.sweep)
	}
}

// sweep forgets what has ended, and all when it was not asked for any more.
func (l *local) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return
	}
	l.sweeping.Store(false) // who comes from now on sets the timer, unless it is set here
	now := l.clock.local()
	if time.Since(l.clock.began)-time.Duration(l.last.Load()) >= localKept {
		l.table.Clear()
	} else {
		l.table.Sweep(now)
	}
	if l.table.Len() > 0 {
		l.sweeping.Store(true)
		l.timer.Reset(localSweep)
	}
}

func (l *local) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed.Store(true)
	if l.timer != nil {
		l.timer.Stop()
	}
}

// local returns Redis's time as it was heard last, and this process's own since it began where it was not.
func (c *clock) local() int64 {
	now, known := c.now()
	if !known {
		now += c.began.UnixMicro()
	}
	return now
}
