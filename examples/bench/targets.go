package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/tollgate-go/tollgate/examples/bench/internal/inprocess"
	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
	"github.com/tollgate-go/tollgate/examples/bench/internal/rival"
	"github.com/tollgate-go/tollgate/examples/bench/internal/service"
	"github.com/tollgate-go/tollgate/examples/bench/internal/stat"
)

// side is which side of its bound a target wants a figure on.
type side string

const (
	atLeast side = "at least"
	atMost  side = "at most"
)

// goal is what tollgate sets out to reach, and how that is read from the tables.
type goal struct {
	what    string
	side    side
	bound   float64
	stretch float64 // what is hoped for
	table   string  // its name
	reading
}

// reading is how a figure is read from a table that has these rows.
type reading struct {
	rows []string
	of   func(*result.Table) stat.Spread
}

// ratio reads a metric of a row over that of another.
func ratio(name, base string, m result.Metric) reading {
	return reading{[]string{name, base}, func(t *result.Table) stat.Spread { return t.Ratio(name, base, m) }}
}

// plain reads a metric of a row.
func plain(name string, m result.Metric) reading {
	return reading{[]string{name}, func(t *result.Table) stat.Spread { return t.Spread(name, m) }}
}

// added reads how much more a metric of a service is than that of a handler alone, in each round.
func added(name string, m result.Metric) reading {
	return reading{[]string{name, service.NameBare}, func(t *result.Table) stat.Spread {
		var more []float64
		ours, alone := t.Series(name, m), t.Series(service.NameBare, m)
		for i := range min(len(ours), len(alone)) {
			more = append(more, ours[i]-alone[i])
		}
		return stat.Of(more)
	}}
}

// goals are all targets, by part, where limits are of so many projects.
func goals(projects int) []goal {
	one, sixteen, many, hot := allowed(1, projects), allowed(16, projects), allowed(128, projects), allowed(128, 1)
	const rate, cpu, allocs = result.Rate, result.Redis, result.Allocs
	const we, gcra, leased, they, raw = rival.NameStrict, rival.NameGCRA, rival.NameLeased, rival.NameRedisRate, rival.NameEvalSha
	limiters := []goal{
		{"strict, 128 callers, 1,000 keys, sliding window: x redis_rate", atLeast, 8, 11, many, ratio(we, they, rate)},
		{"the same with GCRA: x redis_rate", atLeast, 5, 6.5, many, ratio(gcra, they, rate)},
		{"strict, 128 callers, one hot key: x redis_rate", atLeast, 15, 19, hot, ratio(we, they, rate)},
		{"strict, 16 callers: x redis_rate", atLeast, 3, 3.5, sixteen, ratio(we, they, rate)},
		{"strict, 128 callers: x EVALSHA on AutoPipeline", atLeast, 2.2, 2.8, many, ratio(we, rival.NameEvalShaAuto, rate)},
		{"strict, 128 callers: x rueidislimiter", atLeast, 3.3, 4, many, ratio(we, rival.NameRueidis, rate)},
		{"1 caller, pinned: throughput x one raw EVALSHA", atLeast, 0.95, 1, one, ratio(we, raw, rate)},
		{"1 caller, pinned: p50 x one raw EVALSHA", atMost, 1.10, 1.05, one, ratio(we, raw, result.P50)},
		{"1 caller, pinned: x redis_rate", atLeast, 1.2, 1.3, one, ratio(we, they, rate)},
		{"1 caller, pinned: x the naive stack", atLeast, 3.2, 3.6, one, ratio(we, rival.NameNaive, rate)},
		{"p99 at 128 callers, of redis_rate's", atMost, 1.0 / 8, 1.0 / 12, many, ratio(we, they, result.P99)},
		{"Redis CPU a check, of redis_rate's: 128 callers", atMost, 0.10, 0.07, many, ratio(we, they, cpu)},
		{"Redis CPU a check, of redis_rate's: 16 callers", atMost, 0.20, 0.13, sixteen, ratio(we, they, cpu)},
		{"Redis CPU a check, of redis_rate's: 1 caller", atMost, 0.80, 0.70, one, ratio(we, they, cpu)},
		{"Redis CPU a check with GCRA, 128 callers, of redis_rate's", atMost, 0.20, 0.15, many, ratio(gcra, they, cpu)},
		{"commands in Redis a check, strict, 128 callers", atMost, 1.1, 1, many, plain(we, result.Commands)},
		{"allocations a check, strict, 1 caller", atMost, 4, 2, one, plain(we, allocs)},
		{"allocations a check, strict, 128 callers", atMost, 0.5, 0.1, many, plain(we, allocs)},
		{"leased, 100 ahead, 128 callers, 1,000 keys: x redis_rate", atLeast, 50, 80, many, ratio(leased, they, rate)},
		{"three policies in one request, 128 callers: x three redis_rate calls", atLeast, 8, 8,
			fmt.Sprintf(tableThree, 128, projects), ratio(rival.NameThree, rival.NameRedisRateThree, rate)},
		{"cluster of three masters, 128 callers: x redis_rate on the same cluster", atLeast, 4, 4,
			fmt.Sprintf(tableCluster, 128, projects), ratio(we, they, rate)},
	}
	const ns = result.Nanos
	request, credential, memory := tableRequest, tableCredential, tableMemory
	inProcess := []goal{
		{"leased limit, in process: ns", atMost, 15, 10, memory, plain(nameHit, ns)},
		{"leased limit, in process: allocations", atMost, 0, 0, memory, plain(nameHit, allocs)},
		{"refusal from memory: ns", atMost, 60, 25, memory, plain(nameDenial, ns)},
		{"refusal from memory: allocations", atMost, 0, 0, memory, plain(nameDenial, allocs)},
		{"key in the cache: over one sha256 of it", atMost, 1.35, 1.25, credential, ratio(inprocess.NameKey, inprocess.NameDigest, ns)},
		{"key in the cache: allocations", atMost, 0, 0, credential, plain(inprocess.NameKey, allocs)},
		{"token in the cache: ns", atMost, 350, 300, credential, plain(inprocess.NameToken, ns)},
		{"token in the cache: x golang-jwt HS256", atLeast, 14, 20, credential, ratio(inprocess.NameHS256, inprocess.NameToken, ns)},
		{"token in the cache: x golang-jwt RS256", atLeast, 100, 120, credential, ratio(inprocess.NameRS256, inprocess.NameToken, ns)},
		{"token in the cache: allocations", atMost, 0, 0, credential, plain(inprocess.NameToken, allocs)},
		{"key and usage, no context value: ns added", atMost, 200, 165, request, added(service.NameByHand, ns)},
		{"key and usage, no context value: allocations added", atMost, 0, 0, request, added(service.NameByHand, allocs)},
		{"the whole gate: ns added to a net/http handler", atMost, 1000, 1000, request, added(service.NameLeased, ns)},
		{"the whole gate: allocations added", atMost, 4, 4, request, added(service.NameLeased, allocs)},
	}
	load := fmt.Sprintf(tableHTTP, 64, projects)
	const strict, ahead, cpuOf = service.NameStrict, service.NameLeased, result.Server
	whole := []goal{
		{"HTTP requests a second, strict: x bare net/http", atLeast, 0.60, 0.68, load, ratio(strict, service.NameBare, rate)},
		{"HTTP requests a second, leased: x bare net/http", atLeast, 0.80, 0.90, load, ratio(ahead, service.NameBare, rate)},
		{"HTTP requests a second, strict: x key + redis_rate", atLeast, 1.7, 2, load, ratio(strict, service.NameRedisRate, rate)},
		{"HTTP requests a second, strict: x the naive stack", atLeast, 3.5, 4, load, ratio(strict, service.NameNaive, rate)},
		{"server CPU added to a request, strict: us", atMost, 7, 5, load, added(strict, cpuOf)},
		{"server CPU added to a request, leased: us", atMost, 2.5, 1.5, load, added(ahead, cpuOf)},
	}
	return slices.Concat(limiters, inProcess, whole)
}

func allowed(callers, keys int) string { return fmt.Sprintf(tableAllowed, callers, keys) }

// target is a goal and what was measured of it.
type target struct {
	What     string      `json:"what"`
	Side     side        `json:"side"`
	Bound    float64     `json:"bound"`
	Stretch  float64     `json:"stretch"`
	Measured stat.Spread `json:"measured"`
	Reached  bool        `json:"reached"` // by the median
}

// targets tells of each goal whose table was made how it came out.
func targets(tables []*result.Table, projects int) []target {
	var all []target
	for _, g := range goals(projects) {
		t := result.Find(tables, g.table)
		if t == nil {
			continue
		}
		if slices.ContainsFunc(g.rows, func(name string) bool { return t.Row(name) == nil }) {
			continue // it did not run
		}
		s := g.of(t)
		reached := s.Median <= g.bound
		if g.side == atLeast {
			reached = s.Median >= g.bound
		}
		all = append(all, target{g.what, g.side, g.bound, g.stretch, s, reached})
	}
	return all
}

// writeTargets writes them for people.
func writeTargets(w io.Writer, all []target) error {
	var cells strings.Builder
	cells.WriteString("\ntarget\twanted\thoped for\tmeasured\tspread\treached\n")
	reached := 0
	for _, t := range all {
		word := "no"
		if t.Reached {
			word = "yes"
			reached++
		}
		fmt.Fprintf(&cells, "%s\t%s %s\t%s\t%s\t%s-%s\t%s\n", t.What, t.Side, result.Short(t.Bound), result.Short(t.Stretch),
			result.Short(t.Measured.Median), result.Short(t.Measured.Least), result.Short(t.Measured.Most), word)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(table, cells.String()); err != nil {
		return err
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %d targets reached\n", reached, len(all))
	return err
}
