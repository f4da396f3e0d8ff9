package ratelimit_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// subject is a name of the token that bearer returns.
var subject = lua.Name{Kind: lua.NameSubject, Issuer: "https://id.example", Value: "mia"}

func bearer() *ratelimit.Token {
	return &ratelimit.Token{Issuer: subject.Issuer, ID: "t1", Subject: "mia", Session: "s1", Client: "c1", IssuedAt: time.Now().Add(-time.Minute)}
}

func connOf(t *testing.T, rdb redis.UniversalClient) *lua.Conn {
	t.Helper()
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatalf("NewConn: %v", err)
	}
	return conn
}

func (g gate) revoke(conn *lua.Conn, name lua.Name) {
	g.Helper()
	if _, err := conn.Revoke(g.Context(), g.org, lua.Revocation{Name: name}, time.Hour.Microseconds(), audit.Line{}); err != nil {
		g.Fatalf("Revoke: %v", err)
	}
}

// refused asks for what is revoked, and holds that it is refused and nothing is taken, on every replica.
func (g gate) refused(what string, r ratelimit.Request) {
	g.Helper()
	for _, peek := range []bool{false, true} {
		r.Peek = peek
		d, err := g.limiter.Admit(g.Context(), r)
		if !errors.Is(err, ratelimit.ErrRevoked) || errors.Is(err, ratelimit.ErrMonitored) || d.Allowed || d.TokenChecked || d.Results != nil {
			g.Errorf("%s, peek %t: %+v, %v; want ErrRevoked alone", what, peek, d, err)
		}
	}
}

// state tells what is counted of a project, and what is held.
func (g gate) state(p ratelimit.Policy) string {
	g.Helper()
	r := g.request(0, p)
	r.Peek = true
	result := g.admit(r).Results[0]
	return fmt.Sprint(result.Used, result.Held)
}

// TestRevokedToken: each name refuses from the next request on, on a warm replica too; whoever shows no token, or
// another, passes.
func TestRevokedToken(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn := connOf(t, rdb)
		for _, name := range []lua.Name{
			subject, {Kind: lua.NameToken, Issuer: subject.Issuer, Value: "t1"}, {Kind: lua.NameSession, Issuer: subject.Issuer, Value: "s1"},
			{Kind: lua.NameClient, Issuer: subject.Issuer, Value: "c1"},
		} {
			a, b := newGate(t, rdb), newGate(t, rdb)
			b.org = a.org
			p := ratelimit.PerHour(10).Fixed()
			r := a.request(1, p)
			r.Token = bearer()
			for _, g := range []gate{a, b} {
				if d := g.admit(r); !d.Allowed || !d.TokenChecked {
					t.Errorf("%s: before: %+v, want it allowed, and the token checked", name.Kind, d)
				}
			}
			a.revoke(conn, name)
			a.refused(string(name.Kind), r)
			b.refused(string(name.Kind), r)
			other := r
			other.Token = bearer()
			other.Token.Issuer = "https://other.example"
			if d := b.admit(other); !d.Allowed || !d.TokenChecked {
				t.Errorf("%s: of another issuer: %+v", name.Kind, d)
			}
			other.Token.Issuer, other.Token.IssuedAt = subject.Issuer, time.Now().Add(time.Minute)
			if name.Kind == lua.NameToken {
				b.refused("a later one with the same id", other)
				other.Token.ID = "t2"
			}
			if d := b.admit(other); !d.Allowed || !d.TokenChecked {
				t.Errorf("%s: a later one: %+v", name.Kind, d)
			}
			r.Token = nil
			if d := b.admit(r); !d.Allowed || d.TokenChecked || d.Results[0].Used != 5 {
				t.Errorf("%s: without a token: %+v, want it allowed, and 5 taken: nothing by the refused", name.Kind, d)
			}
		}
	}, redistest.OrEmbedded())
}

// TestRevokedWhereNothingCounts: requests that nothing limits, or that take nothing, are looked up all the same, and a
// limiter that refuses nobody refuses these.
func TestRevokedWhereNothingCounts(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, g := connOf(t, rdb), newGate(t, rdb)
		g.set(ratelimit.Override{Policy: "free", Access: ratelimit.Unlimited})
		p := ratelimit.PerHour(10)
		uncounted := g.request(1, p.Named("free"), p.Named("next").InPlaceOf("free").By("nothing"))
		exceeded, taking := g.request(11, p), g.request(1, p)
		held := g.request(1, ratelimit.Concurrent(1))
		requests := map[string]ratelimit.Request{
			"unlimited": g.request(1, p.Named("free")), "uncounted": uncounted, "of no cost": g.request(0, p), "exceeded": exceeded, "taking": taking, "holding": held,
		}
		check := func(what string, ask func(name string, r ratelimit.Request)) {
			for name, r := range requests {
				r.Token = bearer()
				ask(what+", "+name, r)
			}
		}
		check("before", func(name string, r ratelimit.Request) {
			r.Peek = true
			if d := g.admit(r); !d.TokenChecked || d.Allowed == (name == "before, exceeded") {
				t.Errorf("%s: %+v", name, d)
			}
		})
		g.revoke(conn, subject)
		check("revoked", g.refused)
		g.limiter.SetMonitor(true)
		check("monitored", g.refused)
		g.limiter.SetMonitor(false)
		if used, places := g.state(p), g.state(ratelimit.Concurrent(1)); used != "0 0" || places != "0 0" {
			t.Errorf("%s units used and held, %s places; want none", used, places)
		}
		r := g.request(1, p)
		r.Token = bearer()
		if d, err := g.limiter.Preview(t.Context(), r, ratelimit.Override{Org: g.org, Limit: new(int64(5))}); !errors.Is(err, ratelimit.ErrRevoked) {
			t.Errorf("Preview: %+v, %v; want ErrRevoked", d, err)
		}
	}, redistest.OrEmbedded())
}

// TestRevokedGoesBeforeStale: an identity that is both is not read anew in vain.
func TestRevokedGoesBeforeStale(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, g := connOf(t, rdb), newGate(t, rdb)
		r := g.request(1, ratelimit.PerHour(10))
		r.Token, r.Epoch = bearer(), 5
		g.revoke(conn, subject)
		g.refused("stale", r)
		g.set(ratelimit.Override{Limit: new(int64(9))}) // makes what is in memory old
		g.refused("with old limits", r)
		if err := conn.LiftRevocation(t.Context(), g.org, subject, audit.Line{}); err != nil {
			t.Fatalf("LiftRevocation: %v", err)
		}
		if d, err := g.limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrStale) || d.TokenChecked {
			t.Errorf("after it was lifted: %+v, %v; want ErrStale", d, err)
		}
		r.Epoch = 0
		if d := g.admit(r); !d.Allowed || !d.TokenChecked {
			t.Errorf("as it is now: %+v", d)
		}
	}, redistest.OrEmbedded())
}

// TestRevokedWhileHeld: what was begun is renewed, settled and given back, whatever became of the token meanwhile.
func TestRevokedWhileHeld(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, g := connOf(t, rdb), newGate(t, rdb)
		holding := ratelimit.PerHour(10).Fixed().Reserved(time.Minute)
		r, taken := g.request(3, holding), g.request(2, ratelimit.PerHour(10).Named("taken"))
		r.Token, taken.Token = bearer(), bearer()
		d, at := g.admit(r), g.admit(taken).At
		g.revoke(conn, subject)
		r.Hold, r.Charges[0].Held = d.Hold, 3
		if d, err := g.limiter.Renew(t.Context(), r); err != nil || d.TokenChecked {
			t.Errorf("Renew: %+v, %v", d, err)
		}
		r.Charges[0].Cost = 1
		if d, err := g.limiter.Settle(t.Context(), r); err != nil || d.TokenChecked || d.Results[0].Used != 1 {
			t.Errorf("Settle: %+v, %v; want 1 used", d, err)
		}
		if d, err := g.limiter.Refund(t.Context(), taken, at); err != nil || d.TokenChecked || d.Results[0].Used != 0 {
			t.Errorf("Refund: %+v, %v; want nothing used", d, err)
		}
		if err := g.limiter.Reset(t.Context(), r); err != nil || g.state(holding) != "0 0" {
			t.Errorf("Reset: %v, %s used and held", err, g.state(holding))
		}
	}, redistest.OrEmbedded())
}

// TestRevokedWhileAdmitting revokes under load of two replicas: what began after the acknowledgement is refused, and the
// count is that of the admissions.
func TestRevokedWhileAdmitting(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, a, b := connOf(t, rdb), newGate(t, rdb), newGate(t, rdb)
		b.org = a.org
		p := ratelimit.PerHour(1_000_000).Fixed()
		var acknowledged atomic.Bool
		var admitted, late, begun atomic.Int64
		var group sync.WaitGroup
		enough := make(chan struct{})
		for i, g := range []gate{a, b, a, b} {
			r := g.request(int64(1+i%2), p)
			r.Token = bearer()
			group.Go(func() {
				for refusals := 0; refusals < 20; {
					after := acknowledged.Load()
					d, err := g.limiter.Admit(t.Context(), r)
					switch {
					case err == nil && d.Allowed:
						admitted.Add(r.Charges[0].Cost)
						if after {
							late.Add(1)
							return
						}
					case !errors.Is(err, ratelimit.ErrRevoked):
						t.Errorf("Admit: %+v, %v", d, err)
						return
					case after:
						refusals++
					}
					if begun.Add(1) == 100 {
						close(enough)
					}
				}
			})
		}
		<-enough
		a.revoke(conn, subject)
		acknowledged.Store(true)
		used := a.state(p)
		group.Wait()
		if late.Load() != 0 {
			t.Errorf("%d admitted after the acknowledgement", late.Load())
		}
		if after := a.state(p); after != used || after != fmt.Sprint(admitted.Load(), 0) {
			t.Errorf("%s used and held at the acknowledgement, %s later, %d admitted; want the same", used, after, admitted.Load())
		}
	})
}

// TestTokenUnavailable: without Redis nobody knows, and nobody is called revoked.
func TestTokenUnavailable(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: silent(t), ReadTimeout: -1, WriteTimeout: -1, MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(20*time.Millisecond))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	r := ratelimit.Request{Org: "acme", Project: "shop", Token: bearer(), Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(1), Cost: 1}}}
	if d, err := limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrUnavailable) || errors.Is(err, ratelimit.ErrRevoked) || d.TokenChecked {
		t.Errorf("Admit: %+v, %v; want ErrUnavailable", d, err)
	}
}
