package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/tollgate-go/tollgate/examples/bench/internal/machine"
	"github.com/tollgate-go/tollgate/examples/bench/internal/stat"
)

// metric is the name of something measured, with its unit, as growth.json has it.
type metric string

const (
	rate        metric = "checks_per_second" // requests with all their policies
	p50         metric = "p50_us"
	p99         metric = "p99_us"
	redisCPU    metric = "redis_cpu_us"  // of all servers, for each check
	clientCPU   metric = "client_cpu_us" // of this process, for each check
	allocs      metric = "allocs"        // of this process, for each check
	redisMB     metric = "redis_mb"
	keyCount    metric = "keys"            // those of limits alone
	limitBytes  metric = "bytes_per_limit" // its keys, their values and what Redis needs to find them
	heapMB      metric = "heap_mb"         // of this process: what each project's first request added
	fillSeconds metric = "fill_s"
)

// titles are what stands above a column.
var titles = map[metric]string{
	rate: "checks/s", p50: "p50 us", p99: "p99 us", redisCPU: "Redis CPU us", clientCPU: "client CPU us", allocs: "allocs",
	redisMB: "Redis MB", keyCount: "keys", limitBytes: "bytes/limit", heapMB: "heap MB", fillSeconds: "filled in s",
}

var (
	speed = []metric{rate, p50, p99, redisCPU, clientCPU, allocs}
	size  = []metric{keyCount, redisMB, limitBytes, heapMB, fillSeconds}
)

// row is one point of a table: the median of its rounds, with the least and the most.
type row struct {
	Of      string                 `json:"of"`    // what stands at its left
	Value   int                    `json:"value"` // the same as a number: of projects, policies or masters
	Callers int                    `json:"callers,omitempty"`
	Values  map[metric]stat.Spread `json:"values"`
}

// table is how the cost of a check grows with one thing.
type table struct {
	Name  string   `json:"name"`
	Title string   `json:"title"`
	Notes []string `json:"notes"`
	Rows  []row    `json:"rows"`

	views [][]metric // the columns of each part that is printed
}

// report is all that growth.json has.
type report struct {
	Machine machine.Machine `json:"machine"`
	Rounds  int             `json:"rounds"`
	Seconds float64         `json:"seconds"` // that all of it took
	Tables  []*table        `json:"tables"`
}

// String returns a table as text, in as many parts as it has views. Only the first part tells the same thing for
// different numbers of callers; of the others those with the most are enough.
func (t *table) String() string {
	var b strings.Builder
	b.WriteString(t.Title + "\n")
	_, most := t.callers()
	for i, view := range t.views {
		head := []string{t.Name}
		if i == 0 && most > 0 {
			head = append(head, "callers")
		}
		for _, m := range view {
			head = append(head, titles[m])
		}
		lines := [][]string{head}
		for _, r := range t.Rows {
			if i == 0 || r.Callers == most {
				lines = append(lines, r.cells(view, i == 0 && most > 0))
			}
		}
		b.WriteString("\n" + aligned(lines))
	}
	for _, note := range t.Notes {
		b.WriteString("  " + note + "\n")
	}
	return b.String()
}

// cells returns a row as text.
func (r *row) cells(view []metric, callers bool) []string {
	all := []string{r.Of}
	if callers {
		all = append(all, strconv.Itoa(r.Callers))
	}
	for _, m := range view {
		all = append(all, cell(r.Values[m]))
	}
	return all
}

// aligned writes lines of cells in columns.
func aligned(lines [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, cells := range lines {
		_, _ = io.WriteString(w, strings.Join(cells, "\t")+"\t\n") // neither w nor b fails
	}
	_ = w.Flush()
	return b.String()
}

// cell writes a spread; where all rounds gave the same it is one number.
func cell(s stat.Spread) string {
	median, least, most := short(s.Median), short(s.Least), short(s.Most)
	if least == median && most == median {
		return median
	}
	return fmt.Sprintf("%s (%s..%s)", median, least, most)
}

// short writes a number with three digits that count, and thousands as k.
func short(v float64) string {
	switch size := math.Abs(v); {
	case size >= 999_500:
		return digits(v/1e6) + "M"
	case size >= 9_995:
		return digits(v/1e3) + "k"
	default:
		return digits(v)
	}
}

func digits(v float64) string {
	switch size := math.Abs(v); {
	case size >= 99.95 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// write puts a report into a file as JSON.
func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}
