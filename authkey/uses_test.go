package authkey_test

import (
	"context"
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
	left  int // calls before it fails; 0: it does not count
}

func (n *notes) NoteUses(ctx context.Context, uses []authkey.Use) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls++
	if n.left > 0 {
		if n.left--; n.left == 0 {
			n.err = authkey.ErrUnavailable
		}
	} else if n.err != nil {
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

// failAfter fails all calls but the next few.
func (n *notes) failAfter(calls int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.left = calls
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

// A store has a time limit for each call: what is more than one can take is told in several, and what was told stays so.
func TestManyUsesAreWrittenInParts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, uses, _, _, _ := watched(t)
		for i := range 2_500 {
			authkey.NoteUse(uses, "key", fmt.Sprint(i))
		}
		store.failAfter(2)
		fails(t, "Flush", uses.Flush(t.Context()), authkey.ErrUnavailable)
		if calls, told := store.told(); calls != 3 || len(told) != 2_000 || uses.Stats().Written != 2_000 {
			t.Errorf("%d calls told %d, %d count as written; want 3, 2000 and 2000", calls, len(told), uses.Stats().Written)
		}
		store.fail(nil)
		if err := uses.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if calls, told := store.told(); calls != 4 || len(told) != 2_500 {
			t.Errorf("%d calls told %d, want 4 and 2500", calls, len(told))
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
