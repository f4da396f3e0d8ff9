package ratelimit

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

// refuser asks a limiter that refuses from memory, and sees what Redis is asked.
type refuser struct {
	*testing.T
	*counter
	rdb     redis.UniversalClient
	limiter *Limiter
	org     string
}

func eachRefuser(t *testing.T, most time.Duration, test func(t *testing.T, r refuser)) {
	t.Helper()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		r := refuser{t, new(counter), rdb, nil, redistest.Org(t)}
		rdb.AddHook(r.counter)
		var err error
		if r.limiter, err = New(rdb, WithTimeout(time.Minute), WithRefusals(most)); err != nil {
			t.Fatalf("New: %v", err)
		}
		test(t, r)
	})
}

func (r refuser) request(cost int64, policies ...Policy) Request {
	q := Request{Org: r.org, Project: "shop", Key: "k", Endpoint: "GET /"}
	for _, p := range policies {
		q.Charges = append(q.Charges, Charge{Policy: p, Cost: cost})
	}
	return q
}

// asks tells a decision, and whether Redis was asked for it.
func (r refuser) asks(q Request) (d Decision, asked bool) {
	r.Helper()
	sent, refused := r.sent.Load(), r.limiter.Stats().Refused
	d, err := r.limiter.Admit(r.Context(), q)
	if err != nil {
		r.Fatalf("Admit: %v", err)
	}
	asked = r.sent.Load() != sent
	if told := r.limiter.Stats().Refused - refused; (told == 1) == asked {
		r.Errorf("asked %t, and Stats tells %d more refused from memory", asked, told)
	}
	return d, asked
}

// wants holds that a request is refused, by Redis or from memory.
func (r refuser) wants(what string, q Request, asked bool) Decision {
	r.Helper()
	d, got := r.asks(q)
	if d.Allowed || got != asked {
		r.Errorf("%s: allowed %t, Redis was asked %t; want it refused, and asked %t", what, d.Allowed, got, asked)
	}
	return d
}

// longest is a limit that is used up for longer than any test takes, whatever the time is.
func longest(limit int64) Policy { return Per(limit, 400*24*time.Hour).Fixed() }

// TestRefusals are of what costs as much, or more, as long as was told.
func TestRefusals(t *testing.T) {
	t.Parallel()
	eachRefuser(t, time.Minute, func(t *testing.T, r refuser) {
		p := longest(10)
		if d, asked := r.asks(r.request(8, p)); !d.Allowed || !asked {
			t.Fatalf("%v", d)
		}
		first := r.wants("first", r.request(3, p), true)
		if d := r.wants("more than there ever is", r.request(11, p), false); d.RetryAfter() != Never {
			t.Errorf("%v, want it never to fit", d)
		}
		for _, cost := range []int64{3, 4, 10} {
			d := r.wants("again", r.request(cost, p), false)
			if got := d.Results[0]; got.Cost != cost || !got.Exceeded || got.Used != 8 || got.Remaining != 2 || got.Limit != 10 {
				t.Errorf("a cost of %d: %v", cost, got)
			}
			// What is left to wait falls as the time goes on: they end at one moment.
			if a, b := first.At.Add(first.RetryAfter()), d.At.Add(d.RetryAfter()); !a.Equal(b) || d.At.Before(first.At) {
				t.Errorf("at %v retry at %v, before it was %v", d.At, b, a)
			}
		}
		if d, asked := r.asks(r.request(2, p)); !d.Allowed || !asked {
			t.Errorf("what costs less: %v, asked %t; want it allowed", d, asked)
		}
		r.wants("a peek", func() Request { q := r.request(3, p); q.Peek = true; return q }(), true)
		r.wants("a token", func() Request { q := r.request(3, p); q.Token = &Token{Issuer: "i"}; return q }(), true)
		r.wants("another's", func() Request { q := r.request(11, p); q.Project = "other"; return q }(), true)
		r.wants("as before", r.request(3, p), false)
	})
}

// TestRefusalsEnd when the time is over that was told, or the option's, by the clock of Redis.
func TestRefusalsEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		policy Policy
		most   time.Duration
	}{
		{"as told", Per(1, 30*time.Second).Fixed(), time.Minute},
		{"option", longest(1), time.Minute},
		{"never", longest(0), time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			eachRefuser(t, tt.most, func(t *testing.T, r refuser) {
				r.asks(r.request(1, tt.policy))
				d := r.wants("first", r.request(1, tt.policy), tt.name != "never")
				p, err := r.limiter.find(&Request{Org: r.org, Project: "shop", Key: "k", Endpoint: "GET /", Charges: r.request(1, tt.policy).Charges}, false)
				if err != nil {
					t.Fatalf("find: %v", err)
				}
				f := p.refused.Load()
				want := tt.most
				if tt.name == "as told" {
					want = d.RetryAfter()
				}
				if got := time.Duration(f.until-f.told) * time.Microsecond; got != want {
					t.Errorf("refused from memory for %v, want %v", got, want)
				}
				at := func(when int64) { // sets the clock
					now, _ := r.limiter.clock.now()
					r.limiter.clock.offset.Add(when - now)
				}
				at(f.until - 10_000_000)
				r.wants("before the end", r.request(1, tt.policy), false)
				at(f.until)
				r.wants("at the end", r.request(1, tt.policy), true)
				f = p.refused.Load()
				at(f.told - 10_000_000)
				r.wants("before it was told", r.request(1, tt.policy), true)
			})
		})
	}
}

// TestRefusalsOff asks each time, by default too.
func TestRefusalsOff(t *testing.T) {
	t.Parallel()
	eachRefuser(t, 0, func(t *testing.T, r refuser) {
		for range 3 {
			r.wants("off", r.request(1, longest(0)), true)
		}
		limiter, err := New(r.rdb, WithTimeout(time.Minute))
		if err != nil {
			t.Fatalf("New: %v", err)
		}
		r.limiter = limiter
		for range 3 {
			r.wants("default", r.request(1, longest(0)), true)
		}
	})
}

// TestRefusalsHear of all that could make room, from this process, at once.
func TestRefusalsHear(t *testing.T) {
	t.Parallel()
	eachRefuser(t, time.Minute, func(t *testing.T, r refuser) {
		ctx := t.Context()
		overrides, err := NewOverrides(r.rdb, WithTimeout(time.Minute))
		if err != nil {
			t.Fatalf("NewOverrides: %v", err)
		}
		plans, err := NewPlans(r.rdb, WithTimeout(time.Minute))
		if err != nil {
			t.Fatalf("NewPlans: %v", err)
		}
		plan := redistest.Org(t)
		t.Cleanup(func() { _ = plans.Delete(context.WithoutCancel(ctx), plan, Always) })
		var taken time.Time
		p, other := longest(10), longest(10).Named("other")
		held := r.request(10, other.Reserved(time.Hour))
		reads := func() { // another request of the org, which hears
			q := r.request(1, other.Named("reader"))
			q.Plan, q.Project = plan, "reader"
			r.asks(q)
		}
		for name, change := range map[string]func() error{
			"override": func() error {
				_, _, err := overrides.Set(ctx, Override{Org: r.org, Limit: new(int64(1000))}, Always)
				reads()
				return err
			},
			"plan": func() error {
				_, _, err := plans.Set(ctx, Plan{Name: plan, Rules: []PlanRule{{Limit: new(int64(1000))}}}, Always)
				reads()
				return err
			},
			"monitor": func() error {
				r.limiter.SetMonitor(true)
				return nil
			},
			"refund": func() error {
				_, err := r.limiter.Refund(ctx, r.request(5, p), taken)
				return err
			},
			"reset": func() error { return r.limiter.Reset(ctx, r.request(0, p)) },
			"settle": func() error {
				d, _ := r.asks(held)
				q := held
				q.Charges = slices.Clone(q.Charges)
				q.Hold, q.Charges[0].Held = d.Hold, 10
				_, err := r.limiter.Settle(ctx, q)
				if err == nil {
					err = r.limiter.Reset(ctx, r.request(0, p)) // the bucket's refusals are dropped together
				}
				return err
			},
		} {
			r.limiter.SetMonitor(false)
			if _, err := overrides.Clear(ctx, r.org, ""); err != nil {
				t.Fatalf("Clear: %v", err)
			}
			_ = plans.Delete(ctx, plan, Always)
			reads()
			if err := r.limiter.Reset(ctx, r.request(0, p)); err != nil {
				t.Fatalf("Reset: %v", err)
			}
			q := r.request(5, p)
			q.Plan = plan
			d, _ := r.asks(q)
			taken = d.At
			r.asks(q)
			r.wants(name+", first", q, true)
			r.wants(name+", again", q, false)
			if err := change(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if d, asked := r.asks(q); !d.Allowed || !asked {
				t.Errorf("%s: allowed %t, asked %t; want both", name, d.Allowed, asked)
			}
		}
	})
}
