package clientcred_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

func TestTokenIsAskedForWhenNeededAndThenHeld(t *testing.T) {
	t.Parallel()
	e := &endpoint{do: grants(3600)}
	source := newSource(t, e)
	if e.count() != 0 {
		t.Error("New asked for a token")
	}
	before := time.Now()
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if end := token.ExpiresAt.Sub(before); end < time.Hour || end > time.Hour+time.Minute {
		t.Errorf("the token ends after %v, want 1h", end)
	}
	wants(t, source, "token-1")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source.Token(ended); err != nil {
		t.Errorf("error %v, want the token that is held, whatever ctx is", err)
	}
	if e.count() != 1 {
		t.Errorf("asked %d times, want once", e.count())
	}
}

func TestHeldTokenIsNotCopied(t *testing.T) { // not parallel: AllocsPerRun counts what all do
	source := newSource(t, &endpoint{do: grants(3600)})
	wants(t, source, "token-1")
	if n := testing.AllocsPerRun(100, func() { _, _ = source.Token(t.Context()) }); n != 0 {
		t.Errorf("%v allocations for a token that is held, want none", n)
	}
}

func TestRenewalUnderWayCostsNothing(t *testing.T) { // not parallel: AllocsPerRun counts what all do
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{do: grants(100)}
		source := newSource(t, e)
		wants(t, source, "token-1")
		e.set(hangs(nil, nil))
		time.Sleep(80 * time.Second)
		wants(t, source, "token-1")
		synctest.Wait()
		if n := testing.AllocsPerRun(100, func() { _, _ = source.Token(t.Context()) }); n != 0 || e.count() != 2 {
			t.Errorf("%v allocations while a renewal is under way, want none", n)
		}
	})
}

func TestOneQuestionForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		e := &endpoint{do: hangs(release, grants(3600))}
		source := newSource(t, e)
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() { wants(t, source, "token-1") })
		}
		synctest.Wait()
		close(release)
		callers.Wait()
		if e.count() != 1 {
			t.Errorf("asked %d times, want once", e.count())
		}
	})
}

func TestCallerWaitsForAsLongAsItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		e := &endpoint{do: hangs(release, grants(3600))}
		source := newSource(t, e)
		first, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := source.Token(first)
			gone <- err
		}()
		synctest.Wait()
		var others sync.WaitGroup
		others.Go(func() { wants(t, source, "token-1") })
		synctest.Wait()
		cancel() // it began the question
		err := <-gone
		isClass(t, err, clientcred.Timeout)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want that of the context too", err)
		}
		close(release)
		others.Wait()
		if e.count() != 1 {
			t.Errorf("asked %d times, want once", e.count())
		}
	})
}

func TestEndedContextAsksNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{do: grants(3600)}
		source := newSource(t, e)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := source.Token(ended)
		isClass(t, err, clientcred.Timeout)
		synctest.Wait()
		if !errors.Is(err, context.Canceled) || e.count() != 0 {
			t.Errorf("error %v after %d questions, want that of the context after none", err, e.count())
		}
	})
}

func TestQuestionHasADeadline(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		opts []clientcred.Option
		do   answer
		want time.Duration
	}{
		"by default": {do: hangs(nil, nil), want: 5 * time.Second},
		"chosen":     {do: hangs(nil, nil), opts: []clientcred.Option{clientcred.WithTimeout(time.Second)}, want: time.Second},
		"by a transport that tells it otherwise": {do: func(r *http.Request) (int, string, error) {
			<-r.Context().Done()
			return 0, "", errors.New("gone")
		}, want: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := newSource(t, &endpoint{do: row.do}, row.opts...)
				start := time.Now()
				fails(t, source, clientcred.Timeout)
				if past := time.Since(start); past != row.want {
					t.Errorf("failed after %v, want %v", past, row.want)
				}
				if err := source.Err(); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v, want context.DeadlineExceeded", err)
				}
			})
		})
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		e := &endpoint{do: func(r *http.Request) (int, string, error) {
			<-r.Context().Done()
			time.Sleep(time.Second)
			close(ended)
			return http.StatusOK, `{"access_token":"token-1","token_type":"Bearer"}`, nil // too late
		}}
		source := newSource(t, e)
		waiter := make(chan error)
		go func() {
			_, err := source.Token(t.Context())
			waiter <- err
		}()
		synctest.Wait()
		start := time.Now()
		if err := source.Close(); err != nil {
			t.Error(err)
		}
		if past := time.Since(start); past != time.Second {
			t.Errorf("Close took %v, want the second that the question needs to end", past)
		}
		select {
		case <-ended:
		default:
			t.Error("Close did not wait for the question under way")
		}
		isClass(t, <-waiter, clientcred.Closed)
		fails(t, source, clientcred.Closed)
		source.Close()
		fails(t, source, clientcred.Closed)
		if e.count() != 1 {
			t.Errorf("asked %d times, want once", e.count())
		}
	})
}

func TestCloseEndsARenewalBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{do: grants(100)}
		source := newSource(t, e, clientcred.WithTimeout(time.Minute))
		wants(t, source, "token-1")
		e.set(hangs(nil, nil))
		time.Sleep(80 * time.Second)
		wants(t, source, "token-1")
		synctest.Wait()
		if e.count() != 2 {
			t.Fatal("no renewal is under way")
		}
		start := time.Now()
		source.Close()
		if past := time.Since(start); past != 0 {
			t.Errorf("Close took %v", past)
		}
		fails(t, source, clientcred.Closed) // although its token would be good
	})
}

func TestPanicOfATransportIsAFailure(t *testing.T) {
	t.Parallel()
	source := newSource(t, &endpoint{do: func(*http.Request) (int, string, error) { panic(secret) }})
	fails(t, source, clientcred.Unreachable)
}
