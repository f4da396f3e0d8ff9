package authkey_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// guess returns a key with a good checksum that nobody knows.
func guess(t *testing.T) authkey.Presented {
	t.Helper()
	key, _ := mustFormat(t, "acme", "live").Mint("demo")
	return key
}

// 100,000 unknown keys in ten seconds leave known keys in the cache, and reach the store at the set rate.
func TestFloodOfUnknownKeys(t *testing.T) {
	t.Parallel()
	const keys, seconds, good = 100_000, 10, 50
	g := newGate(t)
	known := []authkey.Presented{g.key}
	for range good - 1 {
		_, key, err := g.issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, key)
	}
	opens := func(when string) {
		t.Helper()
		for _, key := range known {
			if _, err := g.Authenticate(t.Context(), key); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
		}
	}
	opens("before")
	before := g.store.finds.Load()
	refused := map[error]int{}
	for i := range keys {
		g.clock.advance(seconds * time.Second / keys)
		_, err := g.Authenticate(t.Context(), guess(t))
		for _, want := range []error{authkey.ErrUnknown, authkey.ErrUnavailable} {
			if errors.Is(err, want) {
				refused[want]++
			}
		}
		if i%1000 == 0 { // all the while, although entries end twice meanwhile
			opens("in the flood")
		}
	}
	const most = 400 + 200*seconds
	if n := refused[authkey.ErrUnknown]; n > most || n < most-1 {
		t.Errorf("%d unknown keys were looked up in %d s, want %d", n, seconds, most)
	}
	if n := refused[authkey.ErrUnknown] + refused[authkey.ErrUnavailable]; n != keys {
		t.Errorf("%d of %d keys were refused as unknown or undecided", n, keys)
	}
	if n, again := int(g.store.finds.Load()-before)-refused[authkey.ErrUnknown], good*(seconds/5); n > again {
		t.Errorf("%d look-ups of known keys, want no more than %d: one for each life of an entry", n, again)
	}
	stats := g.Stats()
	if stats.Entries != good || stats.NegativeEntries > 1024 || stats.Throttled != uint64(refused[authkey.ErrUnavailable]) {
		t.Errorf("stats %+v, want %d entries, at most 1024 negative ones and %d throttled", stats, good, refused[authkey.ErrUnavailable])
	}
}

// In a flood, a known key that is seen for the first time has the chance of any other, and then passes for good.
func TestNewKeyInAFlood(t *testing.T) {
	t.Parallel()
	g := newGate(t, authkey.WithUnknownRate(1, 3))
	for range 3 {
		_, err := g.Authenticate(t.Context(), guess(t))
		fails(t, "a guess", err, authkey.ErrUnknown)
	}
	_, err := g.Authenticate(t.Context(), g.key)
	fails(t, "a known key without a token", err, authkey.ErrUnavailable)
	g.clock.advance(time.Second)
	g.opens(t, "with a token")
	_, err = g.Authenticate(t.Context(), guess(t))
	fails(t, "a guess, with the token that was given back", err, authkey.ErrUnknown)
	_, err = g.Authenticate(t.Context(), guess(t))
	fails(t, "a guess without a token", err, authkey.ErrUnavailable)
	for range 3 {
		g.clock.advance(time.Minute)
		for range 100 { // they take all that a minute brought
			_, _ = g.Authenticate(t.Context(), guess(t))
		}
		finds := g.store.finds.Load()
		g.opens(t, "a key that was seen before, a minute ago")
		if g.store.finds.Load() != finds+1 {
			t.Error("the key was not looked up anew")
		}
	}
	held := g.opens(t, "once more")
	if _, err := g.Refresh(t.Context(), g.key, held); err != nil {
		t.Errorf("a stale identity in a flood: %v", err)
	}
	g.setState(t, authkey.StateRevoked)
	_, err = g.Refresh(t.Context(), g.key, held)
	fails(t, "a revoked key in a flood", err, authkey.ErrRevoked)
}

// Known keys give back what they took, however many of them are new.
func TestNewKeysAreNoFlood(t *testing.T) {
	t.Parallel()
	g := newGate(t, authkey.WithUnknownRate(1, 2))
	for range 50 {
		_, key, err := g.issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Authenticate(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if n := g.Stats().Throttled; n != 0 {
		t.Errorf("%d look-ups were not made, want all", n)
	}
}

// A store that does not answer is not asked more often than one that does.
func TestFloodAtAnOutage(t *testing.T) {
	t.Parallel()
	const burst, callers = 5, 50
	g := newGate(t, authkey.WithUnknownRate(1, burst))
	g.store.answer = func(context.Context, authkey.Record, error) (authkey.Record, error) {
		return authkey.Record{}, authkey.ErrUnavailable
	}
	for range callers {
		_, err := g.Authenticate(t.Context(), guess(t))
		fails(t, "an outage", err, authkey.ErrUnavailable)
	}
	if n := g.store.finds.Load(); n != burst {
		t.Errorf("the store was asked %d times, want %d", n, burst)
	}
}

func TestWithUnknownRateRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]int{{0, 1}, {1, 0}, {-1, 1}, {1_000_001, 1}, {1, 1_000_001}} {
		_, err := authkey.New(authkey.NewMemoryStore(), authkey.WithUnknownRate(c[0], c[1]))
		fails(t, "out of bounds", err, authkey.ErrInvalid)
	}
}
