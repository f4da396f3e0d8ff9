// Package measure drives callers against something and tells what it cost: how many calls, how long they took, and the
// CPU and the allocations that went into them. It is for the benchmarks of this module; what it tells of CPU and
// allocations is of the whole process, so that two runs at once disturb each other.
//
//	before := measure.Now()
//	load, err := measure.Drive(ctx, 128, time.Second, func(ctx context.Context, caller *rand.Rand) error { ... })
//	spent := measure.Now().Since(before)
//	fmt.Println(load.PerSecond(), load.Latency.Quantile(0.99), spent.CPU/time.Duration(load.Calls()))
package measure

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Load is what Drive did.
type Load struct {
	Elapsed time.Duration
	Latency Histogram // of each call
}

// Calls returns how many calls were made.
func (l *Load) Calls() int64 { return int64(l.Latency.Count()) }

// PerSecond returns the rate of calls.
func (l *Load) PerSecond() float64 { return float64(l.Calls()) / l.Elapsed.Seconds() }

// Drive has callers call again and again, each as soon as its last call has returned, for a duration. A caller has a
// source of random numbers of its own, the same ones in each run.
//
// The first error ends the run and is returned, for what was measured until then means nothing; so does the end of ctx.
func Drive(ctx context.Context, callers int, length time.Duration, call func(context.Context, *rand.Rand) error) (*Load, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	latencies := make([]Histogram, callers)
	var running sync.WaitGroup
	began := time.Now()
	for i := range callers {
		running.Go(func() {
			caller := rand.New(rand.NewPCG(1, uint64(i))) //nolint:gosec // a run is to be like the next
			for last := began; last.Sub(began) < length && ctx.Err() == nil; {
				if err := call(ctx, caller); err != nil {
					cancel(err)
					return
				}
				now := time.Now()
				latencies[i].Record(now.Sub(last))
				last = now
			}
		})
	}
	running.Wait()
	load := &Load{Elapsed: time.Since(began)}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	for i := range latencies {
		load.Latency.Add(&latencies[i])
	}
	return load, nil
}

// Spent is what this process has spent since it began, or between two moments.
type Spent struct {
	CPU    time.Duration // user and system
	Allocs uint64        // objects on the heap
}

// Now returns what was spent until now.
func Now() Spent {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // cannot fail with these arguments
	return Spent{CPU: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), Allocs: memory.Mallocs}
}

// Since returns what was spent between an earlier moment and this one.
func (s Spent) Since(earlier Spent) Spent {
	return Spent{CPU: s.CPU - earlier.CPU, Allocs: s.Allocs - earlier.Allocs}
}

// Heap returns the bytes of the heap that are in use after a collection.
func Heap() uint64 {
	runtime.GC()
	runtime.GC() // the second one frees what had a finalizer, or lay in a pool
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return memory.HeapAlloc
}
