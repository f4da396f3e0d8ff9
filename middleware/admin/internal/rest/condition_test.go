package rest

import (
	"context"
	"errors"
	"testing"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// Whoever changes something all the time does not hold off who changes whatever is there, as a revocation does.
func TestWhateverIsThereIsChangedHoweverOftenItChanges(t *testing.T) {
	t.Parallel()
	races := 0
	look := func(context.Context) (int64, error) { return int64(races) + 1, nil }
	change := func(_ context.Context, p ratelimit.Precondition) error {
		if p != ratelimit.Precondition(races+1) {
			t.Errorf("changed under %d, looked at %d", p, races+1)
		}
		if races++; races < 100 {
			return ratelimit.ErrConflict
		}
		return nil
	}
	whatever := Condition{present: true}
	if err := whatever.Meet(t.Context(), look, change); err != nil || races != 100 {
		t.Errorf("*: %v after %d races, want none after 100", err, races)
	}
	races = 0
	listed := Condition{listed: true, revisions: []int64{1, 2, 3, 4, 5, 6, 7}}
	if err := listed.Meet(t.Context(), look, change); !errors.Is(err, ratelimit.ErrConflict) || races != attempts {
		t.Errorf("a list: %v after %d races, want a conflict after %d", err, races, attempts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := whatever.Meet(ctx, look, func(context.Context, ratelimit.Precondition) error {
		cancel()
		return ratelimit.ErrConflict
	})
	if !errors.Is(err, ratelimit.ErrConflict) {
		t.Errorf("when the client is gone: %v, want a conflict", err)
	}
}
