// Package inprocess measures what takes nanoseconds, in this process and by one caller, side by side.
//
//	table, err := inprocess.Run(ctx, 5, 100*time.Millisecond, []inprocess.Step{{Name: "sha256", Do: func() error { ... }}})
package inprocess

import (
	"context"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/measure"
	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
	"github.com/tollgate-go/tollgate/examples/bench/internal/stat"
)

// Step is what is done again and again.
type Step struct {
	Name string
	Do   func() error
}

// piece is how long a step is timed at once. The time of a round is that of its middle piece: another process that has
// the core for some milliseconds is in few of them.
const piece = 500 * time.Microsecond

// Run does each step for a time in each round, in an order that rotates, and returns a row for each, without a Name. The
// first error of a step ends it.
func Run(ctx context.Context, rounds int, length time.Duration, steps []Step) (*result.Table, error) {
	table := &result.Table{By: result.Nanos}
	times := make([]int, len(steps))
	for i, s := range steps {
		table.Rows = append(table.Rows, &result.Row{Name: s.Name})
		var err error
		if times[i], err = calibrate(s); err != nil {
			return nil, err
		}
	}
	for round := range rounds {
		for i := range steps {
			i = (i + round) % len(steps)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			sample, err := once(steps[i], times[i], length)
			if err != nil {
				return nil, err
			}
			table.Add(steps[i].Name, sample)
		}
	}
	return table, nil
}

// calibrate finds how often a step is to be done to make a piece.
func calibrate(s Step) (int, error) {
	for n := 1; ; n *= 2 {
		took, err := s.time(n)
		if err != nil || took >= piece {
			return n, err
		}
	}
}

// time does a step so often.
func (s Step) time(times int) (time.Duration, error) {
	began := time.Now()
	for range times {
		if err := s.Do(); err != nil {
			return 0, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return time.Since(began), nil
}

func once(s Step, times int, length time.Duration) (result.Sample, error) {
	before, began := measure.Now(), time.Now()
	var nanos []float64
	for len(nanos) == 0 || time.Since(began) < length {
		took, err := s.time(times)
		if err != nil {
			return nil, err
		}
		nanos = append(nanos, float64(took)/float64(times))
	}
	spent := measure.Now().Since(before)
	return result.Sample{
		result.Nanos: stat.Median(nanos),
		// Rounded down, as by testing.AllocsPerRun: others allocate, too.
		result.Allocs: float64(spent.Allocs / uint64(times*len(nanos))),
	}, nil
}
