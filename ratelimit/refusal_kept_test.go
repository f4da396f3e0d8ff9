package ratelimit

import (
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// TestRefusalsOfAnEpoch are not of another.
func TestRefusalsOfAnEpoch(t *testing.T) {
	t.Parallel()
	eachRefuser(t, time.Minute, func(t *testing.T, r refuser) {
		q := r.request(1, longest(0))
		r.wants("without an epoch", q, true)
		stamps, err := r.limiter.conn.Epoch(t.Context(), r.org)
		if err != nil {
			t.Fatalf("Epoch: %v", err)
		}
		q.Epoch = stamps.Keys
		r.wants("first", q, true)
		r.wants("again", q, false)
		q.Epoch++
		if _, err := r.limiter.Admit(t.Context(), q); err == nil {
			t.Error("another epoch: refused from memory, want ErrStale")
		}
	})
}

// TestRefusalToldLate is none: what was given back between its decision and the moment in which the caller hears of it may
// have made room.
func TestRefusalToldLate(t *testing.T) {
	t.Parallel()
	eachRefuser(t, time.Minute, func(t *testing.T, r refuser) {
		p := longest(10)
		d, _ := r.asks(r.request(10, p))
		q := r.request(5, p)
		prepared, err := r.limiter.Prepare(q)
		if err != nil {
			t.Fatalf("Prepare: %v", err)
		}
		refused := r.wants("first", q, true)
		if _, err := r.limiter.Refund(t.Context(), q, d.At); err != nil {
			t.Fatalf("Refund: %v", err)
		}
		prepared.refuse(&question{check: lua.Check{Mode: lua.Take}}, prepared.worked.Load(), &refused, refused.At.UnixMicro())
		if d, asked := r.asks(q); !d.Allowed || !asked {
			t.Errorf("allowed %t, asked %t; want both", d.Allowed, asked)
		}
	})
}

// TestRefusalsOfSeveral go by the policy that refuses for longest, and tell of the others what their costs come to.
func TestRefusalsOfSeveral(t *testing.T) {
	t.Parallel()
	eachRefuser(t, time.Minute, func(t *testing.T, r refuser) {
		short, long := Per(10, 20*time.Second).Fixed().Named("short"), Per(10, 40*time.Second).Fixed().Named("long")
		q := r.request(10, short, long)
		r.asks(q)
		r.wants("first", q, true)
		p, err := r.limiter.find(&q, false)
		if err != nil {
			t.Fatalf("find: %v", err)
		}
		if f := p.refused.Load(); f == nil || f.policy != 1 || f.until-f.told <= 20_000_000 {
			t.Fatalf("%+v, want it to go by the longer", f)
		}
		q.Charges[0].Cost = 0
		if d := r.wants("the other costs nothing", q, false); d.Results[0].Exceeded || !d.Results[1].Exceeded || d.Results[0].RetryAfter != 0 {
			t.Errorf("%v, want it refused by the longer alone", d)
		}
		q.Charges[0].Cost = 11
		if d := r.wants("the other never fits", q, false); d.RetryAfter() != Never {
			t.Errorf("%v, want it never to fit", d)
		}
		q.Charges[0].Cost, q.Charges[1].Cost = 10, 0
		r.wants("that costs nothing", q, true)
	})
}

// TestRefusalsAreNotKept where more than a count decides.
func TestRefusalsAreNotKept(t *testing.T) {
	t.Parallel()
	eachRefuser(t, time.Minute, func(t *testing.T, r refuser) {
		for name, q := range map[string]Request{
			"candidate":   r.request(1, longest(0), longest(1).Named("next").InPlaceOf("")),
			"concurrency": r.request(1, Concurrent(0)),
		} {
			for range 3 {
				r.wants(name, q, true)
			}
		}
		held := r.request(6, longest(10).Named("held").Reserved(time.Hour))
		r.asks(held)
		for range 3 {
			r.wants("held", held, true)
		}
	})
}

// TestRefusalsAllocate nothing, and ask nothing of Redis.
func TestRefusalsAllocate(t *testing.T) {
	c := new(counter)
	p := prepared(t, c, []int64{1, 1}, longest(0), longest(5).Named("next"))
	sent := c.sent.Load()
	var d Decision
	got := testing.AllocsPerRun(1000, func() {
		if err := p.Admit(t.Context(), Call{}, &d); err != nil || d.Allowed || len(d.Results) != 2 {
			t.Fatalf("Admit: %v, %v", d, err)
		}
	})
	if refused := p.limiter.Stats().Refused; refused < 1000 {
		t.Errorf("Stats tells %d refused from memory", refused)
	}
	if got != 0 || c.sent.Load() != sent {
		t.Errorf("%v allocations and %d commands, want none", got, c.sent.Load()-sent)
	}
}
