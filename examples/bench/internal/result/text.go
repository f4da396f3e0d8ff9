package result

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// columns are the metrics in the order in which they are printed, and what heads them.
var columns = []struct {
	metric Metric
	head   string
}{
	{Rate, "k/s"}, {Nanos, "ns"}, {P50, "p50 µs"}, {P99, "p99 µs"}, {Client, "client µs"}, {Server, "server µs"},
	{Redis, "Redis µs"}, {Commands, "cmds"}, {Reads, "reads"}, {Allocs, "allocs"}, {Errors, "errors"},
}

// WriteText writes the table for people: x is the median of the ratios to the Base of each round, with the least and the
// greatest of them; all other numbers are medians. Rates are in thousands. Columns that no row has are left out.
func (t *Table) WriteText(w io.Writer) error {
	var cells strings.Builder
	fmt.Fprintf(&cells, "\tx %s\tspread\t", t.Base)
	for _, c := range columns {
		if t.has(c.metric) {
			cells.WriteString(c.head + "\t")
		}
	}
	cells.WriteString("\n")
	for _, row := range t.Rows {
		t.writeRow(&cells, row.Name)
	}
	var text bytes.Buffer
	text.WriteString("\n" + t.Name + "\n")
	if t.Note != "" {
		text.WriteString(t.Note + "\n")
	}
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	if _, err := io.WriteString(table, cells.String()); err != nil {
		return err
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, row := range t.Rows {
		if row.Fault != "" {
			fmt.Fprintf(&text, "  %s: %s\n", row.Name, row.Fault)
		}
	}
	_, err := text.WriteTo(w)
	return err
}

func (t *Table) writeRow(cells *strings.Builder, name string) {
	cells.WriteString(name + "\t")
	if x := t.X(name); x.Median == 0 {
		cells.WriteString("\t\t")
	} else {
		fmt.Fprintf(cells, "%s\t%s-%s\t", Short(x.Median), Short(x.Least), Short(x.Most))
	}
	for _, c := range columns {
		if t.has(c.metric) {
			cells.WriteString(t.cell(name, c.metric) + "\t")
		}
	}
	cells.WriteString("\n")
}

func (t *Table) cell(name string, m Metric) string {
	middle := t.Spread(name, m).Median
	switch {
	case len(t.Series(name, m)) == 0:
		return ""
	case m == Rate:
		return Short(middle / 1000)
	case m == Errors && middle == 0:
		return "0"
	case m == Errors:
		return fmt.Sprintf("%.2g%%", 100*middle)
	}
	return Short(middle)
}

func (t *Table) has(m Metric) bool {
	for _, row := range t.Rows {
		if len(t.Series(row.Name, m)) > 0 {
			return true
		}
	}
	return false
}

// Short writes a number with about three digits, as people read it.
func Short(v float64) string {
	switch a := max(v, -v); {
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.2 || a == 0:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}
