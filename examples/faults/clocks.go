package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/faults/internal/clock"
	"github.com/tollgate-go/tollgate/examples/faults/internal/proc"
	"github.com/tollgate-go/tollgate/examples/faults/internal/row"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// clocks are the faults of clocks: those of Redis, which all limits go by, and those of the service, which none does.
func clocks() []row.Fault {
	return []row.Fault{
		{Name: "F39", What: "the clock of Redis jumps forward by 120 s, and back", Harmless: true, Open: jumping(2 * time.Minute)},
		{Name: "F40", What: "the clock of Redis jumps back by 600 s, and forward", Harmless: true, Open: jumping(-10 * time.Minute)},
		{Name: "F41", What: "services whose clocks are an hour apart", Play: apart},
	}
}

// jumping is a row in which the clock of Redis is so far off for a while.
func jumping(shift time.Duration) opener {
	return func(ctx context.Context) (*row.Scene, error) {
		dir, err := os.MkdirTemp("", "faults-clock-")
		if err != nil {
			return nil, err
		}
		c, err := clock.New(ctx, dir)
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		server, err := proc.Start(ctx, proc.Config{Env: c.Env()})
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		p := &place{Server: server, admin: redis.NewClient(&redis.Options{Addr: server.Addr()})}
		w := &witness{rdb: p.admin}
		return &row.Scene{
			Client: func() redis.UniversalClient { return redis.NewClient(row.Small(server.Addr())) },
			Admin:  p.admin,
			Inject: inOrder(w.take, func(context.Context) error { return c.Set(shift) }, w.off(shift), w.look, w.change),
			Heal:   inOrder(func(context.Context) error { return c.Set(0) }, w.off(0), w.look, w.change),
			Close: func() {
				p.close()
				_ = os.RemoveAll(dir) // of what the server had loaded
			},
		}, nil
	}
}

// witness looks at limits of all kinds while the clock jumps.
type witness struct {
	rdb     *redis.Client
	limiter *ratelimit.Limiter
}

// The witness's limits: two lengths, one that the jumps are longer than, one that is longer than the jumps.
const (
	org   = "clock"
	units = 10
)

var lengths = []time.Duration{time.Minute, time.Hour}

func requests() []ratelimit.Request {
	var all []ratelimit.Request
	for _, length := range lengths {
		p := ratelimit.Per(units, length)
		for i, p := range []ratelimit.Policy{p, p.Fixed(), p.Aligned(), p.Bucket(units), p.Reserved(length)} {
			all = append(all, ratelimit.Request{
				Org: org, Project: "shop", Endpoint: "GET /",
				Charges: []ratelimit.Charge{{Policy: p.Named(fmt.Sprintf("p%d-%v", i, length)), Cost: 4}},
			})
		}
	}
	return all
}

// take uses something of each limit.
func (w *witness) take(ctx context.Context) (err error) {
	if w.limiter, err = ratelimit.New(w.rdb, ratelimit.WithTimeout(10*time.Second)); err != nil {
		return err
	}
	for _, r := range requests() {
		d, err := w.limiter.Admit(ctx, r)
		if err != nil || !d.Allowed {
			return fmt.Errorf("take of %q: %v, %w", r.Charges[0].Policy.Name, d, err)
		}
	}
	return nil
}

// off holds that the clock of Redis is as far off as it should be: else the row shows nothing.
func (w *witness) off(shift time.Duration) action {
	return func(ctx context.Context) error {
		now, err := w.rdb.Time(ctx).Result()
		if got := time.Until(now); err == nil && (got-shift).Abs() > 20*time.Second {
			err = fmt.Errorf("the clock of Redis is %v off, want %v", got, shift)
		}
		return err
	}
}

// look holds that no limit tells nonsense: nothing negative, nothing above the limit, no wait and no life of a key that
// is longer than a limit that was used up a moment ago could explain.
func (w *witness) look(ctx context.Context) error {
	var faults []error
	for _, r := range requests() {
		p := r.Charges[0].Policy
		peek := r
		peek.Peek, peek.Charges = true, []ratelimit.Charge{{Policy: p, Cost: units}}
		d, err := w.limiter.Admit(ctx, peek)
		if err != nil {
			return err
		}
		if got := &d.Results[0]; got.Remaining < 0 || got.Remaining > units || got.Used < 0 || got.Used > units ||
			got.RetryAfter < 0 || got.RetryAfter > longest(p) || got.ResetAfter < 0 || got.ResetAfter > longest(p) {
			faults = append(faults, fmt.Errorf("nonsense: %v", d))
		}
		if _, err := w.limiter.Admit(ctx, r); err != nil { // writes the state anew, if there is room
			return err
		}
		for _, kind := range []string{"", ":n", ":holds"} {
			key := lua.LimitKey(org, "project", "shop", "GET /", p.Name, algorithm(p)) + kind
			left, err := w.rdb.PTTL(ctx, key).Result()
			if err != nil {
				return err
			}
			most := longest(p) + 5*time.Second
			if kind == ":holds" {
				most += 10 * time.Minute // what is held does not say since when: it lasts for as much longer as the clock was set back
			}
			if left > most || left == -1 {
				faults = append(faults, fmt.Errorf("%s lives for %v", key, left))
			}
		}
	}
	return errors.Join(faults...)
}

// longest is how long a limit may have somebody wait: until its window ends, which may have begun at the end of the next
// one where the clock was set back; a window that slides counts for one more.
func longest(p ratelimit.Policy) time.Duration {
	if p.Algorithm == ratelimit.SlidingWindow {
		return 3 * p.Window
	}
	return 2 * p.Window
}

func algorithm(p ratelimit.Policy) lua.Algorithm {
	switch p.Algorithm {
	case ratelimit.FixedWindow:
		return lua.Fixed
	case ratelimit.AlignedWindow:
		return lua.Calendar
	case ratelimit.GCRA:
		return lua.GCRA
	}
	return lua.Sliding
}

// change holds that a change of limits acts on the next request whatever the clock says.
func (w *witness) change(ctx context.Context) error {
	overrides, err := ratelimit.NewOverrides(w.rdb)
	if err != nil {
		return err
	}
	p := ratelimit.PerHour(units).Named("changed")
	r := ratelimit.Request{Org: org, Project: "shop", Endpoint: "GET /", Peek: true, Charges: []ratelimit.Charge{{Policy: p, Cost: 1}}}
	for _, limit := range []int64{3, 7} {
		if _, _, err := overrides.Set(ctx, ratelimit.Override{Org: org, Policy: p.Name, Limit: new(limit), Reason: "a test of clocks"}, ratelimit.Always); err != nil {
			return err
		}
		if d, err := w.limiter.Admit(ctx, r); err != nil || d.Results[0].Limit != limit {
			return fmt.Errorf("an override to %d does not act: %v, %w", limit, d, err)
		}
	}
	return nil
}

// apart has three services with clocks an hour apart share one limit.
func apart(ctx context.Context, l *row.Line) error {
	const limit, each = 700, 400
	server, err := proc.Start(ctx, proc.Config{})
	if err != nil {
		return err
	}
	defer server.Close()
	dir, err := os.MkdirTemp("", "faults-clock-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var faults []error
	for i, shift := range []time.Duration{time.Hour, -time.Hour, 0} {
		home := fmt.Sprintf("%s/%d", dir, i)
		if err := os.Mkdir(home, 0o700); err != nil {
			return err
		}
		c, err := clock.New(ctx, home)
		if err == nil {
			err = c.Set(shift)
		}
		if err != nil {
			return err
		}
		var told decided
		if err := ask(ctx, orders{Do: "decide", Redis: server.Addr(), Limit: limit, Calls: each}, c.Env(), &told); err != nil {
			return err
		}
		l.Calls += each
		l.Acknowledged += told.Allowed
		l.Limited += told.Refused
		l.Counted = told.Used
		if got := time.Until(told.Now); (got - shift).Abs() > 30*time.Second {
			faults = append(faults, fmt.Errorf("the clock of a service is %v off, want %v", got, shift))
		}
		if got := time.Until(told.At); got.Abs() > 30*time.Second {
			faults = append(faults, fmt.Errorf("a decision of a service whose clock is %v off has a time that is %v off", shift, got))
		}
		if told.Longest > 30*24*time.Hour || told.Refused > 0 && told.Longest <= 0 {
			faults = append(faults, fmt.Errorf("a service whose clock is %v off told to wait for %v", shift, told.Longest))
		}
	}
	if l.Acknowledged != limit || l.Counted != limit || l.Acknowledged+l.Limited != l.Calls {
		faults = append(faults, fmt.Errorf("%d of %d calls were allowed, %d refused, %d counted; the limit is %d", l.Acknowledged, l.Calls, l.Limited, l.Counted, limit))
	}
	return errors.Join(faults...)
}
