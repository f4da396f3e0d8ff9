package ratelimit

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/breaker"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// flight takes calls to Redis and their answers back, again and again. As a context it has a deadline and no end: what
// waits for it has its own. It is its goroutine's, but for what the queue's mutex guards, and mu.
type flight struct {
	context.Context

	of  *queue
	fly func()

	ends    atomic.Int64 // the deadline in nanoseconds since 1970: the client may still look at it when the flight has landed
	batches []*lua.Batch
	used    int                   // how many of them
	open    [bucket.Count + 1]int // of each bucket, and of all: the place of its last batch, from 1
	errs    []error

	// The queue's mutex guards these.
	deadline time.Time
	given    bool // up
	pass     breaker.Pass
	owed     bool  // the breaker is to be told by the pass
	refused  error // by the breaker

	mu    sync.Mutex // held by who tells the calls, or has taken the queue's and looks at them
	calls []*call    // in the order of the checks; nil: told
}

// flights are those that ended, to be used again.
var flights sync.Pool

func newFlight(q *queue) *flight {
	f, _ := flights.Get().(*flight)
	if f == nil {
		f = &flight{Context: context.Background()}
		f.fly = func() { f.of.fly(f) } // once for all that it will carry
	}
	f.of, f.given, f.deadline = q, false, time.Now().Add(q.timeout)
	f.pass, f.owed, f.refused = breaker.Pass{}, false, nil
	return f
}

// Deadline is when those who wait will have gone.
func (f *flight) Deadline() (time.Time, bool) { return time.Unix(0, f.ends.Load()), true }

// departs sets when all is over. The caller holds the queue's mutex.
func (f *flight) departs(deadline time.Time) {
	f.deadline = deadline
	f.ends.Store(deadline.UnixNano())
}

// reset empties a flight. The caller holds the queue's mutex.
func (f *flight) reset() {
	for _, b := range f.batches[:f.used] {
		b.Reset()
	}
	clear(f.open[:])
	f.calls, f.used = f.calls[:0], 0
}

// board takes a call on board: behind an equal one, or by itself. It returns false where there is no room. The caller
// holds the queue's mutex.
func (f *flight) board(c *call) bool {
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

// sweep tells those whose time is over that they are late. The caller holds the queue's mutex.
func (f *flight) sweep(r *round) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, first := range f.calls {
		for c := first; c != nil; c = c.behind {
			switch {
			case c.told.Load():
			case c.deadline.After(r.now):
				r.still(c.deadline)
			default:
				c.tell(isLate)
				r.late = true
			}
		}
	}
}

// take takes what the breaker is to be told by. The caller holds the queue's mutex.
func (f *flight) take() breaker.Pass {
	pass := f.pass
	f.pass, f.owed = breaker.Pass{}, false
	return pass
}

// send asks Redis, and leaves with each call what is wrong. Its error is what is wrong with the server: nothing, if it has
// answered anybody.
func (f *flight) send() error {
	if f.refused != nil {
		for _, c := range f.calls {
			c.err = f.refused
		}
		return f.refused
	}
	for _, c := range f.calls {
		at := bucket.Count
		if !f.of.together {
			at = c.prepared.bucket
		}
		f.load(c, at)
	}
	f.errs = append(f.errs[:0], make([]error, f.used)...)
	if f.used == 1 {
		f.errs[0] = f.of.conn.AdmitBatch(f, f.batches[0])
	} else {
		f.of.conn.AdmitBatches(f, f.batches[:f.used], f.errs)
	}
	for _, c := range f.calls {
		c.err = f.errs[c.batch]
	}
	if slices.Contains(f.errs, nil) {
		return nil
	}
	return f.errs[0]
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

// deliver hands the answers out.
func (f *flight) deliver() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, first := range f.calls {
		f.calls[i] = nil
		if first.times > 1 {
			first.share()
		}
		for c := first; c != nil; {
			next := c.behind // c is its caller's again, once it is told
			c.behind = nil
			c.flight.Store(nil)
			c.tell(isAnswered)
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
