package ratelimit

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// call is one check on its way to Redis. It is the caller's until it is added to a queue, the queue's until it is told,
// and then the caller's again; one that its caller left stays the queue's, and is not used again.
type call struct {
	prepared *Prepared
	check    lua.Check
	epochs   [2]lua.Held
	charges  [4]lua.Charge // room for what most requests have
	states   [4]lua.State
	stamps   [2]lua.Stamps
	answer   lua.Answer
	err      error

	times  int   // how many equal calls it stands for
	behind *call // one of those
	batch  int
	flight atomic.Pointer[flight]

	deadline time.Time
	told     atomic.Bool // somebody has the last word: the queue, or the caller who left
	gone     atomic.Bool // the caller left
	done     chan ending // gets one element when the call is told
}

// ending is what a call is told.
type ending uint8

const (
	isAnswered ending = iota
	// Of those that are not answered the call is not the caller's any more.
	isLate
	isCrowdedOut // of a queue that is full
)

// newCall returns an empty call, one that was used before if there is one. Each limiter has its own: a channel that was
// made in a bubble of testing/synctest must stay there.
func newCall(p *Prepared) *call {
	c, _ := p.limiter.calls.Get().(*call)
	if c == nil {
		c = &call{done: make(chan ending, 1)}
	}
	c.prepared, c.times, c.err = p, 1, nil
	c.told.Store(false)
	c.answer = lua.Answer{Epochs: c.answer.Epochs[:0], States: c.answer.States[:0]} // what it came to before is nobody's
	if c.answer.States == nil {
		c.answer.States, c.answer.Epochs = c.states[:0], c.stamps[:0]
	}
	return c
}

// free lets the call be used again. Only whoever was told may.
func (c *call) free() {
	c.check = lua.Check{}
	clear(c.charges[:])
	pool := &c.prepared.limiter.calls
	c.prepared = nil
	pool.Put(c)
}

// fill puts what is asked into the script's terms.
func (c *call) fill(ask *question, w *worked, now int64) {
	p := c.prepared
	c.check = ask.check
	c.check.From, c.check.Until, c.check.ID = w.from, w.until, ask.hold
	c.check.Charges, c.check.Epochs = c.charges[:0], c.epochs[:0]
	c.epochs = [2]lua.Held{}
	if w.overrides != nil {
		c.check.Epochs = append(c.check.Epochs, lua.Held{Key: p.epochs[0], Keys: ask.Epoch, Limits: w.overrides.stamp})
	}
	if w.plan != nil {
		c.check.Epochs = append(c.check.Epochs, lua.Held{Key: p.epochs[1], Limits: w.plan.stamp})
	}
	if t := ask.Token; t != nil && ask.decides() {
		c.check.Token = &lua.Token{
			Org: p.request.Org, Issuer: t.Issuer, ID: t.ID, Subject: t.Subject, Session: t.Session, Client: t.Client, IssuedAt: t.IssuedAt,
		}
	}
	ask.often = now-p.asked.Swap(now) < often
	for i := range w.charges {
		if w.limits[i].uncounted {
			continue
		}
		charge := w.charges[i]
		charge.Units = p.cost(ask, i)
		charge.Frame = p.frame(i, &charge, now, ask.often)
		c.check.Charges = append(c.check.Charges, charge)
	}
}

// fly has the call answered, within the limiter's timeout since a moment. With an error, the call is not the caller's
// any more.
func (c *call) fly(ctx context.Context, began time.Time) error {
	l := c.prepared.limiter
	if err := ctx.Err(); err != nil {
		return err
	}
	q, err := l.queues.of(ctx, c.prepared.bucket, began)
	if err != nil {
		return err
	}
	c.deadline = began.Add(l.timeout)
	if err := q.add(c); err != nil {
		return err
	}
	return c.wait(ctx, q)
}

// equal reports whether two calls of one Prepared ask the same.
func (c *call) equal(o *call) bool {
	return c.prepared == o.prepared && c.epochs == o.epochs && c.check.From == o.check.From && c.check.Until == o.check.Until &&
		c.check.Mergeable() && o.check.Mergeable() && slices.EqualFunc(c.check.Charges, o.check.Charges, sameCharge)
}

// sameCharge compares what may differ between calls of one Prepared. Frames are a matter of how, not of what.
func sameCharge(a, b lua.Charge) bool {
	return a.Units == b.Units && a.Limit == b.Limit && a.Window == b.Window && a.Burst == b.Burst && a.Start == b.Start &&
		a.Change == b.Change && a.Role == b.Role && a.Key == b.Key
}

// tell gives the call back to its caller, unless that has left or was told before.
func (c *call) tell(e ending) {
	if c.told.CompareAndSwap(false, true) {
		c.done <- e
	}
}

// errLate says that Redis did not answer within the limiter's timeout.
var errLate = fmt.Errorf("no answer from Redis in time: %w", context.DeadlineExceeded)

// wait returns when the call was told, or when ctx ends. With an error it is the queue's, and must not be looked at again.
func (c *call) wait(ctx context.Context, q *queue) error {
	var e ending
	select {
	case e = <-c.done:
	case <-ctx.Done():
		if c.told.CompareAndSwap(false, true) {
			c.gone.Store(true)
			q.left()
			return ctx.Err()
		}
		e = <-c.done // just now
	}
	switch e {
	case isLate:
		return errLate
	case isCrowdedOut:
		return errFull
	}
	return nil
}
