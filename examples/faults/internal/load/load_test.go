package load_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/examples/faults/internal/load"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	thousand := make([]time.Duration, 1000)
	for i := range thousand {
		thousand[i] = time.Duration(1000 - i)
	}
	for _, tt := range []struct {
		name string
		all  []time.Duration
		q    float64
		want time.Duration
	}{
		{"none", nil, 0.999, 0},
		{"one", []time.Duration{7}, 0.5, 7},
		{"median", []time.Duration{3, 1, 2}, 0.5, 2},
		{"p99.9 of a thousand", thousand, 0.999, 999},
		{"the most", thousand, 1, 1000},
		{"the least", thousand, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := load.Quantile(tt.all, tt.q); got != tt.want {
				t.Errorf("Quantile = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestCrowd(t *testing.T) {
	t.Parallel()
	var calls, running, broken atomic.Int64
	enough := make(chan struct{})
	crowd := load.Start(t.Context(), 10, time.Millisecond, func(ctx context.Context) {
		running.Add(1)
		defer running.Add(-1)
		if ctx.Err() != nil {
			broken.Add(1)
		}
		if calls.Add(1) == 100 {
			close(enough)
		}
	})
	if got := crowd.Slow(); got != 2*time.Millisecond {
		t.Errorf("Slow = %v, want 2ms", got)
	}
	<-enough
	crowd.Stop()
	crowd.Stop()
	after := calls.Load()
	if running.Load() != 0 || broken.Load() != 0 || calls.Load() != after {
		t.Errorf("%d calls run after Stop, %d were broken off", running.Load(), broken.Load())
	}
}
