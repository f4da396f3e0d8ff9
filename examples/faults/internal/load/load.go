// Package load makes many callers call at once, writes down what became of each call, and measures meanwhile how late
// the machine itself is.
//
//	crowd := load.Start(ctx, 200, 100*time.Millisecond, func(ctx context.Context, r *rand.Rand) { ... })
//	...
//	crowd.Stop()
package load

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Crowd is callers that call again and again. Safe for concurrent use.
type Crowd struct {
	pause atomic.Int64
	stop  context.CancelFunc
	group sync.WaitGroup
}

// Start has callers call, each with a pause between its calls that is half to one and a half of the one given. A call
// is not broken off by Stop: its context is ctx.
func Start(ctx context.Context, callers int, pause time.Duration, call func(ctx context.Context)) *Crowd {
	c := &Crowd{}
	c.pause.Store(int64(pause))
	var until context.Context
	until, c.stop = context.WithCancel(ctx)
	for range callers {
		c.group.Go(func() {
			for wait(until, time.Duration((0.5+rand.Float64())*float64(c.pause.Load()))) { //nolint:gosec // a pause is no secret
				call(ctx)
			}
		})
	}
	return c
}

// Slow doubles the pause, and returns what it is now.
func (c *Crowd) Slow() time.Duration {
	return time.Duration(c.pause.Add(c.pause.Load()))
}

// wait returns false where the context ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Stop has no more calls made, and waits for those under way. It may be called again.
func (c *Crowd) Stop() {
	c.stop()
	c.group.Wait()
}

// Control measures how late answers are that ask nobody: what waits for a goroutine that waits for a timer, while the
// machine has the load that it has. A gate that gives up in time is as late by no fault of its own.
type Control struct {
	asleep time.Duration
	all    sync.Mutex // what all of them need for a moment, as a gate has such

	mu   sync.Mutex
	late []time.Duration
}

// NewControl returns one that waits for as long as a gate may take.
func NewControl(asleep time.Duration) *Control { return &Control{asleep: asleep} }

// Call is made by callers in place of a call, now and then.
func (c *Control) Call(ctx context.Context) {
	began, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		wait(ctx, c.asleep)
		c.all.Lock()
		defer c.all.Unlock()
	}()
	<-done
	late := time.Since(began) - c.asleep
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = append(c.late, max(late, 0))
}

// Late returns all that was measured.
func (c *Control) Late() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.late)
}

// Quantile returns the least duration that a share q of all do not exceed, zero if there are none. It sorts them.
func Quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(max(int(math.Ceil(q*float64(len(all))))-1, 0), len(all)-1)]
}
