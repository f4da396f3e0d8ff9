package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// held returns a request as Settle and Renew take it, of what was held under a name, for a cost.
func held(r ratelimit.Request, hold string, cost int64) ratelimit.Request {
	r.Hold, r.Charges = hold, slices.Clone(r.Charges)
	for i := range r.Charges {
		r.Charges[i].Held, r.Charges[i].Cost = r.Charges[i].Cost, cost
	}
	return r
}

func (g gate) settle(r ratelimit.Request) (ratelimit.Decision, error) {
	return g.limiter.Settle(g.Context(), r)
}

// peek tells what is used and held of each policy, and takes nothing.
func (g gate) peek(r ratelimit.Request) []ratelimit.Result {
	g.Helper()
	r.Peek = true
	return g.admit(r).Results
}

func TestSettleIsOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, policy := range changing {
			g, p := newGate(t, rdb), policy(room{10, 1000, 400 * day})
			p.Lease = time.Hour
			r := g.request(4, p)
			first, second := g.admit(r), g.admit(r)
			if first.Hold == "" || first.Hold == second.Hold || second.Results[0].Held != 8 || second.Results[0].Used != 8 || second.Results[0].Remaining != 2 {
				t.Errorf("%s: %+v and %+v, want two holds", name, first, second)
			}
			took := int64(7) // more than was held
			if p.Algorithm == ratelimit.Concurrency {
				took = 0
			}
			d, err := g.settle(held(r, first.Hold, 7))
			if got := d.Results[0]; err != nil || got.Held != 4 || got.Used != 4+took || got.Exceeded || got.RetryAfter != 0 {
				t.Errorf("%s: Settle = %+v, %v; want four held and %d taken", name, d, err, took)
			}
			for _, hold := range []string{first.Hold, "never seen"} {
				for call, do := range map[string]func(context.Context, ratelimit.Request) (ratelimit.Decision, error){"Settle": g.limiter.Settle, "Renew": g.limiter.Renew} {
					d, err := do(t.Context(), held(r, hold, 1))
					if !errors.Is(err, ratelimit.ErrNotHeld) || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("%q", p.Name)) || d.Results[0].Used != 4+took || d.Results[0].Exceeded {
						t.Errorf("%s: %s of %q = %+v, %v; want ErrNotHeld that names the policy", name, call, hold, d, err)
					}
				}
			}
			if d, err := g.limiter.Renew(t.Context(), held(r, second.Hold, 0)); err != nil || d.Results[0].Held != 4 {
				t.Errorf("%s: Renew = %+v, %v", name, d, err)
			}
			if d, err := g.settle(held(r, second.Hold, 0)); err != nil || d.Results[0].Used != took || d.Results[0].Held != 0 {
				t.Errorf("%s: Settle for nothing = %+v, %v; want %d used", name, d, err, took)
			}
			if err := g.limiter.Reset(t.Context(), r); err != nil {
				t.Errorf("%s: Reset: %v", name, err)
			}
			if got := g.peek(r)[0]; got.Used != 0 || got.Held != 0 || got.Remaining != 10 {
				t.Errorf("%s: %+v after a reset", name, got)
			}
		}
	})
}

// TestSettleOfSome settles two policies of which one is not held any more.
func TestSettleOfSome(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		r := g.request(3, ratelimit.PerHour(10).Named("kept").Reserved(time.Hour), ratelimit.PerHour(10).Named("lost").Reserved(time.Hour))
		d := g.admit(r)
		lost := r
		lost.Charges = r.Charges[1:]
		if err := g.limiter.Reset(t.Context(), lost); err != nil {
			t.Fatalf("Reset: %v", err)
		}
		d, err := g.settle(held(r, d.Hold, 2))
		if !errors.Is(err, ratelimit.ErrNotHeld) || !strings.Contains(err.Error(), `"lost"`) || strings.Contains(err.Error(), `"kept"`) ||
			d.Results[0].Used != 2 || d.Results[1].Used != 0 {
			t.Errorf("Settle = %+v, %v; want what is held settled, and the other named", d, err)
		}
	})
}

func TestHoldInvalid(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	g := newGate(t, rdb)
	hold := held(g.request(1, ratelimit.PerHour(5).Named("p").Reserved(time.Hour)), "id", 1)
	take := g.request(1, ratelimit.PerHour(5).Named("p"))
	type call func(context.Context, ratelimit.Request) error
	settle := func(ctx context.Context, r ratelimit.Request) error { _, err := g.limiter.Settle(ctx, r); return err }
	renew := func(ctx context.Context, r ratelimit.Request) error { _, err := g.limiter.Renew(ctx, r); return err }
	refund := func(at time.Time) call {
		return func(ctx context.Context, r ratelimit.Request) error {
			_, err := g.limiter.Refund(ctx, r, at)
			return err
		}
	}
	for _, tt := range []struct {
		name   string
		do     []call
		of     ratelimit.Request
		change func(*ratelimit.Request)
		says   string
	}{
		{"no lease", []call{settle, renew}, hold, func(r *ratelimit.Request) { r.Charges[0].Policy.Lease = 0 }, `policy "p" needs a Lease`},
		{"at once", []call{settle, renew}, hold, func(r *ratelimit.Request) { r.Charges[0].AtOnce = true }, `policy "p" needs a Lease`},
		{"no hold", []call{settle, renew}, hold, func(r *ratelimit.Request) { r.Hold = "" }, "the request its Hold"},
		{"long hold", []call{settle, renew}, hold, func(r *ratelimit.Request) { r.Hold = strings.Repeat("h", 129) }, "Hold must be at most 128 bytes"},
		{"nothing held", []call{settle, renew}, hold, func(r *ratelimit.Request) { r.Charges[0].Held = 0 }, "Held 1 to 999999999999999"},
		{"less held", []call{settle, renew}, hold, func(r *ratelimit.Request) { r.Charges[0].Held = -1 }, "Held 1 to 999999999999999"},
		{"too much held", []call{settle, renew}, hold, func(r *ratelimit.Request) { r.Charges[0].Held = ratelimit.MaxLimit + 1 }, "Held 1 to 999999999999999"},
		{"negative cost", []call{settle, renew}, hold, func(r *ratelimit.Request) { r.Charges[0].Cost = -1 }, `Cost -1 of policy "p" must be 0 to`},
		{"no charges", []call{settle, renew, refund(time.Now()), g.limiter.Reset}, hold, func(r *ratelimit.Request) { r.Charges = nil }, "0 Charges, must be 1 to 64"},
		{"a lease", []call{refund(time.Now())}, hold, func(*ratelimit.Request) {}, `policy "p" has a Lease: Settle it`},
		{"never taken", []call{refund(time.Time{}), refund(time.Unix(0, 0)), refund(time.UnixMicro(lua.MaxTime + 1))}, take, func(*ratelimit.Request) {}, "taken must be the At of the decision"},
		{"negative refund", []call{refund(time.Now())}, take, func(r *ratelimit.Request) { r.Charges[0].Cost = -1 }, `Cost -1 of policy "p" must be 0 to`},
		{"no value", []call{refund(time.Now()), g.limiter.Reset}, take, func(r *ratelimit.Request) { r.Project = "" }, "there is no value for it"},
	} {
		for i, do := range tt.do {
			r := tt.of
			r.Charges = slices.Clone(r.Charges)
			tt.change(&r)
			err := do(t.Context(), r)
			if !errors.Is(err, ratelimit.ErrInvalid) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s, call %d: %v, want ErrInvalid that says %q", tt.name, i, err, tt.says)
			}
		}
	}
	if keys, err := rdb.Exists(t.Context(), lua.EpochKey(g.org), lua.LimitKey(g.org, "project", "shop", endpoint, "p", lua.Sliding)).Result(); err != nil || keys != 0 {
		t.Errorf("%d keys written (%v), want none", keys, err)
	}
}

// TestRefundGivesBackOnce tells what it gave back, and gives back no more than still counts.
func TestRefundGivesBackOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, policy := range changing {
			g, p := newGate(t, rdb), policy(room{10, 1000, 400 * day})
			if p.Algorithm == ratelimit.Concurrency {
				continue
			}
			r := g.request(4, p)
			r.Charges[0].AtOnce = true // also where it could be held
			d := g.admit(r)
			for _, step := range []struct{ cost, back, used int64 }{{1, 1, 3}, {0, 0, 3}, {4, 3, 0}, {4, 0, 0}} {
				r.Charges[0].Cost = step.cost
				back, err := g.limiter.Refund(t.Context(), r, d.At)
				if err != nil || back.Results[0].Cost != step.back || back.Results[0].Used != step.used || back.Results[0].Exceeded {
					t.Errorf("%s: Refund of %d = %+v, %v; want %d given back, %d used", name, step.cost, back, err, step.back, step.used)
				}
			}
		}
	})
}

// TestLostReplyIsSettled loses the answer of Admit, and of Settle. The name tells afterwards what happened.
func TestLostReplyIsSettled(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g, lost := newGate(t, rdb), &replies{}
		rdb.AddHook(lost)
		r := g.request(4, ratelimit.PerHour(10).Reserved(time.Hour))
		r.Hold = "known"
		g.peek(r)
		lost.drop.Store(true)
		if _, err := g.limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrUnavailable) {
			t.Fatalf("Admit = %v, want ErrUnavailable", err)
		}
		if got := g.peek(r)[0]; got.Held != 4 {
			t.Errorf("%+v after a lost answer, want four held", got)
		}
		lost.drop.Store(true)
		if _, err := g.settle(held(r, "known", 3)); !errors.Is(err, ratelimit.ErrUnavailable) {
			t.Fatalf("Settle = %v, want ErrUnavailable", err)
		}
		if d, err := g.settle(held(r, "known", 3)); !errors.Is(err, ratelimit.ErrNotHeld) || d.Results[0].Used != 3 || d.Results[0].Held != 0 {
			t.Errorf("Settle again = %+v, %v; want ErrNotHeld, and three taken once", d, err)
		}
	})
}

// replies is a hook that loses the answer to one command that is never repeated, after it was done.
type replies struct{ drop atomic.Bool }

func (l *replies) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *replies) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l *replies) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if admit, ok := cmd.(interface{ NoRetry() bool }); ok && admit.NoRetry() && err == nil && l.drop.CompareAndSwap(true, false) {
			cmd.SetErr(io.ErrUnexpectedEOF)
			return io.ErrUnexpectedEOF
		}
		return err
	}
}

// TestSettleWhateverChanged ends what was begun: after the caller's key was changed, under an override that
// lets everything pass, or nothing.
func TestSettleWhateverChanged(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, tt := range []struct {
			access ratelimit.Access
			used   int64
		}{{ratelimit.Limited, 3}, {ratelimit.Unlimited, 3}, {ratelimit.Blocked, 0}} {
			g := newGate(t, rdb)
			r := g.request(4, ratelimit.PerHour(10).Reserved(time.Hour))
			d := g.admit(r)
			r = held(r, d.Hold, 3)
			if tt.access != ratelimit.Limited {
				g.set(ratelimit.Override{Access: tt.access})
			}
			r.Epoch = 1 // and another by now
			if _, err := g.limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrStale) {
				t.Errorf("%q: Admit = %v, want ErrStale", tt.access, err)
			}
			if d, err := g.limiter.Renew(t.Context(), r); err != nil || d.Results[0].Held != 4 {
				t.Errorf("%q: Renew = %+v, %v", tt.access, d, err)
			}
			settled, err := g.settle(r)
			if got := settled.Results[0]; err != nil || got.Used != tt.used || got.Held != 0 || got.Unlimited {
				t.Errorf("%q: Settle = %+v, %v; want %d used", tt.access, settled, err, tt.used)
			}
			if _, err := g.settle(r); !errors.Is(err, ratelimit.ErrNotHeld) {
				t.Errorf("%q: Settle again: %v, want ErrNotHeld", tt.access, err)
			}
			r.Charges[0].AtOnce = true
			if d, err := g.limiter.Refund(t.Context(), r, settled.At); err != nil || d.Results[0].Cost != tt.used {
				t.Errorf("%q: Refund = %+v, %v; want %d given back", tt.access, d, err, tt.used)
			}
			if err := g.limiter.Reset(t.Context(), r); err != nil {
				t.Errorf("%q: Reset: %v", tt.access, err)
			}
		}
	})
}
