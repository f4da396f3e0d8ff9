package authkey_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// outage is a store that can be away.
type outage struct {
	away  atomic.Bool
	epoch atomic.Int64
}

func (o *outage) through(_ context.Context, record authkey.Record, err error) (authkey.Record, error) {
	if o.away.Load() {
		return authkey.Record{}, authkey.ErrUnavailable
	}
	record.Epoch = o.epoch.Load()
	return record, err
}

func newOutage(g *gate) *outage {
	o := new(outage)
	o.epoch.Store(10)
	g.store.answer = o.through
	return o
}

// TestGraceMatrix has a key verified, and looks at it so long after, while the store is away or not.
func TestGraceMatrix(t *testing.T) {
	t.Parallel()
	const life = 5 * time.Second
	for _, row := range []struct {
		name  string
		grace time.Duration
		after time.Duration
		back  bool // the store is
		want  error
	}{
		{"no grace, within the life", 0, life - 1, false, nil},
		{"no grace, after it", 0, life, false, authkey.ErrUnavailable},
		{"grace begins", time.Minute, life, false, nil},
		{"grace ends", time.Minute, time.Minute - 1, false, nil},
		{"grace is over", time.Minute, time.Minute, false, authkey.ErrUnavailable},
		{"a grace that is shorter than the life", time.Second, life - 1, false, nil},
		{"and over when that ends", time.Second, life, false, authkey.ErrUnavailable},
		{"the store is back", time.Minute, time.Hour, true, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, authkey.WithGrace(row.grace))
			store := newOutage(g)
			g.opens(t, "at first")
			g.clock.advance(row.after)
			store.away.Store(!row.back)
			identity, err := g.Authenticate(t.Context(), g.key)
			if !errors.Is(err, row.want) || (err == nil) != (row.want == nil) || (identity == nil) != (err != nil) {
				t.Errorf("%v, %v; want %v", identity, err, row.want)
			}
			graces := uint64(0)
			if !row.back && row.want == nil && row.after >= life {
				graces = 1
			}
			if got := g.Stats().Graces; got != graces {
				t.Errorf("%d graces, want %d", got, graces)
			}
		})
	}
}

// TestGraceIsForWhatWasGood has the store go away after it said something else.
func TestGraceIsForWhatWasGood(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		before func(t *testing.T, g *gate, o *outage)
		want   error
	}{
		{"revoked when it was last seen", func(t *testing.T, g *gate, _ *outage) {
			g.setState(t, authkey.StateRevoked)
			_, err := g.Authenticate(t.Context(), g.key)
			fails(t, "while it is there", err, authkey.ErrRevoked)
		}, authkey.ErrRevoked},
		{"disabled when it was last seen", func(t *testing.T, g *gate, _ *outage) {
			g.setState(t, authkey.StateDisabled)
			_, err := g.Authenticate(t.Context(), g.key)
			fails(t, "while it is there", err, authkey.ErrDisabled)
		}, authkey.ErrDisabled},
		{"unknown when it was last looked for", func(t *testing.T, g *gate, o *outage) {
			g.store.answer = func(context.Context, authkey.Record, error) (authkey.Record, error) {
				return authkey.Record{}, authkey.ErrUnknown
			}
			_, err := g.Authenticate(t.Context(), g.key)
			fails(t, "while it is there", err, authkey.ErrUnknown)
			g.store.answer = o.through
		}, authkey.ErrUnavailable},
		{"known to be stale", func(t *testing.T, g *gate, o *outage) {
			held := g.opens(t, "while it is there")
			o.away.Store(true)
			_, err := g.Refresh(t.Context(), g.key, held)
			fails(t, "Refresh", err, authkey.ErrUnavailable)
		}, authkey.ErrUnavailable},
		{"not trusted by somebody who holds none", func(t *testing.T, g *gate, o *outage) {
			o.away.Store(true)
			_, err := g.Refresh(t.Context(), g.key, nil)
			fails(t, "Refresh", err, authkey.ErrUnavailable)
		}, authkey.ErrUnavailable},
		{"stale, and then found good", func(t *testing.T, g *gate, o *outage) {
			held := g.opens(t, "while it is there")
			o.epoch.Add(10)
			if _, err := g.Refresh(t.Context(), g.key, held); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"somebody else's is stale", func(t *testing.T, g *gate, o *outage) {
			g.opens(t, "while it is there")
			_, other, err := g.issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"})
			if err != nil {
				t.Fatal(err)
			}
			held, err := g.Authenticate(t.Context(), other)
			if err != nil {
				t.Fatal(err)
			}
			o.away.Store(true)
			_, err = g.Refresh(t.Context(), other, held)
			fails(t, "Refresh", err, authkey.ErrUnavailable)
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, authkey.WithGrace(time.Hour))
			store := newOutage(g)
			g.opens(t, "at first")
			g.clock.advance(5 * time.Second)
			row.before(t, g, store)
			g.clock.advance(time.Minute)
			store.away.Store(true)
			if _, err := g.Authenticate(t.Context(), g.key); !errors.Is(err, row.want) || (err == nil) != (row.want == nil) {
				t.Errorf("%v, want %v", err, row.want)
			}
		})
	}
}

func TestGraceJudgesTimes(t *testing.T) {
	t.Parallel()
	g := newGate(t, authkey.WithGrace(time.Hour))
	store := newOutage(g)
	_, key, err := g.issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop", ExpiresAt: g.clock.now().Add(10 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Authenticate(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	store.away.Store(true)
	g.clock.advance(10*time.Minute - 1)
	if _, err := g.Authenticate(t.Context(), key); err != nil {
		t.Errorf("before its end: %v", err)
	}
	g.clock.advance(1)
	_, err = g.Authenticate(t.Context(), key)
	fails(t, "at its end", err, authkey.ErrExpired)
	_, err = g.Authenticate(t.Context(), g.key)
	fails(t, "a key that this verifier has not verified", err, authkey.ErrUnavailable)
}

// TestGraceIsNoneForALateRead has a look-up that began before a change put back what is known to be stale.
func TestGraceIsNoneForALateRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, authkey.WithGrace(time.Hour))
		a := newAnswers(g)
		held := g.opens(t, "at first")
		g.clock.advance(5 * time.Second)
		release := a.hold()
		var both sync.WaitGroup
		both.Go(func() { _, _ = g.Authenticate(t.Context(), g.key) })
		synctest.Wait()
		both.Go(func() {
			_, err := g.Refresh(t.Context(), g.key, held)
			fails(t, "Refresh", err, authkey.ErrUnavailable)
		})
		synctest.Wait()
		g.store.answer = func(context.Context, authkey.Record, error) (authkey.Record, error) {
			return authkey.Record{}, authkey.ErrUnavailable
		}
		release()
		both.Wait()
		g.clock.advance(5 * time.Second)
		_, err := g.Authenticate(t.Context(), g.key)
		fails(t, "after the life of what was put back", err, authkey.ErrUnavailable)
	})
}

// TestGraceIsNoneForWhoLeaves has a caller go away while the store is asked, which says nothing of the store.
func TestGraceIsNoneForWhoLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, authkey.WithGrace(time.Hour))
		a := newAnswers(g)
		g.opens(t, "at first")
		g.clock.advance(5 * time.Second)
		a.revoke(t, g)
		release := a.hold()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := g.Authenticate(ctx, g.key)
		fails(t, "of a caller who went away", err, context.Canceled)
		release()
		synctest.Wait()
		_, err = g.Authenticate(t.Context(), g.key)
		fails(t, "of one who stayed", err, authkey.ErrRevoked)
		if got := g.Stats().Graces; got != 0 {
			t.Errorf("%d graces, want none", got)
		}
	})
}

// TestStaleStaysSoAfterItsCallerLeft has a look-up from before a change land when whoever was told of it, by Refresh, has
// gone already: what it brings is as stale as what was held.
func TestStaleStaysSoAfterItsCallerLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, authkey.WithGrace(time.Hour))
		a := newAnswers(g)
		held := g.opens(t, "at first")
		g.clock.advance(5 * time.Second)
		release := a.hold()
		var early sync.WaitGroup
		early.Go(func() { _, _ = g.Authenticate(t.Context(), g.key) })
		synctest.Wait() // it has read
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := g.Refresh(ctx, g.key, held)
		fails(t, "Refresh", err, context.Canceled)
		release()
		early.Wait()
		newOutage(g).away.Store(true)
		g.clock.advance(5 * time.Second)
		_, err = g.Authenticate(t.Context(), g.key)
		fails(t, "while the store is away", err, authkey.ErrUnavailable)
	})
}

func TestGraceBounds(t *testing.T) {
	t.Parallel()
	for d, valid := range map[time.Duration]bool{-1: false, 0: true, 24 * time.Hour: true, 24*time.Hour + 1: false} {
		if _, err := authkey.New(authkey.NewMemoryStore(), authkey.WithGrace(d)); (err == nil) != valid || !valid && !errors.Is(err, authkey.ErrInvalid) {
			t.Errorf("WithGrace(%v): %v", d, err)
		}
	}
}
