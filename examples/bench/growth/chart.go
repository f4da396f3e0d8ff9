package main

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/template"
)

//go:embed growth.svg.tmpl
var chartText string

var chartTemplate = template.Must(template.New("growth.svg").Funcs(template.FuncMap{"xml": escaped}).Parse(chartText))

// Lengths in the chart, in its own units.
const (
	plotWidth, plotHeight = 330, 130
	panelWidth            = plotWidth + 90
	panelHeight           = plotHeight + 95
	edge                  = 65 // left of and above the first plot
	nameWidth             = 110
	inset                 = 20 // of the first and the last point
)

// drawing is what the template draws.
type drawing struct {
	Width, Height, PlotWidth, PlotHeight int
	Panels                               []panel
	Notes                                []mark
}

type panel struct {
	X, Y         int
	Title, Axis  string
	Lines        []line
	Rules, Ticks []mark // of the scales
}

// mark is a text at a place of one scale.
type mark struct {
	At    float64
	Label string
}

type line struct {
	Name, Class, Points string
	NameX               int
	Dots                []dot
}

type dot struct {
	X, Y, Least, Most float64
	Says              string
}

// curve chooses what a line shows: a metric of the rows with so many callers.
type curve struct {
	name    string
	metric  metric
	callers int
}

// chart draws a report as SVG: for each table that has lines, panels with one scale each.
func (r *report) chart() ([]byte, error) {
	d := drawing{Width: edge + panelWidth + plotWidth + 25, PlotWidth: plotWidth, PlotHeight: plotHeight}
	for _, t := range r.Tables {
		least, most := t.callers()
		if most == 0 {
			continue // its rows are not in an order
		}
		rates := []curve{{fmt.Sprintf("%d callers", most), rate, most}, {fmt.Sprintf("%d callers", least), rate, least}}
		if least == most {
			rates = rates[:1]
		}
		d.add(t, "Checks a second, by "+t.Name, rates...)
		d.add(t, fmt.Sprintf("CPU of a check, us, %d callers", most), curve{"Redis", redisCPU, most}, curve{"client", clientCPU, most})
		if slices.ContainsFunc(t.views, func(v []metric) bool { return slices.Contains(v, redisMB) }) {
			d.add(t, fmt.Sprintf("Latency, us, %d callers", most), curve{"p50", p50, most}, curve{"p99", p99, most})
			d.add(t, "Bytes of Redis for each limit", curve{"sliding window", limitBytes, most})
		}
	}
	bottom := (len(d.Panels)+1)/2*panelHeight + 40
	for i, note := range []string{
		fmt.Sprintf("Median of %d rounds; thin lines go from the least to the most. Callers and all Redis servers share one machine, so", r.Rounds),
		"compare the figures with each other; more masters on the same cores show what a cluster costs, not how it scales.",
		r.Machine.String(),
	} {
		d.Notes = append(d.Notes, mark{At: float64(bottom + 18*i), Label: note})
	}
	d.Height = bottom + 18*len(d.Notes)
	var out bytes.Buffer
	err := chartTemplate.Execute(&out, d)
	return out.Bytes(), err
}

// callers returns the fewest and the most callers of a table's rows; 0 where there are none.
func (t *table) callers() (least, most int) {
	for i, r := range t.Rows {
		if least, most = min(least, r.Callers), max(most, r.Callers); i == 0 {
			least = r.Callers
		}
	}
	return least, most
}

// add puts a panel into the next free place, two to a line.
func (d *drawing) add(t *table, title string, curves ...curve) {
	n := len(d.Panels)
	p := panel{Title: title, Axis: t.Name, X: edge + n%2*panelWidth, Y: edge + n/2*panelHeight}
	across, down := scaleX(t), scaleY(t, curves)
	for _, r := range t.Rows {
		if tick := (mark{across(r.Value), r.Of}); !slices.Contains(p.Ticks, tick) {
			p.Ticks = append(p.Ticks, tick)
		}
	}
	for v := 0.0; v <= down.most*1.0001; v += down.step {
		p.Rules = append(p.Rules, mark{down.at(v), short(v)})
	}
	for i, c := range curves {
		l := line{Name: c.name, Class: string(rune('a' + i)), NameX: i * nameWidth}
		for _, r := range t.Rows {
			if r.Callers != c.callers {
				continue
			}
			s := r.Values[c.metric]
			at := dot{across(r.Value), down.at(s.Median), down.at(s.Least), down.at(s.Most), fmt.Sprintf("%s: %s", r.Of, cell(s))}
			l.Dots = append(l.Dots, at)
			l.Points += fmt.Sprintf("%g,%g ", at.X, at.Y)
		}
		l.Points = strings.TrimSpace(l.Points)
		p.Lines = append(p.Lines, l)
	}
	d.Panels = append(d.Panels, p)
}

// scaleX places a row's value: numbers of projects by their logarithm.
func scaleX(t *table) func(value int) float64 {
	of := func(value int) float64 { return float64(value) }
	first, last := t.Rows[0].Value, t.Rows[len(t.Rows)-1].Value
	if t.Name == "projects" {
		of = func(value int) float64 { return math.Log10(float64(value)) }
	}
	return func(value int) float64 {
		if first == last {
			return plotWidth / 2
		}
		return tenths(inset + (plotWidth-2*inset)*(of(value)-of(first))/(of(last)-of(first)))
	}
}

// scale is a linear one from zero at the bottom to the most at the top.
type scale struct{ most, step float64 }

// scaleY finds a scale of round numbers, with at most five steps, for all that curves show.
func scaleY(t *table, curves []curve) scale {
	highest := 0.0
	for _, r := range t.Rows {
		for _, c := range curves {
			if r.Callers == c.callers {
				highest = max(highest, r.Values[c.metric].Most)
			}
		}
	}
	if highest <= 0 {
		return scale{1, 1}
	}
	step := math.Pow10(int(math.Floor(math.Log10(highest / 5))))
	for _, times := range []float64{1, 2, 5, 10} {
		if steps := math.Ceil(highest / (step * times)); steps <= 5 {
			return scale{steps * step * times, step * times}
		}
	}
	return scale{highest, highest}
}

func (s scale) at(v float64) float64 { return tenths(plotHeight * (1 - v/s.most)) }

func tenths(v float64) float64 { return math.Round(v*10) / 10 }

func escaped(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}
