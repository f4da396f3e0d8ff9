package ratelimit_test

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestSetMonitor(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		limit := ratelimit.PerHour(2).Fixed()
		requests := map[string]ratelimit.Request{
			"limit": g.request(3, limit), "zero": g.request(1, limit.Named("zero")), "paid": g.request(3, limit.Named("paid").Paid()),
			"blocked": g.request(1, limit.Named("blocked")), "at once": g.request(1, ratelimit.Concurrent(0)),
		}
		requests["zero"].Charges[0].Policy.Limit = 0
		g.set(ratelimit.Override{Policy: "blocked", Access: ratelimit.Blocked})
		check := func(on bool) {
			t.Helper()
			if got := g.limiter.Stats().Monitored; got != on {
				t.Errorf("Stats tells %t, want %t", got, on)
			}
			for name, r := range requests {
				if d := g.admit(r); d.Allowed != on || d.Results[0].Monitor != on || !d.Results[0].Exceeded || (d.RetryAfter() == 0) != on {
					t.Errorf("%s, monitored %t: %v", name, on, d)
				}
				if r.Charges[0].Policy.Monitor {
					t.Errorf("%s: the caller's own policy was changed", name)
				}
			}
		}
		check(false)
		g.limiter.SetMonitor(true)
		check(true)
		g.limiter.SetMonitor(false)
		check(false)
	}, redistest.OrEmbedded())
}

// TestSetMonitorCounts turns monitoring on and off between requests: the count is the one that a limit that
// was never monitored has, so that it is right at once.
func TestSetMonitorCounts(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		r := g.request(1, ratelimit.PerHour(2).Fixed(), ratelimit.PerHour(1).Fixed().Named("next").InPlaceOf("requests"))
		for i, step := range []struct {
			monitor, allowed bool
			used             int64
			want             string
		}{
			{true, true, 1, "next agree_allow"}, {false, true, 2, "next would_refuse"}, {true, true, 2, "next agree_refuse"},
			{false, false, 2, "next agree_refuse"}, {true, true, 2, "next agree_refuse"},
		} {
			g.limiter.SetMonitor(step.monitor)
			d := g.admit(r)
			if d.Allowed != step.allowed || d.Results[0].Used != step.used || verdicts(d) != step.want {
				t.Errorf("request %d, monitored %t: want allowed %t, %d used, %s\n%v", i+1, step.monitor, step.allowed, step.used, step.want, d)
			}
		}
	}, redistest.OrEmbedded())
}

// TestSetMonitorWhileHeld settles and refunds as ever, and tells that these are monitored, too.
func TestSetMonitorWhileHeld(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		r := g.request(1, ratelimit.Concurrent(1))
		d := g.admit(r)
		g.limiter.SetMonitor(true)
		r.Hold, r.Charges[0].Held = d.Hold, 1
		if d, err := g.limiter.Settle(t.Context(), r); err != nil || !d.Results[0].Monitor || d.Results[0].Held != 0 {
			t.Errorf("Settle: %v, %v", d, err)
		}
		if _, err := g.limiter.Settle(t.Context(), r); !errors.Is(err, ratelimit.ErrNotHeld) {
			t.Errorf("Settle again: %v, want ErrNotHeld", err)
		}
	}, redistest.OrEmbedded())
}

// TestSetMonitorWithoutRedis tells from the error alone that nobody were refused.
func TestSetMonitorWithoutRedis(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() {
		if err := rdb.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	g := newGate(t, rdb)
	for _, on := range []bool{false, true, false} {
		g.limiter.SetMonitor(on)
		_, err := g.limiter.Admit(t.Context(), g.request(1, ratelimit.PerMinute(1)))
		if !errors.Is(err, ratelimit.ErrUnavailable) || errors.Is(err, ratelimit.ErrMonitored) != on {
			t.Errorf("monitored %t: %v", on, err)
		}
		_, err = g.limiter.Admit(t.Context(), g.request(-1, ratelimit.PerMinute(1)))
		if !errors.Is(err, ratelimit.ErrInvalid) || errors.Is(err, ratelimit.ErrMonitored) {
			t.Errorf("monitored %t: %v, want ErrInvalid alone", on, err)
		}
	}
}
