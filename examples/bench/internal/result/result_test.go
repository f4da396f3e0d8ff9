package result_test

import (
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
	"github.com/tollgate-go/tollgate/examples/bench/internal/stat"
)

func made(by result.Metric) *result.Table {
	t := &result.Table{Name: "a table", Note: "A note.", Base: "they", By: by}
	for i, x := range []float64{4, 2, 3} {
		t.Add("they", result.Sample{by: float64(i + 1)})
		t.Add("we", result.Sample{by: float64(i+1) * x, result.Allocs: 2})
	}
	t.Row("we").Fault = "went wrong"
	return t
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := made(result.Rate)
	for _, tt := range []struct {
		name string
		got  stat.Spread
		want stat.Spread
	}{
		{"X", table.X("we"), stat.Spread{Median: 3, Least: 2, Most: 4}},
		{"X of the base", table.X("they"), stat.Spread{Median: 1, Least: 1, Most: 1}},
		{"X of nobody", table.X("nobody"), stat.Spread{}},
		{"X of times, of which less is better", made(result.Nanos).X("we"), stat.Spread{Median: 1.0 / 3, Least: 0.25, Most: 0.5}},
		{"Spread", table.Spread("we", result.Rate), stat.Spread{Median: 4, Least: 4, Most: 9}},
		{"Spread of what was not measured", table.Spread("we", result.P99), stat.Spread{}},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	if all := []*result.Table{table}; result.Find(all, "a table") != table || result.Find(all, "b") != nil {
		t.Error("Find does not find by name")
	}
}

func TestWriteText(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := made(result.Rate).WriteText(&out); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	want := []string{"", "a table", "A note.", "x they spread k/s allocs", "they 1.00 1.00-1.00 0.002", "we 3.00 2.00-4.00 0.004 2.00", "we: went wrong"}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("WriteText wrote\n%s\nwant, but for spaces,\n%s", out.String(), strings.Join(want, "\n"))
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0.00", 0.0123: "0.012", 0.5: "0.50", 9.876: "9.88", 98.76: "98.8", 9876.5: "9876", -12.34: "-12.3"} {
		if got := result.Short(v); got != want {
			t.Errorf("Short(%v) = %q, want %q", v, got, want)
		}
	}
}
