package telemetry

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	breakerOpen = describe("tollgate_breaker_open", "Redis servers that a part of the gate leaves alone now, because they failed again and again.", "part")
	switchedOff = describe("tollgate_limiters_off", "Limiters that decide nothing, because SetOff is on.")
)

// breakers are those of one part of the gate.
type breakers struct {
	part string
	of   interface{ OpenBreakers() int }
}

// WithBreakers adds to tollgate_breaker_open how many Redis servers a part of the gate leaves alone, besides verifiers
// ("keys") and limiters ("limits"), which tell it by themselves: as a revocation.Store, for "revocations". The part is the
// value of a label. Those of the same part are added up.
func WithBreakers(part string, of interface{ OpenBreakers() int }) Option {
	return optionFunc(func(c *config) error {
		if part == "" || of == nil {
			return fmt.Errorf("%w: WithBreakers(%q, %T): want a name, and what has breakers", ErrInvalid, part, of)
		}
		c.breakers = append(c.breakers, breakers{part, of})
		return nil
	})
}

func describeDegraded(to chan<- *prometheus.Desc) {
	to <- breakerOpen
	to <- switchedOff
}

// collectDegraded sends what goes on without Redis, or because somebody wanted it.
func (c *Collector) collectDegraded(to chan<- prometheus.Metric) {
	open := make(map[string]int)
	var graces uint64
	for _, v := range c.verifiers {
		s := v.Stats()
		graces += s.Graces
		open["keys"] += s.OpenBreakers
	}
	if len(c.verifiers) > 0 {
		to <- count(lookups, graces, "keys", "grace")
	}
	off := 0
	for _, l := range c.limiters {
		s := l.Stats()
		open["limits"] += s.OpenBreakers
		if s.Off {
			off++
		}
	}
	if len(c.limiters) > 0 {
		to <- gauge(switchedOff, float64(off))
	}
	for _, b := range c.breakers {
		open[b.part] += b.of.OpenBreakers()
	}
	for part, n := range open {
		to <- gauge(breakerOpen, float64(n), part)
	}
}
