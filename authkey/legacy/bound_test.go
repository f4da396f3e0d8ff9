package legacy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/legacy"
	"github.com/tollgate-go/tollgate/lua/audit"
)

// An old table that does not answer says nothing of a key: it is never unknown, and nothing of it is remembered.
func TestOutageOfTheOldTable(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(context.Context, legacy.Row, error) (legacy.Row, error){
		"refuses the connection": func(context.Context, legacy.Row, error) (legacy.Row, error) {
			return legacy.Row{}, errors.New("connection refused")
		},
		"says it itself": func(context.Context, legacy.Row, error) (legacy.Row, error) {
			return legacy.Row{}, authkey.ErrUnavailable
		},
		"does not answer in time": func(ctx context.Context, _ legacy.Row, _ error) (legacy.Row, error) {
			<-ctx.Done()
			return legacy.Row{}, ctx.Err()
		},
		"panics": func(context.Context, legacy.Row, error) (legacy.Row, error) { panic("nil map") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService()
			known, unknown := s.old.add("1", ofShop), authkey.NewPresented("shop_unknown-unknown")
			s.old.answer = answer
			r := s.plain(t, legacy.WithTimeout(20*time.Millisecond))
			r.refuses(t, "a known key", known, authkey.ErrUnavailable)
			r.refuses(t, "an unknown key", unknown, authkey.ErrUnavailable)
			down := r.Stats()
			s.old = &table{rows: s.old.rows}
			back := s.plain(t)
			back.opens(t, "a known key, afterwards", known)
			back.refuses(t, "an unknown key, afterwards", unknown, authkey.ErrUnknown)
			if down.Schemes["sha256"].Failed+uint64(down.Waiting) != 2 || down.Remembered != 0 {
				t.Errorf("counts %+v", down)
			}
		})
	}
}

func TestNothingIsRememberedOfAnOutage(t *testing.T) {
	t.Parallel()
	s := newService()
	known := s.old.add("1", ofShop)
	down := true
	s.old.answer = func(_ context.Context, row legacy.Row, err error) (legacy.Row, error) {
		if down {
			return legacy.Row{}, errors.New("connection refused")
		}
		return row, err
	}
	r := s.plain(t)
	r.refuses(t, "while it is down", known, authkey.ErrUnavailable)
	down = false
	r.opens(t, "as soon as it is back", known)
}

// A caller who goes away gets his answer at once; the upgrade goes on for the others.
func TestCancelledCaller(t *testing.T) {
	t.Parallel()
	s := newService()
	presented := s.old.add("1", ofShop)
	out, back := make(chan struct{}), make(chan struct{})
	s.old.answer = func(ctx context.Context, row legacy.Row, _ error) (legacy.Row, error) {
		close(out)
		<-back
		return row, ctx.Err()
	}
	upgraded := make(chan legacy.Event, 1)
	r := s.plain(t, legacy.WithObserver(func(e legacy.Event) { upgraded <- e }))
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() {
		_, err := r.Authenticate(ctx, presented)
		answer <- err
	}()
	<-out
	if n := r.Stats().Waiting; n != 1 {
		t.Errorf("%d waiting, want 1", n)
	}
	cancel()
	err := <-answer
	fails(t, "the caller", err, authkey.ErrUnavailable)
	fails(t, "the caller", err, context.Canceled)
	close(back)
	if e := <-upgraded; e.Outcome != legacy.Upgraded || e.Err != nil {
		t.Errorf("the upgrade came to %+v", e)
	}
	r.opens(t, "afterwards", presented)
}

// failing is a store whose Create fails.
type failing struct {
	authkey.Store
	err error
}

func (f failing) Create(context.Context, authkey.Record) (authkey.Record, error) {
	return authkey.Record{}, f.err
}

// actors is a store that notes who makes records.
type actors struct {
	authkey.Store
	made []audit.Actor
}

func (a *actors) Create(ctx context.Context, record authkey.Record) (authkey.Record, error) {
	a.made = append(a.made, audit.ActorOf(ctx))
	return a.Store.Create(ctx, record)
}

// An audit trail names the chain as who made a key, and the request that had it do so.
func TestUpgradeHasAnActor(t *testing.T) {
	t.Parallel()
	s := newService()
	presented := s.old.add("1", ofShop)
	store := &actors{Store: s.store}
	s.store = store
	ctx := audit.NewContext(t.Context(), audit.Actor{Name: "from the request", RequestID: "r1", Address: "192.0.2.1"})
	if _, err := s.plain(t).Authenticate(ctx, presented); err != nil {
		t.Fatal(err)
	}
	if want := (audit.Actor{Name: "legacy:sha256", RequestID: "r1", Address: "192.0.2.1"}); len(store.made) != 1 || store.made[0] != want {
		t.Errorf("made by %+v, want %+v", store.made, want)
	}
}

// A key that could not be moved is not let in: nobody could revoke it.
func TestFailedImportIsClosed(t *testing.T) {
	t.Parallel()
	s := newService()
	presented := s.old.add("1", ofShop)
	memory := s.store
	s.store = failing{memory, fmt.Errorf("%w: no quorum", authkey.ErrUnavailable)}
	r := s.plain(t)
	r.refuses(t, "while the store does not take it", presented, authkey.ErrUnavailable)
	if got := r.Stats().Schemes["sha256"]; got != (legacy.Counts{Failed: 1}) {
		t.Errorf("counts %+v", got)
	}
	s.store = memory
	s.plain(t).opens(t, "afterwards", presented)
}

// Issuer and verifier that do not belong together are told from a key that is refused.
func TestIssuerOfAnotherHasher(t *testing.T) {
	t.Parallel()
	s := newService()
	presented := s.old.add("1", ofShop)
	chain, err := legacy.New(s.verifier(t, newHasher(t, "v2")), s.issuer(t, newHasher(t, "v1")), s.old.scheme(), legacy.WithClock(s.clock.now))
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.Authenticate(t.Context(), presented)
	fails(t, "Authenticate", err, authkey.ErrUnavailable)
	if !strings.Contains(err.Error(), "hasher") {
		t.Errorf("error %q does not say how to mend it", err)
	}
}

func TestEqualCallsShareOneLookup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		presented := s.old.add("1", ofShop)
		ready := make(chan struct{})
		s.old.answer = func(_ context.Context, row legacy.Row, err error) (legacy.Row, error) {
			<-ready
			return row, err
		}
		r := s.plain(t)
		for range 50 {
			go func() {
				if identity, err := r.Authenticate(t.Context(), presented); err != nil || identity.Project != "shop" {
					t.Errorf("Authenticate: %+v, %v", identity, err)
				}
			}()
		}
		synctest.Wait() // all of them wait for the table
		close(ready)
		synctest.Wait()
		s.asked(t, "by all", 1)
		if got := r.Stats().Schemes["sha256"]; got != (legacy.Counts{Upgraded: 1}) {
			t.Errorf("counts %+v", got)
		}
	})
}

// Junk of the right form reaches the old table at the set rate, and what is over is not said to be unknown. Keys that
// have moved do not notice.
func TestJunkIsBounded(t *testing.T) {
	t.Parallel()
	s := newService()
	moved, late := s.old.add("1", ofShop), s.old.add("2", ofShop)
	r := s.plain(t, legacy.WithRate(10, 1))
	r.opens(t, "before", moved)
	s.clock.advance(time.Second)
	before := s.old.asked.Load()
	refused := map[bool]int{}
	for n := range 10_000 {
		_, err := r.Authenticate(t.Context(), authkey.NewPresented(fmt.Sprintf("shop_junk-junk-%06d", n)))
		refused[errors.Is(err, authkey.ErrUnknown)]++
		if !errors.Is(err, authkey.ErrUnknown) && !errors.Is(err, authkey.ErrUnavailable) {
			t.Fatalf("junk: %v", err)
		}
	}
	s.asked(t, "in one second", before+10)
	if refused[true] != 10 || refused[false] != 9_990 {
		t.Errorf("%d unknown and %d unavailable, want 10 and 9990", refused[true], refused[false])
	}
	r.opens(t, "a key that has moved", moved)
	r.refuses(t, "one that has not", late, authkey.ErrUnavailable)
	if got := r.Stats().Schemes["sha256"].Throttled; got != 9_991 {
		t.Errorf("%d throttled, want 9991", got)
	}
	s.clock.advance(100 * time.Millisecond)
	r.opens(t, "one that has not, a moment later", late)
}

func TestRefusedKeysAreRemembered(t *testing.T) {
	t.Parallel()
	s := newService()
	r := s.plain(t, legacy.WithNegativeCache(2, 10*time.Second), legacy.WithRate(1000, 1))
	unknown := authkey.NewPresented("shop_" + "2" + strings.Repeat("x", 16))
	for range 5 {
		r.refuses(t, "again and again", unknown, authkey.ErrUnknown)
	}
	s.asked(t, "while remembered", 1)
	if got := r.Stats(); got.Remembered != 4 {
		t.Errorf("%d remembered, want 4", got.Remembered)
	}
	written := s.old.add("2", ofShop)
	if !written.Equal(unknown) {
		t.Fatal("the test is of two keys")
	}
	s.clock.advance(10 * time.Second)
	r.opens(t, "a row written meanwhile", unknown)

	for n := range 100 {
		r.refuses(t, "many", authkey.NewPresented(fmt.Sprintf("shop_junk-junk-%06d", n)), authkey.ErrUnknown)
	}
	before := s.old.asked.Load()
	r.refuses(t, "the first of many, long forgotten", authkey.NewPresented("shop_junk-junk-000000"), authkey.ErrUnknown)
	s.asked(t, "more than there is room for", before+1)
}

func TestObserver(t *testing.T) {
	t.Parallel()
	s := newService()
	presented := s.old.add("tokens-1", ofShop)
	var events []legacy.Event
	observed := legacy.WithObserver(func(e legacy.Event) { events = append(events, e) })
	r := s.plain(t, observed)
	r.opens(t, "first", presented)
	r.opens(t, "again", presented)
	r.refuses(t, "unknown", authkey.NewPresented("shop_unknown-unknown"), authkey.ErrUnknown)
	if len(events) != 2 {
		t.Fatalf("events %+v, want 2", events)
	}
	if e := events[0]; e != (legacy.Event{Scheme: "sha256", Outcome: legacy.Upgraded, Source: "tokens-1", Org: "demo", Project: "shop"}) {
		t.Errorf("event %+v", e)
	}
	if e := events[1]; e.Outcome != legacy.Refused || e.Source != "" || !errors.Is(e.Err, authkey.ErrUnknown) {
		t.Errorf("event %+v", e)
	}
	if text := fmt.Sprintf("%+v", events); strings.Contains(text, presented.Reveal()) {
		t.Errorf("events tell the key: %s", text)
	}
}
