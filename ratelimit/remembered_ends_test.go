package ratelimit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Close with an ended ctx leaves other servers' queues open.
func TestCloseShutsAllServers(t *testing.T) {
	rdb := redistest.Cluster(t)
	l, err := ratelimit.New(rdb, ratelimit.WithTimeout(5*time.Second))
	must(t, err)
	var rs []ratelimit.Request
	for range 12 {
		r := ratelimit.Request{Org: redistest.Org(t), Project: "p", Key: "k", Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(100), Cost: 1}}}
		_, err := l.Admit(t.Context(), r)
		must(t, err)
		rs = append(rs, r)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	t.Log(l.Close(ended))
	for _, r := range rs {
		if d, err := l.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrUnavailable) {
			t.Errorf("after Close: allowed %t %v", d.Allowed, err)
		}
	}
}

// A refusal goes on after the block that it came from has ended.
func TestRefusalEndsWithItsOverride(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		l, err := ratelimit.New(rdb, ratelimit.WithTimeout(5*time.Second), ratelimit.WithRefusals(20*time.Second))
		must(t, err)
		q := g.request(1, ratelimit.PerHour(100))
		now := g.admit(q).At
		ends := now.Add(1500 * time.Millisecond)
		g.set(ratelimit.Override{Org: g.org, Access: ratelimit.Blocked, ExpiresAt: ends.Truncate(time.Microsecond)})
		d, err := l.Admit(t.Context(), q)
		must(t, err)
		if d.Allowed {
			t.Fatal("want refused")
		}
		t.Log(d.RetryAfter())
		for g.admit(ratelimit.Request{Org: redistest.Org(t), Project: "p", Key: "k", Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(100), Cost: 1}}}).At.Before(ends.Add(time.Second)) {
		}
		d, err = l.Admit(t.Context(), q)
		must(t, err)
		other := g.admit(q)
		if d.Allowed != other.Allowed {
			t.Errorf("from memory allowed %t at %v (block ended %v), another limiter %t; refused %d", d.Allowed, d.At, ends, other.Allowed, l.Stats().Refused)
		}
	})
}

// Reset while a lease is out, in the same limiter.
func TestLeaseOfAResetCount(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, of := range windowed {
			t.Run(name, func(t *testing.T) {
				g := newGate(t, rdb)
				q := g.request(1, of(400, time.Hour).Ahead(100))
				for range 20 {
					g.admit(q)
				}
				g.ahead(q)
				must(t, g.limiter.Reset(t.Context(), q))
				o := newGate(t, rdb)
				o.org = g.org
				one := o.request(1, of(400, time.Hour)) // same count, nothing ahead
				one.Charges[0].Policy.Prefetch = 0
				n := 0
				for range 2 {
					for o.admit(one).Allowed {
						n++
					}
					must(t, g.limiter.Close(t.Context()))
				}
				if n > 400 {
					t.Errorf("%d admitted after Reset, limit 400", n)
				}
			})
		}
	})
}

// A limiter that is closed refuses from memory.
func TestClosedLimiterRemembersNothing(t *testing.T) {
	rdb := redistest.Standalone(t)
	l, err := ratelimit.New(rdb, ratelimit.WithTimeout(5*time.Second), ratelimit.WithRefusals(20*time.Second))
	must(t, err)
	r := ratelimit.Request{Org: redistest.Org(t), Project: "p", Key: "k", Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(1), Cost: 1}}}
	for range 3 {
		_, err := l.Admit(t.Context(), r)
		must(t, err)
	}
	must(t, l.Close(t.Context()))
	if d, err := l.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrUnavailable) {
		t.Errorf("after Close: %v %v", d, err)
	}
}
