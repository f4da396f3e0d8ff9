package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
)

const (
	redisErrorsName = "tollgate_redis_errors_total"
	redisErrorsHelp = "Outages that a step met, by class."
)

var redisErrorsLabels = []string{"step", "class"}

var (
	redisErrors   = describe(redisErrorsName, redisErrorsHelp, redisErrorsLabels...)
	redisMasters  = describe("tollgate_redis_masters", "Redis masters that answered, by what they do with keys when their memory is full.", "eviction")
	redisEvicted  = describe("tollgate_redis_evicted_keys_total", "Keys that Redis masters were seen to drop because their memory was full.")
	lookups       = describe("tollgate_cache_lookups_total", "Look-ups in a cache, by result.", "cache", "result")
	entries       = describe("tollgate_cache_entries", "Entries in a cache now.", "cache")
	storeErrors   = describe("tollgate_store_errors_total", "Look-ups that the store of keys did not answer.")
	throttled     = describe("tollgate_throttled_lookups_total", "Look-ups of keys that were not made, because too many were of keys that nobody knows.")
	rehashed      = describe("tollgate_rehashes_total", "Digests of keys that were to move to the current pepper, by result.", "result")
	remembered    = describe("tollgate_limit_remembered_refusals_total", "Requests that a limiter refused from memory.")
	stale         = describe("tollgate_stale_answers_total", "Answers of Redis that a change had made old; they are asked again.")
	monitored     = describe("tollgate_limiters_monitored", "Limiters that refuse nobody, because SetMonitor is on.")
	localShare    = describe("tollgate_limit_local_decisions_total", "Requests that the local share decided while Redis was away, by result.", "result")
	localCounts   = describe("tollgate_limit_local_counts", "Counts and holds of the local share in memory.")
	replicas      = describe("tollgate_limit_replicas", "Processes that share limits, as a limiter heard last; the most of all limiters.")
	ending        = describe("tollgate_overrides_ending", "Overrides that are active and end within a time, of the orgs in memory.", "within")
	recorded      = describe("tollgate_usage_recorded_units_total", "Units of usage that were taken in.")
	flushed       = describe("tollgate_usage_flushed_units_total", "Units of usage that were written to Redis.")
	dropped       = describe("tollgate_usage_dropped_units_total", "Units of usage that were lost.")
	invalid       = describe("tollgate_usage_invalid_records_total", "Records of usage that were out of bounds.")
	pending       = describe("tollgate_usage_pending_units", "Units of usage that are not written yet.")
	journaled     = describe("tollgate_usage_journaled_units", "Units of usage that are not written to Redis yet and are in the journal.")
	replayed      = describe("tollgate_usage_replayed_units_total", "Units of usage of processes that died, written to Redis from their journals.")
	unsure        = describe("tollgate_usage_unsure_units_total", "Units of usage in journals that were set aside, since Redis may have them.")
	journalErrors = describe("tollgate_usage_journal_errors_total", "Times that a journal of usage could not be written, read or removed.")
	lossBound     = describe("tollgate_usage_loss_bound_seconds", "How far back the usage reaches that a crash now would lose.")
	names         = describe("tollgate_usage_pending_names", "Distinct names of usage that are not written yet.")
	issuerFetches = describe("tollgate_issuer_fetches_total", "Fetches of the keys of an issuer that ended, by result.", "issuer", "result")
	issuerSpent   = describe("tollgate_issuer_fetch_seconds_total", "Time that fetches of the keys of an issuer took.", "issuer")
	issuerMissing = describe("tollgate_issuer_missing_keys_total", "Look-ups of keys that the set of an issuer did not have, by what was done.", "issuer", "result")
	issuerStale   = describe("tollgate_issuer_stale_keys_used_total", "Look-ups that were answered with a key that should have been fetched anew.", "issuer")
	issuerSets    = describe("tollgate_issuer_key_sets", "Key sets of issuers in memory, by state.", "issuer", "state")
	issuerKeys    = describe("tollgate_issuer_keys", "Keys of an issuer in memory.", "issuer")
	issuerAge     = describe("tollgate_issuer_key_age_seconds", "Time since the keys of an issuer were asked for.", "issuer")
	oldest        = describe("tollgate_usage_oldest_pending_seconds", "Age of the oldest usage that is not written yet.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe sends the descriptions of all metrics, as prometheus.Collector asks.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	c.decisions.Describe(to)
	c.durations.Describe(to)
	c.candidates.Describe(to)
	c.superseded.requests.Describe(to)
	describeExporters(to)
	describeDegraded(to)
	for _, d := range []*prometheus.Desc{
		redisErrors, redisMasters, redisEvicted, lookups, entries, storeErrors, throttled, rehashed, remembered, stale, monitored, localShare, localCounts, replicas, ending,
		recorded, flushed, dropped, invalid, pending, names, oldest,
		journaled, replayed, unsure, journalErrors, lossBound,
		issuerFetches, issuerSpent, issuerMissing, issuerStale, issuerSets, issuerKeys, issuerAge,
	} {
		to <- d
	}
}

// Collect sends the metrics, as prometheus.Collector asks. Those of a verifier, a limiter, a meter, a Redis or
// issuers are sent if New was given one. Only WithRedis makes it wait, and says for how long.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	c.decisions.Collect(to)
	c.durations.Collect(to)
	c.candidates.Collect(to)
	c.superseded.requests.Collect(to)
	c.readServers() // what fails is among the errors
	c.redisErrors.Collect(to)
	c.collectServers(to)
	c.collectVerifiers(to)
	c.collectLimiters(to)
	c.collectDegraded(to)
	c.collectMeters(to)
	c.collectExporters(to)
	c.issuers.collect(to)
}

func (c *Collector) collectVerifiers(to chan<- prometheus.Metric) {
	if len(c.verifiers) == 0 {
		return
	}
	var all authkey.Stats
	for _, v := range c.verifiers {
		s := v.Stats()
		all.Hits, all.NegativeHits, all.Misses = all.Hits+s.Hits, all.NegativeHits+s.NegativeHits, all.Misses+s.Misses
		all.StoreErrors, all.Throttled = all.StoreErrors+s.StoreErrors, all.Throttled+s.Throttled
		all.Rehashes, all.RehashErrors = all.Rehashes+s.Rehashes, all.RehashErrors+s.RehashErrors
		all.Entries, all.NegativeEntries = all.Entries+s.Entries, all.NegativeEntries+s.NegativeEntries
	}
	to <- count(lookups, all.Hits, "keys", "hit")
	to <- count(lookups, all.NegativeHits, "keys", "negative_hit")
	to <- count(lookups, all.Misses, "keys", "miss")
	to <- gauge(entries, float64(all.Entries), "keys")
	to <- gauge(entries, float64(all.NegativeEntries), "unknown_keys")
	to <- count(storeErrors, all.StoreErrors)
	to <- count(throttled, all.Throttled)
	to <- count(rehashed, all.Rehashes, "moved")
	to <- count(rehashed, all.RehashErrors, "failed")
}

func (c *Collector) collectLimiters(to chan<- prometheus.Metric) {
	if len(c.limiters) == 0 {
		return
	}
	var hits, misses, old, refused uint64
	var orgs, hour, day, week, lifted int
	for _, l := range c.limiters {
		s := l.Stats()
		hits, misses, old, orgs = hits+s.Hits, misses+s.Misses, old+s.Stale, orgs+s.Orgs
		refused += s.Refused
		hour, day, week = hour+s.EndingHour, day+s.EndingDay, week+s.EndingWeek
		if s.Monitored {
			lifted++
		}
	}
	to <- count(lookups, hits, "overrides", "hit")
	to <- count(lookups, misses, "overrides", "miss")
	to <- gauge(entries, float64(orgs), "overrides")
	c.collectShares(to)
	to <- count(stale, old)
	to <- count(remembered, refused)
	to <- gauge(monitored, float64(lifted))
	to <- gauge(ending, float64(hour), "1h")
	to <- gauge(ending, float64(day), "1d")
	to <- gauge(ending, float64(week), "7d")
}

func (c *Collector) collectShares(to chan<- prometheus.Metric) {
	var passed, refused uint64
	var counts, most int
	for _, l := range c.limiters {
		s := l.Stats()
		passed, refused, counts, most = passed+s.LocalAllowed, refused+s.LocalRefused, counts+s.LocalCounts, max(most, s.Replicas)
	}
	to <- count(localShare, passed, "allowed")
	to <- count(localShare, refused, "refused")
	to <- gauge(localCounts, float64(counts))
	to <- gauge(replicas, float64(most))
}

func (c *Collector) collectMeters(to chan<- prometheus.Metric) {
	if len(c.meters) == 0 {
		return
	}
	var took, wrote, lost, wrong, waiting uint64
	var distinct int
	var age time.Duration
	failures := make(map[lua.Class]uint64)
	for _, m := range c.meters {
		s := m.Stats()
		took, wrote, lost, wrong = took+s.Recorded, wrote+s.Flushed, lost+s.Dropped, wrong+s.Invalid
		waiting, distinct, age = waiting+s.Pending, distinct+s.Entries, max(age, s.OldestPending)
		for class, n := range s.Failures {
			failures[class] += n
		}
	}
	to <- count(recorded, took)
	to <- count(flushed, wrote)
	to <- count(dropped, lost)
	to <- count(invalid, wrong)
	to <- gauge(pending, float64(waiting))
	to <- gauge(names, float64(distinct))
	to <- gauge(oldest, age.Seconds())
	c.collectJournals(to)
	for class, n := range failures {
		to <- count(redisErrors, n, flushStep, string(class))
	}
}

func (c *Collector) collectJournals(to chan<- prometheus.Metric) {
	var kept, again, doubt, faults uint64
	var bound time.Duration
	for _, m := range c.meters {
		s := m.Stats()
		kept, again, doubt, faults = kept+s.Journaled, again+s.Replayed, doubt+s.Unsure, faults+s.JournalErrors
		bound = max(bound, s.LossBound)
	}
	to <- gauge(journaled, float64(kept))
	to <- count(replayed, again)
	to <- count(unsure, doubt)
	to <- count(journalErrors, faults)
	to <- gauge(lossBound, bound.Seconds())
}

func count(desc *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
}

func gauge(desc *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
}
