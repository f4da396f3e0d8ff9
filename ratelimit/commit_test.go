package ratelimit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const (
	callers = 128
	checks  = 300 // of each caller; a third, where costs are mixed
	most    = 1000
)

// counting are policies of a thousand units, none of which comes back while a test runs.
func counting() map[string]ratelimit.Policy {
	long := ratelimit.Per(most, 400*day)
	return map[string]ratelimit.Policy{
		"sliding window": long, "fixed window": long.Fixed(), "aligned window": long.Aligned(),
		"calendar window": ratelimit.Quota(most, ratelimit.Monthly(1, nil)), "GCRA": long.Bucket(most),
	}
}

// TestTogetherExactly has 128 callers of two replicas ask for what three keys have: a thousand units each.
func TestTogetherExactly(t *testing.T) {
	t.Parallel()
	for name, policy := range counting() {
		for _, mixed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, mixed costs %t", name, mixed), func(t *testing.T) {
				redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
					valve, counted := newValve(t, rdb)
					m := &multitude{T: t, mixed: mixed, gates: [2]gate{newGate(t, counted), newGate(t, counted)}}
					m.run(policy)
					m.verify(rdb)
					if calls, _ := valve.count(); calls > callers*checks/6 {
						t.Errorf("%d calls for %d checks: they do not share them", calls, callers*checks)
					}
				})
			})
		}
	}
}

// multitude is callers who ask for the units of three keys.
type multitude struct {
	*testing.T

	mixed    bool // costs are 1 to 7, the last of a caller 1; else all are 1
	gates    [2]gate
	requests [3]ratelimit.Request
	prepared [2][3]*ratelimit.Prepared
	admitted [3]atomic.Int64       // units
	told     [3][most]atomic.Int64 // how often each Remaining was, of what was admitted
}

func (m *multitude) run(p ratelimit.Policy) {
	m.Helper()
	for k := range m.requests {
		m.requests[k] = m.gates[0].request(1, p.By(ratelimit.ByKey))
		m.requests[k].Key = fmt.Sprint(k)
		for i, g := range m.gates {
			var err error
			if m.prepared[i][k], err = g.limiter.Prepare(m.requests[k]); err != nil {
				m.Fatalf("Prepare: %v", err)
			}
		}
	}
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() { m.call(caller) })
	}
	group.Wait()
}

// call makes the checks of one caller: the first of three by Admit, the others as prepared.
func (m *multitude) call(caller int) {
	var d ratelimit.Decision
	last := [3]int64{most, most, most}
	n := checks
	if m.mixed {
		n = checks / 3
	}
	for i := range n {
		cost, k, replica := int64(1), i%3, caller%2
		if m.mixed && i < n-3 {
			cost = int64((caller+i)%7 + 1)
		}
		var err error
		if caller%3 == 0 {
			r := m.requests[k]
			r.Charges = []ratelimit.Charge{{Policy: r.Charges[0].Policy, Cost: cost}}
			d, err = m.gates[replica].limiter.Admit(m.Context(), r)
		} else {
			err = m.prepared[replica][k].Admit(m.Context(), ratelimit.Call{Costs: []int64{cost}}, &d)
		}
		if err != nil {
			m.Errorf("Admit: %v", err)
			return
		}
		left := d.Results[0].Remaining
		if left > last[k] || d.Allowed && left >= last[k] {
			m.Errorf("%d left, after %d were: the checks of one caller change places", left, last[k])
		}
		last[k] = left
		if d.Allowed {
			m.admitted[k].Add(cost)
			m.told[k][left].Add(1)
		}
	}
}

// verify holds that all that there was, and no more, was admitted and counted.
func (m *multitude) verify(rdb redis.UniversalClient) {
	m.Helper()
	other := newGate(m.T, rdb)
	for k := range m.requests {
		m.requests[k].Peek = true
		if got, used := m.admitted[k].Load(), other.admit(m.requests[k]).Results[0].Used; got != most || used != most {
			m.Errorf("key %d: %d units admitted, %d counted, want %d of both", k, got, used, most)
		}
		for left := range m.told[k] {
			if n := m.told[k][left].Load(); n > 1 || n == 0 && !m.mixed {
				m.Errorf("key %d: %d are told that %d are left, want 1", k, n, left)
			}
		}
	}
}

// TestOrder has more requests wait than one call takes: they are decided in the order in which they came, those that
// are merged too.
func TestOrder(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, requests := range map[string]func(r *ratelimit.Request, i int){
			"equal":     func(*ratelimit.Request, int) {},
			"different": func(r *ratelimit.Request, i int) { r.Endpoint = fmt.Sprint("GET /", i) },
			// The last is not plain. What is plain goes first where one call has both.
			"not plain": func(r *ratelimit.Request, i int) {
				r.Endpoint, r.Token = fmt.Sprint("GET /", i), bearer()
			},
		} {
			t.Run(name, func(t *testing.T) {
				const waiting = 600
				c := newCrowd(t, rdb)
				base := c.request(1, ratelimit.PerHour(5000).Across())
				_, open := c.hold(base)
				var all []*decided
				for i := range waiting {
					r := base
					requests(&r, i)
					all = append(all, c.ask(t.Context(), r))
				}
				open()
				for i, d := range all {
					if want := int64(5000 - 2 - i); d.err != nil || !d.Allowed || d.Results[0].Remaining != want {
						t.Fatalf("request %d: %v, %v; want %d left", i, d.Decision, d.err, want)
					}
				}
				if calls, _ := c.valve.count(); calls > 2+3 { // the warming, the first, and as few as hold the others
					t.Errorf("%d calls", calls)
				}
			})
		}
	})
}

// TestAlone: who is alone has one command for each check, and waits for nobody.
func TestAlone(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		v, counted := newValve(t, rdb)
		g := newGate(t, counted)
		g.admit(g.request(0, ratelimit.PerHour(most)))
		before, _ := v.count()
		for range 100 {
			g.admit(g.request(1, ratelimit.PerHour(most)))
		}
		if calls, _ := v.count(); calls != before+100 {
			t.Errorf("%d calls for 100 checks", calls-before)
		}
		until(t, "nothing is under way", func() bool {
			flying, late := g.limiter.Flights()
			return flying == 0 && late == 0
		})
	})
}
