package limittest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// settler returns the limiter, or skips the test.
func (s *suite) settler() Settler {
	s.Helper()
	limiter, ok := s.limiter.(Settler)
	if !ok {
		s.Skip("limittest: the limiter is no Settler")
	}
	return limiter
}

// reserved is a policy whose units are held.
func (s *suite) reserved(limit int64) ratelimit.Policy {
	return s.policy("tokens", limit).Reserved(lease)
}

// ended returns a request that was admitted, to be settled for a cost or renewed.
func ended(r ratelimit.Request, hold string, cost int64) ratelimit.Request {
	r.Hold, r.Charges = hold, slices.Clone(r.Charges)
	for i := range r.Charges {
		r.Charges[i].Held, r.Charges[i].Cost = r.Charges[i].Cost, cost
	}
	return r
}

// takes returns what a policy counts of a cost that is settled: those that only hold count none.
func (s *suite) takes(cost int64) int64 {
	if s.algorithm == ratelimit.Concurrency {
		return 0
	}
	return cost
}

// held asks how much of the first policy of a request is used, and how much of that held.
func (s *suite) held(r ratelimit.Request, used, held int64) {
	s.Helper()
	r.Peek, r.Hold = true, ""
	d, err := s.limiter.Admit(s.Context(), r)
	if err != nil {
		s.Fatalf("Admit: %v", err)
	}
	if got := d.Results[0]; got.Used != used || got.Held != held {
		s.Errorf("%d used, %d of it held; want %d and %d", got.Used, got.Held, used, held)
	}
}

func (s *suite) settle() {
	limiter := s.settler()
	r := s.request(3, s.reserved(10))
	first, second, third := s.admit(r, true), s.admit(r, true), s.admit(r, true)
	if first.Hold == "" || first.Hold == second.Hold || second.Hold == third.Hold {
		s.Errorf("holds %q, %q and %q, want three names", first.Hold, second.Hold, third.Hold)
	}
	s.admit(r, false)
	s.held(r, 9, 9)
	used := int64(0)
	for held, step := range []struct {
		hold string
		cost int64
	}{{first.Hold, 1}, {second.Hold, 0}, {third.Hold, 12}} {
		used += s.takes(step.cost)
		d, err := limiter.Settle(s.Context(), ended(r, step.hold, step.cost))
		if left := int64(6 - 3*held); err != nil || d.Results[0].Held != left || d.Results[0].Used != used+left {
			s.Errorf("Settle for %d = %+v, %v; want %d taken and %d held", step.cost, d, err, used, left)
		}
		for _, cost := range []int64{step.cost, 0, 5} { // once
			if _, err := limiter.Settle(s.Context(), ended(r, step.hold, cost)); !errors.Is(err, ratelimit.ErrNotHeld) {
				s.Errorf("Settle again for %d: %v, want ErrNotHeld", cost, err)
			}
		}
	}
	s.held(r, used, 0)
}

// settleTogether has many end one hold: one of them does.
func (s *suite) settleTogether() {
	limiter := s.settler()
	r := s.request(3, s.reserved(100))
	r = ended(r, s.admit(r, true).Hold, 2)
	var settled atomic.Int64
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			switch _, err := limiter.Settle(s.Context(), r); {
			case err == nil:
				settled.Add(1)
			case !errors.Is(err, ratelimit.ErrNotHeld):
				s.Errorf("Settle: %v", err)
			}
		})
	}
	group.Wait()
	if n := settled.Load(); n != 1 {
		s.Errorf("settled %d times, want once", n)
	}
	s.held(r, s.takes(2), 0)
}

func (s *suite) renew() {
	limiter := s.settler()
	r := s.request(3, s.reserved(10))
	r.Hold = "known"
	s.admit(r, true)
	for range 3 {
		if d, err := limiter.Renew(s.Context(), ended(r, "known", 9)); err != nil || d.Results[0].Used != 3 || d.Results[0].Held != 3 {
			s.Errorf("Renew = %+v, %v; want three held, and nothing taken", d, err)
		}
	}
	if _, err := limiter.Settle(s.Context(), ended(r, "known", 0)); err != nil {
		s.Errorf("Settle: %v", err)
	}
	for _, hold := range []string{"known", "unknown"} {
		if _, err := limiter.Renew(s.Context(), ended(r, hold, 0)); !errors.Is(err, ratelimit.ErrNotHeld) {
			s.Errorf("Renew of %q: %v, want ErrNotHeld", hold, err)
		}
	}
	s.held(r, 0, 0)
}

func (s *suite) refund() {
	limiter := s.settler()
	r := s.request(4, s.policy("requests", 10))
	if s.algorithm == ratelimit.Concurrency {
		d := s.admit(r, true)
		if _, err := limiter.Refund(s.Context(), r, d.At); !errors.Is(err, ratelimit.ErrInvalid) {
			s.Errorf("Refund of what is held: %v, want ErrInvalid", err)
		}
		s.held(r, 4, 4)
		return
	}
	s.admit(r, true)
	d := s.admit(r, true)
	for _, step := range []struct{ cost, back, used int64 }{{4, 4, 4}, {0, 0, 4}, {1, 1, 3}, {10, 3, 0}, {10, 0, 0}} {
		again := s.request(step.cost, r.Charges[0].Policy)
		got, err := limiter.Refund(s.Context(), again, d.At)
		if err != nil || got.Results[0].Cost != step.back || got.Results[0].Used != step.used || got.Results[0].Exceeded {
			s.Errorf("Refund of %d = %+v, %v; want %d given back, %d used", step.cost, got, err, step.back, step.used)
		}
	}
	s.admit(s.request(10, r.Charges[0].Policy), true)
}

func (s *suite) reset() {
	limiter := s.settler()
	r, other := s.request(4, s.reserved(10)), s.request(4, s.policy("other", 10))
	d := s.admit(r, true)
	s.admit(other, true)
	if s.algorithm != ratelimit.Concurrency {
		r.Charges[0].AtOnce = true
		s.admit(r, true)
		r.Charges[0].AtOnce = false
	}
	for range 2 {
		if err := limiter.Reset(s.Context(), r); err != nil {
			s.Errorf("Reset: %v", err)
		}
		s.held(r, 0, 0)
	}
	if _, err := limiter.Settle(s.Context(), ended(r, d.Hold, 4)); !errors.Is(err, ratelimit.ErrNotHeld) {
		s.Errorf("Settle after a reset: %v, want ErrNotHeld", err)
	}
	s.held(r, 0, 0)
	s.used(other, 4)
}

func (s *suite) unsettled() {
	limiter := s.settler()
	r := s.request(4, s.reserved(10))
	good := ended(r, s.admit(r, true).Hold, 1)
	for name, change := range map[string]func(*ratelimit.Request){
		"no hold":       func(r *ratelimit.Request) { r.Hold = "" },
		"nothing held":  func(r *ratelimit.Request) { r.Charges[0].Held = 0 },
		"too much held": func(r *ratelimit.Request) { r.Charges[0].Held = ratelimit.MaxLimit + 1 },
		"negative cost": func(r *ratelimit.Request) { r.Charges[0].Cost = -1 },
		"no lease":      func(r *ratelimit.Request) { r.Charges[0].Policy.Lease = 0 },
		"no charge":     func(r *ratelimit.Request) { r.Charges = nil },
	} {
		bad := good
		bad.Charges = slices.Clone(good.Charges)
		change(&bad)
		for call, do := range map[string]func(context.Context, ratelimit.Request) (ratelimit.Decision, error){
			"Settle": limiter.Settle, "Renew": limiter.Renew,
		} {
			if _, err := do(s.Context(), bad); !errors.Is(err, ratelimit.ErrInvalid) {
				s.Errorf("%s, %s: %v, want ErrInvalid", name, call, err)
			}
		}
	}
	if _, err := limiter.Refund(s.Context(), s.request(1, s.policy("requests", 10)), time.Time{}); !errors.Is(err, ratelimit.ErrInvalid) {
		s.Errorf("Refund of what was never taken: %v, want ErrInvalid", err)
	}
	s.held(r, 4, 4)
}
