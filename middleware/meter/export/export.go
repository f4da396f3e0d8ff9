// Package export hands closed hours of usage on, such as to a billing service: each unit at least once, in events whose
// ids never change, so that a receiver can drop those that it has.
//
// A meter notes in Redis which hours have usage. When an hour is over, an [Exporter] claims what it has: for each name
// the range of units from what was exported before to what there is now. That range stays as it is until the sink has
// accepted it, whoever sends it and however often, and its event has the range in its id. Usage that comes later, such
// as what a process finds in its journal, is another range and another event.
//
//	sink, err := export.Webhook("https://billing.example.com/usage", export.WithSecret(secret))
//	exporter, err := export.New(rdb, sink, export.WithSource("https://api.example.com/usage"))
//	go exporter.Run(ctx)
//
//	report, err := export.Reconcile(ctx, rdb, export.Query{Org: "acme", From: monday, To: tuesday})
//	fmt.Print(report) // what was metered, and what of it is exported
//
// Any number of processes may export: what two of them send at once is the same. A receiver counts each unit once if it
// drops events whose source and id it has seen. Redis may forget in a failover what it acknowledged, and then a range
// may come again as part of a larger one; a receiver that keeps for each org, hour, `began` and name the highest `to`
// that it has seen, and counts only what an event has beyond it, counts each unit once even then. An hour that somebody
// deleted, or that expired before usage came that was late, begins anew, with `began` and in ids of its own.
//
// What Redis holds for this is as much again as the usage that is exported, for as long. Without an exporter it holds
// some 100 bytes for each hour of an org, for as long as that hour is kept. Hours are kept for at least 8 days after
// the last write to them, whatever meter.WithRetention says, a day longer than the longest grace; an hour that nobody
// exported until it expires is let go.
//
// Do not use it to watch usage as it happens: an hour is exported when it is over. A meter.Reader tells of it before.
package export

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// What callers branch on. Compare with errors.Is.
var (
	// ErrInvalid: an option, a URL or a query is out of its bounds.
	ErrInvalid = errors.New("export: invalid")
	// ErrUnavailable: Redis did not answer, not in time, or not with usage.
	ErrUnavailable = errors.New("export: unavailable")
	// ErrNotSent: the sink did not accept events. They are kept, and sent again.
	ErrNotSent = errors.New("export: not sent")
)

// Exporter gives a sink what is due. Make it with New; it has nothing to close. Safe for concurrent use.
type Exporter struct {
	config
	ledger ledger
	sink   Sink

	passing chan struct{} // holds a token while a pass runs
	begin   int           // the bucket that the next pass begins with; the running pass's

	mu    sync.Mutex
	stats Stats
}

// ledger is where usage is claimed and settled.
type ledger interface {
	DueUsage(ctx context.Context, bucket string, grace time.Duration, skip, count int) (lua.UsageDue, error)
	ClaimUsage(ctx context.Context, hour lua.UsageHour, after *lua.UsageClaim, most int) (*lua.UsageClaim, error)
	SettleUsage(ctx context.Context, claim *lua.UsageClaim) (done bool, err error)
}

// New returns an Exporter that reads a Redis client (standalone, Sentinel, Cluster or Ring) and gives a sink what is
// due. It does not dial and starts nothing. The error joins all that is wrong with the arguments.
func New(rdb redis.UniversalClient, sink Sink, opts ...Option) (*Exporter, error) {
	conn, c, err := configure(rdb, sink, opts)
	if err != nil {
		return nil, err
	}
	return newExporter(conn, sink, c), nil
}

func newExporter(to ledger, sink Sink, c config) *Exporter {
	// Processes that run in step begin at different places, and seldom send the same.
	begin := rand.IntN(bucket.Count) //nolint:gosec // nobody gains by guessing it
	return &Exporter{config: c, ledger: to, sink: sink, passing: make(chan struct{}, 1), begin: begin}
}

// Run exports what is due, at once and at each interval, until ctx ends. After a pass that failed it waits from 1 second
// on twice as long each time, up to 5 minutes, or as long as the sink asks for. What fails is in the Stats.
func (e *Exporter) Run(ctx context.Context) {
	for failed := 0; ctx.Err() == nil; {
		err := e.Once(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := e.interval
		switch {
		case err != nil:
			if failed++; failed == 1 {
				e.log.ErrorContext(ctx, "usage is not exported", "error", err)
			}
			if errors.Is(err, ErrNotSent) || lua.Classify(err) != lua.ClassConfig { // else all but odd hours is exported
				wait = pause(failed, err)
			}
		case failed > 0:
			failed = 0
			e.log.InfoContext(ctx, "usage is exported again")
		}
		wait -= rand.N(wait/10 + 1) //nolint:gosec // so that processes do not stay in step; nobody gains by guessing it
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

const (
	minPause = time.Second
	maxPause = 5 * time.Minute
	maxAsked = time.Hour
)

// pause returns how long to wait after so many passes in a row that failed.
func pause(failed int, err error) time.Duration {
	wait := min(minPause<<min(failed-1, 20), maxPause)
	if asks, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err); ok {
		asked := min(asks.RetryAfter(), maxAsked)
		wait = max(wait, asked+asked/9+1) // Run takes up to a tenth off
	}
	return wait
}

// Stats counts what an Exporter did since it was made, and tells what its last pass left.
type Stats struct {
	Events       uint64 // that the sink accepted, also when it had them before
	Units        uint64 // of these events
	SinkFailures uint64 // calls of the sink that failed
	// Failures counts the calls to Redis that failed. Under lua.ClassConfig are also hours in which another program
	// wrote what is no count; what else they have is exported.
	Failures map[lua.Class]uint64
	Due      int // hours of orgs that were due, and are not exported as a whole
	// Behind is the time since the first of them was over, or since usage came that was late; zero if none is due.
	Behind time.Duration
}

// Stats returns the counts. Safe for concurrent use.
func (e *Exporter) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	stats := e.stats
	stats.Failures = maps.Clone(stats.Failures)
	return stats
}

// count changes the counts.
func (e *Exporter) count(change func(*Stats)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.stats)
}

// failed counts a failure of Redis.
func (e *Exporter) failed(err error) {
	e.count(func(s *Stats) {
		if s.Failures == nil {
			s.Failures = make(map[lua.Class]uint64)
		}
		s.Failures[lua.Classify(err)]++
	})
}
