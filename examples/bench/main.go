// Command bench measures tollgate beside other limiters, routers and tokens, and tells which of its targets are reached.
//
//	go run .                     all of it, some fifteen minutes
//	go run . -part limiter       one part: limiter, denied, cluster, gate or http
//	go run . -short              all of it in two minutes, roughly
//
// It starts redis-server processes of its own on free ports of the loopback interface, which write nothing to disk, and
// ends them. It prints a table for each setting and writes result.json and chart.svg.
//
// Contestants run interleaved: in each round every one of them runs once, in an order that rotates. So "x" is the median
// of the ratios of each round, and the spread is the least and the greatest of them; all other figures are medians.
// Callers, servers and Redis share this machine: compare figures with each other, not with those of other machines. How
// cost grows with projects, policies and masters is told by the command in growth.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tollgate-go/tollgate/examples/bench/internal/httpload"
	"github.com/tollgate-go/tollgate/examples/bench/internal/machine"
	"github.com/tollgate-go/tollgate/examples/bench/internal/result"
)

// options are what the command line sets.
type options struct {
	part      string
	short     bool
	rounds    int
	projects  int
	orgs      int
	http      time.Duration
	json, svg string

	warm, length time.Duration // of each run of a limiter: not counted, then counted
	step         time.Duration // how long a step in process is done in a round
}

// bench is a run of the benchmark.
type bench struct {
	options
	out     io.Writer
	machine machine.Machine
	tables  []*result.Table
}

// parts in the order in which they run.
var parts = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"limiter", (*bench).limiter},
	{"denied", (*bench).denied},
	{"cluster", (*bench).cluster},
	{"gate", (*bench).gate},
	{"http", (*bench).whole},
}

func main() {
	if httpload.Child(os.Stdin, os.Stdout) {
		return
	}
	var o options
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	flag.StringVar(&o.part, "part", "", "one part: "+strings.Join(names, ", ")+"; empty for all of them")
	flag.BoolVar(&o.short, "short", false, "measure everything for a shorter time, more roughly")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each contestant runs: odd, 1 to 99")
	flag.IntVar(&o.orgs, "orgs", 16, "how many orgs the 1,000 projects belong to: 1 to 1000")
	flag.DurationVar(&o.http, "http", 2*time.Second, "how long each HTTP server is under load: 50ms to 1m")
	flag.StringVar(&o.json, "json", "result.json", "the file for the figures; empty for none")
	flag.StringVar(&o.svg, "svg", "chart.svg", "the file for the chart; empty for none")
	flag.Parse()
	o.projects, o.warm, o.length, o.step = 1000, 150*time.Millisecond, 400*time.Millisecond, 200*time.Millisecond
	if o.short {
		o.warm, o.length, o.step = 50*time.Millisecond, 100*time.Millisecond, 20*time.Millisecond
		o.rounds, o.http = min(o.rounds, 3), min(o.http, 500*time.Millisecond)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.validate(names)
	if err == nil {
		err = (&bench{options: o, out: os.Stdout}).run(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o *options) validate(names []string) error {
	var faults []error
	if o.part != "" && !slices.Contains(names, o.part) {
		faults = append(faults, fmt.Errorf("-part %q must be one of %s", o.part, strings.Join(names, ", ")))
	}
	if o.rounds < 1 || o.rounds > 99 || o.rounds%2 == 0 {
		faults = append(faults, fmt.Errorf("-rounds %d must be odd, 1 to 99", o.rounds))
	}
	if o.orgs < 1 || o.orgs > 1000 {
		faults = append(faults, fmt.Errorf("-orgs %d must be 1 to 1000", o.orgs))
	}
	if o.http < 50*time.Millisecond || o.http > time.Minute {
		faults = append(faults, fmt.Errorf("-http %v must be 50ms to 1m", o.http))
	}
	if flag.NArg() > 0 {
		faults = append(faults, fmt.Errorf("%q: there are flags only, see -help", flag.Arg(0)))
	}
	return errors.Join(faults...)
}

// run runs the parts that are asked for and tells what they came to.
func (b *bench) run(ctx context.Context) error {
	version, err := redisVersion(ctx)
	if err != nil {
		return err
	}
	b.machine = machine.Describe(version)
	if _, err := fmt.Fprintln(b.out, b.machine); err != nil {
		return err
	}
	for _, p := range parts {
		if b.part != "" && b.part != p.name {
			continue
		}
		if err := p.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return b.finish()
}

// add prints a table and keeps it.
func (b *bench) add(t *result.Table) error {
	b.tables = append(b.tables, t)
	return t.WriteText(b.out)
}
