package telemetry_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
	"github.com/tollgate-go/tollgate/ratelimit"
)

type verifierStats authkey.Stats

func (s verifierStats) Stats() authkey.Stats { return authkey.Stats(s) }

type limiterStats ratelimit.Stats

func (s limiterStats) Stats() ratelimit.Stats { return ratelimit.Stats(s) }

type meterStats meter.Stats

func (s meterStats) Stats() meter.Stats { return meter.Stats(s) }

type openBreakers int

func (n openBreakers) OpenBreakers() int { return int(n) }

func full() []telemetry.Option {
	return []telemetry.Option{
		telemetry.WithVerifier(verifierStats{Hits: 1, NegativeHits: 2, Misses: 3, StoreErrors: 4, Throttled: 18, Rehashes: 19, RehashErrors: 21, Graces: 24, OpenBreakers: 25, Entries: 5, NegativeEntries: 6}),
		telemetry.WithLimiter(limiterStats{Hits: 7, Misses: 8, Stale: 9, Refused: 23, Orgs: 10, Monitored: true, Off: true, OpenBreakers: 26, Replicas: 24, LocalAllowed: 25, LocalRefused: 26, LocalCounts: 27, EndingHour: 1, EndingDay: 2, EndingWeek: 3}),
		telemetry.WithMeter(meterStats{
			Recorded: 20, Flushed: 11, Pending: 9, Dropped: 12, Invalid: 13, Entries: 14, OldestPending: 1500 * time.Millisecond,
			LossBound: 100 * time.Millisecond, Journaled: 8, Replayed: 22, Unsure: 24, JournalErrors: 25,
			Failures: map[lua.Class]uint64{lua.ClassTimeout: 15, lua.ClassConfig: 16},
		}),
		telemetry.WithBreakers("revocations", openBreakers(27)),
		telemetry.WithRedis(&server{text: "maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\nevicted_keys:17\r\n"}),
	}
}

func TestCollectSources(t *testing.T) {
	t.Parallel()
	const want = `
# HELP tollgate_breaker_open Redis servers that a part of the gate leaves alone now, because they failed again and again.
# TYPE tollgate_breaker_open gauge
tollgate_breaker_open{part="keys"} 25
tollgate_breaker_open{part="limits"} 26
tollgate_breaker_open{part="revocations"} 27
# HELP tollgate_cache_entries Entries in a cache now.
# TYPE tollgate_cache_entries gauge
tollgate_cache_entries{cache="keys"} 5
tollgate_cache_entries{cache="overrides"} 10
tollgate_cache_entries{cache="unknown_keys"} 6
# HELP tollgate_cache_lookups_total Look-ups in a cache, by result.
# TYPE tollgate_cache_lookups_total counter
tollgate_cache_lookups_total{cache="keys",result="grace"} 24
tollgate_cache_lookups_total{cache="keys",result="hit"} 1
tollgate_cache_lookups_total{cache="keys",result="miss"} 3
tollgate_cache_lookups_total{cache="keys",result="negative_hit"} 2
tollgate_cache_lookups_total{cache="overrides",result="hit"} 7
tollgate_cache_lookups_total{cache="overrides",result="miss"} 8
# HELP tollgate_limit_local_counts Counts and holds of the local share in memory.
# TYPE tollgate_limit_local_counts gauge
tollgate_limit_local_counts 27
# HELP tollgate_limit_local_decisions_total Requests that the local share decided while Redis was away, by result.
# TYPE tollgate_limit_local_decisions_total counter
tollgate_limit_local_decisions_total{result="allowed"} 25
tollgate_limit_local_decisions_total{result="refused"} 26
# HELP tollgate_limit_remembered_refusals_total Requests that a limiter refused from memory.
# TYPE tollgate_limit_remembered_refusals_total counter
tollgate_limit_remembered_refusals_total 23
# HELP tollgate_limit_replicas Processes that share limits, as a limiter heard last; the most of all limiters.
# TYPE tollgate_limit_replicas gauge
tollgate_limit_replicas 24
# HELP tollgate_limiters_monitored Limiters that refuse nobody, because SetMonitor is on.
# TYPE tollgate_limiters_monitored gauge
tollgate_limiters_monitored 1
# HELP tollgate_limiters_off Limiters that decide nothing, because SetOff is on.
# TYPE tollgate_limiters_off gauge
tollgate_limiters_off 1
# HELP tollgate_overrides_ending Overrides that are active and end within a time, of the orgs in memory.
# TYPE tollgate_overrides_ending gauge
tollgate_overrides_ending{within="1d"} 2
tollgate_overrides_ending{within="1h"} 1
tollgate_overrides_ending{within="7d"} 3
# HELP tollgate_redis_errors_total Outages that a step met, by class.
# TYPE tollgate_redis_errors_total counter
tollgate_redis_errors_total{class="config",step="flush"} 16
tollgate_redis_errors_total{class="timeout",step="flush"} 15
# HELP tollgate_redis_evicted_keys_total Keys that Redis masters were seen to drop because their memory was full.
# TYPE tollgate_redis_evicted_keys_total counter
tollgate_redis_evicted_keys_total 0
# HELP tollgate_redis_masters Redis masters that answered, by what they do with keys when their memory is full.
# TYPE tollgate_redis_masters gauge
tollgate_redis_masters{eviction="latent"} 1
tollgate_redis_masters{eviction="off"} 0
tollgate_redis_masters{eviction="on"} 0
tollgate_redis_masters{eviction="unknown"} 0
# HELP tollgate_rehashes_total Digests of keys that were to move to the current pepper, by result.
# TYPE tollgate_rehashes_total counter
tollgate_rehashes_total{result="failed"} 21
tollgate_rehashes_total{result="moved"} 19
# HELP tollgate_stale_answers_total Answers of Redis that a change had made old; they are asked again.
# TYPE tollgate_stale_answers_total counter
tollgate_stale_answers_total 9
# HELP tollgate_store_errors_total Look-ups that the store of keys did not answer.
# TYPE tollgate_store_errors_total counter
tollgate_store_errors_total 4
# HELP tollgate_throttled_lookups_total Look-ups of keys that were not made, because too many were of keys that nobody knows.
# TYPE tollgate_throttled_lookups_total counter
tollgate_throttled_lookups_total 18
# HELP tollgate_usage_dropped_units_total Units of usage that were lost.
# TYPE tollgate_usage_dropped_units_total counter
tollgate_usage_dropped_units_total 12
# HELP tollgate_usage_flushed_units_total Units of usage that were written to Redis.
# TYPE tollgate_usage_flushed_units_total counter
tollgate_usage_flushed_units_total 11
# HELP tollgate_usage_invalid_records_total Records of usage that were out of bounds.
# TYPE tollgate_usage_invalid_records_total counter
tollgate_usage_invalid_records_total 13
# HELP tollgate_usage_journal_errors_total Times that a journal of usage could not be written, read or removed.
# TYPE tollgate_usage_journal_errors_total counter
tollgate_usage_journal_errors_total 25
# HELP tollgate_usage_journaled_units Units of usage that are not written to Redis yet and are in the journal.
# TYPE tollgate_usage_journaled_units gauge
tollgate_usage_journaled_units 8
# HELP tollgate_usage_loss_bound_seconds How far back the usage reaches that a crash now would lose.
# TYPE tollgate_usage_loss_bound_seconds gauge
tollgate_usage_loss_bound_seconds 0.1
# HELP tollgate_usage_oldest_pending_seconds Age of the oldest usage that is not written yet.
# TYPE tollgate_usage_oldest_pending_seconds gauge
tollgate_usage_oldest_pending_seconds 1.5
# HELP tollgate_usage_pending_names Distinct names of usage that are not written yet.
# TYPE tollgate_usage_pending_names gauge
tollgate_usage_pending_names 14
# HELP tollgate_usage_pending_units Units of usage that are not written yet.
# TYPE tollgate_usage_pending_units gauge
tollgate_usage_pending_units 9
# HELP tollgate_usage_recorded_units_total Units of usage that were taken in.
# TYPE tollgate_usage_recorded_units_total counter
tollgate_usage_recorded_units_total 20
# HELP tollgate_usage_replayed_units_total Units of usage of processes that died, written to Redis from their journals.
# TYPE tollgate_usage_replayed_units_total counter
tollgate_usage_replayed_units_total 22
# HELP tollgate_usage_unsure_units_total Units of usage in journals that were set aside, since Redis may have them.
# TYPE tollgate_usage_unsure_units_total counter
tollgate_usage_unsure_units_total 24
`
	compare(t, newCollector(t, full()...), want)
}

func TestCollectAddsUpSources(t *testing.T) {
	t.Parallel()
	c := newCollector(t, append(full(), append(full(), telemetry.WithMeter(meterStats{OldestPending: time.Second}))...)...)
	compare(t, c, `
# HELP tollgate_cache_entries Entries in a cache now.
# TYPE tollgate_cache_entries gauge
tollgate_cache_entries{cache="keys"} 10
tollgate_cache_entries{cache="overrides"} 20
tollgate_cache_entries{cache="unknown_keys"} 12
# HELP tollgate_overrides_ending Overrides that are active and end within a time, of the orgs in memory.
# TYPE tollgate_overrides_ending gauge
tollgate_overrides_ending{within="1d"} 4
tollgate_overrides_ending{within="1h"} 2
tollgate_overrides_ending{within="7d"} 6
# HELP tollgate_redis_errors_total Outages that a step met, by class.
# TYPE tollgate_redis_errors_total counter
tollgate_redis_errors_total{class="config",step="flush"} 32
tollgate_redis_errors_total{class="timeout",step="flush"} 30
# HELP tollgate_redis_masters Redis masters that answered, by what they do with keys when their memory is full.
# TYPE tollgate_redis_masters gauge
tollgate_redis_masters{eviction="latent"} 2
tollgate_redis_masters{eviction="off"} 0
tollgate_redis_masters{eviction="on"} 0
tollgate_redis_masters{eviction="unknown"} 0
# HELP tollgate_usage_oldest_pending_seconds Age of the oldest usage that is not written yet.
# TYPE tollgate_usage_oldest_pending_seconds gauge
tollgate_usage_oldest_pending_seconds 1.5
# HELP tollgate_usage_recorded_units_total Units of usage that were taken in.
# TYPE tollgate_usage_recorded_units_total counter
tollgate_usage_recorded_units_total 40
`, "tollgate_cache_entries", "tollgate_overrides_ending", "tollgate_redis_errors_total", "tollgate_redis_masters", "tollgate_usage_oldest_pending_seconds", "tollgate_usage_recorded_units_total")
}

func TestCollectWithoutSources(t *testing.T) {
	t.Parallel()
	if n := testutil.CollectAndCount(newCollector(t)); n != 0 {
		t.Errorf("%d series of a new collector, want 0", n)
	}
}

// TestRegister has the registry check what Collect sends against what Describe promised.
func TestRegister(t *testing.T) {
	t.Parallel()
	c := newCollector(t, append(full(), telemetry.WithIssuers(issuerStats{{Issuer: "https://id.example", Keys: 1}}))...)
	c.Observe(middleware.Event{
		Step: middleware.StepTake, Outcome: middleware.OutcomeFailed, Endpoint: middleware.Unmatched,
		Err: fmt.Errorf("%w: %w", ratelimit.ErrUnavailable, context.Canceled),
	})
	c.Observe(compared("shop", false, true))
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatalf("Register: %v", err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatalf("Gather: %v", err)
	}
	for _, p := range problems {
		t.Errorf("lint: %s: %s", p.Metric, p.Text)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatalf("Gather: %v", err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "tollgate_") {
			t.Errorf("%s is not named tollgate_*", f.GetName())
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if allowed := map[string]bool{"step": true, "outcome": true, "code": true, "endpoint": true, "class": true, "cache": true, "result": true, "eviction": true, "within": true, "policy": true, "part": true, "candidate": true, "verdict": true, "issuer": true, "state": true}; !allowed[l.GetName()] {
					t.Errorf("%s has the label %s", f.GetName(), l.GetName())
				}
			}
		}
	}
	if len(families) != 39 {
		t.Errorf("%d metrics, want 39", len(families))
	}
}
