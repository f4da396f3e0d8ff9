package ratelimit

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// counter is a hook that counts what is sent, and does something before or after it.
type counter struct {
	sent  atomic.Int64
	steps atomic.Pointer[[2]func() error] // before and after a command
}

// does has it do something from now on.
func (c *counter) does(before, after func() error) { c.steps.Store(&[2]func() error{before, after}) }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.sent.Add(1)
		around := c.steps.Load()
		if around == nil {
			return next(ctx, cmd)
		}
		for _, step := range []func() error{around[0], func() error { return next(ctx, cmd) }, around[1]} {
			if step == nil {
				continue
			}
			if err := step(); err != nil {
				cmd.SetErr(err)
				return err
			}
		}
		return nil
	}
}

// hour is a policy that never ends during a test.
func hour(limit, prefetch int64) Policy { return Per(limit, 400*24*time.Hour).Ahead(prefetch) }

// prepared returns a request that was decided once, on a limiter of its own.
func prepared(t *testing.T, c *counter, costs []int64, policies ...Policy) *Prepared {
	t.Helper()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	rdb.AddHook(c)
	l, err := New(rdb, WithTimeout(time.Minute), WithRefusals(time.Minute))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() { _ = l.Close(context.WithoutCancel(t.Context())) })
	r := Request{Org: redistest.Org(t), Project: "shop", Endpoint: "GET /"}
	for i, p := range policies {
		r.Charges = append(r.Charges, Charge{Policy: p, Cost: costs[i]})
	}
	p, err := l.Prepare(r)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	var d Decision
	if err := p.Admit(t.Context(), Call{}, &d); err != nil {
		t.Fatalf("Admit: %v", err)
	}
	return p
}

// leases gives a Prepared a lease of a size that does not end by itself.
func (p *Prepared) leases(t *testing.T, size ...int64) *lease {
	t.Helper()
	next := p.takes(size, size)
	if next == nil {
		t.Fatal("no lease")
	}
	p.replace(next)
	for _, timer := range next.timers {
		timer.Stop()
	}
	next.ends = 1 << 60
	return next
}

// takes has a lease be taken, and none beside it.
func (p *Prepared) takes(size, want []int64) *lease {
	p.renewing.Store(true)
	defer p.renewing.Store(false)
	return p.take(0, slices.Clone(size), slices.Clone(want))
}

// settled waits until no lease is being taken.
func (p *Prepared) settled() {
	for p.renewing.Load() {
		time.Sleep(time.Millisecond)
	}
}

// used tells what Redis counts.
func (p *Prepared) used(t *testing.T) (used []int64) {
	t.Helper()
	var d Decision
	if err := p.put(t.Context(), &question{check: lua.Check{Mode: lua.Peek}}, &d); err != nil {
		t.Fatalf("Peek: %v", err)
	}
	for i := range d.Results {
		used = append(used, d.Results[i].Used)
	}
	return used
}

var one = &question{check: lua.Check{Mode: lua.Take}}

// TestLeaseServes neither allocates nor asks Redis.
func TestLeaseServes(t *testing.T) {
	c := new(counter)
	p := prepared(t, c, []int64{1, 2}, hour(1_000_000, 1_000_000), hour(1_000_000, 1_000_000).Named("next"))
	l := p.leases(t, 500_000, 500_000)
	sent := c.sent.Load()
	var d Decision
	got := testing.AllocsPerRun(1000, func() {
		if err := p.Admit(t.Context(), Call{}, &d); err != nil || !d.Allowed || d.At.UnixMicro() != l.at {
			t.Fatalf("Admit: %v, %v", d, err)
		}
	})
	if got != 0 || c.sent.Load() != sent {
		t.Errorf("%v allocations and %d commands, want none", got, c.sent.Load()-sent)
	}
	for i, r := range d.Results {
		if used := int64(i+1) * 1002; r.Used != used || r.Remaining != 1_000_000-used || r.Cost != int64(i+1) {
			t.Errorf("%+v, want %d used", r, used)
		}
	}
	if got := l.rest(); got[0] != 500_000-1001 || got[1] != 500_000-2002 {
		t.Errorf("%v left", got)
	}
}

// TestLeaseServesNot what is not its own.
func TestLeaseServesNot(t *testing.T) {
	t.Parallel()
	p := prepared(t, new(counter), []int64{1}, hour(1000, 1000))
	l := p.leases(t, 100)
	for name, ask := range map[string]*question{
		"a token":        {Call: Call{Token: &Token{Issuer: "i"}}, check: one.check},
		"another epoch":  {Call: Call{Epoch: 5}, check: one.check},
		"a peek":         {check: lua.Check{Mode: lua.Peek}},
		"more than left": {Call: Call{Costs: []int64{101}}, check: one.check},
	} {
		if d := new(Decision); l.serves(ask, d) || len(d.Results) > 0 || l.rest()[0] != 100 {
			t.Errorf("%s was served: %v", name, d)
		}
	}
	p.settled()
	l = p.lease.Load() // renewed, since more was asked for than was left
	p.limiter.SetMonitor(true)
	if l.serves(one, new(Decision)) {
		t.Error("served while monitored")
	}
	p.limiter.SetMonitor(false)
	if !l.serves(one, new(Decision)) {
		t.Error("not served")
	}
	p.worked.Load().overrides.stamp++ // the same set: it is compared by where it is
	held := *p.held.Load()
	held.overrides = new(current)
	held.overrides.Store(new(overrideSet))
	p.held.Store(&held)
	if l.serves(one, new(Decision)) {
		t.Error("served under other overrides")
	}
}

// TestLeaseEndsWithoutItsTimer serves nobody when it is over, be its timers ever so late.
func TestLeaseEndsWithoutItsTimer(t *testing.T) {
	t.Parallel()
	p := prepared(t, new(counter), []int64{1}, hour(1000, 1000))
	l := p.leases(t, 100)
	clock := &p.limiter.clock
	l.ends = time.Since(clock.began) + time.Hour
	if !l.serves(one, new(Decision)) {
		t.Error("not served before its end")
	}
	clock.began = clock.began.Add(-time.Hour)
	if l.serves(one, new(Decision)) {
		t.Error("served after its end")
	}
}

// TestLeaseEndsWithItsWindow, whatever counts it.
func TestLeaseEndsWithItsWindow(t *testing.T) {
	t.Parallel()
	const window = int64(1_000_000)
	for name, policy := range map[string]Policy{"sliding": PerSecond(1000), "fixed": PerSecond(1000).Fixed(), "aligned": PerSecond(1000).Aligned()} {
		p := prepared(t, new(counter), []int64{1}, policy.Ahead(100))
		var l *lease
		for l == nil { // again, where the window was about to end
			l = p.takes([]int64{10}, []int64{10})
		}
		after := time.Since(p.limiter.clock.began)
		edge, want := l.edges[0], l.at-l.at%window+window
		if name == "fixed" {
			var d Decision
			if err := p.put(t.Context(), &question{check: lua.Check{Mode: lua.Peek}}, &d); err != nil {
				t.Fatalf("Peek: %v", err)
			}
			if want = edge; d.At.UnixMicro() < edge { // else it is over by now
				want = d.At.Add(d.Results[0].ResetAfter).UnixMicro()
			}
		}
		if left := time.Duration(edge-l.at) * time.Microsecond; edge != want || l.ends-after > left {
			t.Errorf("%s: ends in %v, its window at %d in %v; want that at %d, and no later", name, l.ends-after, edge, left, want)
		}
	}
}

// TestLeaseIsExact has many ask for units of two policies, of which one has less, while the lease ends: each unit was used,
// or is given back.
func TestLeaseIsExact(t *testing.T) {
	t.Parallel()
	p := prepared(t, new(counter), []int64{1, 3}, hour(1_000_000, 1000), hour(1_000_000, 1000).Named("next"))
	for range 200 {
		l := p.leases(t, 1000, 1000)
		p.renewing.Store(true) // none besides
		var served, served5 atomic.Int64
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				ask := *one
				if i%2 == 1 {
					ask.Costs = []int64{5, 0}
				}
				var d Decision
				for range 100 {
					d.Results = d.Results[:0]
					switch ok := l.serves(&ask, &d); {
					case ok && i%2 == 1:
						served5.Add(1)
					case ok:
						served.Add(1)
					}
				}
			})
		}
		left := l.drain()
		group.Wait()
		for i, used := range []int64{served.Load() + 5*served5.Load(), 3 * served.Load()} {
			if used+left[i] != 1000 || l.rest()[i] != 0 {
				t.Fatalf("policy %d: %d used, %d left of 1000", i, used, left[i])
			}
		}
		p.renewing.Store(false)
	}
}
