package telemetry_test

import (
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware/meter/export"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
)

type exporterStats export.Stats

func (s exporterStats) Stats() export.Stats { return export.Stats(s) }

func TestCollectExporters(t *testing.T) {
	t.Parallel()
	stats := exporterStats{
		Events: 1, Units: 20, SinkFailures: 3, Due: 4, Behind: 90 * time.Second,
		Failures: map[lua.Class]uint64{lua.ClassTimeout: 5},
	}
	c := newCollector(t, telemetry.WithExporter(stats), telemetry.WithExporter(stats))
	compare(t, c, `
# HELP tollgate_export_behind_seconds Time since the first of these hours was over.
# TYPE tollgate_export_behind_seconds gauge
tollgate_export_behind_seconds 90
# HELP tollgate_export_due_hours Hours of orgs that the last pass left, though they were to be exported.
# TYPE tollgate_export_due_hours gauge
tollgate_export_due_hours 8
# HELP tollgate_export_events_total Events of usage that the sink accepted, also when it had them before.
# TYPE tollgate_export_events_total counter
tollgate_export_events_total 2
# HELP tollgate_export_sink_failures_total Calls of the sink that failed.
# TYPE tollgate_export_sink_failures_total counter
tollgate_export_sink_failures_total 6
# HELP tollgate_export_units_total Units of usage of these events.
# TYPE tollgate_export_units_total counter
tollgate_export_units_total 40
# HELP tollgate_redis_errors_total Outages that a step met, by class.
# TYPE tollgate_redis_errors_total counter
tollgate_redis_errors_total{class="timeout",step="export"} 10
`)
}
