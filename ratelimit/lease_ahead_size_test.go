package ratelimit

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/tollgate-go/tollgate/lua"
)

// TestLeaseSize is what was used up lately, and a little more.
func TestLeaseSize(t *testing.T) {
	t.Parallel()
	c := new(counter)
	p := prepared(t, c, []int64{1}, hour(1_000_000, 500))
	l := p.leases(t, 8)
	for grown := int64(8); grown < 500; {
		sent := c.sent.Load()
		for l.rest()[0]*4 >= grown {
			l.serves(one, new(Decision))
		}
		p.settled()
		l, grown = p.lease.Load(), min(2*grown, 500)
		l.ends = 1 << 60
		if got := l.rest()[0]; got != l.taken[0] || got != grown || c.sent.Load() != sent+1 {
			t.Fatalf("%d left of %d, want %d by one command, not %d", got, l.taken[0], grown, c.sent.Load()-sent)
		}
	}
	for _, step := range []struct{ uses, size int64 }{{40, 50}, {8, 10}, {4, 5}} { // less and less
		for range step.uses {
			l.serves(one, new(Decision))
		}
		before := p.used(t)[0] - l.rest()[0]
		l.nears()
		p.settled()
		next := p.lease.Load()
		if got := next.rest()[0]; next == l || got != step.size || p.used(t)[0]-got != before {
			t.Fatalf("%d used: a lease of %d, want %d; %d counted as used, want %d", step.uses, got, step.size, p.used(t)[0]-got, before)
		}
		l = next
		l.ends = 1 << 60
	}
	l.nears()
	p.settled()
	if p.lease.Load() != l {
		t.Error("renewed, although nobody used it")
	}
	if err := l.end(); err != nil || p.lease.Load() != nil {
		t.Errorf("end: %v", err)
	}
}

// TestLeaseNotNearTheLimit takes none where others would notice, and none for who comes seldom.
func TestLeaseNotNearTheLimit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		remaining, cost, prefetch int64
		want                      bool
	}{
		"room":                    {16, 1, 100, true},
		"near":                    {15, 1, 100, false},
		"room for more":           {80, 5, 100, true},
		"near with more":          {79, 5, 100, false},
		"near with nothing":       {15, 0, 100, false},
		"room with nothing":       {16, 0, 100, true},
		"too little for a cost":   {1000, 5, 4, false},
		"just enough for a cost":  {1000, 5, 5, true},
		"nothing may be prefetch": {1000, 1, 0, false},
	} {
		p := prepared(t, new(counter), []int64{tt.cost}, hour(10_000, tt.prefetch))
		w := p.worked.Load()
		d := Decision{Results: []Result{{Remaining: tt.remaining, Cost: tt.cost}}}
		p.begin(one, w, &d)
		p.settled()
		if got := p.lease.Load() != nil; got != tt.want {
			t.Errorf("%s: a lease %t, want %t", name, got, tt.want)
		}
	}
	p := prepared(t, new(counter), []int64{1}, hour(100, 100))
	p.leases(t, 8)
	for remaining, want := range map[int64]int64{400: 8, 23: 5, 4: 1, 3: 0} {
		l := p.lease.Load()
		l.results[0].Remaining = remaining
		left := l.rest()[0]
		p.renew(0, []int64{left + 8})
		p.settled()
		if got := p.lease.Load().rest()[0] - left; got != want || (p.lease.Load() == l) != (want == 0) {
			t.Errorf("%d remained: %d more units, want %d", remaining, got, want)
		}
	}
	for name, ask := range map[string]question{"a peek": {check: lua.Check{Mode: lua.Peek}}, "a token": {Call: Call{Token: &Token{Issuer: "i"}}, check: one.check}} {
		p := prepared(t, new(counter), []int64{1}, hour(10_000, 100))
		var d Decision
		for range 5 {
			if err := p.put(t.Context(), &ask, &d); err != nil || p.lease.Load() != nil || p.renewing.Load() {
				t.Errorf("%s: %v; a lease that serves none such", name, err)
			}
		}
	}
	seldom := prepared(t, new(counter), []int64{1}, hour(10_000, 100))
	var d Decision
	for range 20 {
		seldom.asked.Store(seldom.asked.Load() - often)
		if err := seldom.Admit(t.Context(), Call{}, &d); err != nil || seldom.lease.Load() != nil || seldom.renewing.Load() {
			t.Fatalf("Admit: %v; a lease for who comes seldom", err)
		}
	}
}

// TestLeaseTakenAmidAChange is none: nobody knows under which limits it was taken.
func TestLeaseTakenAmidAChange(t *testing.T) {
	t.Parallel()
	c := new(counter)
	p := prepared(t, c, []int64{1}, hour(1000, 100))
	used := p.used(t)
	var once sync.Once
	c.does(nil, func() error {
		once.Do(func() {
			w := *p.worked.Load()
			p.worked.Store(&w)
		})
		return nil
	})
	if l := p.takes([]int64{50}, []int64{50}); l != nil || !slices.Equal(p.used(t), used) {
		t.Errorf("a lease %v, %v counted; want none, and %v", l, p.used(t), used)
	}
}

// TestLeaseRefused is none.
func TestLeaseRefused(t *testing.T) {
	t.Parallel()
	p := prepared(t, new(counter), []int64{1}, hour(100, 100))
	if l := p.takes([]int64{100}, []int64{100}); l != nil || p.used(t)[0] != 1 {
		t.Errorf("a lease %v, %v counted; want none, and 1", l, p.used(t))
	}
	if l := p.takes([]int64{99}, []int64{99}); l == nil || p.used(t)[0] != 100 {
		t.Errorf("a lease %v, %v counted; want all there is", l, p.used(t))
	}
}

// TestLeaseOutlivesItsRenewal: one that is lost, whether or not Redis did it, serves nobody, and the present one does.
func TestLeaseOutlivesItsRenewal(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{false, true} {
		c := new(counter)
		p := prepared(t, c, []int64{1}, hour(1000, 100))
		l := p.leases(t, 20)
		cut := func() error { return errors.New("cut") }
		var units int64
		if c.does(cut, nil); done {
			c.does(nil, cut)
			units = 20
		}
		p.renew(0, []int64{40})
		p.settled()
		c.does(nil, nil)
		if p.lease.Load() != l || l.rest()[0] != 20 || !l.serves(one, new(Decision)) {
			t.Errorf("done %t: %v left, want the lease as it was", done, l.rest())
		}
		if got := p.used(t)[0]; got != 21+units {
			t.Errorf("done %t: %d counted, want %d", done, got, 21+units)
		}
	}
}

// TestLeaseOfOtherWindows goes back, as does what has no room.
func TestLeaseOfOtherWindows(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(last, next *lease){
		"the same":      func(*lease, *lease) {},
		"other windows": func(last, _ *lease) { last.edges[0]++ },
		"other limits": func(last, _ *lease) {
			w := *last.w
			last.w = &w
		},
	} {
		p := prepared(t, new(counter), []int64{1}, hour(1000, 100))
		last, next := p.leases(t, 60), p.takes([]int64{50}, []int64{10})
		change(last, next)
		p.replace(next)
		want := int64(10)
		if name == "the same" {
			want = 50
		}
		if got, used := next.rest()[0], p.used(t)[0]; got != want || used != 1+want || last.rest()[0] != 0 || next.taken[0] != want {
			t.Errorf("%s: %d left of %d, %d counted, want %d", name, got, next.taken[0], used, want)
		}
	}
}

// TestLeaseExpiresWhileClosing is left to Close, which waits for those that are under way.
func TestLeaseExpiresWhileClosing(t *testing.T) {
	t.Parallel()
	p := prepared(t, new(counter), []int64{1}, hour(1000, 100))
	l := p.leases(t, 60)
	p.limiter.leases.closed.Store(true)
	if l.expire(); p.lease.Load() != l {
		t.Error("ended beside Close")
	}
	if p.renew(0, []int64{100}); p.renewing.Load() {
		t.Error("renewed after Close")
	}
	if err := p.limiter.leases.close(t.Context()); err != nil || p.lease.Load() != nil || p.used(t)[0] != 1 {
		t.Errorf("close: %v, %v counted, want 1", err, p.used(t))
	}
	if l.serves(one, new(Decision)) || l.serves(&question{Call: Call{Costs: []int64{0}}, check: one.check}, new(Decision)) {
		t.Error("served when it was given back")
	}
}

// TestLeaseTakenWhileClosing is given back: Close waits for it, and after that none is taken.
func TestLeaseTakenWhileClosing(t *testing.T) {
	t.Parallel()
	c := new(counter)
	p := prepared(t, c, []int64{1}, hour(1000, 100))
	under, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c.does(func() error {
		once.Do(func() {
			close(under)
			<-release
		})
		return nil
	}, nil)
	p.renew(0, []int64{50})
	<-under
	closed := make(chan error)
	go func() { closed <- p.limiter.leases.close(t.Context()) }()
	for !p.limiter.leases.closed.Load() {
		runtime.Gosched()
	}
	close(release)
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	p.settled()
	if l := p.lease.Load(); l != nil || p.used(t)[0] != 1 {
		t.Errorf("a lease %v, %v counted; want none, and 1", l, p.used(t))
	}
	if p.renew(0, []int64{50}); p.renewing.Load() {
		t.Error("taken after Close")
	}
}
