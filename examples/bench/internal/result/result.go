// Package result is what a benchmark found: tables whose rows are contestants, with a sample of each round. All
// comparisons are made from these samples, within each round.
//
//	x := table.Ratio("tollgate", "redis_rate", result.Rate)
//	fmt.Println(x.Median, x.Least, x.Most)
package result

import (
	"github.com/tollgate-go/tollgate/examples/bench/internal/stat"
)

// Metric names a number of a sample.
type Metric string

// The metrics. Those of CPU are microseconds for each call, of client and server and load generator together only where
// these are one process.
const (
	Rate     Metric = "per_second" // of calls that did not fail
	P50      Metric = "p50_us"
	P99      Metric = "p99_us"
	Client   Metric = "client_cpu_us"
	Server   Metric = "server_cpu_us"
	Redis    Metric = "redis_cpu_us"
	Commands Metric = "redis_commands" // for each call, those inside scripts too
	Reads    Metric = "redis_reads"    // reads of a socket by Redis for each call
	Allocs   Metric = "allocs"         // for each call
	Nanos    Metric = "ns"             // for each call, of one caller in process
	Errors   Metric = "errors"         // calls of all that failed, or were answered wrongly: a part, 0 to 1
)

// Sample is what one contestant came to in one round.
type Sample map[Metric]float64

// Row is one contestant and its samples; element i is of round i.
type Row struct {
	Name    string   `json:"name"`
	Samples []Sample `json:"samples"`
	Fault   string   `json:"fault,omitempty"` // why a call failed, where some did
}

// Table is one setting in which contestants were run side by side.
type Table struct {
	// Name tells the table apart, as "limiter, 128 callers, 1000 keys, allowed".
	Name string `json:"name"`
	// Note says what else is to be known, in a sentence.
	Note string `json:"note,omitempty"`
	// Base is the row that all others are compared with, by the metric By.
	Base string `json:"base"`
	By   Metric `json:"by"`
	Rows []*Row `json:"rows"`
}

// Add puts a sample into the row of a name, which it makes if there is none. Rounds are added one after the other.
func (t *Table) Add(name string, s Sample) {
	row := t.Row(name)
	if row == nil {
		row = &Row{Name: name}
		t.Rows = append(t.Rows, row)
	}
	row.Samples = append(row.Samples, s)
}

// Row returns the row of a name, nil if there is none.
func (t *Table) Row(name string) *Row {
	for _, row := range t.Rows {
		if row.Name == name {
			return row
		}
	}
	return nil
}

// Series returns a metric of each round; nil if there is no such row, or it has no such metric.
func (t *Table) Series(name string, m Metric) []float64 {
	row := t.Row(name)
	if row == nil {
		return nil
	}
	var series []float64
	for _, s := range row.Samples {
		if v, ok := s[m]; ok {
			series = append(series, v)
		}
	}
	return series
}

// Spread returns a metric over the rounds.
func (t *Table) Spread(name string, m Metric) stat.Spread { return stat.Of(t.Series(name, m)) }

// Ratio returns a metric of a row over that of another, round by round. The zero Spread: there is none.
func (t *Table) Ratio(name, base string, m Metric) stat.Spread {
	return stat.Ratios(t.Series(name, m), t.Series(base, m))
}

// X returns how a row compares with the table's Base: more is better.
func (t *Table) X(name string) stat.Spread {
	if t.By == Nanos { // a time: less is better
		return t.Ratio(t.Base, name, t.By)
	}
	return t.Ratio(name, t.Base, t.By)
}

// Find returns the table of a name, nil if there is none.
func Find(tables []*Table, name string) *Table {
	for _, t := range tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}
