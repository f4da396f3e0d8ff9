package ratelimit

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// A lease is units that a process took from Redis ahead of the requests that will use them. They are charged when they
// are taken, so the limit is kept whatever becomes of the process: what it does not use others miss, until the lease
// ends and gives it back, or with a crash until the window ends. A request is never made to wait for a lease, and
// takes none: it asks Redis like any other where there is nothing left, and the lease is renewed beside it.

// Times of leases.
const (
	// leaseLife bounds how long a lease serves requests without asking Redis whether what they go by is current.
	leaseLife = time.Second
	// leaseEdge is how long before its end a lease looks at the clock for each request: before that a timer that is late
	// does no harm.
	leaseEdge = 50 * time.Millisecond
	// leaseFirst is how many requests a first lease is for.
	leaseFirst = 4
)

// lease serves requests from memory. Immutable, but for what is atomic.
type lease struct {
	p       *Prepared
	w       *worked
	epoch   int64
	at      int64         // Redis time when the units were taken
	ends    time.Duration // since the limiter's clock began
	edges   []int64       // of each charge: the Redis time when its window ends, and what is left of the units with it
	taken   []int64       // of each charge: units
	results []Result      // as Redis told them when all of it was taken

	left  []atomic.Int64 // of each charge: units; far below zero once it ended
	near  atomic.Bool    // it is about to end
	timer *time.Timer
}

// drained is what is left of a lease that ended: no sum of costs brings it back above zero.
const drained = -1 << 62

// leasable reports whether units of a request may be taken ahead: where each policy allows it, and counts in windows that
// are long enough.
func (w *worked) leasable() bool {
	for i := range w.request.Charges {
		p, e := &w.request.Charges[i].Policy, &w.limits[i]
		if p.Prefetch == 0 || p.role() != lua.Enforced || e.uncounted || e.window < time.Second || e.limit == 0 {
			return false
		}
	}
	return true
}

// serves decides a question from the lease, if it has what is asked for.
func (l *lease) serves(ask *question, d *Decision) bool {
	limiter := l.p.limiter
	if ask.Epoch != l.epoch || ask.Token != nil || ask.check.Mode != lua.Take || !l.p.current(l.w) || l.w.monitor != limiter.monitor.Load() ||
		l.near.Load() && time.Since(limiter.clock.began) >= l.ends {
		return false
	}
	for i := range l.left {
		cost := l.p.cost(ask, i)
		left := l.left[i].Add(-cost)
		if low := l.taken[i] / 4; left < low && left+cost >= low {
			l.p.renew(l.epoch, l.taken, 2)
		}
		if left < 0 {
			for j := range i + 1 {
				l.left[j].Add(l.p.cost(ask, j))
			}
			return false
		}
	}
	d.Allowed, d.At = true, time.UnixMicro(l.at).UTC()
	d.Results = append(d.Results, l.results...)
	for i := range d.Results {
		r, left := &d.Results[i], max(l.left[i].Load(), 0)
		r.Cost, r.Used, r.Remaining = l.p.cost(ask, i), r.Used-left, r.Remaining+left
	}
	return true
}

// cost returns what a question asks of a charge.
func (p *Prepared) cost(ask *question, i int) int64 {
	if ask.Costs != nil {
		return ask.Costs[i]
	}
	return p.request.Charges[i].Cost
}

// begin takes a first lease beside a request that was decided, if it is one of many and there is room for more.
func (p *Prepared) begin(ask *question, w *worked, d *Decision) {
	if p.lease.Load() != nil || p.renewing.Load() || !w.leasable() {
		return
	}
	var room [4]int64
	costs := room[:0]
	for i := range d.Results {
		if d.Results[i].Remaining < 4*leaseFirst*d.Results[i].Cost {
			return // so near the limit, others would notice
		}
		costs = append(costs, max(d.Results[i].Cost, 1))
	}
	p.renew(ask.Epoch, costs, leaseFirst)
}

// renew takes a lease of some times as many units, beside whoever asks for it. One at a time does.
func (p *Prepared) renew(epoch int64, units []int64, times int64) {
	if !p.renewing.CompareAndSwap(false, true) {
		return
	}
	last, want := p.lease.Load(), slices.Clone(units)
	for i := range want {
		want[i] = max(min(want[i]*times, p.request.Charges[i].Policy.Prefetch), 1)
		if last != nil {
			want[i] = min(want[i], last.results[i].Remaining/4) // down to none, near the limit
		}
	}
	if slices.Min(want) < 1 || !p.limiter.leases.begin() {
		p.renewing.Store(false)
		return
	}
	go func() {
		defer p.limiter.leases.Done()
		defer p.renewing.Store(false)
		p.replace(p.take(epoch, want))
	}()
}

// take asks Redis for the units of a lease. It returns nil where they do not fit, or would not last.
func (p *Prepared) take(epoch int64, want []int64) *lease {
	began := time.Now()
	next := &lease{p: p, epoch: epoch, taken: want, edges: make([]int64, len(want)), left: make([]atomic.Int64, len(want))}
	ask, d := question{Call: Call{Epoch: epoch, Costs: want}, check: lua.Check{Mode: lua.Take}}, Decision{}
	if err := p.put(context.Background(), &ask, &d); err != nil || !d.Allowed {
		return nil // perhaps the units were taken: then they are missed until the window ends
	}
	next.w, next.at, next.results = p.worked.Load(), d.At.UnixMicro(), d.Results
	life := leaseLife
	for i := range want {
		next.left[i].Store(want[i])
		r := &d.Results[i]
		r.Cost = 0
		ends := r.ResetAfter
		if r.Algorithm == SlidingWindow {
			ends = r.Window - time.Duration(next.at%r.Window.Microseconds())*time.Microsecond
		}
		next.edges[i], life = next.at+ends.Microseconds(), min(life, ends)
	}
	now := time.Now()
	life -= now.Sub(began) // Redis's clock went on while the answer was under way
	next.ends = now.Sub(p.limiter.clock.began) + life
	if life < 2*leaseEdge || !next.w.leasable() || !p.current(next.w) {
		next.giveBack(next.drain())
		return nil
	}
	next.timer = time.AfterFunc(life-leaseEdge, next.nears)
	return next
}

// replace puts a lease, or none, in the place of the one that is there. What that has left goes over where it is of the same
// windows, and else back to Redis.
func (p *Prepared) replace(next *lease) {
	defer p.limiter.leases.note(p)
	last := p.lease.Load()
	if last == nil {
		p.lease.Store(next)
		return
	}
	left := last.drain()
	if next != nil && slices.Equal(next.edges, last.edges) {
		for i := range left {
			next.left[i].Add(left[i])
		}
		left = nil
	}
	last.timer.Stop()
	p.lease.Store(next)
	last.giveBack(left)
}

// nears is called shortly before the end: a lease that was used is renewed for as much as was, and a little more.
func (l *lease) nears() {
	l.near.Store(true)
	used := make([]int64, len(l.taken))
	for i := range used {
		used[i] = max(l.taken[i]-max(l.left[i].Load(), 0), 0)
		used[i] += used[i] / 4
	}
	if slices.Max(used) > 0 {
		l.p.renew(l.epoch, used, 1)
	}
	time.AfterFunc(leaseEdge, l.end)
}

// end gives back what nobody used.
func (l *lease) end() {
	if l.p.lease.CompareAndSwap(l, nil) {
		l.timer.Stop()
		l.giveBack(l.drain())
		l.p.limiter.leases.note(l.p)
	}
}

// drain ends a lease, and returns what was left.
func (l *lease) drain() []int64 {
	left := make([]int64, len(l.left))
	for i := range left {
		left[i] = max(l.left[i].Swap(drained), 0)
	}
	return left
}

// giveBack gives units back to the windows that they were taken from. What fails is missed until these end.
func (l *lease) giveBack(units []int64) {
	r := l.p.request
	r.Charges = nil
	for i, n := range units {
		if n > 0 {
			c := l.p.request.Charges[i]
			c.Cost = n
			r.Charges = append(r.Charges, c)
		}
	}
	if len(r.Charges) > 0 {
		_, _ = l.p.limiter.ask(context.Background(), &r, lua.Check{Mode: lua.Refund, At: l.at})
	}
}
