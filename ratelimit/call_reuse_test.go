package ratelimit_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

type lossy struct {
	block atomic.Pointer[chan struct{}]
	fail  atomic.Bool
}

func (h *lossy) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *lossy) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (h *lossy) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if b := h.block.Load(); b != nil {
			<-*b
		}
		if h.fail.Load() {
			err := errors.New("connection refused")
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// Merged checks whose call fails, in calls that were used for requests of more charges.
func TestAnswersAreOfTheirOwnCall(t *testing.T) {
	shared := redistest.Standalone(t)
	rdb := redis.NewClient(shared.(*redis.Client).Options())
	defer rdb.Close()
	h := new(lossy)
	rdb.AddHook(h)
	l, err := ratelimit.New(rdb, ratelimit.WithTimeout(20*time.Second), ratelimit.WithInFlight(1))
	must(t, err)
	org := redistest.Org(t)
	three := ratelimit.Request{Org: org, Project: "p", Key: "k", Charges: []ratelimit.Charge{
		{Policy: ratelimit.PerHour(1e6).Named("a"), Cost: 1}, {Policy: ratelimit.PerHour(1e6).Named("b"), Cost: 1}, {Policy: ratelimit.PerHour(1e6).Named("c"), Cost: 1}}}
	one := ratelimit.Request{Org: org, Project: "p", Key: "k", Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(1e6), Cost: 1}}}
	all := func(r ratelimit.Request, n int, fail bool) {
		open := make(chan struct{})
		h.block.Store(&open)
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() { _, _ = l.Admit(t.Context(), r) })
		}
		time.Sleep(200 * time.Millisecond)
		h.fail.Store(fail)
		h.block.Store(nil)
		close(open)
		wg.Wait()
	}
	_, err = l.Admit(t.Context(), three)
	must(t, err)
	_, err = l.Admit(t.Context(), one)
	must(t, err)
	all(three, 40, false)
	all(one, 40, true)
}

// What a change that resets gives, a lease gives again.
func TestLeaseOfAForgivenCount(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, of := range windowed {
			t.Run(name, func(t *testing.T) {
				g := newGate(t, rdb)
				q := g.request(1, of(400, time.Hour).Ahead(100))
				for range 20 {
					g.admit(q)
				}
				g.ahead(q)
				o := newGate(t, rdb)
				o.org = g.org
				o.set(ratelimit.Override{Limit: new(int64(401)), Change: ratelimit.ResetUsed})
				one := o.request(1, of(400, time.Hour))
				n := 0
				for range 2 {
					for o.admit(one).Allowed {
						n++
					}
					must(t, g.limiter.Close(t.Context()))
				}
				if n > 401 {
					t.Errorf("%d admitted after the change, limit 401", n)
				}
			})
		}
	})
}
