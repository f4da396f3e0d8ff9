package ratelimit

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// Checks that are asked at the same time travel together: group commit, as databases write their logs. Who comes while
// a call is under way waits for the next, with all others who do. There is no timer and no goroutine at rest: whoever
// comes first starts the flight, and it goes on as long as somebody waits. Who is alone waits for nobody.

// maxLate bounds how many flights may be given up and still wait for Redis.
const maxLate = 16

var (
	errFull   = errors.New("too many checks wait for Redis already; see WithQueue")
	errClosed = errors.New("the limiter is closed")
)

// queue is the checks that wait for one server.
type queue struct {
	*config

	together bool // checks of all buckets can be one batch

	mu      sync.Mutex
	waiting []*call
	flights []*flight // those under way that are not given up
	late    int       // how many are
	crowded bool      // the last flight had several calls
	closed  bool
	idle    chan struct{} // closed when nothing waits or flies any more, once closed
}

// flight takes calls to Redis and their answers back, again and again. As a context it has a deadline and no end: what
// waits for it has its own.
type flight struct {
	context.Context

	of  *queue
	fly func()

	deadline time.Time
	ends     atomic.Int64 // the same in nanoseconds since 1970: the client may still look at it when the flight has landed
	calls    []*call      // in the order of the checks
	batches  []*lua.Batch
	used     int                   // how many of them
	open     [bucket.Count + 1]int // of each bucket, and of all: the place of its last batch, from 1
	errs     []error
	given    bool // up
}

// flights are those that ended, to be used again.
var flights sync.Pool

// Deadline is when those who wait will have gone.
func (f *flight) Deadline() (time.Time, bool) { return time.Unix(0, f.ends.Load()), true }

// add has a call wait for its flight.
func (q *queue) add(c *call) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return errClosed
	case len(q.waiting) >= q.queued:
		return errFull
	}
	q.waiting = append(q.waiting, c)
	q.take()
	return nil
}

// take begins one more flight, if one may be. The caller holds mu.
func (q *queue) take() {
	if len(q.flights) == q.inFlight {
		return
	}
	f, _ := flights.Get().(*flight)
	if f == nil {
		f = &flight{Context: context.Background()}
		f.fly = func() { f.of.fly(f) } // once for all that it will carry
	}
	f.of, f.given, f.deadline = q, false, time.Now().Add(q.timeout)
	q.flights = append(q.flights, f)
	go f.fly()
}

// fly takes what waits, until nothing does or the flight was given up.
func (q *queue) fly(f *flight) {
	for q.seal(f) {
		q.send(f)
		f.deliver()
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
		q.rest()
		return false
	}
	f.reset()
	taken := 0
	for _, c := range q.waiting {
		if !c.gone.Load() && !q.board(f, c) {
			break
		}
		taken++
	}
	q.crowded = taken > 1
	left := copy(q.waiting, q.waiting[taken:])
	clear(q.waiting[left:])
	q.waiting = q.waiting[:left]
	if len(f.calls) == 0 {
		q.flights = slices.DeleteFunc(q.flights, func(other *flight) bool { return other == f })
		q.rest()
		return false
	}
	f.deadline = time.Now().Add(q.timeout)
	f.ends.Store(f.deadline.UnixNano())
	return true
}

func (q *queue) crowds() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.crowded
}

// rest tells Close that nothing is under way. The caller holds mu.
func (q *queue) rest() {
	if q.closed && len(q.flights) == 0 && q.late == 0 {
		select {
		case <-q.idle:
		default:
			close(q.idle)
		}
	}
}

// board takes a call on board: behind an equal one, or by itself. It returns false where there is no room. The caller
// holds mu.
func (q *queue) board(f *flight, c *call) bool {
	p := c.prepared
	if first := p.first.Load(); first != nil && first.flight.Load() == f && first.equal(c) && first.times < lua.MaxTimes {
		c.behind, first.behind = first.behind, c
		first.times++
		c.flight.Store(f)
		return true
	}
	if len(f.calls) >= lua.MaxBatch {
		return false
	}
	f.calls = append(f.calls, c)
	c.flight.Store(f)
	if c.check.Mergeable() {
		p.first.Store(c)
	}
	return true
}

// reset empties a flight.
func (f *flight) reset() {
	for _, b := range f.batches[:f.used] {
		b.Reset()
	}
	clear(f.open[:])
	f.calls, f.used = f.calls[:0], 0
}

// load puts a call into the last batch of its bucket, or into one more where that is full.
func (f *flight) load(c *call, at int) {
	if open := f.open[at]; open > 0 && f.batches[open-1].Add(&c.check, c.times, &c.answer) {
		c.batch = open - 1
		return
	}
	if f.used == len(f.batches) {
		f.batches = append(f.batches, new(lua.Batch))
	}
	c.batch = f.used
	f.used++
	f.open[at] = f.used
	f.batches[c.batch].Add(&c.check, c.times, &c.answer) // what is empty has room
}

// send asks Redis, and leaves with each call what is wrong.
func (q *queue) send(f *flight) {
	for _, c := range f.calls {
		at := bucket.Count
		if !q.together {
			at = c.prepared.bucket
		}
		f.load(c, at)
	}
	f.errs = append(f.errs[:0], make([]error, f.used)...)
	if f.used == 1 {
		f.errs[0] = q.conn.AdmitBatch(f, f.batches[0])
	} else {
		q.conn.AdmitBatches(f, f.batches[:f.used], f.errs)
	}
	for _, c := range f.calls {
		c.err = f.errs[c.batch]
	}
}

// deliver hands the answers out.
func (f *flight) deliver() {
	for i, first := range f.calls {
		f.calls[i] = nil
		if first.times > 1 {
			first.share()
		}
		for c := first; c != nil; {
			next := c.behind // c is its caller's again, once it is told
			c.behind = nil
			c.flight.Store(nil)
			c.tell()
			c = next
		}
	}
}

// share gives each of the calls that are merged in one its own answer, from the last that came to the first.
func (c *call) share() {
	n := int64(c.times)
	for at := c.behind; at != nil; at = at.behind {
		n--
		c.answer.Nth(n, c.check.Charges, &at.answer)
		at.err = c.err
	}
	c.answer.Nth(0, c.check.Charges, &c.answer)
}

// giveUp lets others fly in place of flights that take too long, as those whose connections hang: half the limiter's
// timeout. Whoever leaves without an answer calls it.
func (q *queue) giveUp() {
	q.mu.Lock()
	defer q.mu.Unlock()
	late := time.Now().Add(q.timeout / 2)
	q.flights = slices.DeleteFunc(q.flights, func(f *flight) bool {
		if late.Before(f.deadline) || q.late >= maxLate {
			return false
		}
		f.given = true
		q.late++
		return true
	})
	if len(q.waiting) > 0 {
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
