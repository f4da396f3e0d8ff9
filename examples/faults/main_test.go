package main

import (
	"errors"
	"testing"

	"github.com/tollgate-go/tollgate/examples/faults/internal/proc"
)

// TestFaults runs all rows: each has servers of its own, and the gates of the suite judge it.
func TestFaults(t *testing.T) {
	for _, f := range rows() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			line, err := f.Run(t.Context())
			if errors.Is(err, proc.ErrMissing) {
				t.Fatal(err)
			}
			if err != nil {
				t.Error(err)
			}
			t.Logf("%+v", line)
		})
	}
}
