package authkey_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

func TestRehashMovesKeysToTheCurrentPepper(t *testing.T) {
	t.Parallel()
	store := &spy{Store: authkey.NewMemoryStore()}
	hasher := func(peppers ...authkey.Pepper) *authkey.Hasher {
		h, err := authkey.NewHasher(peppers...)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	secret := func(b byte) []byte {
		s := make([]byte, 32)
		s[0] = b
		return s
	}
	v1, v2 := authkey.NewPepper("v1", secret(1)), authkey.NewPepper("v2", secret(2))
	issuer, err := authkey.NewIssuer(store, mustFormat(t, "acme", "live"), authkey.WithHasher(hasher(v1)))
	if err != nil {
		t.Fatal(err)
	}
	record, minted, err := issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	foreign := authkey.NewPresented("an-old-key-0123456789")
	imported, err := issuer.Import(t.Context(), foreign, authkey.NewKey{Org: "demo", Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = authkey.New(store, authkey.WithRehash())
	fails(t, "WithRehash on a store that cannot", err, authkey.ErrInvalid)

	both, err := authkey.New(store.Store, authkey.WithHasher(hasher(v2, v1)), authkey.WithForeignKeys(), authkey.WithRehash())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []authkey.Presented{minted, foreign} {
		if _, err := both.Authenticate(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if s := both.Stats(); s.Rehashes != 2 || s.RehashErrors != 0 {
		t.Errorf("stats %+v, want two digests replaced", s)
	}
	only, err := authkey.New(store, authkey.WithHasher(hasher(v2)), authkey.WithForeignKeys())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []authkey.Presented{minted, foreign} {
		if _, err := only.Authenticate(t.Context(), key); err != nil {
			t.Errorf("without the old pepper: %v", err)
		}
	}
	for _, id := range []string{record.ID, imported.ID} {
		if found, err := store.Find(t.Context(), id); err != nil || found.Credentials[0].PepperVersion != "v2" {
			t.Errorf("%+v, %v; want pepper v2", found.Credentials, err)
		}
	}
}

// A key whose digest cannot be replaced opens as before.
func TestFailedRehashRefusesNobody(t *testing.T) {
	t.Parallel()
	store := &stubborn{MemoryStore: authkey.NewMemoryStore()}
	issuer, err := authkey.NewIssuer(store, mustFormat(t, "acme", "live"))
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := authkey.NewHasher(authkey.NewPepper("v1", make([]byte, 32)), authkey.Pepper{})
	if err != nil {
		t.Fatal(err)
	}
	for _, cause := range []error{authkey.ErrUnavailable, authkey.ErrConflict} {
		store.err = cause
		v, err := authkey.New(store, authkey.WithHasher(hasher), authkey.WithRehash())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Authenticate(t.Context(), key); err != nil {
			t.Errorf("%v: %v", cause, err)
		}
		if n := v.Stats().RehashErrors; (n == 1) != errors.Is(cause, authkey.ErrUnavailable) {
			t.Errorf("%v: %d errors counted", cause, n)
		}
	}
}

// One that takes all the time there is costs half of it, and one that panics nothing.
func TestRehashNeverRefusesTheCaller(t *testing.T) {
	t.Parallel()
	hasher, err := authkey.NewHasher(authkey.NewPepper("v1", make([]byte, 32)), authkey.Pepper{})
	if err != nil {
		t.Fatal(err)
	}
	for name, rehash := range map[string]func(context.Context) error{
		"hangs":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"panics": func(context.Context) error { panic("a bug") },
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &stubborn{MemoryStore: authkey.NewMemoryStore(), do: rehash}
			issuer, err := authkey.NewIssuer(store, mustFormat(t, "acme", "live"))
			if err != nil {
				t.Fatal(err)
			}
			_, key, err := issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"})
			if err != nil {
				t.Fatal(err)
			}
			v, err := authkey.New(store, authkey.WithHasher(hasher), authkey.WithRehash())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Authenticate(t.Context(), key); err != nil {
				t.Errorf("a Rehash that %s: %v", name, err)
			}
			if n := v.Stats().RehashErrors; n != 1 {
				t.Errorf("a Rehash that %s: %d errors counted, want 1", name, n)
			}
		})
	}
}

// Between the two questions of this verifier, another process moves the key to the newer pepper.
func TestForeignKeyIsKnownWhileItIsMoved(t *testing.T) {
	t.Parallel()
	v1, v2 := authkey.NewPepper("v1", make([]byte, 32)), authkey.NewPepper("v2", append(make([]byte, 31), 1))
	hasher := func(peppers ...authkey.Pepper) *authkey.Hasher {
		h, err := authkey.NewHasher(peppers...)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	store := &spy{Store: authkey.NewMemoryStore()}
	issuer, err := authkey.NewIssuer(store, mustFormat(t, "acme", "live"), authkey.WithHasher(hasher(v1)))
	if err != nil {
		t.Fatal(err)
	}
	key := authkey.NewPresented("an-old-key-0123456789")
	if _, err := issuer.Import(t.Context(), key, authkey.NewKey{Org: "demo", Project: "shop"}); err != nil {
		t.Fatal(err)
	}
	opts := []authkey.Option{authkey.WithHasher(hasher(v2, v1)), authkey.WithForeignKeys(), authkey.WithTimeout(5 * time.Second)}
	other, err := authkey.New(store.Store, append(opts, authkey.WithRehash())...)
	if err != nil {
		t.Fatal(err)
	}
	here, err := authkey.New(store, opts...)
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	store.answer = func(ctx context.Context, r authkey.Record, err error) (authkey.Record, error) {
		once.Do(func() {
			if _, err := other.Authenticate(ctx, key); err != nil {
				t.Error(err)
			}
		})
		return r, err
	}
	if _, err := here.Authenticate(t.Context(), key); err != nil || other.Stats().Rehashes != 1 {
		t.Errorf("a good key: %v, after %d moves; want none, 1", err, other.Stats().Rehashes)
	}
}

type stubborn struct {
	*authkey.MemoryStore
	err error
	do  func(context.Context) error // if set, instead of err
}

func (s *stubborn) Rehash(ctx context.Context, _ authkey.Record) (authkey.Record, error) {
	if s.do != nil {
		return authkey.Record{}, s.do(ctx)
	}
	return authkey.Record{}, s.err
}
