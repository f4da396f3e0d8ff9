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
)

// Step is what is done again and again.
type Step struct {
	Name string
	Do   func() error
}

// Run does each step for a time in each round, in an order that rotates, and returns a row for each, without a Name. The
// first error of a step ends it.
func Run(ctx context.Context, rounds int, length time.Duration, steps []Step) (*result.Table, error) {
	table := &result.Table{By: result.Nanos}
	times := make([]int, len(steps))
	for i, s := range steps {
		table.Rows = append(table.Rows, &result.Row{Name: s.Name})
		var err error
		if times[i], err = calibrate(s, length); err != nil {
			return nil, err
		}
	}
	for round := range rounds {
		for i := range steps {
			i = (i + round) % len(steps)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			sample, _, err := once(steps[i], times[i])
			if err != nil {
				return nil, err
			}
			table.Add(steps[i].Name, sample)
		}
	}
	return table, nil
}

// calibrate finds how often a step is to be done to take so long.
func calibrate(s Step, length time.Duration) (int, error) {
	for n := 100; ; n *= 4 {
		_, took, err := once(s, n)
		if err != nil {
			return 0, err
		}
		if took >= length/8 {
			return max(int(float64(n)*float64(length)/float64(took)), 1), nil
		}
	}
}

func once(s Step, times int) (result.Sample, time.Duration, error) {
	before, began := measure.Now(), time.Now()
	for range times {
		if err := s.Do(); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	took, spent := time.Since(began), measure.Now().Since(before)
	return result.Sample{
		result.Nanos:  float64(took) / float64(times),
		result.Allocs: float64(spent.Allocs / uint64(times)), // rounded down, as testing.AllocsPerRun: others allocate, too
	}, took, nil
}
