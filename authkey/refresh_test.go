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

// answers gives records an epoch, and holds a look-up that has read its record until the test lets go.
type answers struct {
	epoch atomic.Int64
	held  atomic.Pointer[chan struct{}]
}

func (a *answers) through(_ context.Context, record authkey.Record, err error) (authkey.Record, error) {
	record.Epoch = a.epoch.Load()
	if held := a.held.Load(); held != nil {
		<-*held
	}
	return record, err
}

// hold makes look-ups wait; the function that it returns lets them go, and later ones pass.
func (a *answers) hold() (release func()) {
	ch := make(chan struct{})
	a.held.Store(&ch)
	return sync.OnceFunc(func() {
		a.held.CompareAndSwap(&ch, nil)
		close(ch)
	})
}

func newAnswers(g *gate) *answers {
	a := &answers{}
	a.epoch.Store(10)
	g.store.answer = a.through
	return a
}

// revoke is what a store does: the record, and a later epoch.
func (a *answers) revoke(t *testing.T, g *gate) {
	t.Helper()
	g.setState(t, authkey.StateRevoked)
	a.epoch.Add(10)
}

func TestRefreshSeesARevocationAtBothVerifiers(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	a := newAnswers(g)
	other := g.verifier(t)
	mine := g.opens(t, "here")
	theirs, err := other.Authenticate(t.Context(), g.key)
	if err != nil {
		t.Fatal(err)
	}
	a.revoke(t, g)
	g.opens(t, "a warm cache that nobody told")
	_, err = g.Refresh(t.Context(), g.key, mine)
	fails(t, "Refresh here", err, authkey.ErrRevoked)
	_, err = other.Refresh(t.Context(), g.key, theirs)
	fails(t, "Refresh there", err, authkey.ErrRevoked)
	_, err = g.Authenticate(t.Context(), g.key)
	fails(t, "Authenticate after Refresh", err, authkey.ErrRevoked)
}

func TestRefreshUsesALaterEntryWithoutLookup(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	a := newAnswers(g)
	stale := g.opens(t, "at first")
	a.epoch.Store(20)
	fresh, err := g.Refresh(t.Context(), g.key, stale)
	if err != nil || fresh.Epoch != 20 {
		t.Fatalf("Refresh: %+v, %v", fresh, err)
	}
	before := g.store.finds.Load()
	if again, err := g.Refresh(t.Context(), g.key, stale); err != nil || again != fresh {
		t.Errorf("the second Refresh: %+v, %v", again, err)
	}
	if n := g.store.finds.Load() - before; n != 0 {
		t.Errorf("%d look-ups, want none", n)
	}
	for _, held := range []*authkey.Identity{fresh, nil} {
		if _, err := g.Refresh(t.Context(), g.key, held); err != nil {
			t.Fatal(err)
		}
	}
	if n := g.store.finds.Load() - before; n != 2 {
		t.Errorf("%d look-ups for the current epoch and for none held, want 2", n)
	}
}

func TestRefreshWithoutEpochsAsksTheStore(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	held := g.opens(t, "at first")
	g.setState(t, authkey.StateDisabled)
	_, err := g.Refresh(t.Context(), g.key, held)
	fails(t, "Refresh", err, authkey.ErrDisabled)
	_, err = g.Authenticate(t.Context(), g.key)
	fails(t, "Authenticate", err, authkey.ErrDisabled)
}

func TestRefreshOfAnUnknownKey(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	held := g.opens(t, "at first")
	g.store.answer = func(context.Context, authkey.Record, error) (authkey.Record, error) {
		return authkey.Record{}, authkey.ErrUnknown
	}
	_, err := g.Refresh(t.Context(), g.key, held)
	fails(t, "Refresh", err, authkey.ErrUnknown)
	_, err = g.Authenticate(t.Context(), g.key)
	fails(t, "Authenticate", err, authkey.ErrUnknown)
	_, err = g.Refresh(t.Context(), authkey.NewPresented("junk"), held)
	fails(t, "Refresh of junk", err, authkey.ErrMalformed)
}

// A look-up that read the record before it was revoked lands after: the Refresh that joined it must not
// take its word, and the cache must not keep it.
func TestRefreshDoesNotTrustAnEarlierLookup(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	a := newAnswers(g)
	synctest.Test(t, func(t *testing.T) {
		held := g.opens(t, "at first")
		g.clock.advance(5 * time.Second) // the entry ends, so that a look-up begins
		release := a.hold()
		filled := make(chan error, 1)
		go func() {
			_, err := g.Authenticate(context.Background(), g.key)
			filled <- err
		}()
		synctest.Wait() // it has read the record, and waits
		a.revoke(t, g)

		const callers = 20
		refreshed := make(chan error, callers)
		before := g.store.finds.Load()
		for range callers {
			go func() {
				_, err := g.Refresh(context.Background(), g.key, held)
				refreshed <- err
			}()
		}
		synctest.Wait() // all have joined it
		if n := g.store.finds.Load() - before; n != 0 {
			t.Errorf("%d look-ups began beside the one under way", n)
		}
		releaseNext := a.hold()
		release()
		synctest.Wait() // all have seen that it began too early, and share the next
		if n := g.store.finds.Load() - before; n != 1 {
			t.Errorf("%d look-ups for %d callers, want 1", n, callers)
		}
		releaseNext()
		for range callers {
			fails(t, "Refresh", <-refreshed, authkey.ErrRevoked)
		}
		if err := <-filled; err != nil && !errors.Is(err, authkey.ErrRevoked) {
			t.Errorf("the earlier Authenticate: %v", err)
		}
		_, err := g.Authenticate(t.Context(), g.key)
		fails(t, "Authenticate afterwards", err, authkey.ErrRevoked)
	})
}

func TestLaggingReadUndoesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		state       authkey.State
		lagEpoch    int64 // what the second read says; the first said 20
		want, again error // of that Refresh, and of an Authenticate after it
	}{
		{"revoked sticks against an older epoch", authkey.StateRevoked, 10, authkey.ErrRevoked, authkey.ErrRevoked},
		{"revoked sticks against the same epoch", authkey.StateRevoked, 20, authkey.ErrRevoked, authkey.ErrRevoked},
		{"revoked sticks against a later epoch", authkey.StateRevoked, 30, authkey.ErrRevoked, authkey.ErrRevoked},
		{"an older epoch fills nothing", authkey.StateDisabled, 10, nil, authkey.ErrDisabled},
		{"an older revision fills nothing", authkey.StateDisabled, 20, nil, authkey.ErrDisabled},
		{"a later epoch fills", authkey.StateDisabled, 30, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			old, err := g.store.Store.Find(t.Context(), g.record.ID)
			if err != nil {
				t.Fatal(err)
			}
			a := newAnswers(g)
			held := g.opens(t, "at first")
			g.setState(t, c.state)
			a.epoch.Store(20)
			if _, err := g.Refresh(t.Context(), g.key, held); err == nil {
				t.Fatal("the change was not seen")
			}
			g.store.answer = func(context.Context, authkey.Record, error) (authkey.Record, error) {
				old.Epoch = c.lagEpoch
				return old, nil
			}
			if _, err := g.Refresh(t.Context(), g.key, nil); !errors.Is(err, c.want) {
				t.Errorf("Refresh: error %v, want %v", err, c.want)
			}
			if _, err = g.Authenticate(t.Context(), g.key); !errors.Is(err, c.again) {
				t.Errorf("Authenticate: error %v, want %v", err, c.again)
			}
		})
	}
}

func TestEqualLookupsAreOne(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	a := newAnswers(g)
	synctest.Test(t, func(t *testing.T) {
		release := a.hold()
		const callers = 50
		done := make(chan error, callers)
		for range callers {
			go func() {
				_, err := g.Authenticate(context.Background(), g.key)
				done <- err
			}()
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		synctest.Wait()
		go func() {
			_, err := g.Authenticate(ctx, g.key)
			left <- err
		}()
		synctest.Wait()
		cancel()
		err := <-left
		fails(t, "the caller who left", err, context.Canceled)
		fails(t, "the caller who left", err, authkey.ErrUnavailable)
		release()
		for range callers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	if n := g.store.finds.Load(); n != 1 {
		t.Errorf("%d look-ups, want 1", n)
	}
}

// The one whose call began the look-up leaves; the others must not notice.
func TestCancelOfTheFirstDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	gone := make(chan struct{})
	g.store.answer = func(ctx context.Context, record authkey.Record, err error) (authkey.Record, error) {
		<-gone
		if ctx.Err() != nil {
			return authkey.Record{}, ctx.Err()
		}
		return record, err
	}
	synctest.Test(t, func(t *testing.T) {
		gone = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := g.Authenticate(ctx, g.key); first <- err }()
		synctest.Wait()
		go func() { _, err := g.Authenticate(context.Background(), g.key); second <- err }()
		synctest.Wait()
		cancel()
		fails(t, "the first", <-first, context.Canceled)
		close(gone)
		if err := <-second; err != nil {
			t.Errorf("the second: %v", err)
		}
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	var err error
	if g.Verifier, err = authkey.New(g.store, authkey.WithClock(g.clock.now)); err != nil { // with its own timeout
		t.Fatal(err)
	}
	a := newAnswers(g)
	synctest.Test(t, func(t *testing.T) {
		release := a.hold() // a store that does not even look at its context
		defer release()
		began := time.Now()
		_, err := g.Authenticate(t.Context(), g.key)
		fails(t, "Authenticate", err, authkey.ErrUnavailable)
		fails(t, "Authenticate", err, context.DeadlineExceeded)
		if took := time.Since(began); took != 50*time.Millisecond {
			t.Errorf("it took %v, want the default of 50ms", took)
		}
		_, err = g.Refresh(t.Context(), g.key, nil)
		fails(t, "Refresh", err, context.DeadlineExceeded)
	})
	g.opens(t, "when the store answers again")
}
