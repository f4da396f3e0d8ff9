package ratelimit_test

import (
	"fmt"
	"testing"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// TestEveryPlanIsKept: as many as there may be, in every bucket.
func TestEveryPlanIsKept(t *testing.T) {
	t.Parallel()
	var names []string
	for b := range bucket.All() {
		for i := range lua.MaxPlans {
			names = append(names, fmt.Sprint(b, i))
		}
	}
	if got := newGate(t, redistest.Standalone(t, redistest.OrEmbedded())).limiter.KeptPlans(names); got != len(names) {
		t.Errorf("%d of %d plans are kept in memory", got, len(names))
	}
}
