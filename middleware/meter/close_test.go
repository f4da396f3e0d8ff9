package meter

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestCloseOutlivesTheDisk: a disk that hangs, as a loop that does not end stands for, holds up Close no longer than its
// context and the grace. Once the disk answers, another Close writes what is left.
func TestCloseOutlivesTheDisk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		counted map[string]int64
		want    error
	}{{"with units pending", map[string]int64{"acme": 3}, ErrNotFlushed}, {"with nothing pending", nil, nil}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var b book
				dir := t.TempDir()
				m := journaled(t, &b, dir)
				hang := make(chan struct{})
				m.loops.Go(func() { <-hang })
				for org, units := range tt.counted {
					m.Record(usage(org, units))
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				began := time.Now()
				if err := m.Close(ctx); !errors.Is(err, tt.want) {
					t.Errorf("Close = %v; want %v", err, tt.want)
				}
				if took := time.Since(began); took != 5*time.Second+grace {
					t.Errorf("Close took %v; want what its context allows, and the grace", took)
				}
				close(hang)
				if err := m.Close(t.Context()); err != nil {
					t.Errorf("Close again: %v", err)
				}
				b.want(t, tt.counted)
				if got := left(t, dir); got != "" {
					t.Errorf("left %s, want nothing", got)
				}
			})
		})
	}
}
