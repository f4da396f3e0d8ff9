package remotestore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/remotestore"
)

func TestAnswersAreKept(t *testing.T) {
	t.Parallel()
	s, c := &transport{do: says(200, good)}, new(clock)
	a := newOn(t, s, remotestore.WithClock(c.now), remotestore.WithCache(10, 10*time.Second), remotestore.WithNegativeCache(10, 2*time.Second))
	asked := func(when string, want int) {
		t.Helper()
		if n := s.count(); n != want {
			t.Errorf("%s: the service was asked %d times, want %d", when, n, want)
		}
	}
	opens := func(when string) {
		t.Helper()
		if _, err := authenticate(t, a); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	opens("first")
	s.set(says(401, "{}"))
	c.advance(10*time.Second - 1)
	opens("within the life of an answer")
	asked("within the life of an answer", 1)
	c.advance(1)
	_, err := authenticate(t, a)
	is(t, "after it", err, authkey.ErrUnknown)
	s.set(says(200, good))
	c.advance(2*time.Second - 1)
	_, err = authenticate(t, a)
	is(t, "within the life of a refusal", err, authkey.ErrUnknown)
	asked("within the life of a refusal", 2)
	c.advance(1)
	opens("after it")
	asked("after it", 3)
	c.advance(10 * time.Second)
	s.set(says(503, ""))
	_, err = authenticate(t, a)
	isClass(t, "an outage after the end of an answer", err, remotestore.Status, 503)
	s.set(says(200, good))
	opens("an outage is not kept")
	if got, want := a.Stats(), (authkey.Stats{Hits: 1, NegativeHits: 1, Misses: 5, StoreErrors: 1, Entries: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestEndIsSeenWhileTheAnswerIsKept(t *testing.T) {
	t.Parallel()
	c := new(clock)
	s := &transport{do: says(200, strings.TrimSuffix(good, "}")+`,"expires_at":"`+start.Add(3*time.Second).Format(time.RFC3339)+`"}`)}
	a := newOn(t, s, remotestore.WithClock(c.now))
	if _, err := authenticate(t, a); err != nil {
		t.Fatal(err)
	}
	c.advance(3 * time.Second)
	_, err := authenticate(t, a)
	is(t, "at its end", err, authkey.ErrExpired)
	if n := s.count(); n != 1 {
		t.Errorf("the service was asked %d times, want once", n)
	}
}

// Keys that nobody knows displace neither good ones nor more than their own bound.
func TestCachesAreBounded(t *testing.T) {
	t.Parallel()
	s := &transport{do: func(r *http.Request) (int, string, error) {
		body := make([]byte, 64)
		n, _ := r.Body.Read(body)
		if strings.Contains(string(body[:n]), "good") {
			return says(200, good)(r)
		}
		return says(404, "{}")(r)
	}}
	a := newOn(t, s, remotestore.WithCache(5, time.Minute), remotestore.WithNegativeCache(7, time.Minute))
	show := func(key string) { _, _ = a.Authenticate(t.Context(), authkey.NewPresented(key)) }
	for i := range 5 {
		show(fmt.Sprint("good", i))
	}
	for i := range 1000 {
		show(fmt.Sprint("guess", i))
	}
	asked := s.count()
	for i := range 5 {
		show(fmt.Sprint("good", i))
	}
	if stats := a.Stats(); s.count() != asked || stats.Entries != 5 || stats.NegativeEntries != 7 || stats.Hits != 5 {
		t.Errorf("after a flood %d more questions about good keys, stats %+v; want none, 5 entries and 7 negative ones", s.count()-asked, stats)
	}
	for i := range 100 {
		show(fmt.Sprint("good and new", i))
	}
	if n := a.Stats().Entries; n != 5 {
		t.Errorf("%d good keys are held, want 5", n)
	}
}

func TestEqualQuestionsCollapse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers = 100
		answer := make(chan struct{})
		s := &transport{do: func(r *http.Request) (int, string, error) {
			select {
			case <-answer:
				return says(200, good)(r)
			case <-r.Context().Done():
				return hang(r)
			}
		}}
		a := newOn(t, s)
		gone, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { // the first, whose leaving takes nothing from the others
			_, err := a.Authenticate(gone, authkey.NewPresented(secret))
			left <- err
		}()
		synctest.Wait()
		var wait sync.WaitGroup
		for range callers {
			wait.Go(func() {
				if _, err := a.Authenticate(t.Context(), authkey.NewPresented(secret)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		err := <-left
		isClass(t, "who left", err, remotestore.Timeout, 0)
		is(t, "who left", err, context.Canceled)
		close(answer)
		wait.Wait()
		if n := s.count(); n != 1 {
			t.Errorf("the service was asked %d times by %d callers, want once", n, callers)
		}
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &transport{do: hang}
		a := newOn(t, s, remotestore.WithTimeout(70*time.Millisecond))
		began := time.Now()
		_, err := authenticate(t, a)
		isClass(t, "a hung service", err, remotestore.Timeout, 0)
		is(t, "a hung service", err, context.DeadlineExceeded)
		if took := time.Since(began); took != 70*time.Millisecond {
			t.Errorf("it took %v, want 70ms", took)
		}
		synctest.Wait()
		if n := a.Stats().StoreErrors; n != 1 {
			t.Errorf("%d failures are counted, want 1", n)
		}
	})
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &transport{do: says(200, good)}
		a := newOn(t, s, remotestore.WithBreaker(3, 2*time.Second), remotestore.WithCache(10, 4*time.Second))
		show := func(key string) error {
			_, err := a.Authenticate(t.Context(), authkey.NewPresented(key))
			return err
		}
		if err := show("known"); err != nil {
			t.Fatal(err)
		}
		for range 10 { // a refusal is an answer
			s.set(says(401, "{}"))
			is(t, "a refusal", show(fmt.Sprint("guess", s.count())), authkey.ErrUnknown)
		}
		s.set(says(500, ""))
		for i := range 3 {
			isClass(t, "an outage", show(fmt.Sprint("a", i)), remotestore.Status, 500)
		}
		asked := s.count()
		s.set(says(200, good))
		for i := range 100 {
			isClass(t, "an open breaker", show(fmt.Sprint("b", i)), remotestore.Open, 0)
		}
		if err := show("known"); err != nil {
			t.Errorf("a cached key while the breaker is open: %v", err)
		}
		if n := s.count() - asked; n != 0 {
			t.Errorf("the service was asked %d times while the breaker was open, want never", n)
		}
		s.set(says(500, ""))
		time.Sleep(2*time.Second + 1)
		isClass(t, "the trial", show("known-not"), remotestore.Status, 500)
		isClass(t, "after a failed trial", show("c"), remotestore.Open, 0)
		s.set(says(200, good))
		time.Sleep(2*time.Second + 1)
		if n := s.count() - asked; n != 1 {
			t.Errorf("the service was asked %d times in a pause, want one trial", n)
		}
		isGood := func(key string) {
			t.Helper()
			if err := show(key); err != nil {
				t.Errorf("%s after the pause: %v", key, err)
			}
		}
		isGood("known")
		isGood("d")
		isGood("e")
	})
}

// Whoever sends keys that the service answers oddly does not stop the questions about others.
func TestOddAnswersDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	decode := func(body string) remotestore.Option {
		return remotestore.WithDecoder(func(_ int, _ http.Header, got []byte) (*authkey.Identity, error) {
			switch {
			case string(got) == good:
				return &authkey.Identity{Org: "acme", Project: "shop", Key: "k1", Kind: authkey.KindSecret}, nil
			case body == "panic":
				panic("out of the blue")
			}
			return nil, errors.New("odd")
		})
	}
	for name, row := range map[string]struct {
		status int
		body   string
		opts   []remotestore.Option
		opens  bool
	}{
		"400":                   {status: 400},
		"404 of an ingress":     {status: 404, body: "default backend - 404"},
		"418":                   {status: 418},
		"a redirect":            {status: 302},
		"garbage":               {status: 200, body: "<html>"},
		"too long":              {status: 200, body: strings.Repeat("a", 64<<10+1)},
		"a token, unexpected":   {status: 200, body: `{"token":"a.b.c"}`},
		"no member of its own":  {status: 200, body: "{}"},
		"a decoder's own error": {status: 200, body: "odd", opts: []remotestore.Option{decode("odd")}},
		"a decoder that panics": {status: 200, body: "odd", opts: []remotestore.Option{decode("panic")}},
		"408":                   {status: 408, opens: true},
		"429":                   {status: 429, opens: true},
		"500":                   {status: 500, opens: true},
		"503":                   {status: 503, body: `{"code":"unknown"}`, opens: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &transport{do: says(row.status, row.body)}
			a := newOn(t, s, append(row.opts, remotestore.WithBreaker(5, time.Minute))...)
			for i := range 5 {
				_, err := a.Authenticate(t.Context(), authkey.NewPresented(fmt.Sprint("junk", i)))
				is(t, "junk", err, authkey.ErrUnavailable)
			}
			s.set(says(200, good))
			_, err := authenticate(t, a)
			if row.opens {
				isClass(t, "after 5 failures", err, remotestore.Open, 0)
			} else if err != nil {
				t.Errorf("a good key after 5 odd ones: %v", err)
			}
		})
	}
}

// What ended is not used again because the service is away.
func TestNothingIsUsedPastItsLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &transport{do: says(200, good)}
		a := newOn(t, s, remotestore.WithBreaker(1, time.Minute), remotestore.WithCache(10, time.Second))
		if _, err := authenticate(t, a); err != nil {
			t.Fatal(err)
		}
		s.set(hang)
		time.Sleep(time.Second)
		_, err := authenticate(t, a)
		isClass(t, "a service that hangs", err, remotestore.Timeout, 0)
		synctest.Wait()
		_, err = authenticate(t, a)
		isClass(t, "an open breaker", err, remotestore.Open, 0)
	})
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &transport{do: says(200, good)}
		a := newOn(t, s, remotestore.WithTimeout(10*time.Second))
		presented := authkey.NewPresented(secret)
		held, err := a.Authenticate(t.Context(), presented)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := a.Refresh(t.Context(), presented, held)
		if err != nil || fresh == held || s.count() != 2 {
			t.Errorf("identity %p after %p, error %v, %d questions; want a new one and 2", fresh, held, err, s.count())
		}
		if again, err := a.Authenticate(t.Context(), presented); err != nil || again != fresh {
			t.Errorf("identity %p, error %v; want the new one %p", again, err, fresh)
		}
		// A question that began before the call may have been answered before the change.
		old := make(chan struct{})
		s.set(func(r *http.Request) (int, string, error) {
			<-old
			return says(200, good)(r)
		})
		results := make(chan error, 2)
		refresh := func() {
			_, err := a.Refresh(t.Context(), presented, fresh)
			results <- err
		}
		go refresh()
		synctest.Wait()
		go refresh()
		synctest.Wait()
		s.set(says(410, "{}"))
		close(old)
		first, second := <-results, <-results
		if (first == nil) == (second == nil) || !errors.Is(errors.Join(first, second), authkey.ErrRevoked) {
			t.Errorf("errors %v and %v, want none for the first and a revoked key for the second", first, second)
		}
		_, err = a.Authenticate(t.Context(), presented)
		is(t, "what Refresh found is kept", err, authkey.ErrRevoked)
		s.set(says(500, ""))
		_, err = a.Refresh(t.Context(), presented, fresh)
		isClass(t, "an outage", err, remotestore.Status, 500)
	})
}
