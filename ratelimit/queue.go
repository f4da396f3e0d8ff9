package ratelimit

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/breaker"
)

// Checks that are asked at the same time travel together: group commit, as databases write their logs. Who comes while
// a call is under way waits for the next, with all others who do. There is no goroutine at rest: whoever comes first
// starts the flight, and it goes on as long as somebody waits. Who is alone waits for nobody. One timer watches over all
// who wait: a timer for each of them would cost as much as the rest.

// maxLate bounds how many flights may be given up and still wait for Redis.
const maxLate = 16

// watchStep is how much later than in time one who waits may be told that it is late, so that the watch need not look
// for each of them by itself.
const watchStep = time.Millisecond

var (
	errFull   = errors.New("too many checks wait for Redis already; see WithQueue")
	errClosed = errors.New("the limiter is closed")
)

// queue is the checks that wait for one server.
type queue struct {
	*config

	breaker  *breaker.Breaker // of the server; may be nil
	together bool             // checks of all buckets can be one batch

	mu       sync.Mutex
	waiting  lanes
	flights  []*flight // under way
	late     int       // how many of them are given up
	crowded  bool      // the last flight had several calls
	closed   bool
	idle     chan struct{} // closed when nothing waits or flies any more, once closed
	watch    *time.Timer
	watching bool // the watch is set
	due      time.Time
}

// add has a call wait for its flight.
func (q *queue) add(c *call) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return errClosed
	case q.breaker != nil && q.breaker.Open():
		return breaker.ErrOpen
	}
	switch out := q.waiting.add(c, q.queued); out {
	case nil:
	case c:
		return errFull
	default:
		out.tell(isCrowdedOut)
	}
	q.take()
	if !q.watching || c.deadline.Before(q.due) {
		q.watchUntil(c.deadline)
	}
	return nil
}

// take begins one more flight, if one may be. The caller holds mu.
func (q *queue) take() {
	if len(q.flights)-q.late < q.inFlight {
		f := newFlight(q)
		q.flights = append(q.flights, f)
		go f.fly()
	}
}

// fly takes what waits, until nothing does or the flight was given up.
func (q *queue) fly(f *flight) {
	for q.seal(f) {
		err := f.send()
		f.deliver()
		q.settle(f, err) // which may write a log
	}
	f.of = nil
	flights.Put(f)
}

// seal takes calls on board, and returns false where the flight ends.
func (q *queue) seal(f *flight) bool {
	if q.crowds() {
		runtime.Gosched() // those who were just answered are likely to ask again
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if f.given {
		q.late--
		q.land(f)
		return false
	}
	f.reset()
	taken := 0
	q.waiting.take(func(c *call) bool {
		taken++
		return c.gone.Load() || f.board(c)
	}, lua.MaxBatch)
	q.crowded = taken > 1
	if len(f.calls) == 0 {
		q.land(f)
		return false
	}
	f.departs(time.Now().Add(q.timeout))
	if q.breaker != nil {
		f.pass, f.refused = q.breaker.Allow()
		f.owed = f.refused == nil
	}
	return true
}

// settle tells the breaker what a flight came to, unless it was told that it is late.
func (q *queue) settle(f *flight, err error) {
	q.mu.Lock()
	pass := f.take()
	q.mu.Unlock()
	pass.Done(err)
}

func (q *queue) crowds() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.crowded
}

// land ends a flight, and tells Close if it was the last. The caller holds mu.
func (q *queue) land(f *flight) {
	q.flights = slices.DeleteFunc(q.flights, func(other *flight) bool { return other == f })
	q.rest()
}

// rest tells Close that nothing is under way. The caller holds mu.
func (q *queue) rest() {
	if q.closed && len(q.flights) == 0 {
		select {
		case <-q.idle:
		default:
			close(q.idle)
		}
	}
}

// watchUntil sets the watch. The caller holds mu.
func (q *queue) watchUntil(next time.Time) {
	q.watching, q.due = true, next
	in := max(time.Until(next), watchStep)
	if q.watch == nil {
		q.watch = time.AfterFunc(in, q.sweep)
		return
	}
	q.watch.Reset(in)
}

// round is one look of the watch at all who wait.
type round struct {
	now  time.Time
	next time.Time // when there is to be another
	left bool      // somebody still waits
	late bool      // somebody has waited for too long
}

func (r *round) still(deadline time.Time) {
	if !r.left || deadline.Before(r.next) {
		r.next = deadline
	}
	r.left = true
}

// waits looks at a call that is on no flight yet.
func (r *round) waits(c *call) bool {
	switch {
	case c.gone.Load():
		return false
	case c.deadline.After(r.now):
		r.still(c.deadline)
		return true
	}
	c.gone.Store(true)
	c.tell(isLate)
	r.late = true
	return false
}

// sweep tells those who have waited for too long that they are late, and the breaker of flights that are.
func (q *queue) sweep() {
	q.mu.Lock()
	r := &round{now: time.Now()}
	q.waiting.each(r.waits)
	var lost []breaker.Pass
	for _, f := range q.flights {
		f.sweep(r)
		switch {
		case f.deadline.After(r.now):
			r.still(f.deadline)
		case f.owed:
			lost = append(lost, f.take())
			fallthrough
		default:
			r.late = r.late || !f.given
		}
	}
	if r.late {
		q.giveUp(r.now)
	}
	if q.watching = false; r.left {
		q.watchUntil(r.next)
	}
	q.mu.Unlock()
	for _, pass := range lost {
		pass.Done(errLate) // which may write a log
	}
}

// left is told by whoever leaves without an answer. That says nothing of the server: its breaker is not told.
func (q *queue) left() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.giveUp(time.Now())
}

// giveUp lets others fly in place of flights that take too long, as those whose connections hang: half the limiter's
// timeout. The caller holds mu.
func (q *queue) giveUp(now time.Time) {
	late := now.Add(q.timeout / 2)
	for _, f := range q.flights {
		if !f.given && !late.Before(f.deadline) && q.late < maxLate {
			f.given = true
			q.late++
		}
	}
	if q.waiting.size > 0 {
		q.take()
	}
}

// close lets nobody in any more. When nothing is under way, idle is closed.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.rest()
}
