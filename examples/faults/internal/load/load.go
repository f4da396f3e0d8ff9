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
	"time"
)

// Crowd is callers that call again and again.
type Crowd struct {
	stop  context.CancelFunc
	group sync.WaitGroup
}

// Start has callers call, each with a pause between its calls that is half to one and a half of the one given. A call
// is not broken off by Stop: its context is ctx.
func Start(ctx context.Context, callers int, pause time.Duration, call func(ctx context.Context)) *Crowd {
	c := &Crowd{}
	var until context.Context
	until, c.stop = context.WithCancel(ctx)
	for range callers {
		c.group.Go(func() {
			for wait(until, time.Duration((0.5+rand.Float64())*float64(pause))) { //nolint:gosec // a pause is no secret
				call(ctx)
			}
		})
	}
	return c
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

// Lateness measures how much later than they asked for sleepers wake, while the machine has the load that it has. What
// waits for a timer is as late by no fault of its own.
type Lateness struct {
	crowd *Crowd
	mu    sync.Mutex
	late  []time.Duration
}

// sleepers is how many sleep, each for as long as a call may take.
const sleepers = 20

// Watch measures until Stop.
func Watch(ctx context.Context, asleep time.Duration) *Lateness {
	l := &Lateness{}
	l.crowd = Start(ctx, sleepers, asleep/10, func(ctx context.Context) {
		began := time.Now()
		if !wait(ctx, asleep) {
			return
		}
		late := time.Since(began) - asleep
		l.mu.Lock()
		defer l.mu.Unlock()
		l.late = append(l.late, max(late, 0))
	})
	return l
}

// Stop returns all that was measured.
func (l *Lateness) Stop() []time.Duration {
	l.crowd.Stop()
	return l.late
}

// Quantile returns the least duration that a share q of all do not exceed, zero if there are none. It sorts them.
func Quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(max(int(math.Ceil(q*float64(len(all))))-1, 0), len(all)-1)]
}
