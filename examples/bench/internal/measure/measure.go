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
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
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

// ServerCPU returns the CPU time, user and system, that Redis servers have used since they started: that of all masters
// of a cluster client.
func ServerCPU(ctx context.Context, rdb redis.UniversalClient) (time.Duration, error) {
	seconds, err := Info(ctx, rdb, "cpu", "used_cpu_user", "used_cpu_sys")
	return time.Duration(seconds * float64(time.Second)), err
}

// Info returns the sum of fields of a section of INFO, over all masters of a cluster client.
func Info(ctx context.Context, rdb redis.UniversalClient, section string, fields ...string) (float64, error) {
	var mu sync.Mutex
	var sum float64
	add := func(ctx context.Context, one *redis.Client) error {
		text, err := one.Info(ctx, section).Result()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, field := range fields {
			n, err := number(text, field)
			if err != nil {
				return fmt.Errorf("measure: INFO %s of %s: %w", section, one.Options().Addr, err)
			}
			sum += n
		}
		return nil
	}
	switch c := rdb.(type) {
	case *redis.ClusterClient:
		err := c.ForEachMaster(ctx, add)
		return sum, err
	case *redis.Client:
		err := add(ctx, c)
		return sum, err
	}
	return 0, fmt.Errorf("measure: INFO of a %T: want a redis.Client or a redis.ClusterClient", rdb)
}

// number finds a field in what INFO answers.
func number(info, field string) (float64, error) {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no field %s", field)
}
