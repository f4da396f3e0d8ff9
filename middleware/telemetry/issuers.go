package telemetry

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

// maxIssuers bounds how many issuers have a label of their own.
const maxIssuers = 100

// WithIssuers adds the keys of the issuers that a *jwks.Cache follows. Several caches are added up. An issuer's label
// is the URL that the cache was given, for up to 100 issuers in the order in which they are first seen; all others
// share Other. None is ever made from a token.
func WithIssuers(cache interface{ Stats() []jwks.Stats }) Option {
	return source("WithIssuers", cache == nil, func(c *config) { c.issuers.caches = append(c.issuers.caches, cache) })
}

// issuers are those of all caches. A cache that drops an issuer forgets its counts, so what was added to them since the
// last reading is kept here, and the sum under a shared label never falls.
type issuers struct {
	caches []stats[[]jwks.Stats]

	mu    sync.Mutex
	names labels
	last  map[followed]counts // of those that the caches have
	sums  map[string]counts   // by label
}

// followed is an issuer in a cache.
type followed struct {
	cache  int
	issuer string
}

// counts are what a cache counts of an issuer, by these indices.
type counts [6]uint64

const (
	fetched = iota
	failed
	spent // nanoseconds
	looked
	cooledDown
	usedStale
)

func countsOf(s *jwks.Stats) counts {
	return counts{
		fetched: s.Fetches - s.Failures, failed: s.Failures, spent: uint64(s.Spent),
		looked: s.Misses - s.CooledDown, cooledDown: s.CooledDown, usedStale: s.ServedStale,
	}
}

// add adds what was counted since another reading. Where any count is lower, all began anew.
func (c counts) add(now, before counts) counts {
	for i := range now {
		if now[i] < before[i] {
			before = counts{}
		}
	}
	for i := range now {
		c[i] += now[i] - before[i]
	}
	return c
}

// keySets are the sets of a label now.
type keySets struct {
	fresh, stale, none, keys int
	age                      time.Duration // of the oldest; negative: there is none
}

func (k *keySets) add(s *jwks.Stats) {
	switch {
	case !s.Usable:
		k.none++
	case s.Stale:
		k.stale++
	default:
		k.fresh++
	}
	if k.keys += s.Keys; s.Keys > 0 {
		k.age = max(k.age, s.Age)
	}
}

// read returns the sets by label, and adds to the sums.
func (i *issuers) read() map[string]*keySets {
	sets, now := map[string]*keySets{}, map[followed]counts{}
	for n, cache := range i.caches {
		for _, s := range cache.Stats() {
			label, at := i.names.label(s.Issuer), followed{n, s.Issuer}
			if sets[label] == nil {
				sets[label] = &keySets{age: -1}
			}
			sets[label].add(&s)
			now[at] = now[at].add(countsOf(&s), counts{})
		}
	}
	for at, c := range now {
		label := i.names.label(at.issuer)
		i.sums[label] = i.sums[label].add(c, i.last[at])
	}
	i.last = now
	return sets
}

func (i *issuers) collect(to chan<- prometheus.Metric) {
	if len(i.caches) == 0 {
		return
	}
	i.mu.Lock()
	sets := i.read()
	sums := maps.Clone(i.sums)
	i.mu.Unlock()
	for label, s := range sets {
		to <- gauge(issuerSets, float64(s.fresh), label, "fresh")
		to <- gauge(issuerSets, float64(s.stale), label, "stale")
		to <- gauge(issuerSets, float64(s.none), label, "none")
		to <- gauge(issuerKeys, float64(s.keys), label)
		if s.age >= 0 {
			to <- gauge(issuerAge, s.age.Seconds(), label)
		}
	}
	for label, c := range sums {
		to <- count(issuerFetches, c[fetched], label, "ok")
		to <- count(issuerFetches, c[failed], label, "failed")
		to <- prometheus.MustNewConstMetric(issuerSpent, prometheus.CounterValue, time.Duration(c[spent]).Seconds(), label)
		to <- count(issuerMissing, c[looked], label, "looked")
		to <- count(issuerMissing, c[cooledDown], label, "cooled_down")
		to <- count(issuerStale, c[usedStale], label)
	}
}
