package contest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/measure"
)

// load is what callers did.
type load struct {
	calls, failed int64
	first         error // of those that failed
	elapsed       time.Duration
	latency       measure.Histogram
}

var errWrong = errors.New("the answer was not the one that the limit gives")

// drive has callers check random keys, each as soon as its last check has returned, for a time. Unlike measure.Drive it
// counts what fails: a rival that gives up under load is to show that, not to end the benchmark. The callers' context
// is the one without an end: a shared one that can be cancelled would have them contend for its lock.
func drive(checks []Check, s Setting, length time.Duration) *load {
	loads := make([]load, len(checks))
	began := time.Now()
	var running sync.WaitGroup
	for i, check := range checks {
		running.Go(func() { loads[i].call(check, s, began, length, uint64(i)) })
	}
	running.Wait()
	sum := &load{elapsed: time.Since(began)}
	for i := range loads {
		l := &loads[i]
		sum.calls += l.calls
		sum.failed += l.failed
		sum.latency.Add(&l.latency)
		if sum.first == nil {
			sum.first = l.first
		}
	}
	return sum
}

func (l *load) call(check Check, s Setting, began time.Time, length time.Duration, seed uint64) {
	ctx, want := context.Background(), bool(s.Limits)
	random := seed*0x9e3779b97f4a7c15 + 0x632be59bd9b4e019
	for last := time.Since(began); l.calls == 0 || last < length; { // a run that called nobody has no figures
		random ^= random << 13 // xorshift64: a nanosecond
		random ^= random >> 7
		random ^= random << 17
		allowed, err := check(ctx, int((random>>32)*uint64(s.Keys)>>32))
		now := time.Since(began)
		l.latency.Record(now - last)
		last = now
		l.calls++
		if err != nil || allowed != want {
			l.failed++
			if err == nil {
				err = errWrong
			}
			if l.first == nil {
				l.first = err
			}
		}
	}
}

// useUp takes the one unit of each key, and looks that there is no further one.
func useUp(ctx context.Context, r *Running, keys int) error {
	check := r.Caller()
	for key := range keys {
		for try := 0; ; try++ {
			allowed, err := check(ctx, key)
			if err == nil && !allowed {
				break
			}
			if try == 10 { // on a machine that is busy, some find no answer in time
				return errors.Join(errors.New("the limit of 1 an hour cannot be used up"), err)
			}
		}
	}
	return nil
}
