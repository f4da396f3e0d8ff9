package contest

import (
	"context"
	"testing"
)

// TestDriveCalls proves that each caller calls, even if the time was over before it came to run: without a call there is
// no figure for each call.
func TestDriveCalls(t *testing.T) {
	check := func(context.Context, int) (bool, error) { return true, nil }
	l := drive([]Check{check, check}, Setting{Keys: 1, Limits: Allowing}, 0)
	if l.calls != 2 || l.failed != 0 {
		t.Errorf("%d calls, %d failed; want 2 and 0", l.calls, l.failed)
	}
}
