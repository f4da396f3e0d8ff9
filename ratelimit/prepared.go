package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// Prepared is a request that will be made again and again: what of it is the same each time is worked out once. Make it
// with Limiter.Prepare, and keep it with whoever makes the request, as in the Notes of an identity. Safe for concurrent
// use; it has nothing to close.
type Prepared struct {
	limiter *Limiter
	request Request
	bucket  int
	lane    int
	keys    [][2]string // of each charge: its state, its count
	epochs  [2]string   // keys of the org's, and of the plans'

	held    atomic.Pointer[held] // where its sources are
	worked  atomic.Pointer[worked]
	refused atomic.Pointer[refusal]

	lease    atomic.Pointer[lease]
	renewing atomic.Bool

	frames []atomic.Pointer[frame] // of each charge
	asked  atomic.Int64            // when it was last, Redis time in microseconds
	first  atomic.Pointer[call]    // that others may join
}

// Call is what may differ from one time that a Prepared is asked to the next.
type Call struct {
	// Epoch is as in Request.
	Epoch int64
	// Token is as in Request. It is not kept.
	Token *Token
	// Costs are those of the charges, in their order; nil, the default: as prepared. They are not kept.
	Costs []int64
}

// question is all that is asked of a Prepared.
type question struct {
	Call

	check lua.Check // Mode, and what only some modes have
	hold  string
	often bool // the request came not long ago, too

	under *sources // what alone it may be decided under, as it was at a Redis time
	at    int64
}

// errChanged says that a question was not asked, for it goes by what has changed.
var errChanged = errors.New("the limits have changed")

// worked is what a request comes to under some overrides and a plan, between two Redis times.
type worked struct {
	sources
	monitor     bool
	request     Request // with the policies monitored, if all are
	limits      []effective
	charges     []lua.Charge
	from, until int64
}

// Prepare validates a request and remembers it. Its Epoch, Token and Hold come with each call instead; Peek, and policies
// with a Lease, are for Admit alone. The Charges are copied. Who prepares a request again gets the same Prepared,
// as long as the limiter keeps it (see WithPrepared). No I/O. Errors: ErrInvalid.
func (l *Limiter) Prepare(r Request) (*Prepared, error) {
	if r.Epoch != 0 || r.Token != nil || r.Hold != "" || r.Peek {
		return nil, fmt.Errorf("%w request: Epoch, Token, Hold and Peek cannot be prepared", ErrInvalid)
	}
	for i := range r.Charges {
		if r.Charges[i].Policy.Lease > 0 {
			return nil, fmt.Errorf("%w request: policy %q has a Lease, which needs a Hold for each call", ErrInvalid, r.Charges[i].Policy.name())
		}
	}
	return l.find(&r, true)
}

// prepare makes a Prepared that nobody else knows.
func (l *Limiter) prepare(r *Request) (*Prepared, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	p := &Prepared{limiter: l, request: *r, keys: make([][2]string, len(r.Charges)), frames: make([]atomic.Pointer[frame], len(r.Charges))}
	p.request.Charges = slices.Clone(r.Charges)
	p.request.Epoch, p.request.Token, p.request.Hold, p.request.Peek = 0, nil, "", false
	for i := range r.Charges {
		key := r.key(&r.Charges[i])
		p.keys[i] = [2]string{key, lua.CountKey(key)}
	}
	p.bucket = lua.BucketOf(p.keys[0][0])
	p.lane = laneOf(cmp.Or(r.Org, p.keys[0][0]))
	if r.Org != "" {
		p.epochs = [2]string{lua.EpochKey(r.Org), lua.PlansEpochKey(bucket.Of(r.Org))}
	}
	return p, nil
}

// Admit decides as Limiter.Admit does, into d, whose Results are written over. It does not allocate where d has room and
// nothing has changed, beyond what the client needs for the call that it shares with others.
func (p *Prepared) Admit(ctx context.Context, call Call, d *Decision) error {
	if call.Costs != nil && len(call.Costs) != len(p.request.Charges) {
		*d = Decision{Results: d.Results[:0]}
		return fmt.Errorf("%w request: %d Costs for %d Charges", ErrInvalid, len(call.Costs), len(p.request.Charges))
	}
	ask := question{Call: call, check: lua.Check{Mode: lua.Take}}
	return p.decide(ctx, &ask, d)
}

// decide asks Redis, again for as long as a change makes the answer stale. The zero Decision goes with an error.
func (p *Prepared) decide(ctx context.Context, ask *question, d *Decision) error {
	results := d.Results[:0]
	*d = Decision{Results: results}
	if p.limiter.off.Load() {
		return errOff
	}
	err := p.admissible(ask)
	if err == nil && !p.remembers(ask, d) {
		err = p.put(ctx, ask, d)
	}
	if errors.Is(err, ErrUnavailable) && p.limiter.monitor.Load() {
		err = fmt.Errorf("%w, %w", ErrMonitored, err)
	}
	return err
}

// remembers decides a question from memory, if what Redis said before answers it.
func (p *Prepared) remembers(ask *question, d *Decision) bool {
	if l := p.lease.Load(); l != nil && l.serves(ask, d) {
		return true
	}
	f := p.refused.Load()
	return f != nil && f.refuses(p, ask, d) && !p.limiter.leases.closed.Load()
}

// admissible validates what comes with a call.
func (p *Prepared) admissible(ask *question) error {
	for i, cost := range ask.Costs {
		if cost < 0 || cost > MaxLimit {
			return fmt.Errorf("%w request: Cost %d of policy %q must be 0 to %d", ErrInvalid, cost, p.request.Charges[i].Policy.name(), int64(MaxLimit))
		}
	}
	if ask.Epoch == 0 && ask.Token == nil {
		return nil
	}
	r := Request{Org: p.request.Org, Epoch: ask.Epoch, Token: ask.Token}
	return r.validCaller()
}

// put is decide without what all errors have in common.
func (p *Prepared) put(ctx context.Context, ask *question, d *Decision) error {
	l := p.limiter
	began := time.Now()
	now, known := l.clock.at(began)
	seen := [...]int64{unseen, unseen}
	for range attempts {
		var from sources
		var err error
		if ask.under != nil {
			from, now = *ask.under, ask.at
		} else if from, err = p.sources(ctx, seen, began); err != nil {
			return unavailable(err)
		} else if !known { // nobody has told us Redis's time yet; overrides just did, if the org has any
			now, _ = l.clock.at(began)
		}
		w := p.work(from, now, ask.decides())
		c := newCall(p)
		c.fill(ask, w, now)
		if err = c.fly(ctx, began); err != nil {
			return unavailable(err)
		}
		again, err := p.read(c, ask, w, d)
		if !again {
			c.free()
			return err
		}
		if ask.under != nil {
			c.free()
			return errChanged
		}
		l.stale.Add(1)
		now, known = c.answer.Now, true
		for i := range c.answer.Epochs {
			seen[i] = c.answer.Epochs[i].Limits
		}
		c.free()
	}
	return fmt.Errorf("%w: the limits of the org changed %d times meanwhile", ErrUnavailable, attempts)
}

// read makes a decision of an answer, or tells that it is stale.
func (p *Prepared) read(c *call, ask *question, w *worked, d *Decision) (again bool, err error) {
	a := &c.answer
	if c.err != nil || a.Err != nil {
		return false, unavailable(errors.Join(c.err, a.Err))
	}
	p.limiter.clock.set(a.Now)
	switch a.Status {
	case lua.Allowed, lua.Refused:
		w.decision(c, ask, d)
		p.remember(c, w)
		switch {
		case !ask.decides():
			p.gave(a.Now)
		case !d.Allowed:
			p.refuse(ask, w, d, a.Now)
		case ask.often:
			p.begin(ask, w, d)
		}
		return false, nil
	case lua.Invalid:
		return false, fmt.Errorf("%w request: Redis refused a number of it", ErrInvalid)
	case lua.Revoked:
		return false, ErrRevoked
	}
	if ask.Epoch != 0 && a.Epochs[0].Keys != ask.Epoch {
		return false, ErrStale
	}
	return true, nil
}

// decides reports whether the question is one that a limit answers.
func (q *question) decides() bool { return q.check.Mode == lua.Take || q.check.Mode == lua.Peek }

// cost returns what a question asks of a charge.
func (p *Prepared) cost(ask *question, i int) int64 {
	if ask.Costs != nil {
		return ask.Costs[i]
	}
	return p.request.Charges[i].Cost
}

// work returns what the request comes to at a Redis time. A charge that nothing limits is left out where it would be
// decided, and so is a candidate that there is no count for.
func (p *Prepared) work(from sources, now int64, decides bool) *worked {
	monitor := p.limiter.monitor.Load()
	w := p.worked.Load()
	if w != nil && w.sources == from && w.monitor == monitor && now >= w.from && now < w.until { // and what is not to be decided has a Prepared of its own
		return w
	}
	w = &worked{sources: from, monitor: monitor, request: p.request, until: lua.MaxTime}
	w.limits, w.charges = make([]effective, len(p.request.Charges)), make([]lua.Charge, len(p.request.Charges))
	if monitor {
		w.request.Charges = slices.Clone(w.request.Charges)
	}
	for i := range w.request.Charges {
		c := &w.request.Charges[i]
		if monitor {
			c.Policy.Monitor = true
		}
		e := from.resolve(&w.request, &c.Policy, now)
		e.unlimited = e.unlimited && decides
		e.uncounted = e.unlimited || c.Policy.Candidate != "" && !w.request.countable(c)
		w.limits[i], w.charges[i] = e, w.request.charge(c, &e)
		w.charges[i].Key, w.charges[i].Count = p.keys[i][0], p.keys[i][1]
		w.from, w.until = max(w.from, e.from), min(w.until, e.until)
	}
	p.worked.Store(w)
	return w
}

// decision reads the answer of a call, which has a state for each charge that was counted.
func (w *worked) decision(c *call, ask *question, d *Decision) {
	a, results := &c.answer, d.Results
	*d = Decision{Allowed: a.Status == lua.Allowed, At: time.UnixMicro(a.Now).UTC(), TokenChecked: c.check.Token != nil}
	states := a.States
	for i := range w.request.Charges {
		charge, limit, cost, state := &w.request.Charges[i], &w.limits[i], c.prepared.cost(ask, i), &lua.State{}
		switch {
		case !limit.uncounted:
			state, states = &states[0], states[1:]
		case limit.unlimited:
			state.Done = 1
		}
		r := resultOf(charge, cost, limit, state, a.Now)
		if ask.check.Mode == lua.Take && d.Allowed && !limit.uncounted && state.Done == 1 && charge.lease() > 0 && cost > 0 {
			d.Hold = ask.hold
		}
		if ask.check.Mode == lua.Refund {
			r.Cost, r.Exceeded, r.RetryAfter = state.Done, false, 0
		}
		results = append(results, r)
	}
	d.Results = results
}
