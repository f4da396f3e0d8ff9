package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/stat"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// tiny is a run of all tables that takes seconds.
func tiny(t *testing.T) options {
	t.Helper()
	return options{
		from: 1, max: 2, rounds: 3, policies: 2, masters: 2, stored: 100,
		warm: time.Millisecond, length: 10 * time.Millisecond, callers: []int{2, 8},
		json: filepath.Join(t.TempDir(), "growth.json"), svg: filepath.Join(t.TempDir(), "growth.svg"), progress: log.New(io.Discard, "", 0),
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	o := tiny(t)
	var out bytes.Buffer
	if err := growth(t.Context(), &out, o); err != nil {
		t.Fatal(err)
	}
	var r report
	text, err := os.ReadFile(o.json)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Rounds != 3 || r.Machine.Redis == "" || r.Machine.Go == "" || r.Seconds <= 0 {
		t.Errorf("the report = %d rounds in %v s on %v", r.Rounds, r.Seconds, r.Machine)
	}
	points := map[string][]string{
		"projects": {"10^1", "10^1", "10^2", "10^2"}, "policies": {"1", "2"}, "masters": {"1", "2"},
		"algorithm": {"sliding window", "fixed window", "aligned window", "calendar window", "GCRA", "concurrency"},
	}
	for _, table := range r.Tables {
		var of []string
		for _, row := range table.Rows {
			of = append(of, row.Of)
			checkRow(t, table.Name, row)
			if !strings.Contains(out.String(), cell(row.Values[limitBytes])) && table.Name == "algorithm" {
				t.Errorf("%s: %s is not printed:\n%s", row.Of, cell(row.Values[limitBytes]), &out)
			}
		}
		if !slices.Equal(of, points[table.Name]) {
			t.Errorf("the points of %s = %q, want %q", table.Name, of, points[table.Name])
		}
		delete(points, table.Name)
	}
	if len(points) > 0 {
		t.Errorf("no tables for %v", points)
	}
	checkChart(t, o.svg)
}

// checkRow looks for all that a row must have, and for a spread in order.
func checkRow(t *testing.T, table string, r row) {
	t.Helper()
	wanted := slices.Concat(speed, size)
	keys := map[string]float64{"10^1": 10, "10^2": 100}[r.Of]
	if table == "algorithm" {
		wanted, keys = []metric{keyCount, limitBytes}, 100
	}
	for _, m := range wanted {
		s, ok := r.Values[m]
		if !ok || s.Least > s.Median || s.Median > s.Most || s.Most <= 0 && m != heapMB {
			t.Errorf("%s %s: %s = %+v", table, r.Of, m, s)
		}
	}
	if got := r.Values[keyCount].Median; got < keys { // a busy limit may have two
		t.Errorf("%s %s: %v keys were added, want %v or more", table, r.Of, got, keys)
	}
	if got := r.Values[limitBytes].Median; keys == 100 && (got < 100 || got > 1000) {
		t.Errorf("%s %s: %v bytes/limit cannot be", table, r.Of, got)
	}
}

// checkChart reads a chart as XML and counts what it draws: four panels of projects, two each of policies and masters.
func checkChart(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	found := map[string]int{}
	for d := xml.NewDecoder(file); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the chart is no XML: %v", err)
		}
		if start, ok := token.(xml.StartElement); ok {
			found[start.Name.Local]++
		}
	}
	// Lines: two in each panel but that of the bytes, and one of rates for policies and masters. Each has two points.
	if lines := 7 + 3 + 3; found["svg"] != 1 || found["g"] != 8 || found["polyline"] != lines || found["circle"] != 2*lines {
		t.Errorf("the chart has %v, want 1 svg with 8 panels and %d lines of two points", found, lines)
	}
}

// What is weighed is all limits that are asked for later.
func TestFillBringsInEveryProject(t *testing.T) {
	t.Parallel()
	at, stop, err := standalone(t.Context(), 250, policies(1))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if len(at.orgs) != 25 {
		t.Errorf("%d orgs for 250 projects, want 25", len(at.orgs))
	}
	for project := range 10 {
		for _, org := range at.orgs {
			for _, key := range []string{limitKey(org, at.names[project]), lua.EpochKey(org)} {
				if n, err := at.rdb.Exists(t.Context(), key).Result(); err != nil || n != 1 {
					t.Errorf("EXISTS %s = %d, %v; want 1", key, n, err)
				}
			}
		}
	}
}

// What is measured is a check with an epoch: it is refused as stale when the org's keys changed.
func TestAskComparesTheEpoch(t *testing.T) {
	t.Parallel()
	at, stop, err := standalone(t.Context(), 10, policies(1))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := at.rdb.Del(t.Context(), lua.EpochKey(at.orgs[0])).Err(); err != nil {
		t.Fatal(err)
	}
	if err := at.ask(t.Context(), 3); !errors.Is(err, ratelimit.ErrStale) {
		t.Errorf("ask after the epoch is gone = %v, want ErrStale", err)
	}
}

func TestGrowthEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := growth(ctx, io.Discard, tiny(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("growth = %v, want context.Canceled", err)
	}
	at, stop, err := standalone(t.Context(), 10, policies(1))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, err := at.run(ctx, 4, tiny(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("run = %v, want context.Canceled", err)
	}
}

func TestAskRefused(t *testing.T) {
	t.Parallel()
	_, stop, err := standalone(t.Context(), 10, []ratelimit.Policy{ratelimit.PerHour(1)})
	if err == nil {
		stop()
		t.Error("a check that was refused counts as one that was made")
	}
}

func TestMeasureRotates(t *testing.T) {
	t.Parallel()
	table := table{Rows: make([]row, 3)}
	var order []int
	err := table.measure(options{rounds: 3, progress: log.New(io.Discard, "", 0)}, func(i int) (sample, error) {
		order = append(order, i)
		return sample{rate: float64(len(order))}, nil
	})
	if want := []int{0, 1, 2, 1, 2, 0, 2, 0, 1}; err != nil || !slices.Equal(order, want) {
		t.Errorf("measure = %v, %v; want the order %v", order, err, want)
	}
	if got, want := table.Rows[0].Values[rate], (stat.Spread{Median: 6, Least: 1, Most: 8}); got != want {
		t.Errorf("the first row = %v, want %v", got, want)
	}
}

func TestCell(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]stat.Spread{
		"0":                   {},
		"7":                   {Median: 7, Least: 7, Most: 7},
		"0.12 (0.05..1.50)":   {Median: 0.1234, Least: 0.05, Most: 1.5},
		"12.3 (9.99..100)":    {Median: 12.34, Least: 9.99, Most: 99.96},
		"9990 (-489..10.0k)":  {Median: 9990, Least: -489, Most: 9_995},
		"123k (12.3k..1.23M)": {Median: 123_400, Least: 12_340, Most: 1_234_000},
		"1M (1M..10M)":        {Median: 1e6, Least: 1e6, Most: 1e7},
		"161 (160..161)":      {Median: 160.6, Least: 160.4, Most: 160.7},
		"10.0 (9.99..10.0)":   {Median: 9.999, Least: 9.99, Most: 10.01},
	} {
		if got := cell(s); got != want {
			t.Errorf("cell(%v) = %q, want %q", s, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := options{max: 7, rounds: 3, length: time.Second}
	if err := good.validate(); err != nil {
		t.Errorf("validate = %v", err)
	}
	bad := options{max: 8, rounds: 2, length: time.Hour, svg: "no/such/growth.svg"}
	err := bad.validate()
	for _, flag := range []string{"-max 8", "-rounds 2", "-length 1h0m0s", "-svg no/such/growth.svg"} {
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("validate = %v, want %s in it", err, flag)
		}
	}
}
