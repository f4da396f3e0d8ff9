// Command growth measures how the cost of a check grows: with the number of projects, of policies in one request, and of
// masters in a cluster; and what each algorithm stores.
//
//	go run ./growth            10^3 to 10^6 projects, some three minutes
//	go run ./growth -max 7     10^7, too: 2.5 GB of Redis, and some seven minutes more
//
// It starts redis-server processes of its own on free ports of the loopback interface, which write nothing to disk, and
// ends them. It prints tables and writes growth.json and growth.svg. Each figure is the median of -rounds rounds, with
// the least and the most; a round takes each point of a table once, and each round begins with another one.
//
// All callers run in this process and share the machine with Redis, so compare figures with each other, not with those
// of other machines. For limiters beside each other see the command in the directory above.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/bench/internal/machine"
	"github.com/tollgate-go/tollgate/examples/bench/internal/server"
)

// options are what the command line sets, and how long a run takes.
type options struct {
	from, max    int // powers of ten, of projects
	rounds       int
	policies     int // the most in one request
	masters      int // the most in a cluster
	stored       int // projects for which it is told what each algorithm stores
	warm, length time.Duration
	callers      []int // in the order of the table; the last are the most
	json, svg    string
	progress     *log.Logger
}

func main() {
	o := options{from: 3, policies: 8, masters: 6, warm: 150 * time.Millisecond, callers: []int{16, 128}, progress: log.New(os.Stderr, "", log.Ltime)}
	flag.IntVar(&o.max, "max", 6, "the most projects, as a power of ten: 3 to 7")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each point is measured: odd, 1 to 99")
	flag.DurationVar(&o.length, "length", 500*time.Millisecond, "how long each point is measured in a round: 10ms to 1m")
	flag.StringVar(&o.json, "json", "growth/growth.json", "the file for the figures; empty for none")
	flag.StringVar(&o.svg, "svg", "growth/growth.svg", "the file for the chart; empty for none")
	flag.Parse()
	o.stored = 50_000
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.validate()
	if err == nil {
		err = growth(ctx, os.Stdout, o)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

func (o *options) validate() error {
	var faults []error
	if o.max < 3 || o.max > 7 {
		faults = append(faults, fmt.Errorf("-max %d must be 3 to 7", o.max))
	}
	if o.rounds < 1 || o.rounds > 99 || o.rounds%2 == 0 {
		faults = append(faults, fmt.Errorf("-rounds %d must be odd, 1 to 99", o.rounds))
	}
	if o.length < 10*time.Millisecond || o.length > time.Minute {
		faults = append(faults, fmt.Errorf("-length %v must be 10ms to 1m", o.length))
	}
	for name, path := range map[string]string{"json": o.json, "svg": o.svg} { // better now than after minutes
		if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
			faults = append(faults, fmt.Errorf("-%s %s: there is no such directory; the default is for examples/bench", name, path))
		}
	}
	if flag.NArg() > 0 {
		faults = append(faults, fmt.Errorf("%q: there are flags only, see -help", flag.Arg(0)))
	}
	return errors.Join(faults...)
}

// growth measures all tables, prints each when it is done, and writes the files. All servers end before it returns.
func growth(ctx context.Context, out io.Writer, o options) error {
	began := time.Now()
	version, err := redisVersion(ctx)
	if err != nil {
		return err
	}
	r := report{Machine: machine.Describe(version), Rounds: o.rounds}
	if err := say(out, "%v\nMedian of %d rounds of %v each (least..most). Callers and Redis share this machine.\n", r.Machine, o.rounds, o.length); err != nil {
		return err
	}
	for _, measure := range []func(context.Context, options) (*table, error){ofProjects, ofPolicies, ofMasters, ofAlgorithms} {
		t, err := measure(ctx, o)
		if err != nil {
			return err
		}
		r.Tables = append(r.Tables, t)
		if err := say(out, "\n%s", t); err != nil {
			return err
		}
	}
	r.Seconds = time.Since(began).Seconds()
	return errors.Join(say(out, "\nIt took %v.\n", time.Since(began).Round(time.Second)), r.save(o))
}

func say(out io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(out, format, args...)
	return err
}

// save writes the files that are asked for.
func (r *report) save(o options) error {
	var faults []error
	if o.json != "" {
		faults = append(faults, r.write(o.json))
	}
	if o.svg != "" {
		chart, err := r.chart()
		if err == nil {
			err = os.WriteFile(o.svg, chart, 0o600)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func redisVersion(ctx context.Context) (string, error) {
	s, err := server.Start(ctx)
	if err != nil {
		return "", err
	}
	defer s.Stop()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr()})
	defer func() { _ = rdb.Close() }()
	info := rdb.InfoMap(ctx, "server")
	return info.Item("Server", "redis_version"), info.Err()
}
