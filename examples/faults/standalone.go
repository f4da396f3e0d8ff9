package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/examples/faults/internal/gate"
	"github.com/tollgate-go/tollgate/examples/faults/internal/row"
	"github.com/tollgate-go/tollgate/examples/faults/internal/wire"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// standalone returns the faults of one server.
func standalone() []row.Fault {
	return slices.Concat(process(), network(), callers(), scripts(), states(), access(), damage())
}

// kept has a server write down what it answers for, so that a kill does not lose it.
var kept = []string{"--appendonly", "yes"}

// process are those of the server's process.
func process() []row.Fault {
	killed := alone{args: kept, fault: func(p *place) (inject, heal action) {
		return func(context.Context) error { p.Kill(); return nil }, func(ctx context.Context) error { return p.Restart(ctx) }
	}}.open
	hung := alone{fault: func(p *place) (inject, heal action) {
		return func(context.Context) error { return p.Pause() }, func(context.Context) error { return p.Resume() }
	}}.open
	local := gate.Config{Failure: middleware.FailLocal, Limiter: []ratelimit.Option{ratelimit.WithReplicas("faults", 1)}}
	return []row.Fault{
		{Name: "F1", What: "absent at start", Open: killed, Absent: true},
		{Name: "F2", What: "killed, limits closed", Open: killed},
		{Name: "F2/open", What: "killed, limits open", Open: killed, Gate: gate.Config{Failure: middleware.FailOpen}},
		{Name: "F2/local", What: "killed, local share of limits", Open: killed, Gate: local},
		{Name: "F3", What: "hung, limits closed", Open: hung},
		{Name: "F3/open", What: "hung, limits open", Open: hung, Gate: gate.Config{Failure: middleware.FailOpen}},
		{Name: "F3/local", What: "hung, local share of limits", Open: hung, Gate: local},
		{Name: "F3/off", What: "hung, limits off by the kill switch", Open: hung, Off: true},
		{Name: "F3/defaults", What: "hung, client with defaults", Open: alone{client: row.Default, fault: func(p *place) (inject, heal action) {
			return func(context.Context) error { return p.Pause() }, func(context.Context) error { return p.Resume() }
		}}.open},
		{Name: "F4", What: "event loop asleep", Open: alone{fault: func(p *place) (inject, heal action) {
			return p.meanwhile(func(ctx context.Context, rdb *redis.Client) error { return rdb.Do(ctx, "debug", "sleep", "1.5").Err() })
		}}.open},
		{Name: "F4/defaults", What: "event loop asleep, client with defaults", Open: alone{client: row.Default, fault: func(p *place) (inject, heal action) {
			return p.meanwhile(func(ctx context.Context, rdb *redis.Client) error { return rdb.Do(ctx, "debug", "sleep", "1.5").Err() })
		}}.open},
		{Name: "F5", What: "writes paused", Open: alone{fault: func(p *place) (inject, heal action) {
			return p.do("client", "pause", 60_000, "write"), p.do("client", "unpause")
		}}.open},
	}
}

// network are those of the way, each with a client that has small time-outs and with one that has the defaults of go-redis,
// which repeats what it got no answer to.
func network() []row.Fault {
	toxic := func(kind, direction string, attributes map[string]any) func(p *place) (inject, heal action) {
		return func(p *place) (inject, heal action) {
			return func(context.Context) error { return p.link.Poison(kind, direction, attributes) },
				func(ctx context.Context) error { p.link.Cure(ctx); return nil }
		}
	}
	var all []row.Fault
	for _, f := range []struct {
		name, what, kind, direction string
		attributes                  map[string]any
	}{
		{"F6", "replies late", "latency", wire.Replies, map[string]any{"latency": 400}},
		{"F7", "requests late", "latency", wire.Requests, map[string]any{"latency": 400}},
		{"F8", "replies swallowed", "timeout", wire.Replies, map[string]any{"timeout": 0}},
		{"F9", "reset after the request", "reset_peer", wire.Replies, map[string]any{"timeout": 0}},
		{"F10", "replies cut after a byte", "limit_data", wire.Replies, map[string]any{"bytes": 1}},
		{"F11", "1 KB a second", "bandwidth", wire.Replies, map[string]any{"rate": 1}},
		{"F11/sliced", "replies in slices", "slicer", wire.Replies, map[string]any{"average_size": 8, "size_variation": 4, "delay": 10_000}},
	} {
		fault := toxic(f.kind, f.direction, f.attributes)
		all = append(all, row.Fault{Name: f.name, What: f.what, Open: alone{through: true, fault: fault}.open})
		if f.kind != "bandwidth" && f.kind != "slicer" {
			all = append(all, row.Fault{
				Name: f.name + "/defaults", What: f.what + ", client with defaults", Open: alone{through: true, client: row.Default, fault: fault}.open,
			})
		}
	}
	return all
}

// callers are those of who calls, and of the pool that they share.
func callers() []row.Fault {
	late := func(p *place) (inject, heal action) {
		return func(context.Context) error {
				return p.link.Poison("latency", wire.Replies, map[string]any{"latency": 400})
			},
			func(ctx context.Context) error { p.link.Cure(ctx); return nil }
	}
	const tiny = 5 * time.Millisecond
	return []row.Fault{
		{Name: "F12", What: "no connection in the pool", Open: alone{fault: taken}.open},
		{Name: "F13", What: "callers hang up after 10 ms", Open: alone{through: true, fault: late}.open, Cancel: 10 * time.Millisecond, Budget: 10 * time.Millisecond},
		{
			Name: "F14", What: "replies that may come too late, tiny time-outs", Budget: tiny,
			Gate: gate.Config{
				Verifier: []authkey.Option{authkey.WithTimeout(tiny)}, Limiter: []ratelimit.Option{ratelimit.WithTimeout(tiny)},
			},
			Open: alone{through: true, fault: func(p *place) (inject, heal action) {
				return func(context.Context) error {
						return p.link.Poison("latency", wire.Replies, map[string]any{"latency": 5, "jitter": 5})
					},
					func(ctx context.Context) error { p.link.Cure(ctx); return nil }
			}}.open,
		},
	}
}

// taken holds all connections of the service's pool until it is told to give them back.
func taken(p *place) (inject, heal action) {
	done := make(chan error, row.PoolSize)
	inject = func(ctx context.Context) error {
		for i := range row.PoolSize {
			conn := p.service.Conn()
			if err := conn.Ping(ctx).Err(); err != nil {
				return err
			}
			go func() { done <- errors.Join(conn.BLPop(ctx, 0, "taken-"+strconv.Itoa(i)).Err(), conn.Close()) }()
		}
		return nil
	}
	return inject, func(ctx context.Context) error {
		for i := range row.PoolSize {
			if err := p.admin.LPush(ctx, "taken-"+strconv.Itoa(i), "back").Err(); err != nil {
				return err
			}
		}
		for range row.PoolSize {
			if err := <-done; err != nil {
				return err
			}
		}
		return nil
	}
}
