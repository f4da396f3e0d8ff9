package ratelimit

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

// TestSetOff asks a limiter everything while it is off, and goes on where it was when it is not.
func TestSetOff(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		var commands counter
		rdb.AddHook(&commands)
		l, err := New(rdb, WithTimeout(time.Minute), WithRefusals(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		r := Request{Org: redistest.Org(t), Project: "shop", Key: "k", Endpoint: "GET /", Charges: []Charge{{Policy: PerHour(3).Fixed(), Cost: 1}}}
		p, err := l.Prepare(r)
		if err != nil {
			t.Fatal(err)
		}
		held := r
		held.Hold, held.Charges = "h", []Charge{{Policy: Concurrent(1), Cost: 1, Held: 1}}
		used := func(want int64) {
			t.Helper()
			d, err := l.Admit(t.Context(), r)
			if err != nil || d.Results[0].Used != want || l.Off() || l.Stats().Off {
				t.Errorf("%v, %v, off: %t; want %d used", d, err, l.Off(), want)
			}
		}
		used(1)
		l.SetOff(true)
		before := commands.sent.Load()
		for name, ask := range map[string]func() (Decision, error){
			"Admit": func() (Decision, error) { return l.Admit(t.Context(), r) },
			"Admit of what is not valid": func() (Decision, error) {
				return l.Admit(t.Context(), Request{Org: r.Org, Charges: []Charge{{Policy: PerHour(-1)}}})
			},
			"a look": func() (Decision, error) {
				look := r
				look.Peek = true
				return l.Admit(t.Context(), look)
			},
			"Prepared":   func() (d Decision, err error) { return d, p.Admit(t.Context(), Call{}, &d) },
			"AdmitLocal": func() (Decision, error) { return l.AdmitLocal(t.Context(), r) },
			"Settle":     func() (Decision, error) { return l.Settle(t.Context(), held) },
			"Renew":      func() (Decision, error) { return l.Renew(t.Context(), held) },
		} {
			if d, err := ask(); !errors.Is(err, ErrOff) || !errors.Is(err, ErrUnavailable) || d.Allowed || len(d.Results) != 0 {
				t.Errorf("%s: %v, %v", name, d, err)
			}
		}
		if n := commands.sent.Load() - before; n != 0 || !l.Off() || !l.Stats().Off {
			t.Errorf("%d commands were sent; off: %t, stats %+v", n, l.Off(), l.Stats())
		}
		l.SetOff(false)
		used(2)
	}, redistest.OrEmbedded())
}

// TestSetOffTakesNothingAhead has a limiter give back what it took ahead while it is off, and take no more.
func TestSetOffTakesNothingAhead(t *testing.T) {
	t.Parallel()
	p := prepared(t, new(counter), []int64{1}, hour(1000, 500))
	held := p.leases(t, 100)
	used := func(want int64) {
		t.Helper()
		if got := p.used(t)[0]; got != want {
			t.Errorf("%d used, want %d", got, want)
		}
	}
	used(101)
	p.limiter.SetOff(true)
	p.renew(0, []int64{200})
	p.settled()
	used(101)
	if err := held.end(); err != nil {
		t.Errorf("its time is over: %v", err)
	}
	used(1)
}
