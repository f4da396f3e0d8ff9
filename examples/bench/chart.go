package main

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"text/template"

	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
	"github.com/tollgate-go/tollgate/examples/bench/internal/rival"
	"github.com/tollgate-go/tollgate/examples/bench/internal/stat"
)

//go:embed chart.svg.tmpl
var chartText string

var chartTemplate = template.Must(template.New("chart.svg").Funcs(template.FuncMap{"xml": escaped}).Parse(chartText))

// Lengths in the chart, in its own units.
const (
	chartLeft   = 210 // of it the names
	plotWidth   = 440
	labelWidth  = 130
	barHeight   = 14
	barDistance = 20
	panelHead   = 56
	lineLength  = 115 // in characters
)

// drawing is what the template draws.
type drawing struct {
	Width, Height, Left, TitleX, LabelX, BarHeight int
	Panels                                         []panel
	Notes                                          []note
}

type panel struct {
	Title     string
	Y, Height int
	Rules     []rule
	Bars      []bar
}

type rule struct {
	At           float64
	Label, Class string
}

type bar struct {
	Name, Class, Label, Says string
	X, Width, Least, Most    float64
	Y, Middle                int
}

type note struct {
	At    int
	Label string
}

// panels are the tables that the chart shows, of those that were made.
func panels(projects int) []struct{ table, title string } {
	return []struct{ table, title string }{
		{allowed(128, projects), "Checks a second, 128 callers, 1,000 keys"},
		{allowed(128, 1), "Checks a second, 128 callers, one key"},
		{allowed(16, projects), "Checks a second, 16 callers, 1,000 keys"},
		{allowed(1, projects), "Checks a second, one caller, 1,000 keys"},
		{fmt.Sprintf(tableDenied, 128, projects), "Refusals a second, 128 callers, 1,000 keys"},
		{fmt.Sprintf(tableCluster, 128, projects), "Checks a second on a cluster of three masters, 128 callers, 1,000 keys"},
	}
}

// chart draws a report as SVG: bars of how each contestant compares with redis_rate, the best first.
func chart(r *report) ([]byte, error) {
	d := drawing{
		Width: chartLeft + plotWidth + labelWidth, Left: chartLeft, TitleX: 20 - chartLeft, LabelX: plotWidth + 10, BarHeight: barHeight,
	}
	for _, p := range panels(r.Projects) {
		if t := result.Find(r.Tables, p.table); t != nil {
			d.add(t, fmt.Sprintf("%s, against %s", p.title, t.Base))
		}
	}
	for _, text := range []string{
		fmt.Sprintf("Median of the ratios of %d rounds, on a logarithmic scale; thin lines go from the least to the greatest.", r.Rounds),
		"Tollgate does the whole work of a request: epochs of key and overrides compared, limits after overrides, usage counted.",
		"Callers and Redis share the cores of one machine: " + r.Machine.String() + ".",
		versions(r),
	} {
		for line := range lines(text) {
			d.Height += 18
			d.Notes = append(d.Notes, note{d.Height, line})
		}
	}
	d.Height += 20
	var out bytes.Buffer
	err := chartTemplate.Execute(&out, d)
	return out.Bytes(), err
}

// lines breaks a text where it would be wider than the chart.
func lines(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		line := ""
		for word := range strings.FieldsSeq(text) {
			if line != "" && len(line)+len(word) >= lineLength {
				if !yield(line) {
					return
				}
				line = ""
			}
			line = strings.TrimSpace(line + " " + word)
		}
		if line != "" {
			yield(line)
		}
	}
}

// versions tells those of the rivals.
func versions(r *report) string {
	var all []string
	for _, path := range []string{
		"github.com/redis/go-redis/v9", "github.com/go-redis/redis_rate/v10", "github.com/throttled/throttled/v2", "github.com/ulule/limiter/v3",
		"github.com/go-chi/httprate-redis", "github.com/redis/rueidis/rueidislimiter",
	} {
		if version := r.Machine.Version(path); version != "" {
			name := slices.DeleteFunc(strings.Split(path, "/"), func(part string) bool { return len(part) == 2 && part[0] == 'v' })
			all = append(all, name[len(name)-1]+" "+version)
		}
	}
	return strings.Join(all, ", ")
}

// add puts a table below what is there.
func (d *drawing) add(t *result.Table, title string) {
	rows := slices.Clone(t.Rows)
	slices.SortStableFunc(rows, func(a, b *result.Row) int {
		return int(math.Copysign(1, t.X(b.Name).Median-t.X(a.Name).Median))
	})
	p := panel{Title: title, Y: d.Height + panelHead, Height: len(rows) * barDistance}
	down, up := 1.0, 1.0 // powers of ten that hold them all
	for _, row := range rows {
		for x := t.X(row.Name); x.Least > 0 && x.Least < down; down /= 10 {
		}
		for x := t.X(row.Name); x.Most > up; up *= 10 {
		}
	}
	down = max(down, 0.01)
	at := func(x float64) float64 {
		x = max(x, down)
		return math.Round(10*plotWidth*math.Log(x/down)/math.Log(up/down)) / 10
	}
	for v := down; v <= up*1.01; v *= 10 {
		p.Rules = append(p.Rules, rule{at(v), fmt.Sprintf("%gx", v), ruleClass(v)})
	}
	for i, row := range rows {
		p.Bars = append(p.Bars, barOf(row.Name, t.X(row.Name), i*barDistance, at))
	}
	d.Panels = append(d.Panels, p)
	d.Height = p.Y + p.Height
}

func ruleClass(v float64) string {
	if math.Abs(v-1) < 0.001 {
		return "unit"
	}
	return "grid"
}

func barOf(name string, x stat.Spread, y int, at func(float64) float64) bar {
	b := bar{
		Name: name, Y: y, Middle: y + barHeight/2, Least: at(x.Least), Most: at(x.Most),
		Label: result.Short(x.Median) + "x", Says: fmt.Sprintf("%s: %s (%s to %s)", name, result.Short(x.Median), result.Short(x.Least), result.Short(x.Most)),
	}
	if strings.HasPrefix(name, rival.NameStrict) {
		b.Class = "ours"
	}
	b.X = min(at(1), at(x.Median)) // it grows from 1
	b.Width = math.Round(10*math.Abs(at(x.Median)-at(1))) / 10
	return b
}

func escaped(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}
