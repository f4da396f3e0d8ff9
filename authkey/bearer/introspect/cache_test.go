package introspect_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/introspect"
)

// Row 68: no hit makes an entry last longer, and none is past exp.
func TestHitsDoNotExtend(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	good(t, "first", s, i, 1)
	for range 29 {
		s.clock.Advance(time.Second)
		good(t, "while it is kept", s, i, 1)
	}
	s.clock.Advance(time.Second)
	good(t, "after 30 s", s, i, 2)
}

func TestNothingIsKeptPastExp(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	s.says(s.until(10 * time.Second))
	good(t, "first", s, i, 1)
	s.clock.Advance(9 * time.Second)
	good(t, "a second before exp", s, i, 1)
	s.clock.Advance(time.Second)
	s.says(`{"active":false}`)
	bad(t, "at exp", s, i, authkey.ErrUnknown, 2)
}

// A server that calls a token active whose exp has passed is asked each time; what the times come to is judged elsewhere.
func TestWhatHasEndedIsNotKept(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	s.says(s.until(-time.Second))
	good(t, "first", s, i, 1)
	good(t, "second", s, i, 2)
	s.says(s.until(0))
	good(t, "at exp", s, i, 3)
	good(t, "at exp, again", s, i, 4)
}

// Row 67: that a token is not active is forgotten after 5 s, and after 10 s whatever is set.
func TestInactiveIsKeptBriefly(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		opts []introspect.Option
		life time.Duration
	}{
		{nil, 5 * time.Second},
		{[]introspect.Option{introspect.WithShortLife(10 * time.Second)}, 10 * time.Second},
		{[]introspect.Option{introspect.WithCache(1, 2*time.Second)}, 2 * time.Second},
	} {
		s, i := newServer(t, row.opts...)
		s.says(`{"active":false}`)
		bad(t, "first", s, i, authkey.ErrUnknown, 1)
		s.clock.Advance(row.life - time.Millisecond)
		bad(t, "before it ends", s, i, authkey.ErrUnknown, 1)
		s.says(s.until(time.Hour))
		s.clock.Advance(time.Millisecond)
		good(t, fmt.Sprintf("after %v", row.life), s, i, 2)
	}
}

func TestNoExpIsKeptBriefly(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	s.says(`{"active":true,"sub":"ann"}`)
	good(t, "first", s, i, 1)
	s.clock.Advance(5*time.Second - time.Millisecond)
	good(t, "within 5 s", s, i, 1)
	s.clock.Advance(time.Millisecond)
	good(t, "after 5 s", s, i, 2)
}

// An entry lives from before the question: the answer may be as old as that.
func TestEntriesLiveFromBeforeTheQuestion(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	s.set(func(r *http.Request) (said, error) {
		body := s.until(time.Hour)
		s.clock.Advance(20 * time.Second) // the way back
		return says(body)(r)
	})
	good(t, "first", s, i, 1)
	s.says(s.until(time.Hour))
	s.clock.Advance(10 * time.Second)
	good(t, "30 s after the question", s, i, 2)
}

// An answer is of one Introspector: another has its own endpoint, credentials and times.
func TestNothingIsShared(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	other := s.introspector(t, introspect.WithCache(10, time.Second))
	good(t, "one", s, i, 1)
	good(t, "another", s, other, 2)
	s.clock.Advance(time.Second)
	good(t, "another, with a shorter life", s, other, 3)
	good(t, "one, with its own", s, i, 3)
}

func TestOutagesAreNotKept(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	s.set(response(http.StatusServiceUnavailable, "", ""))
	bad(t, "down", s, i, authkey.ErrUnavailable, 1)
	s.says(`{"sub":"ann"}`)
	bad(t, "odd", s, i, authkey.ErrUnavailable, 2)
	s.says(s.until(time.Hour))
	good(t, "up again", s, i, 3)
	s.set(response(http.StatusServiceUnavailable, "", ""))
	good(t, "down, and kept", s, i, 3)
	s.clock.Advance(30 * time.Second)
	bad(t, "down, and not kept any more", s, i, authkey.ErrUnavailable, 4)
}

// Good tokens and others do not displace each other, and each kind is bounded.
func TestCachesAreBounded(t *testing.T) {
	t.Parallel()
	s, i := newServer(t, introspect.WithCache(4, time.Minute))
	good(t, "a good one", s, i, 1)
	s.says(`{"active":false}`)
	for n := range 100 {
		if _, err := i.Introspect(t.Context(), fmt.Sprintf("junk-%d", n)); !errors.Is(err, authkey.ErrUnknown) {
			t.Fatal(err)
		}
	}
	good(t, "after a flood of others", s, i, 101)
	s.says(s.until(time.Hour))
	for n := range 100 {
		if _, err := i.Introspect(t.Context(), fmt.Sprintf("good-%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	if stats := i.Stats(); stats.Entries != 4 || stats.NegativeEntries != 4 || stats.Misses != 201 || stats.Hits != 1 {
		t.Errorf("%+v, want 4 entries of each kind, 201 misses and a hit", stats)
	}
}

// A token that changes its state is in one of the caches alone.
func TestStatesReplaceEachOther(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	good(t, "active", s, i, 1)
	s.clock.Advance(30 * time.Second)
	s.says(`{"active":false}`)
	bad(t, "revoked", s, i, authkey.ErrUnknown, 2)
	bad(t, "revoked, kept", s, i, authkey.ErrUnknown, 2)
	if stats := i.Stats(); stats.Entries != 0 || stats.NegativeEntries != 1 || stats.NegativeHits != 1 {
		t.Errorf("%+v, want one negative entry", stats)
	}
	s.clock.Advance(5 * time.Second)
	s.says(s.until(time.Hour))
	good(t, "active again", s, i, 3)
	good(t, "active again, kept", s, i, 3)
	if stats := i.Stats(); stats.Entries != 1 || stats.NegativeEntries != 0 {
		t.Errorf("%+v, want one entry", stats)
	}
}

func TestInvalidate(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	good(t, "first", s, i, 1)
	i.Invalidate("another")
	good(t, "after that of another", s, i, 1)
	s.says(`{"active":false}`)
	i.Invalidate(token)
	bad(t, "after its own", s, i, authkey.ErrUnknown, 2)
	s.says(s.until(time.Hour))
	i.Invalidate(token)
	good(t, "once more", s, i, 3)
	i.Invalidate("")
	i.Invalidate(strings.Repeat("x", 1<<20))
}

// An answer that was on its way when Invalidate was called is of before the change: it must not be kept, and nobody who
// asks afterwards may get it.
func TestInvalidateWhileOnTheWay(t *testing.T) {
	t.Parallel()
	s, i := newServer(t)
	old := s.until(time.Hour)
	arrived, release := make(chan struct{}), make(chan struct{})
	s.set(func(r *http.Request) (said, error) {
		close(arrived)
		<-release
		return says(old)(r)
	})
	first := make(chan error, 1)
	go func() {
		_, err := i.Introspect(t.Context(), token)
		first <- err
	}()
	<-arrived
	s.says(`{"active":false}`)
	i.Invalidate(token)
	bad(t, "while it is on its way", s, i, authkey.ErrUnknown, 2)
	close(release)
	if err := <-first; err != nil {
		t.Errorf("who asked before: %v", err)
	}
	bad(t, "after it came", s, i, authkey.ErrUnknown, 2)
	s.clock.Advance(5 * time.Second)
	bad(t, "when nothing is kept any more", s, i, authkey.ErrUnknown, 3)
}
