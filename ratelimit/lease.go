package ratelimit

import (
	"context"
	"errors"
	"slices"
	"sync"
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
	// leaseEdge is how long before its end a lease is renewed. One that would not last twice as long is none.
	leaseEdge = 50 * time.Millisecond
	// leaseFirst is how many requests a first lease is for.
	leaseFirst = 4
)

// lease serves requests from memory.
type lease struct {
	p       *Prepared
	w       *worked
	epoch   int64
	at      int64         // Redis time when the units were taken
	ends    time.Duration // since the limiter's clock began
	edges   []int64       // of each charge: the Redis time when its window ends, and what is left of the units with it
	results []Result      // as Redis told them when all of it was taken
	size    []int64       // of each charge: units that it is to begin with, what its forerunner left included
	taken   []int64       // of each charge: units that it began with

	mu     sync.Mutex
	left   []int64 // of each charge: units
	ended  bool
	timers [2]*time.Timer // to renew it, and to end it
}

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

// serves decides a question from the lease, if it has what is asked for. It looks at the clock each time: a timer may be
// late.
func (l *lease) serves(ask *question, d *Decision) bool {
	limiter := l.p.limiter
	if ask.Epoch != l.epoch || ask.Token != nil || ask.check.Mode != lua.Take || !l.p.current(l.w) || l.w.monitor != limiter.monitor.Load() ||
		time.Since(limiter.clock.began) >= l.ends {
		return false
	}
	served, low := l.use(ask, d)
	if low {
		size := slices.Clone(l.taken)
		for i := range size {
			size[i] *= 2
		}
		l.p.renew(l.epoch, size)
	}
	return served
}

// use takes what is asked for out of the lease, all or nothing, and reports whether it was there, and whether less than
// a quarter is from now on.
func (l *lease) use(ask *question, d *Decision) (served, low bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false, false
	}
	served = true
	for i := range l.left {
		left := l.left[i] - l.p.cost(ask, i)
		served = served && left >= 0
		low = low || left < l.taken[i]/4 && l.left[i] >= l.taken[i]/4
	}
	if !served {
		return false, low
	}
	d.Allowed, d.At = true, time.UnixMicro(l.at).UTC()
	d.Results = append(d.Results, l.results...)
	for i := range l.left {
		r, cost := &d.Results[i], l.p.cost(ask, i)
		l.left[i] -= cost
		r.Cost, r.Used, r.Remaining = cost, r.Used-l.left[i], r.Remaining+l.left[i]
	}
	return true, low
}

// rest returns what is left.
func (l *lease) rest() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.left)
}

// begin takes a first lease beside a request that was decided, if it is one of many and there is room for more.
func (p *Prepared) begin(ask *question, w *worked, d *Decision) {
	if ask.check.Mode != lua.Take || ask.Token != nil || p.lease.Load() != nil || p.renewing.Load() || !w.leasable() {
		return
	}
	for i := range d.Results {
		cost := max(d.Results[i].Cost, 1)
		if d.Results[i].Remaining < 4*leaseFirst*cost || p.request.Charges[i].Policy.Prefetch < cost {
			return // so near the limit, others would notice; and what is less than a cost serves none
		}
	}
	size := make([]int64, len(d.Results))
	for i := range size {
		size[i] = leaseFirst * d.Results[i].Cost
	}
	p.renew(ask.Epoch, size)
}

// renew takes a lease of a size, beside whoever asks for it: of each charge what the present one has not left. One at a
// time does.
func (p *Prepared) renew(epoch int64, size []int64) {
	if !p.renewing.CompareAndSwap(false, true) {
		return
	}
	for i := range size {
		size[i] = min(max(size[i], 1), p.request.Charges[i].Policy.Prefetch)
	}
	want, room := slices.Clone(size), true
	if last := p.lease.Load(); last != nil {
		for i, left := range last.rest() {
			most := last.results[i].Remaining / 4 // down to none, near the limit
			want[i] = max(want[i]-left, 0)
			room = room && most >= min(want[i], 1)
			want[i] = min(want[i], most)
		}
	}
	if !room || p.limiter.off.Load() || !p.limiter.leases.begin() {
		p.renewing.Store(false)
		return
	}
	go func() {
		defer p.limiter.leases.Done()
		defer p.renewing.Store(false)
		if next := p.take(epoch, size, want); next != nil {
			p.replace(next)
		}
	}()
}

// take asks Redis for the units of a lease. It returns nil where they do not fit, or would not last.
func (p *Prepared) take(epoch int64, size, want []int64) *lease {
	began, w := time.Now(), p.worked.Load()
	ask, d := question{Call: Call{Epoch: epoch, Costs: want}, check: lua.Check{Mode: lua.Take}}, Decision{}
	if err := p.put(context.Background(), &ask, &d); err != nil || !d.Allowed {
		return nil // perhaps the units were taken: then they are missed until the window ends
	}
	next := &lease{p: p, w: w, epoch: epoch, at: d.At.UnixMicro(), edges: make([]int64, len(want)), results: d.Results, size: size, left: want}
	life := min(leaseLife, time.Duration(w.until-next.at)*time.Microsecond)
	for i := range d.Results {
		r := &d.Results[i]
		r.Cost = 0
		ends := r.ResetAfter
		if r.Algorithm == SlidingWindow {
			ends = r.Window - time.Duration(next.at%r.Window.Microseconds())*time.Microsecond
		}
		next.edges[i], life = next.at+ends.Microseconds(), min(life, ends)
	}
	next.ends = began.Sub(p.limiter.clock.began) + life // it was taken later than it began
	// If what the request comes to has changed, nobody knows which of it Redis was asked for.
	if life-time.Since(began) < 2*leaseEdge || w != p.worked.Load() || !w.leasable() || !p.current(w) {
		_ = next.giveBack(want)
		return nil
	}
	return next
}

// replace puts a lease in the place of the one that is there. What that has left goes over as far as there is room, and it
// is of the same windows, and else back to Redis.
func (p *Prepared) replace(next *lease) {
	var left []int64
	last := p.lease.Load()
	if last != nil {
		left = last.drain()
		if last.w == next.w && slices.Equal(next.edges, last.edges) {
			for i := range left {
				n := max(min(left[i], next.size[i]-next.left[i]), 0)
				next.left[i] += n
				left[i] -= n
			}
		}
	}
	next.taken = slices.Clone(next.left)
	p.lease.Store(next)
	next.start()
	p.limiter.leases.note(p)
	if last != nil {
		_ = last.giveBack(left)
	}
}

// start sets the timers.
func (l *lease) start() {
	life := l.ends - time.Since(l.p.limiter.clock.began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timers = [...]*time.Timer{time.AfterFunc(life-leaseEdge, l.nears), time.AfterFunc(life, l.expire)}
}

// nears is called shortly before the end: a lease that was used is renewed for as much as was, and a little more. One whose
// window ends is not, for the next one begins anew.
func (l *lease) nears() {
	if slices.Min(l.edges) <= l.at+leaseLife.Microseconds() {
		return
	}
	used := l.rest()
	for i := range used {
		used[i] = l.taken[i] - used[i]
	}
	if slices.Max(used) == 0 {
		return
	}
	for i := range used {
		used[i] += used[i] / 4
	}
	l.p.renew(l.epoch, used)
}

// expire is called at the end.
func (l *lease) expire() {
	leases := &l.p.limiter.leases
	if !leases.begin() {
		return // Close ends it
	}
	defer leases.Done()
	_ = l.end()
}

// end gives back what nobody used.
func (l *lease) end() error {
	if !l.p.lease.CompareAndSwap(l, nil) {
		return nil
	}
	l.p.limiter.leases.note(l.p)
	return l.giveBack(l.drain())
}

// drain ends a lease, and returns what was left.
func (l *lease) drain() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.left
	l.left, l.ended = make([]int64, len(left)), true
	for _, t := range l.timers {
		t.Stop()
	}
	return left
}

// giveBack gives units back to the windows that they were taken from, as long as the limits are those that they were taken
// under: else the change has already said what becomes of them. What fails is missed until the windows end.
func (l *lease) giveBack(units []int64) error {
	r := l.p.request
	r.Charges = nil
	for i, n := range units {
		if n > 0 {
			c := l.p.request.Charges[i]
			c.Cost = n
			r.Charges = append(r.Charges, c)
		}
	}
	if len(r.Charges) == 0 {
		return nil
	}
	if l.at <= l.p.limiter.reset[l.p.bucket].Load() {
		return nil // there is nothing left of what they were taken from
	}
	p, err := l.p.limiter.prepare(&r)
	if err != nil {
		return err
	}
	ask := question{check: lua.Check{Mode: lua.Refund, At: l.at}, under: &l.w.sources, at: l.at}
	if err = p.put(context.Background(), &ask, new(Decision)); errors.Is(err, errChanged) { // whatever SetOff says: it takes nothing
		return nil
	}
	return err
}
