package telemetry_test

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
)

func ExampleNew() {
	metrics, err := telemetry.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics)

	// Stages made with middleware.WithObserver(metrics) send events like this one.
	metrics.Observe(middleware.Event{
		Step: middleware.StepRateLimit, Outcome: middleware.OutcomeAllowed,
		Endpoint: "GET /v1/search", Duration: 300 * time.Microsecond,
	})

	families, err := registry.Gather()
	if err != nil {
		fmt.Println(err)
	}
	for _, family := range families {
		fmt.Println(family.GetName(), len(family.GetMetric()))
	}
	// Output:
	// tollgate_decisions_total 1
	// tollgate_step_duration_seconds 1
}
