package ratelimit_test

import (
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestRefusalOfAnEvictedOrg(t *testing.T) {
	rdb := redistest.Standalone(t)
	g := newGate(t, rdb)
	l, err := ratelimit.New(rdb, ratelimit.WithTimeout(5*time.Second), ratelimit.WithRefusals(time.Minute), ratelimit.WithCachedOrgs(1))
	must(t, err)
	q := g.request(1, ratelimit.PerHour(1))
	q2 := q
	q2.Project = "another"
	o := q
	o.Org = redistest.Org(t)
	do := func(r ratelimit.Request) ratelimit.Decision {
		d, err := l.Admit(t.Context(), r)
		must(t, err)
		return d
	}
	do(q)
	do(q) // refused
	do(o) // evicts
	g.set(ratelimit.Override{Limit: new(int64(100))})
	if d := do(q2); d.Results[0].Limit != 100 {
		t.Fatal("has not heard")
	}
	if d := do(q); !d.Allowed {
		t.Errorf("refused from memory (%d) after the process heard of the raise", l.Stats().Refused)
	}
}
