package authkey_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// notes is a UseStore that keeps what it is told, or fails.
type notes struct {
	*authkey.MemoryStore
	mu    sync.Mutex
	calls int
	uses  []authkey.Use
	err   error
}

func (n *notes) NoteUses(ctx context.Context, uses []authkey.Use) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls++
	if n.err != nil {
		return n.err
	}
	n.uses = append(n.uses, uses...)
	return n.MemoryStore.NoteUses(ctx, uses)
}

func (n *notes) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

func (n *notes) told() (calls int, uses []authkey.Use) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls, n.uses
}

// watched is a service whose verifier notes uses, on the clock of a bubble.
func watched(t *testing.T) (*notes, *authkey.Uses, *authkey.Verifier, authkey.Record, authkey.Presented) {
	t.Helper()
	store := &notes{MemoryStore: authkey.NewMemoryStore()}
	issuer, err := authkey.NewIssuer(store, mustFormat(t, "acme", "live"))
	if err != nil {
		t.Fatal(err)
	}
	record, key, err := issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	uses, err := authkey.NewUses(store)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := authkey.New(store, authkey.WithUses(uses))
	if err != nil {
		t.Fatal(err)
	}
	return store, uses, verifier, record, key
}

func TestUsesAreWrittenOnceAMinuteWhateverTheLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, uses, verifier, record, key := watched(t)
		last := time.Now()
		for range 3 * 60 * 10 { // three minutes
			time.Sleep(100 * time.Millisecond)
			if _, err := verifier.Authenticate(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			last = time.Now()
		}
		synctest.Wait()
		if calls, _ := store.told(); calls < 2 || calls > 4 {
			t.Errorf("%d writes in three minutes of 1,800 uses, want one a minute", calls)
		}
		if err := uses.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		found, err := store.Find(t.Context(), record.ID)
		if err != nil || last.Sub(found.Credentials[0].LastUsedAt) >= time.Second {
			t.Errorf("last used %v, %v; want within a second of %v", found.Credentials[0].LastUsedAt, err, last)
		}
		if found.Revision != 1 {
			t.Errorf("uses made revision %d", found.Revision)
		}
	})
}

func TestUsesThatCannotBeWrittenAreWrittenLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, uses, verifier, record, key := watched(t)
		if _, err := verifier.Authenticate(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		used := time.Now().UTC()
		down := fmt.Errorf("%w: refused", authkey.ErrUnavailable)
		store.fail(down)
		fails(t, "Flush", uses.Flush(t.Context()), authkey.ErrUnavailable)
		store.fail(nil)
		if err := uses.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, told := store.told()
		want := authkey.Use{Key: record.ID, Credential: record.ID, At: used.Truncate(time.Microsecond)}
		if len(told) != 1 || told[0] != want {
			t.Errorf("told %v, want %v once", told, want)
		}
		if got, want := uses.Stats(), (authkey.UseStats{Written: 1, Failed: 1, Watched: 1}); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
		if err := uses.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, told := store.told(); len(told) != 1 {
			t.Errorf("what was written was written again: %v", told)
		}
		if err := uses.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRefusedKeysAreNotUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, uses, verifier, record, key := watched(t)
		issuer, err := authkey.NewIssuer(store, mustFormat(t, "acme", "live"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := issuer.SetState(t.Context(), "demo", record.ID, 0, authkey.StateDisabled, ""); err != nil {
			t.Fatal(err)
		}
		_, err = verifier.Authenticate(t.Context(), key)
		fails(t, "a disabled key", err, authkey.ErrDisabled)
		if err := uses.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, told := store.told(); len(told) != 0 {
			t.Errorf("a refused key counts as used: %v", told)
		}
	})
}

func TestIdleCredentialsAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, uses, verifier, _, key := watched(t)
		if _, err := verifier.Authenticate(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := uses.Stats().Watched; n != 0 {
			t.Errorf("%d credentials are watched ten minutes after the last use", n)
		}
		if _, err := verifier.Authenticate(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if n := uses.Stats().Watched; n != 1 {
			t.Errorf("%d credentials are watched after a use, want 1", n)
		}
		if err := uses.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNotingAUseCostsNoAllocation(t *testing.T) {
	store := authkey.NewMemoryStore()
	issuer, err := authkey.NewIssuer(store, mustFormat(t, "acme", "live"))
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := issuer.Issue(t.Context(), authkey.NewKey{Org: "demo", Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	uses, err := authkey.NewUses(store)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = uses.Close(context.Background()) }()
	verifier, err := authkey.New(store, authkey.WithUses(uses), authkey.WithCache(10, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := verifier.Authenticate(ctx, key); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = verifier.Authenticate(ctx, key) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestNewUsesRefuses(t *testing.T) {
	t.Parallel()
	store := authkey.NewMemoryStore()
	for name, open := range map[string]func() (*authkey.Uses, error){
		"no store":   func() (*authkey.Uses, error) { return authkey.NewUses(nil) },
		"no option":  func() (*authkey.Uses, error) { return authkey.NewUses(store, nil) },
		"too often":  func() (*authkey.Uses, error) { return authkey.NewUses(store, authkey.WithNoteEvery(time.Millisecond)) },
		"too seldom": func() (*authkey.Uses, error) { return authkey.NewUses(store, authkey.WithNoteEvery(2*time.Hour)) },
	} {
		uses, err := open()
		fails(t, name, err, authkey.ErrInvalid)
		if uses != nil {
			t.Errorf("%s: got a Uses with the error", name)
		}
	}
	_, err := authkey.New(store, authkey.WithUses(nil))
	fails(t, "WithUses(nil)", err, authkey.ErrInvalid)
}

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

type stubborn struct {
	*authkey.MemoryStore
	err error
}

func (s *stubborn) Rehash(context.Context, authkey.Record) (authkey.Record, error) {
	return authkey.Record{}, s.err
}

func ExampleNewUses() {
	store := authkey.NewMemoryStore()
	uses, err := authkey.NewUses(store)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = authkey.New(store, authkey.WithUses(uses))
	fmt.Println(err, uses.Close(context.Background()))
	// Output: <nil> <nil>
}
