package telemetry_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestSwitchedOffIsNoOutage: nobody asks Redis for a limiter that is switched off, so that none of its errors is counted.
func TestSwitchedOffIsNoOutage(t *testing.T) {
	t.Parallel()
	c, err := telemetry.New()
	if err != nil {
		t.Fatal(err)
	}
	tell := func(err error) int {
		c.Observe(middleware.Event{Step: middleware.StepRateLimit, Outcome: middleware.OutcomeOpened, Err: err})
		return testutil.CollectAndCount(c, "tollgate_redis_errors_total")
	}
	if n := tell(fmt.Errorf("%w: %w", ratelimit.ErrUnavailable, ratelimit.ErrOff)); n != 0 {
		t.Errorf("%d errors of Redis are told of a limiter that is off, want none", n)
	}
	if n := tell(errors.Join(ratelimit.ErrUnavailable)); n != 1 {
		t.Errorf("%d errors of Redis are told of an outage, want 1", n)
	}
}
