package authkey_test

import (
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

func TestCacheLife(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.opens(t, "at first")
	g.setState(t, authkey.StateRevoked)
	g.clock.advance(5*time.Second - 1)
	g.opens(t, "within the life of the entry")
	g.clock.advance(1)
	_, err := g.Authenticate(t.Context(), g.key)
	fails(t, "after it", err, authkey.ErrRevoked)
}

func TestNegativeEntryThenCreate(t *testing.T) {
	t.Parallel()
	g := newGate(t, authkey.WithForeignKeys())
	key := authkey.NewPresented("an-old-key-0123456789")
	for range 2 {
		_, err := g.Authenticate(t.Context(), key)
		fails(t, "before it is there", err, authkey.ErrUnknown)
	}
	if got, want := g.Stats(), (authkey.Stats{Misses: 1, NegativeHits: 1, NegativeEntries: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	record, err := g.issuer.Import(t.Context(), key, authkey.NewKey{Org: "demo", Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if identity, err := g.verifier(t, authkey.WithForeignKeys()).Authenticate(t.Context(), key); err != nil || identity.Credential != record.ID {
		t.Errorf("a verifier that had not asked: %v, %v", identity, err)
	}
	g.clock.advance(2*time.Second - 1)
	_, err = g.Authenticate(t.Context(), key)
	fails(t, "within the life of the negative entry", err, authkey.ErrUnknown)
	g.clock.advance(1)
	if identity, err := g.Authenticate(t.Context(), key); err != nil || identity.Credential != record.ID {
		t.Errorf("after it: %v, %v", identity, err)
	}
	if got := g.Stats(); got.NegativeEntries != 0 || got.Entries != 1 {
		t.Errorf("stats %+v: want the negative entry gone", got)
	}
}

func TestFloodOfUnknownKeysEvictsNothingGood(t *testing.T) {
	t.Parallel()
	g := newGate(t, authkey.WithCache(1, time.Second), authkey.WithNegativeCache(16, time.Second))
	g.opens(t, "before")
	format := mustFormat(t, "acme", "live")
	for range 200 {
		junk, _ := format.Mint("demo")
		_, err := g.Authenticate(t.Context(), junk)
		fails(t, "junk", err, authkey.ErrUnknown)
	}
	before := g.store.finds.Load()
	g.opens(t, "after")
	if g.store.finds.Load() != before {
		t.Error("the good entry was evicted")
	}
	if got := g.Stats(); got.Entries != 1 || got.NegativeEntries != 16 {
		t.Errorf("stats %+v: want the caches full and no fuller", got)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	g := newGate(t, authkey.WithCache(8, time.Minute))
	for range 40 {
		_, key, err := g.issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := g.Authenticate(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := g.Stats(), (authkey.Stats{Misses: 40, Hits: 40, Entries: 8}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestHitDoesNotAllocate(t *testing.T) {
	g := newGate(t, authkey.WithFormat(mustFormat(t, "acme", "live")))
	g.opens(t, "to fill the cache")
	ctx := t.Context()
	if n := testing.AllocsPerRun(200, func() { _, _ = g.Authenticate(ctx, g.key) }); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}
