// Package contest runs contestants that check rate limits side by side against one Redis, and measures each of them.
//
// In every round each contestant runs once, with a client of its own, in an order that rotates from round to round: what
// else the machine does meanwhile then meets all of them alike.
//
//	table, err := contest.Run(ctx, contest.Setting{Callers: 128, Keys: 1000, Rounds: 5, For: 400 * time.Millisecond}, watch, all)
package contest

import (
	"context"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/measure"
	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
)

// Check asks once whether a key may pass. It is for one caller at a time.
type Check func(ctx context.Context, key int) (allowed bool, err error)

// Limits says which answer a contestant's limit is to give.
type Limits bool

// The kinds of limits.
const (
	Allowing Limits = true  // one that is never reached
	Denying  Limits = false // 1 an hour
)

// Running is a contestant with its connections open.
type Running struct {
	// Caller returns a Check with what one caller has for itself. It is called for each caller before the clock starts.
	Caller func() Check
	// Close ends the connections. It may take its time.
	Close func() error
}

// Contestant is one way to check a limit.
type Contestant struct {
	Name string
	// Open makes clients for Redis, anew for each run, whose keys are 0 to keys-1. It may use up what is to be denied or
	// leave that to the run's first checks.
	Open func(ctx context.Context, limits Limits, keys int) (*Running, error)
}

// Setting is what a table holds constant.
type Setting struct {
	Callers, Keys int
	Limits        Limits
	Rounds        int
	Warm, For     time.Duration // each run: not counted, then counted
}

// Run runs contestants against the Redis that a Watch sees, and returns a row for each of them, without a Name. It ends
// between two runs when ctx does.
func Run(ctx context.Context, s Setting, redis *Watch, all []Contestant) (*result.Table, error) {
	table := &result.Table{By: result.Rate}
	for _, c := range all {
		table.Rows = append(table.Rows, &result.Row{Name: c.Name})
	}
	for round := range s.Rounds {
		for i := range all {
			c := all[(i+round)%len(all)]
			sample, failed, err := once(ctx, s, redis, c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.Name, err)
			}
			table.Add(c.Name, sample)
			if failed != nil {
				table.Row(c.Name).Fault = failed.Error()
			}
		}
	}
	return table, nil
}

// once runs one contestant, and tells why the first of the checks failed that did.
func once(ctx context.Context, s Setting, redis *Watch, c Contestant) (sample result.Sample, failed, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	running, err := c.Open(ctx, s.Limits, s.Keys)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if e := running.Close(); err == nil {
			err = e
		}
	}()
	if s.Limits == Denying {
		if err := useUp(ctx, running, s.Keys); err != nil {
			return nil, nil, err
		}
	}
	checks := make([]Check, s.Callers)
	for i := range checks {
		checks[i] = running.Caller()
	}
	drive(checks, s, s.Warm)
	before, err := redis.Counters(ctx)
	if err != nil {
		return nil, nil, err
	}
	spent := measure.Now()
	load := drive(checks, s, s.For)
	used := measure.Now().Since(spent)
	after, err := redis.Counters(ctx)
	if err != nil {
		return nil, nil, err
	}
	return load.sample(used, after.Since(before)), load.first, nil
}

// sample makes numbers for each check of what a run came to.
func (l *load) sample(used measure.Spent, redis Counters) result.Sample {
	calls := float64(l.calls)
	return result.Sample{
		result.Rate:     float64(l.calls-l.failed) / l.elapsed.Seconds(),
		result.P50:      micros(l.latency.Quantile(0.5)),
		result.P99:      micros(l.latency.Quantile(0.99)),
		result.Client:   micros(used.CPU) / calls,
		result.Redis:    micros(redis.CPU) / calls,
		result.Commands: redis.Commands / calls,
		result.Reads:    redis.Reads / calls,
		result.Allocs:   float64(used.Allocs) / calls,
		result.Errors:   float64(l.failed) / calls,
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
