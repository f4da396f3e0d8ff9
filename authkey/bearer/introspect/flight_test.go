package introspect_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/introspect"
)

func TestEqualQuestionsAreOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, i := newServer(t)
		body := s.until(time.Hour)
		release := make(chan struct{})
		s.set(func(r *http.Request) (said, error) {
			<-release
			return says(body)(r)
		})
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, err := i.Introspect(t.Context(), token); err != nil {
					t.Errorf("Introspect: %v", err)
				}
			})
			all.Go(func() {
				if _, err := i.Introspect(t.Context(), "another"); err != nil {
					t.Errorf("Introspect: %v", err)
				}
			})
		}
		synctest.Wait()
		close(release)
		all.Wait()
		if s.calls() != 2 {
			t.Errorf("%d calls for two tokens", s.calls())
		}
	})
}

// Whoever goes away goes alone: the request that he began is for all who wait.
func TestWaitersHaveTheirOwnContexts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, i := newServer(t)
		body := s.until(time.Hour)
		release := make(chan struct{})
		s.set(func(r *http.Request) (said, error) {
			select {
			case <-release:
				return says(body)(r)
			case <-r.Context().Done():
				return said{}, r.Context().Err()
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := i.Introspect(ctx, token)
			first <- err
		}()
		synctest.Wait()
		go func() {
			_, err := i.Introspect(t.Context(), token)
			second <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, authkey.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("who went away: %v", err)
		}
		close(release)
		if err := <-second; err != nil {
			t.Errorf("who stayed: %v", err)
		}
		good(t, "afterwards", s, i, 1)
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*http.Request) (said, error){
		"a server that hangs": hang,
		"a body that hangs": func(r *http.Request) (said, error) {
			got, err := says("")(r)
			got.body = body{r.Context()}
			return got, err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, _ := newServer(t)
			s.set(do)
			i, err := introspect.New(endpoint, introspect.WithTransport(s))
			if err != nil {
				t.Fatal(err)
			}
			from := time.Now()
			bad(t, name, s, i, authkey.ErrUnavailable, 1)
			if took := time.Since(from); took != 2*time.Second {
				t.Errorf("%s: it took %v, want 2s", name, took)
			}
			synctest.Wait() // nothing is under way
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := i.Introspect(ctx, token); !errors.Is(err, context.DeadlineExceeded) || time.Since(from) != 3*time.Second {
				t.Errorf("%s: %v after %v, want the caller's deadline to hold", name, err, time.Since(from))
			}
			time.Sleep(time.Minute) // fake: the request that is left ends, too
		})
	}
}

// A transport that does not heed its context keeps nobody waiting.
func TestDeafTransport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		deaf := roundTripper(func(r *http.Request) (said, error) {
			<-release
			return says(`{"active":true}`)(r)
		})
		i, err := introspect.New(endpoint, introspect.WithTransport(deaf))
		if err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		_, err = ask(t, i)
		if is(t, "deaf", err, authkey.ErrUnavailable); time.Since(from) != 2*time.Second {
			t.Errorf("it took %v, want 2s", time.Since(from))
		}
		close(release)
	})
}

// body hangs until its context ends.
type body struct{ ctx context.Context } //nolint:containedctx // that of the request

func (b body) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

// unwell are answers of a server that is to be left alone, fine of one that is not, whatever they say of a token.
var unwell = map[string]func(*http.Request) (said, error){
	"no connection": func(*http.Request) (said, error) { return said{}, errors.New("a secret of the transport") },
	"a panic":       func(*http.Request) (said, error) { panic(token) },
	"401":           response(401, "application/json", "{}"),
	"403":           response(403, "application/json", "{}"),
	"408":           response(408, "application/json", "{}"),
	"429":           response(429, "application/json", "{}"),
	"500":           response(500, "application/json", "{}"),
	"503":           response(503, "application/json", "{}"),
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	for name, do := range unwell {
		synctest.Test(t, func(t *testing.T) {
			s, i := newServer(t, introspect.WithBreaker(3, 10*time.Second))
			good(t, "before", s, i, 1)
			s.set(do)
			if _, err := i.Introspect(t.Context(), "another"); !errors.Is(err, authkey.ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
			s.clock.Advance(time.Minute) // nothing is kept any more
			bad(t, name+", second", s, i, authkey.ErrUnavailable, 3)
			bad(t, name+", third", s, i, authkey.ErrUnavailable, 4)
			s.says(s.until(time.Hour))
			bad(t, name+", in the pause", s, i, authkey.ErrUnavailable, 4)
			time.Sleep(10*time.Second + 1) // fake
			good(t, name+", after the pause", s, i, 5)
			s.clock.Advance(time.Minute)
			good(t, name+", closed again", s, i, 6)
			if stats := i.Stats(); stats.StoreErrors != 4 {
				t.Errorf("%s: %d failures, want 4", name, stats.StoreErrors)
			}
		})
	}
}

// Odd answers are of one token, which anybody may have sent: they stop nobody else.
func TestOddAnswersDoNotTrip(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*http.Request) (said, error){
		"garbage":    says("garbage"),
		"400":        response(400, "application/json", "{}"),
		"404":        response(404, "application/json", "{}"),
		"302":        response(302, "application/json", "{}"),
		"not active": says(`{"active":false}`),
	} {
		s, i := newServer(t, introspect.WithBreaker(1, time.Minute))
		s.set(do)
		for n := range 10 {
			if _, err := i.Introspect(t.Context(), "odd"); err == nil {
				t.Errorf("%s: no error", name)
			}
			i.Invalidate("odd")
			if s.calls() != n+1 {
				t.Fatalf("%s: %d calls after %d questions", name, s.calls(), n+1)
			}
		}
		s.says(s.until(time.Hour))
		good(t, name, s, i, 11)
	}
}

func TestFailuresTellNothing(t *testing.T) {
	t.Parallel()
	for name, do := range unwell {
		s, i := newServer(t)
		s.set(do)
		bad(t, name, s, i, authkey.ErrUnavailable, 1) // which looks for secrets in the text
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s, i := newServer(t, introspect.WithCache(3, time.Minute))
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for n := range 100 {
				text := string(rune('a' + (worker+n)%6))
				if _, err := i.Introspect(t.Context(), text); err != nil {
					t.Errorf("Introspect: %v", err)
				}
				switch n % 10 {
				case 3:
					i.Invalidate(text)
				case 6:
					s.clock.Advance(time.Second)
				case 9:
					_ = i.Stats()
				}
			}
		})
	}
	all.Wait()
}
