package ratelimit_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// busy is two replicas that many callers ask one prepared request while it is changed.
type busy struct {
	gate

	gates    [2]gate
	prepared [2]*ratelimit.Prepared
	group    sync.WaitGroup
	over     atomic.Bool
	admitted atomic.Int64
}

func newBusy(t *testing.T, rdb redis.UniversalClient, plan string, opts ...ratelimit.Option) *busy {
	t.Helper()
	b := &busy{gate: newGate(t, rdb)}
	r := b.request(1, ratelimit.PerHour(1e6))
	r.Plan = plan
	for i := range b.gates {
		b.gates[i] = newGate(t, rdb)
		if opts != nil {
			b.gates[i].limiter = newLimiter(t, rdb, opts...)
		}
		p, err := b.gates[i].limiter.Prepare(r)
		if err != nil {
			t.Fatalf("Prepare: %v", err)
		}
		b.prepared[i] = p
	}
	for i := range 16 {
		b.group.Go(func() {
			var d ratelimit.Decision
			for !b.over.Load() {
				if err := b.prepared[i%2].Admit(t.Context(), ratelimit.Call{}, &d); err != nil {
					t.Errorf("Admit: %v", err)
					return
				}
				if r := d.Results[0]; len(d.Results) != 1 || r.Used < 1 && d.Allowed || r.Limit < 1 || r.Policy != "requests" {
					t.Errorf("an answer of somebody else: %+v", r)
					return
				}
				if d.Allowed {
					b.admitted.Add(1)
				}
			}
		})
	}
	return b
}

// limit holds that the next request of each replica finds a limit.
func (b *busy) limit(want int64, monitored bool) {
	b.Helper()
	var d ratelimit.Decision
	for i := range b.prepared {
		if err := b.prepared[i].Admit(b.Context(), ratelimit.Call{}, &d); err != nil || d.Results[0].Limit != want || d.Results[0].Monitor != monitored {
			b.Errorf("replica %d: %v, %v; want the limit %d", i, d, err, want)
		}
		if d.Allowed {
			b.admitted.Add(1)
		}
	}
}

// TestPreparedChanges: what is changed acts on the next request, on both replicas, and under load nothing is lost or
// counted twice.
func TestPreparedChanges(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		plans, name := newPlans(t, rdb), planName(t, rdb)
		b := newBusy(t, rdb, name)
		b.limit(1e6, false)
		for i := range int64(8) {
			o := b.set(ratelimit.Override{Project: "shop", Limit: new(2e6 + i)})
			b.limit(2e6+i, false)
			must(t, b.overrides.Delete(t.Context(), b.org, o.ID, ratelimit.Always))
			b.limit(1e6, false)
		}
		for i := range int64(4) {
			setPlan(t, plans, limited(name, 3e6+i))
			b.limit(3e6+i, false)
		}
		for _, on := range []bool{true, false} {
			for _, g := range b.gates {
				g.limiter.SetMonitor(on)
			}
			b.limit(3e6+3, on)
		}
		b.over.Store(true)
		b.group.Wait()
		r := b.request(0, ratelimit.PerHour(1e6))
		r.Peek = true
		if got := b.admit(r).Results[0].Used; got != b.admitted.Load() {
			t.Errorf("%d used, %d admitted", got, b.admitted.Load())
		}
		if b.gates[0].limiter.Stats().Stale == 0 {
			t.Error("no answer was old: nothing was tested")
		}
	})
}

// TestPreparedKnowsItsCaller: the epoch of a caller's key comes with each call.
func TestPreparedKnowsItsCaller(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		epoch, err := connOf(t, rdb).Epoch(t.Context(), g.org)
		must(t, err)
		p, err := g.limiter.Prepare(g.request(1, ratelimit.PerHour(100)))
		must(t, err)
		var d ratelimit.Decision
		must(t, p.Admit(t.Context(), ratelimit.Call{Epoch: epoch.Keys}, &d))
		must(t, rdb.HIncrBy(t.Context(), lua.EpochKey(g.org), "keys", 1).Err())
		if err := p.Admit(t.Context(), ratelimit.Call{Epoch: epoch.Keys}, &d); !errors.Is(err, ratelimit.ErrStale) || d.Allowed || len(d.Results) > 0 {
			t.Errorf("with an old epoch: %v, %v; want ErrStale", d, err)
		}
		must(t, p.Admit(t.Context(), ratelimit.Call{Epoch: epoch.Keys + 1}, &d))
		must(t, p.Admit(t.Context(), ratelimit.Call{}, &d))
		if d.Results[0].Used != 3 {
			t.Errorf("%d used, want 3", d.Results[0].Used)
		}
	})
}

// TestPreparedOutlivesTheTable has a limiter keep next to nothing, and many requests push each other out.
func TestPreparedOutlivesTheTable(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		const kinds, each = 300, 4
		g := newGate(t, rdb)
		g.limiter = newLimiter(t, rdb, ratelimit.WithPrepared(1), ratelimit.WithTimeout(1e9*60))
		request := func(i int) ratelimit.Request {
			r := g.request(1, ratelimit.PerHour(1000))
			r.Endpoint = fmt.Sprint("GET /", i)
			return r
		}
		first, err := g.limiter.Prepare(request(0))
		must(t, err)
		var group sync.WaitGroup
		for caller := range each {
			group.Go(func() {
				for i := range kinds {
					d, err := g.limiter.Admit(t.Context(), request((i+caller*7)%kinds))
					if err != nil || !d.Allowed {
						t.Errorf("Admit: %v, %v", d, err)
					}
				}
			})
		}
		group.Wait()
		g.set(ratelimit.Override{Limit: new(int64(500))})
		var d ratelimit.Decision
		if err := first.Admit(t.Context(), ratelimit.Call{}, &d); err != nil || d.Results[0].Used != each+1 || d.Results[0].Limit != 500 {
			t.Errorf("what was prepared first: %v, %v; want %d of 500 used", d, err, each+1)
		}
		for i := 1; i < kinds; i++ {
			if d := g.admit(request(i)); d.Results[0].Used != each+1 || d.Results[0].Limit != 500 {
				t.Errorf("request %d: %v, want %d of 500 used", i, d, each+1)
			}
		}
	})
}

// TestPreparedTakesCopies: who changes what he gave changes nothing.
func TestPreparedTakesCopies(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		r := g.request(2, ratelimit.PerHour(100), ratelimit.PerHour(50).Named("second"))
		p, err := g.limiter.Prepare(r)
		must(t, err)
		r.Charges[0].Cost, r.Charges[1].Policy.Limit = 90, 1
		costs := []int64{3, 0}
		var d ratelimit.Decision
		must(t, p.Admit(t.Context(), ratelimit.Call{Costs: costs}, &d))
		costs[0] = 70
		must(t, p.Admit(t.Context(), ratelimit.Call{}, &d))
		used := []int64{d.Results[0].Used, d.Results[1].Used}
		if !slices.Equal(used, []int64{5, 2}) || d.Results[1].Limit != 50 || d.Results[0].Cost != 2 {
			t.Errorf("%v, want 5 and 2 used", d)
		}
		for _, costs := range [][]int64{{}, {1}, {1, 2, 3}, {1, -1}, {1, ratelimit.MaxLimit + 1}} {
			if err := p.Admit(t.Context(), ratelimit.Call{Costs: costs}, &d); !errors.Is(err, ratelimit.ErrInvalid) {
				t.Errorf("costs %v: %v, want ErrInvalid", costs, err)
			}
		}
		for name, change := range map[string]func(*ratelimit.Request){
			"epoch": func(r *ratelimit.Request) { r.Epoch = 1 }, "token": func(r *ratelimit.Request) { r.Token = bearer() },
			"hold": func(r *ratelimit.Request) { r.Hold = "h" }, "peek": func(r *ratelimit.Request) { r.Peek = true },
		} {
			r := g.request(1, ratelimit.PerHour(100))
			change(&r)
			if _, err := g.limiter.Prepare(r); !errors.Is(err, ratelimit.ErrInvalid) {
				t.Errorf("prepared with %s: %v, want ErrInvalid", name, err)
			}
		}
	})
}

// TestHoldIsBoundedEachTime: a request whose like is prepared is validated no less.
func TestHoldIsBoundedEachTime(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	g := newGate(t, rdb)
	r := g.request(1, ratelimit.Concurrent(10))
	g.admit(r)
	r.Hold = string(make([]byte, 129))
	if d, err := g.limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrInvalid) {
		t.Errorf("a Hold of 129 bytes: %v, %v; want ErrInvalid", d, err)
	}
}
