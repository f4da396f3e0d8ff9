package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/httpload"
	"github.com/tollgate-go/tollgate/examples/bench/internal/machine"
	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
	"github.com/tollgate-go/tollgate/examples/bench/internal/rival"
	"github.com/tollgate-go/tollgate/examples/bench/internal/stat"
)

// TestMain is the children that the HTTP part starts, too: this program again.
func TestMain(m *testing.M) {
	if httpload.Child(os.Stdin, os.Stdout) {
		return
	}
	os.Exit(m.Run())
}

// made returns a report of a table in which tollgate was 10, 9 and 11 times as fast as redis_rate, and PING 0.04 times.
func made() *report {
	t := &result.Table{Name: allowed(128, 1000), Base: rival.NameRedisRate, By: result.Rate}
	for i, x := range []float64{10, 9, 11} {
		base := 1000 * float64(i+1)
		t.Add(rival.NameRedisRate, result.Sample{result.Rate: base, result.P99: 800, result.Redis: 10, result.Allocs: 22})
		t.Add(rival.NameStrict, result.Sample{result.Rate: base * x, result.P99: 200, result.Redis: 0.5, result.Allocs: 0.25})
		t.Add("<PING> & co", result.Sample{result.Rate: base * 0.04})
	}
	return &report{Machine: machine.Machine{CPU: "a <CPU> & more", Cores: 2}, Rounds: 3, Projects: 1000, Tables: []*result.Table{t}, Targets: targets([]*result.Table{t}, 1000)}
}

func TestChart(t *testing.T) {
	t.Parallel()
	drawn, err := chart(made())
	if err != nil {
		t.Fatal(err)
	}
	texts, bars := parse(t, drawn)
	for _, want := range []string{"tollgate", "10.0x", "redis_rate", "1.00x", "<PING> & co", "0.040x", "0.01x", "100x", "tollgate: 10.0 (9.00 to 11.0)"} {
		if !slices.Contains(texts, want) {
			t.Errorf("the chart does not say %q; it says %q", want, texts)
		}
	}
	if !strings.Contains(strings.Join(texts, "\n"), "a <CPU> & more") {
		t.Error("the chart does not tell the machine")
	}
	if len(bars) != 3 || !(bars[0] > bars[1]) || bars[1] != 0 || !(bars[2] > bars[0]) {
		t.Errorf("bars are %v wide; want those of 10, 1 and 0.04, from 1 on a logarithmic scale", bars)
	}
}

// parse reads a chart's texts, and how wide its bars are.
func parse(t *testing.T, svg []byte) (texts []string, bars []float64) {
	t.Helper()
	reader := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := reader.Token()
		if errors.Is(err, io.EOF) {
			return texts, bars
		}
		if err != nil {
			t.Fatalf("the chart is no XML: %v\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.CharData:
			texts = append(texts, strings.TrimSpace(string(token)))
		case xml.StartElement:
			for _, a := range token.Attr {
				if token.Name.Local == "rect" && a.Name.Local == "width" {
					var width float64
					if _, err := fmt.Sscan(a.Value, &width); err != nil {
						t.Fatal(err)
					}
					bars = append(bars, width)
				}
			}
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	words := strings.Repeat("word ", 100)
	var got []string
	for line := range lines(words) {
		if len(line) > lineLength {
			t.Errorf("%q has %d characters, want at most %d", line, len(line), lineLength)
		}
		got = append(got, line)
	}
	if strings.Join(got, " ")+" " != words || len(got) != 5 {
		t.Errorf("lines are %q, want all words in 5 of them", got)
	}
}

func TestChartOfNothing(t *testing.T) {
	t.Parallel()
	drawn, err := chart(&report{})
	if err != nil {
		t.Fatal(err)
	}
	if _, bars := parse(t, drawn); len(bars) != 0 {
		t.Errorf("a chart of no tables has bars: %v", bars)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	got := map[string]target{}
	for _, one := range made().Targets {
		got[one.What] = one
	}
	for _, tt := range []struct {
		what    string
		want    stat.Spread
		reached bool
	}{
		{"strict, 128 callers, 1,000 keys, sliding window: x redis_rate", stat.Spread{Median: 10, Least: 9, Most: 11}, true},
		{"p99 at 128 callers, of redis_rate's", stat.Spread{Median: 0.25, Least: 0.25, Most: 0.25}, false},
		{"Redis CPU a check, of redis_rate's: 128 callers", stat.Spread{Median: 0.05, Least: 0.05, Most: 0.05}, true},
		{"allocations a check, strict, 128 callers", stat.Spread{Median: 0.25, Least: 0.25, Most: 0.25}, true},
	} {
		if one := got[tt.what]; one.Measured != tt.want || one.Reached != tt.reached {
			t.Errorf("%s = %+v, want %+v and reached %v", tt.what, one, tt.want, tt.reached)
		}
	}
	for _, what := range []string{"the same with GCRA: x redis_rate", "strict, 16 callers: x redis_rate", "Redis CPU a check with GCRA, 128 callers, of redis_rate's"} {
		if one, ok := got[what]; ok {
			t.Errorf("%+v was told, and not measured", one)
		}
	}
}

// A name that a goal looks for, and no table has, would leave the goal out and say nothing.
func TestGoals(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, g := range goals(1000) {
		if seen[g.what] {
			t.Errorf("two targets are called %q", g.what)
		}
		seen[g.what] = true
		if g.side == atLeast && g.stretch < g.bound || g.side == atMost && g.stretch > g.bound {
			t.Errorf("%s: %v hoped for, but %s %v wanted", g.what, g.stretch, g.side, g.bound)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := options{rounds: 5, orgs: 16, http: time.Second}
	if err := good.validate(nil); err != nil {
		t.Errorf("%+v: %v", good, err)
	}
	for flag, o := range map[string]options{
		"-part":   {part: "none", rounds: 5, orgs: 16, http: time.Second},
		"-rounds": {rounds: 4, orgs: 16, http: time.Second},
		"-orgs":   {rounds: 5, orgs: 0, http: time.Second},
		"-http":   {rounds: 5, orgs: 16, http: time.Hour},
	} {
		if err := o.validate([]string{"limiter"}); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%+v: %v, want an error that names %s", o, err, flag)
		}
	}
}

// Every part runs, comes to the tables that targets look for, and writes both files.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	o := options{rounds: 1, projects: 8, orgs: 2, http: 50 * time.Millisecond, json: filepath.Join(dir, "r.json"), svg: filepath.Join(dir, "c.svg")}
	o.warm, o.length, o.step = time.Millisecond, 3*time.Millisecond, time.Millisecond
	var out bytes.Buffer
	b := &bench{options: o, out: &out}
	if err := b.run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text, err := os.ReadFile(o.json)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Tables) != len(b.tables) || len(r.Targets) != len(targets(b.tables, o.projects)) || r.Machine.Redis == "" {
		t.Errorf("the file has %d tables and %d targets, want %d and %d", len(r.Tables), len(r.Targets), len(b.tables), len(targets(b.tables, o.projects)))
	}
	for _, g := range goals(o.projects) {
		if !slices.ContainsFunc(r.Targets, func(t target) bool { return t.What == g.what }) {
			t.Errorf("nothing was measured of %q", g.what)
		}
	}
	drawn, err := os.ReadFile(o.svg)
	if err != nil {
		t.Fatal(err)
	}
	if _, bars := parse(t, drawn); len(bars) == 0 {
		t.Error("the chart has no bars")
	}
	for _, want := range []string{"targets reached", allowed(128, o.projects), "x redis_rate"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not say %q", want)
		}
	}
}
