package limittest

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-go/tollgate/ratelimit"
)

func (s *suite) exact() {
	r := s.request(1, s.policy("requests", 10))
	for i := range int64(10) {
		if d := s.admit(r, true); d.Results[0].Used != i+1 || d.RetryAfter() != 0 || d.Results[0].Exceeded {
			s.Errorf("request %d: %+v", i+1, d)
		}
	}
	for range 3 { // a refused request takes nothing, and waiting longer is not asked for
		d := s.admit(r, false)
		waits := s.algorithm != ratelimit.Concurrency // where somebody may leave at any moment
		if got := d.Results[0]; !got.Exceeded || got.Used != 10 || waits != (d.RetryAfter() > 0) || d.RetryAfter() != got.RetryAfter {
			s.Errorf("refused: %+v", d)
		}
	}
}

func (s *suite) cost() {
	p := s.policy("elements", 10)
	s.admit(s.request(4, p), true)
	s.admit(s.request(4, p), true)
	s.admit(s.request(3, p), false)
	s.admit(s.request(2, p), true)
	s.used(s.request(1, p), 10)
}

func (s *suite) allOrNothing() {
	r := s.request(1, s.policy("large", 5), s.policy("small", 3), s.policy("other", 9))
	for range 3 {
		s.admit(r, true)
	}
	for range 3 {
		d := s.admit(r, false)
		if d.Results[0].Exceeded || !d.Results[1].Exceeded || d.Results[2].Exceeded {
			s.Errorf("exceeded: %+v, want the second alone", d.Results)
		}
	}
	s.used(r, 3, 3, 3)
	s.admit(s.request(1, s.policy("large", 5)), true)
	s.used(r, 4, 3, 3)
}

func (s *suite) peek() {
	r := s.request(2, s.policy("requests", 3))
	r.Peek = true
	for range 5 {
		if d := s.admit(r, true); d.Results[0].Used != 0 {
			s.Errorf("%d used by peeking", d.Results[0].Used)
		}
	}
	r.Peek = false
	s.admit(r, true)
	r.Peek = true
	s.admit(r, false)
	s.used(r, 2)
}

func (s *suite) costZero() {
	p := s.policy("requests", 2)
	s.admit(s.request(0, p), true)
	s.admit(s.request(2, p), true)
	s.admit(s.request(1, p), false)
	s.admit(s.request(0, p), true)
	s.used(s.request(0, p), 2)
}

func (s *suite) limitZero() {
	for cost := range int64(2) {
		d := s.admit(s.request(cost, s.policy("closed", 0)), false)
		if d.RetryAfter() != ratelimit.Never || d.Results[0].Used != 0 {
			s.Errorf("cost %d: %+v, want a refusal for good", cost, d)
		}
	}
}

func (s *suite) costAboveLimit() {
	p := s.policy("elements", 10)
	if d := s.admit(s.request(11, p), false); d.RetryAfter() != ratelimit.Never || d.Results[0].RetryAfter != ratelimit.Never {
		s.Errorf("%+v, want a refusal for good", d)
	}
	s.admit(s.request(10, p), true)
	if d := s.admit(s.request(ratelimit.MaxLimit, p), false); d.RetryAfter() != ratelimit.Never {
		s.Errorf("%+v, want a refusal for good", d)
	}
	s.used(s.request(1, p), 10)
}

func (s *suite) partitions() {
	base := s.request(1, s.policy("a", 1))
	s.admit(base, true)
	for name, change := range map[string]func(*ratelimit.Request){
		"project":  func(r *ratelimit.Request) { r.Project = "other" },
		"endpoint": func(r *ratelimit.Request) { r.Endpoint = "POST /things/{id}" },
		"org":      func(r *ratelimit.Request) { r.Org += "-other" },
		"policy":   func(r *ratelimit.Request) { r.Charges = s.request(1, s.policy("b", 1)).Charges },
		"by key":   func(r *ratelimit.Request) { r.Charges = s.request(1, s.policy("a", 1).By(ratelimit.ByKey)).Charges },
		"by org":   func(r *ratelimit.Request) { r.Charges = s.request(1, s.policy("a", 1).By(ratelimit.ByOrg)).Charges },
		"by one's own": func(r *ratelimit.Request) {
			r.Charges = []ratelimit.Charge{{Policy: s.policy("a", 1).By("tenant"), Cost: 1, Value: "shop"}}
		},
		"another of one's own": func(r *ratelimit.Request) {
			r.Charges = []ratelimit.Charge{{Policy: s.policy("a", 1).By("tenant"), Cost: 1, Value: "shop:1"}}
		},
	} {
		r := base
		change(&r)
		if d := s.admit(r, true); d.Results[0].Used != 1 {
			s.Errorf("another %s: %d used, want 1", name, d.Results[0].Used)
		}
		s.admit(r, false)
	}
	base.Key = "other"
	s.admit(base, false) // one project, whatever the key
	r := s.request(1, s.policy("a", 1).By(ratelimit.ByOrg))
	r.Project = "third"
	s.admit(r, false) // one org, whatever the project
}

func (s *suite) anonymous() {
	r := ratelimit.Request{Endpoint: "GET /", Charges: []ratelimit.Charge{
		{Policy: s.policy("requests", 1).By("network"), Cost: 1, Value: s.org + "/192.0.2.0"},
	}}
	s.admit(r, true)
	s.admit(r, false)
	r.Charges[0].Value += "/24"
	s.admit(r, true)
}

func (s *suite) monitor() {
	r := s.request(1, s.policy("enforced", 4), s.policy("watched", 2).Monitored())
	for i := range int64(4) {
		if d := s.admit(r, true); d.Results[1].Exceeded != (i >= 2) || d.Results[1].Used != min(i+1, 2) || d.RetryAfter() != 0 {
			s.Errorf("request %d: %+v", i+1, d.Results[1])
		}
	}
	s.admit(r, false)
	s.used(r, 4, 2)
	r = s.request(1, s.policy("unused", 0), s.policy("fresh", 2).Monitored())
	s.admit(r, false)
	s.used(r, 0, 0) // a refused request takes nothing from a monitored policy either
}

func (s *suite) invalid() {
	good := s.policy("requests", 1)
	for name, r := range map[string]ratelimit.Request{
		"no charge":           s.request(1),
		"negative cost":       s.request(-1, good),
		"cost too large":      s.request(ratelimit.MaxLimit+1, good),
		"negative limit":      s.request(1, s.policy("requests", -1)),
		"limit too large":     s.request(1, s.policy("requests", ratelimit.MaxLimit+1)),
		"no window":           s.request(1, ratelimit.Per(1, 0)),
		"negative window":     s.request(1, ratelimit.Per(1, -time.Second)),
		"window too long":     s.request(1, ratelimit.Per(1, 401*24*time.Hour)),
		"window not whole":    s.request(1, ratelimit.Per(1, time.Second+1)),
		"odd name":            s.request(1, good.Named("a b")),
		"long name":           s.request(1, good.Named(strings.Repeat("a", 65))),
		"odd partition":       s.request(1, good.By("{}")),
		"two of one name":     s.request(1, good, good),
		"unknown algorithm":   s.request(1, ratelimit.Policy{Name: "p", Algorithm: 9, Limit: 1, Window: time.Second}),
		"bucket of nothing":   s.request(1, ratelimit.PerSecond(1).Bucket(0)),
		"bucket too large":    s.request(1, ratelimit.PerHour(1).Bucket(400*24+1)),
		"bucket of any size":  s.request(1, ratelimit.PerSecond(0).Bucket(ratelimit.MaxLimit+1)),
		"day -1":              s.request(1, ratelimit.Quota(1, ratelimit.Monthly(-1, nil))),
		"burst of a window":   s.request(1, ratelimit.Policy{Name: "p", Limit: 1, Window: time.Second, Burst: 1}),
		"quota with a window": s.request(1, ratelimit.Policy{Name: "p", Algorithm: ratelimit.CalendarWindow, Limit: 1, Window: time.Second, Period: ratelimit.Daily(nil)}),
		"quota of no period":  s.request(1, ratelimit.Quota(1, ratelimit.Period{})),
		"day 32":              s.request(1, ratelimit.Quota(1, ratelimit.Monthly(32, nil))),
		"period of a window":  s.request(1, ratelimit.Policy{Name: "p", Limit: 1, Window: time.Second, Period: ratelimit.Daily(nil)}),
		"no value":            s.request(1, good.By("network")),
		"one bad among two":   s.request(1, good, s.policy("other", -1)),
		"project without org": {Project: "shop", Charges: s.request(1, good).Charges},
		"long org":            {Org: strings.Repeat("o", 129), Project: "shop", Charges: s.request(1, good).Charges},
	} {
		if d, err := s.limiter.Admit(s.Context(), r); !errors.Is(err, ratelimit.ErrInvalid) || d.Allowed || d.Results != nil {
			s.Errorf("%s: Admit = %+v, %v; want ErrInvalid", name, d, err)
		}
	}
	s.used(s.request(1, good), 0)
}

func (s *suite) concurrent() {
	const requests, limit = 1000, 100
	r := s.request(1, s.policy("requests", limit), s.policy("watched", limit/2).Monitored())
	s.used(r, 0, 0)
	var allowed atomic.Int64
	var group sync.WaitGroup
	start := make(chan struct{})
	for range requests {
		group.Go(func() {
			<-start
			d, err := s.limiter.Admit(s.Context(), r)
			if err != nil {
				s.Errorf("Admit: %v", err)
			} else if d.Allowed {
				allowed.Add(1)
			}
		})
	}
	close(start)
	group.Wait()
	if got := allowed.Load(); got != limit {
		s.Errorf("%d of %d concurrent requests allowed, want %d", got, requests, limit)
	}
	s.used(r, limit, limit/2)
}
