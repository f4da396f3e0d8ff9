package ratelimit_test

import (
	"crypto/rand"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit"
	"github.com/tollgate-go/tollgate/ratelimit/limittest"
)

// modelled is a policy and how the script would be asked for it, but for the limit and the burst.
type modelled struct {
	ratelimit.Policy
	algorithm lua.Algorithm
}

var modelledPolicies = []modelled{
	{ratelimit.Per(0, 10*time.Second).Named("sliding"), lua.Sliding},
	{ratelimit.Per(0, 10*time.Second).Fixed().Named("fixed"), lua.Fixed},
	{ratelimit.Per(0, 10*time.Second).Aligned().Named("aligned"), lua.Calendar},
	{ratelimit.Quota(0, ratelimit.Daily(nil)).Named("quota"), lua.Calendar},
	{ratelimit.Per(0, 10*time.Second).Bucket(1).Named("bucket"), lua.GCRA},
	{ratelimit.Concurrent(0).Named("running"), lua.Concurrency},
	{ratelimit.Per(0, 10*time.Second).Reserved(4 * time.Second).Named("reserved"), lua.Sliding},
}

// TestLocalIsTheModel has limiters that reach no Redis decide random requests: as the model does for the limits
// divided by the number of processes.
func TestLocalIsTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(rt, "processes")
		l, err := ratelimit.New(nowhere(), ratelimit.WithReplicas("g", n))
		if err != nil {
			rt.Fatal(err)
		}
		defer closed(t, l)
		l.ShiftClock(time.Since(time.Unix(0, 0)))
		org, model := rand.Text(), limittest.NewModel()
		limits := make([]int64, len(modelledPolicies))
		for i := range limits {
			limits[i] = rapid.Int64Range(0, 30).Draw(rt, "limit")
		}
		for range 30 {
			l.ShiftClock(time.Duration(rapid.Int64Range(0, 4_000_000).Draw(rt, "pause")) * time.Microsecond)
			r, check := ratelimit.Request{Org: org, Project: "shop", Endpoint: endpoint}, lua.Check{}
			for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(limits)-1), 1, 3, rapid.ID).Draw(rt, "policies") {
				p, cost := modelledPolicies[i].Policy, rapid.Int64Range(0, 4).Draw(rt, "cost")
				p.Limit = limits[i]
				if p.Algorithm == ratelimit.GCRA {
					p.Burst = limits[i]/2 + 1
				}
				r.Charges = append(r.Charges, ratelimit.Charge{Policy: p, Cost: cost})
				check.Charges = append(check.Charges, modelledPolicies[i].charge(&p, cost, int64(n)))
			}
			compareLocal(rt, l, r, model, check)
		}
	})
}

// charge is what the script would be asked for one of n processes.
func (m *modelled) charge(p *ratelimit.Policy, cost, n int64) lua.Charge {
	part := func(units int64) int64 {
		if units > 0 && units < n {
			return 1
		}
		return units / n
	}
	c := lua.Charge{
		Key: p.Name, Algorithm: m.algorithm, Limit: part(p.Limit), Burst: part(p.Burst), Window: p.Window.Microseconds(),
		Units: cost, Role: lua.Enforced, Change: lua.NoChange, Holds: p.Lease > 0, Lease: p.Lease.Microseconds(),
	}
	switch p.Algorithm {
	case ratelimit.CalendarWindow:
		c.Window = (24 * time.Hour).Microseconds() // a day of UTC begins at whole multiples of it
	case ratelimit.Concurrency:
		c.Window = c.Lease
	}
	return c
}

// compareLocal asks the limiter, and the model for the time that it answered at.
func compareLocal(t *rapid.T, l *ratelimit.Limiter, r ratelimit.Request, model *limittest.Model, check lua.Check) {
	d, err := l.AdmitLocal(t.Context(), r)
	if err != nil {
		t.Fatalf("AdmitLocal(%+v): %v", r, err)
	}
	check.ID = d.Hold
	now := d.At.UnixMicro()
	want := model.Admit(now, check)
	if d.Allowed != (want.Status == lua.Allowed) {
		t.Fatalf("AdmitLocal(%+v) = %+v, want status %d", r, d, want.Status)
	}
	for i, got := range d.Results {
		c, s := check.Charges[i], want.States[i]
		if used := model.Used(now, c); got.Used != used || got.Held != s.Held || got.Exceeded != (s.Done == 0) || got.Limit != c.Limit || got.Burst != c.Burst {
			t.Fatalf("result %+v, want %d used of %+v, %+v", got, used, c, s)
		}
	}
}
