//go:build !race

package ratelimit

// Pools forget what they have where races are looked for, so allocations are counted in a run of their own.

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// preparedOf returns a limiter, and what an org's project asks of it that was asked before.
func preparedOf(t *testing.T, rdb redis.UniversalClient) (*Prepared, Request) {
	t.Helper()
	l, err := New(rdb, WithTimeout(time.Minute))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	r := Request{Org: redistest.Org(t), Project: "shop", Endpoint: "GET /", Charges: []Charge{{Policy: PerHour(1e9), Cost: 1}}}
	p, err := l.Prepare(r)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	var d Decision
	for range 100 {
		if err := p.Admit(t.Context(), Call{}, &d); err != nil || !d.Allowed {
			t.Fatalf("Admit: %v, %v", d, err)
		}
	}
	return p, r
}

// TestAllocationsAlone counts what one caller's check allocates besides what the client does for the same call.
func TestAllocationsAlone(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		p, r := preparedOf(t, rdb)
		l, ctx := p.limiter, t.Context()
		var d Decision
		prepared := testing.AllocsPerRun(2000, func() {
			if err := p.Admit(ctx, Call{}, &d); err != nil || !d.Allowed {
				t.Errorf("Admit: %v, %v", d, err)
			}
		})
		plain := testing.AllocsPerRun(2000, func() {
			if d, err := l.Admit(ctx, r); err != nil || !d.Allowed {
				t.Errorf("Admit: %v, %v", d, err)
			}
		})
		client := clients(t, rdb, p)
		t.Logf("%v and %v allocations, of which %v are the client's", prepared, plain, client)
		if prepared > client+1 || plain > prepared+2 { // a goroutine; a Decision, and a question that is kept for it
			t.Errorf("a check allocates %v times, and by Admit %v; want at most %v, and 2 more", prepared, plain, client+1)
		}
	})
}

// clients returns what the client allocates for a call.
func clients(t *testing.T, rdb redis.UniversalClient, p *Prepared) float64 {
	t.Helper()
	now, _ := p.limiter.clock.now()
	from, err := p.sources(t.Context(), [2]int64{unseen, unseen}, time.Now())
	if err != nil {
		t.Fatalf("sources: %v", err)
	}
	c, batch := newCall(p), new(lua.Batch)
	ask := question{check: lua.Check{Mode: lua.Take}}
	c.fill(&ask, p.work(from, now, true), now)
	return testing.AllocsPerRun(2000, func() {
		batch.Reset()
		batch.Add(&c.check, 1, &c.answer)
		if err := p.limiter.conn.AdmitBatch(t.Context(), batch); err != nil || c.answer.Status != lua.Allowed {
			t.Errorf("AdmitBatch: %+v, %v", c.answer, err)
		}
	})
}

// TestAllocationsTogether counts those of 128 callers.
func TestAllocationsTogether(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		const callers, checks = 128, 20_000
		p, _ := preparedOf(t, rdb)
		var group sync.WaitGroup
		begin := make(chan struct{})
		for range callers {
			group.Go(func() {
				var d Decision
				d.Results = make([]Result, 0, 1)
				<-begin
				for range checks / callers {
					if err := p.Admit(t.Context(), Call{}, &d); err != nil || !d.Allowed {
						t.Errorf("Admit: %v, %v", d, err)
					}
				}
			})
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		close(begin)
		group.Wait()
		runtime.ReadMemStats(&after)
		got := float64(after.Mallocs-before.Mallocs) / checks
		t.Logf("%.3f allocations a check", got)
		if got > 1 {
			t.Errorf("%v allocations a check, want below 1", got)
		}
	})
}
