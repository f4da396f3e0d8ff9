package authtest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// start is where a Clock begins.
var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// Clock is a time that stands still until a test moves it. The zero Clock shows 2030-01-02 03:04:05 UTC. Safe for
// concurrent use; not to be copied.
type Clock struct{ offset atomic.Int64 }

// Now returns the time, in UTC.
func (c *Clock) Now() time.Time { return start.Add(time.Duration(c.offset.Load())) }

// Set moves the clock to a time, which may lie in its past, within 292 years of where it began.
func (c *Clock) Set(now time.Time) { c.offset.Store(int64(now.Sub(start))) }

// Advance moves the clock on; by a negative duration: back.
func (c *Clock) Advance(by time.Duration) { c.offset.Add(int64(by)) }

// Example is a testing.TB for Example functions and TestMain, which have none: what is made with it lives until End.
// It has the methods that this package calls; another one panics. The zero Example is ready; for one goroutine.
//
//	t := new(authtest.Example)
//	defer t.End()
//	issuer := authtest.NewIssuer(t)
type Example struct {
	testing.TB
	cleanups []func()
}

// Helper does nothing.
func (*Example) Helper() {}

// Cleanup has End call a function, the last one first.
func (e *Example) Cleanup(f func()) { e.cleanups = append(e.cleanups, f) }

// Context returns a context that nothing ends.
func (*Example) Context() context.Context { return context.Background() }

// Fatalf panics with the text.
func (*Example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// End ends what was made with the Example.
func (e *Example) End() {
	for n := len(e.cleanups); n > 0; n-- {
		e.cleanups[n-1]()
	}
	e.cleanups = nil
}
