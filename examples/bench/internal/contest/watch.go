package contest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/bench/internal/measure"
)

// Counters are what Redis servers count of themselves, added up over all of them.
type Counters struct {
	CPU      time.Duration // user and system
	Commands float64       // those inside scripts too, without those that only set up a connection
	Reads    float64       // of sockets
}

// Since returns what was counted between an earlier moment and this one.
func (c Counters) Since(before Counters) Counters {
	return Counters{CPU: c.CPU - before.CPU, Commands: c.Commands - before.Commands, Reads: c.Reads - before.Reads}
}

// Watch reads the counters of Redis servers. Safe for concurrent use.
type Watch struct{ servers []*redis.Client }

// NewWatch returns a Watch of servers by their addresses. Close it.
func NewWatch(addrs ...string) *Watch {
	w := new(Watch)
	for _, addr := range addrs {
		w.servers = append(w.servers, redis.NewClient(&redis.Options{Addr: addr}))
	}
	return w
}

// Close closes the connections.
func (w *Watch) Close() error {
	var first error
	for _, s := range w.servers {
		if err := s.Close(); first == nil {
			first = err
		}
	}
	return first
}

// Counters reads the counters. What it costs Redis, some tens of microseconds, is counted.
func (w *Watch) Counters(ctx context.Context) (Counters, error) {
	var sum Counters
	for _, s := range w.servers {
		cpu, err := measure.ServerCPU(ctx, s)
		if err != nil {
			return Counters{}, err
		}
		reads, err := measure.Info(ctx, s, "stats", "total_reads_processed")
		if err != nil {
			return Counters{}, err
		}
		text, err := s.Info(ctx, "commandstats").Result()
		if err != nil {
			return Counters{}, err
		}
		commands, err := calls(text)
		if err != nil {
			return Counters{}, err
		}
		sum.CPU += cpu
		sum.Reads += reads
		sum.Commands += commands
	}
	return sum, nil
}

// calls adds up INFO commandstats, which has lines as "cmdstat_evalsha:calls=7,usec=...".
func calls(text string) (float64, error) {
	var sum float64
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok || setup(name) {
			continue
		}
		number, _, _ := strings.Cut(rest, ",")
		n, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return 0, fmt.Errorf("INFO commandstats: %q: %w", line, err)
		}
		sum += n
	}
	return sum, nil
}

// setup tells the commands of a new connection, and our own.
func setup(name string) bool {
	switch command, _, _ := strings.Cut(name, "|"); command {
	case "info", "hello", "client", "cluster", "command", "auth", "select", "readonly":
		return true
	}
	return false
}
