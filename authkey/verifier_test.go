package authkey_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	first := g.opens(t, "first")
	want := &authkey.Identity{
		Org: "demo", Project: "shop", Key: g.record.ID, Credential: g.record.ID, Name: "first", Plan: "gold",
		Kind: authkey.KindSecret, Scopes: []string{authkey.ScopeWrite}, Products: []string{"maps"}, Method: "key",
		Notes: new(authkey.Notes),
	}
	if !reflect.DeepEqual(first, want) {
		t.Errorf("got %+v, want %+v", first, want)
	}
	if again := g.opens(t, "again"); again != first {
		t.Error("a cached record gave another identity")
	}
	if n := g.store.finds.Load(); n != 1 {
		t.Errorf("%d look-ups for two calls, want 1", n)
	}
	if got, want := g.Stats(), (authkey.Stats{Hits: 1, Misses: 1, Entries: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	if !first.HasScope(authkey.ScopeWrite) || first.HasScope("read") || !first.HasProduct("maps") || first.HasProduct("") {
		t.Error("HasScope or HasProduct is wrong")
	}
	var nobody *authkey.Identity
	if nobody.HasScope(authkey.ScopeWrite) || nobody.HasProduct("maps") {
		t.Error("nobody may do something")
	}
}

func TestRefusedWithoutLookup(t *testing.T) {
	t.Parallel()
	g := newGate(t, authkey.WithFormat(mustFormat(t, "acme", "live")))
	otherEnv, _ := mustFormat(t, "acme", "test").Mint("demo")
	otherBrand, _ := mustFormat(t, "acmi", "live").Mint("demo")
	for name, key := range map[string]string{
		"none":                 "",
		"junk":                 "junk",
		"a key and a bit more": g.key.Reveal() + "0",
		"a test key":           otherEnv.Reveal(),
		"a key of others":      otherBrand.Reveal(),
		"far too long":         strings.Repeat("a", 10_000),
	} {
		identity, err := g.Authenticate(t.Context(), authkey.NewPresented(key))
		fails(t, name, err, authkey.ErrMalformed)
		if identity != nil || key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("%s: identity %v, or the error %q tells the key", name, identity, err)
		}
	}
	if n := g.store.finds.Load(); n != 0 {
		t.Errorf("%d look-ups, want none", n)
	}
	g.opens(t, "the right format")
}

func TestWrongSecretIsUnknown(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	text := g.key.Reveal()
	at := strings.LastIndexByte(text, '_') + 1
	forged := authkey.NewPresented(seal(text[:at] + strings.Repeat("0", 32)))
	for range 2 {
		_, err := g.Authenticate(t.Context(), forged)
		fails(t, "a known id with a wrong secret", err, authkey.ErrUnknown)
	}
	g.opens(t, "the right secret, next to it")
	if n := g.store.finds.Load(); n != 2 {
		t.Errorf("%d look-ups, want one for each key", n)
	}
}

func TestDigestIsNoKey(t *testing.T) {
	t.Parallel()
	g := newGate(t, authkey.WithForeignKeys())
	foreign := authkey.NewPresented("an-old-key-0123456789")
	if _, err := g.issuer.Import(t.Context(), foreign, authkey.NewKey{Org: "demo", Project: "shop"}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []authkey.Presented{g.key, foreign} {
		sum := sha256.Sum256([]byte(key.Reveal()))
		for _, stolen := range []string{hex.EncodeToString(sum[:]), strings.ToUpper(hex.EncodeToString(sum[:])), string(sum[:])} {
			if identity, err := g.Authenticate(t.Context(), authkey.NewPresented(stolen)); err == nil {
				t.Errorf("a digest opened the gate for %+v", identity)
			}
		}
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	for state, want := range map[authkey.State]error{
		authkey.StateDisabled: authkey.ErrDisabled,
		authkey.StateRevoked:  authkey.ErrRevoked,
	} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.setState(t, state)
			for range 2 { // from the store, from the cache
				identity, err := g.Authenticate(t.Context(), g.key)
				fails(t, "Authenticate", err, want)
				if identity != nil || !strings.Contains(err.Error(), g.record.ID) {
					t.Errorf("identity %v, error %q: want none, and the credential named", identity, err)
				}
			}
		})
	}
}

func TestTimesAreJudgedWhileCached(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	_, key, err := g.issuer.Issue(t.Context(), authkey.NewKey{
		Org: "demo", Project: "shop", NotBefore: start.Add(time.Second), ExpiresAt: start.Add(2 * time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		at   time.Duration
		want error
	}{
		{0, authkey.ErrNotYetValid},
		{time.Second - 1, authkey.ErrNotYetValid},
		{time.Second, nil},
		{2*time.Second - 1, nil},
		{2 * time.Second, authkey.ErrExpired},
		{3 * time.Second, authkey.ErrExpired},
	} {
		g.clock.offset.Store(int64(step.at))
		if _, err := g.Authenticate(t.Context(), key); !errors.Is(err, step.want) {
			t.Errorf("after %v: error %v, want %v", step.at, err, step.want)
		}
	}
	if n := g.store.finds.Load(); n != 1 {
		t.Errorf("%d look-ups, want 1: the cache was to be tested", n)
	}
}

func TestOutageIsNotCached(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	down := errors.New("connection refused")
	g.store.answer = func(context.Context, authkey.Record, error) (authkey.Record, error) { return authkey.Record{}, down }
	for range 2 {
		_, err := g.Authenticate(t.Context(), g.key)
		fails(t, "while the store is down", err, authkey.ErrUnavailable)
		fails(t, "its cause", err, down)
		if errors.Is(err, authkey.ErrUnknown) {
			t.Error("an outage says that the key is unknown")
		}
	}
	if got, want := g.Stats(), (authkey.Stats{Misses: 2, StoreErrors: 2}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	g.store.answer = func(context.Context, authkey.Record, error) (authkey.Record, error) { panic("a bug") }
	_, err := g.Authenticate(t.Context(), g.key)
	fails(t, "a store that panics", err, authkey.ErrUnavailable)
	g.store.answer = nil
	held := g.opens(t, "when it is up again")

	g.store.answer = func(context.Context, authkey.Record, error) (authkey.Record, error) { return authkey.Record{}, down }
	_, err = g.Refresh(t.Context(), g.key, held)
	fails(t, "Refresh while the store is down", err, authkey.ErrUnavailable)
	g.opens(t, "the cached record during an outage")
}

func TestPepperRotation(t *testing.T) {
	t.Parallel()
	hasher := func(peppers ...authkey.Pepper) *authkey.Hasher {
		h, err := authkey.NewHasher(peppers...)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	v1 := authkey.NewPepper("v1", bytes.Repeat([]byte{1}, 32))
	v2 := authkey.NewPepper("v2", bytes.Repeat([]byte{2}, 32))
	forged := authkey.NewPepper("v1", bytes.Repeat([]byte{3}, 32))
	for _, c := range []struct {
		name     string
		issue    *authkey.Hasher
		verify   *authkey.Hasher
		minted   error
		imported error
	}{
		{"the same", hasher(v1), hasher(v1), nil, nil},
		{"a newer first", hasher(v1), hasher(v2, v1), nil, nil},
		{"none, then one, both listed", hasher(), hasher(v1, authkey.Pepper{}), nil, nil},
		{"none is not accepted beside one", hasher(), hasher(v1), authkey.ErrUnavailable, authkey.ErrUnknown},
		{"a pepper that is missing", hasher(v1), hasher(v2), authkey.ErrUnavailable, authkey.ErrUnknown},
		{"another secret", hasher(forged), hasher(v1), authkey.ErrUnknown, authkey.ErrUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			store := authkey.NewMemoryStore()
			issuer, err := authkey.NewIssuer(store, mustFormat(t, "acme", "live"), authkey.WithHasher(c.issue))
			if err != nil {
				t.Fatal(err)
			}
			verifier, err := authkey.New(store, authkey.WithHasher(c.verify), authkey.WithForeignKeys())
			if err != nil {
				t.Fatal(err)
			}
			of := authkey.NewKey{Org: "demo", Project: "shop"}
			_, minted, err := issuer.Issue(t.Context(), of)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = verifier.Authenticate(t.Context(), minted); !errors.Is(err, c.minted) {
				t.Errorf("a minted key: error %v, want %v", err, c.minted)
			}
			imported := authkey.NewPresented("an-old-key-0123456789")
			if _, err := issuer.Import(t.Context(), imported, of); err != nil {
				t.Fatal(err)
			}
			if _, err = verifier.Authenticate(t.Context(), imported); !errors.Is(err, c.imported) {
				t.Errorf("an imported key: error %v, want %v", err, c.imported)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	store := authkey.NewMemoryStore()
	for name, c := range map[string]struct {
		store authkey.Store
		opt   authkey.Option
	}{
		"nil store":        {nil, authkey.WithForeignKeys()},
		"nil option":       {store, nil},
		"WithFormat":       {store, authkey.WithFormat(authkey.Format{})},
		"WithHasher":       {store, authkey.WithHasher(nil)},
		"WithClock":        {store, authkey.WithClock(nil)},
		"WithCache(0":      {store, authkey.WithCache(0, time.Second)},
		"WithCache(1, 0":   {store, authkey.WithCache(1, 0)},
		"WithCache(1, 1m1": {store, authkey.WithCache(1, time.Minute+time.Second)},
		"WithNegativeC":    {store, authkey.WithNegativeCache(-1, time.Second)},
		"WithTimeout":      {store, authkey.WithTimeout(0)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := authkey.New(c.store, c.opt)
			fails(t, "New", err, authkey.ErrInvalid)
			if v != nil {
				t.Error("New returned a verifier with its error")
			}
			if strings.HasPrefix(name, "With") && !strings.Contains(err.Error(), name) {
				t.Errorf("error %q does not name %s", err, name)
			}
		})
	}
	_, err := authkey.New(nil, authkey.WithHasher(nil), authkey.WithTimeout(-1))
	for _, fault := range []string{"store", "WithHasher", "WithTimeout"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("error %q leaves out %s", err, fault)
		}
	}
}
