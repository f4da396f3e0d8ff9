package result

import (
	"fmt"
	"io"
	"strconv"
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
	if _, err := fmt.Fprintf(w, "\n%s\n", t.Name); err != nil {
		return err
	}
	if t.Note != "" {
		if _, err := fmt.Fprintf(w, "%s\n", t.Note); err != nil {
			return err
		}
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "\tx %s\tspread\t", t.Base)
	for _, c := range columns {
		if t.has(c.metric) {
			fmt.Fprintf(out, "%s\t", c.head)
		}
	}
	fmt.Fprintln(out)
	for _, row := range t.Rows {
		t.writeRow(out, row)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, row := range t.Rows {
		if row.Fault != "" {
			fmt.Fprintf(w, "  %s: %s\n", row.Name, row.Fault)
		}
	}
	return nil
}

func (t *Table) writeRow(w io.Writer, row *Row) {
	if x := t.X(row.Name); x.Median == 0 {
		fmt.Fprintf(w, "%s\t\t\t", row.Name)
	} else {
		fmt.Fprintf(w, "%s\t%s\t%s-%s\t", row.Name, Short(x.Median), Short(x.Least), Short(x.Most))
	}
	for _, c := range columns {
		if !t.has(c.metric) {
			continue
		}
		series := t.Series(row.Name, c.metric)
		middle := t.Spread(row.Name, c.metric).Median
		switch {
		case len(series) == 0:
			fmt.Fprint(w, "\t")
		case c.metric == Rate:
			fmt.Fprintf(w, "%s\t", Short(middle/1000))
		case c.metric == Errors && middle == 0:
			fmt.Fprint(w, "0\t")
		case c.metric == Errors:
			fmt.Fprintf(w, "%.2g%%\t", 100*middle)
		default:
			fmt.Fprintf(w, "%s\t", Short(middle))
		}
	}
	fmt.Fprintln(w)
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
