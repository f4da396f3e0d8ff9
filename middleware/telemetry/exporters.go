package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware/meter/export"
)

// exportStep is the step of a Redis error that an exporter met.
const exportStep = "export"

var (
	exportedEvents = describe("tollgate_export_events_total", "Events of usage that the sink accepted, also when it had them before.")
	exportedUnits  = describe("tollgate_export_units_total", "Units of usage of these events.")
	exportFailures = describe("tollgate_export_sink_failures_total", "Calls of the sink that failed.")
	exportDue      = describe("tollgate_export_due_hours", "Hours of orgs that the last pass left, though they were to be exported.")
	exportBehind   = describe("tollgate_export_behind_seconds", "Time since the first of these hours was over.")
)

// WithExporter adds what an exporter of usage sent, and what it is behind with. Several exporters are added up. Those of
// several processes see the same hours: take the max of what is due, not the sum.
func WithExporter(e interface{ Stats() export.Stats }) Option {
	return source("WithExporter", e == nil, func(c *config) { c.exporters = append(c.exporters, e) })
}

func describeExporters(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{exportedEvents, exportedUnits, exportFailures, exportDue, exportBehind} {
		to <- d
	}
}

func (c *Collector) collectExporters(to chan<- prometheus.Metric) {
	if len(c.exporters) == 0 {
		return
	}
	var events, units, failed uint64
	var hours int
	var behind time.Duration
	failures := make(map[lua.Class]uint64)
	for _, e := range c.exporters {
		s := e.Stats()
		events, units, failed = events+s.Events, units+s.Units, failed+s.SinkFailures
		hours, behind = hours+s.Due, max(behind, s.Behind)
		for class, n := range s.Failures {
			failures[class] += n
		}
	}
	to <- count(exportedEvents, events)
	to <- count(exportedUnits, units)
	to <- count(exportFailures, failed)
	to <- gauge(exportDue, float64(hours))
	to <- gauge(exportBehind, behind.Seconds())
	for class, n := range failures {
		to <- count(redisErrors, n, exportStep, string(class))
	}
}
