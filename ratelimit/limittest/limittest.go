// Package limittest proves limiters. [Run] is a suite for whatever admits requests as
// [ratelimit.Limiter] does: on Redis, in memory, or before something else. [Model] decides checks as the
// script in Redis should, in plain Go; tests compare the script with it. Not for use outside tests.
//
//	func TestMyLimiter(t *testing.T) {
//		limittest.Run(t, func(t *testing.T) limittest.Limiter {
//			limiter, err := mylimiter.New(...)
//			if err != nil {
//				t.Fatal(err)
//			}
//			return limiter
//		})
//	}
package limittest

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// Limiter is what the suite tests.
type Limiter interface {
	Admit(ctx context.Context, r ratelimit.Request) (ratelimit.Decision, error)
}

// Settler is a Limiter that ends what it let requests hold, and gives back what they took. The suite tests
// that, too, of those that do it.
type Settler interface {
	Limiter
	Settle(ctx context.Context, r ratelimit.Request) (ratelimit.Decision, error)
	Renew(ctx context.Context, r ratelimit.Request) (ratelimit.Decision, error)
	Refund(ctx context.Context, r ratelimit.Request, taken time.Time) (ratelimit.Decision, error)
	Reset(ctx context.Context, r ratelimit.Request) error
}

var _ Settler = (*ratelimit.Limiter)(nil)

// window is so long that no test sees it roll, nor a share of it fall away, and lease that no hold ends.
const (
	window = 100 * 24 * time.Hour
	lease  = 24 * time.Hour
)

// Run tests the limiter that open returns, in subtests that run in parallel, each with a limiter and an
// org of its own. The limiters may share what they store. It takes as long as some 8,000 requests.
func Run(t *testing.T, open func(t *testing.T) Limiter) {
	t.Helper()
	for _, algorithm := range []ratelimit.Algorithm{
		ratelimit.SlidingWindow, ratelimit.FixedWindow, ratelimit.AlignedWindow, ratelimit.CalendarWindow, ratelimit.GCRA,
		ratelimit.Concurrency,
	} {
		for _, test := range []struct {
			name string
			run  func(*suite)
		}{
			{"exact count", (*suite).exact},
			{"cost", (*suite).cost},
			{"all or nothing", (*suite).allOrNothing},
			{"peek takes nothing", (*suite).peek},
			{"cost zero takes nothing", (*suite).costZero},
			{"limit zero", (*suite).limitZero},
			{"cost above the limit", (*suite).costAboveLimit},
			{"partitions are separate", (*suite).partitions},
			{"nobody authenticated", (*suite).anonymous},
			{"monitor lets pass", (*suite).monitor},
			{"invalid", (*suite).invalid},
			{"concurrent", (*suite).concurrent},
			{"settle", (*suite).settle},
			{"settle at once", (*suite).settleTogether},
			{"renew", (*suite).renew},
			{"refund", (*suite).refund},
			{"reset", (*suite).reset},
			{"what cannot be settled", (*suite).unsettled},
		} {
			t.Run(algorithm.String()+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				test.run(&suite{T: t, limiter: open(t), algorithm: algorithm, org: "limittest-" + rand.Text()})
			})
		}
	}
}

type suite struct {
	*testing.T
	limiter   Limiter
	algorithm ratelimit.Algorithm
	org       string
}

func (s *suite) policy(name string, limit int64) ratelimit.Policy {
	p := ratelimit.Per(limit, window).Named(name)
	p.Algorithm = s.algorithm
	switch s.algorithm {
	case ratelimit.Concurrency:
		p.Window, p.Lease = 0, lease
	case ratelimit.CalendarWindow:
		p.Window, p.Period = 0, ratelimit.Monthly(1, nil)
	case ratelimit.GCRA:
		return p.Bucket(max(limit, 1)) // what can be taken at once is then what the others let pass in a window
	}
	return p
}

// request asks for cost units of each policy.
func (s *suite) request(cost int64, policies ...ratelimit.Policy) ratelimit.Request {
	r := ratelimit.Request{Org: s.org, Project: "shop", Key: "key", Endpoint: "GET /things/{id}"}
	for _, p := range policies {
		r.Charges = append(r.Charges, ratelimit.Charge{Policy: p, Cost: cost})
	}
	return r
}

// admit asks the limiter and checks what holds for every decision.
func (s *suite) admit(r ratelimit.Request, allowed bool) ratelimit.Decision {
	s.Helper()
	d, err := s.limiter.Admit(s.Context(), r)
	if err != nil {
		s.Fatalf("Admit: %v", err)
	}
	if d.Allowed != allowed {
		s.Fatalf("Allowed = %t, want %t: %+v", d.Allowed, allowed, d)
	}
	if len(d.Results) != len(r.Charges) || d.At.IsZero() {
		s.Fatalf("%d results at %v, want one for each of %d charges", len(d.Results), d.At, len(r.Charges))
	}
	for i, got := range d.Results {
		c := r.Charges[i]
		if got.Policy != c.Policy.Name || got.Limit != c.Policy.Limit || s.algorithm != ratelimit.CalendarWindow && got.Window != c.Policy.Window ||
			got.Source != ratelimit.SourcePolicy || got.Cost != c.Cost || got.Monitor != c.Policy.Monitor {
			s.Errorf("result %+v does not tell of charge %+v", got, c)
		}
		if got.Remaining != max(got.Limit-got.Used, 0) {
			s.Errorf("Remaining = %d with %d of %d used", got.Remaining, got.Used, got.Limit)
		}
		waits := got.Used > got.Held // what is held may be free at any moment
		if waits != (got.ResetAfter > 0) || got.ResetAfter > 2*window {
			s.Errorf("ResetAfter = %v with %d used, %d held in a window of %v", got.ResetAfter, got.Used, got.Held, window)
		}
	}
	return d
}

// used asks how much of each policy of a request is used, and takes nothing.
func (s *suite) used(r ratelimit.Request, want ...int64) {
	s.Helper()
	r.Peek = true
	d, err := s.limiter.Admit(s.Context(), r)
	if err != nil {
		s.Fatalf("Admit: %v", err)
	}
	for i, w := range want {
		if d.Results[i].Used != w {
			s.Errorf("%d of policy %q used, want %d", d.Results[i].Used, d.Results[i].Policy, w)
		}
	}
}
