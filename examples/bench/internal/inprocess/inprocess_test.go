package inprocess_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/inprocess"
	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
)

var kept *[64]byte

// It is not parallel: allocations are those of the whole process.
func TestRun(t *testing.T) {
	nothing := func() error { return nil }
	object := func() error { kept = new([64]byte); return nil }
	table, err := inprocess.Run(t.Context(), 3, 2*time.Millisecond, []inprocess.Step{{"nothing", nothing}, {"an object", object}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"nothing": 0, "an object": 1} {
		if got := table.Spread(name, result.Allocs).Median; got < want || got > want+0.1 {
			t.Errorf("%s: %v allocations each time, want %v", name, got, want)
		}
		if got := table.Series(name, result.Nanos); len(got) != 3 || got[0] <= 0 {
			t.Errorf("%s took %v ns, want a time of each of 3 rounds", name, got)
		}
	}
}

func TestRunEnds(t *testing.T) {
	broken := errors.New("broken")
	if table, err := inprocess.Run(t.Context(), 3, time.Hour, []inprocess.Step{{"broken", func() error { return broken }}}); !errors.Is(err, broken) {
		t.Errorf("Run = %v, %v; want the step's error", table, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	step := inprocess.Step{Name: "cancels", Do: func() error { cancel(); return nil }}
	if table, err := inprocess.Run(ctx, 3, time.Microsecond, []inprocess.Step{step}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, %v; want context.Canceled", table, err)
	}
}
