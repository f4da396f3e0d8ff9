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
	e := &endpoint{do: grants(3600)}
	source := newSource(t, e)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := source.Token(ended)
	isClass(t, err, clientcred.Timeout)
	if !errors.Is(err, context.Canceled) || e.count() != 0 {
		t.Errorf("error %v after %d questions, want that of the context after none", err, e.count())
	}
}

func TestQuestionHasADeadline(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		opts []clientcred.Option
		want time.Duration
	}{
		"by default": {want: 5 * time.Second},
		"chosen":     {opts: []clientcred.Option{clientcred.WithTimeout(time.Second)}, want: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := newSource(t, &endpoint{do: hangs(nil, nil)}, row.opts...)
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

func TestRenewalAheadOfTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		grant, release := grants(1000), make(chan struct{})
		e := &endpoint{do: grant}
		source := newSource(t, e)
		wants(t, source, "token-1")
		e.set(hangs(release, grant))
		time.Sleep(699 * time.Second)
		wants(t, source, "token-1")
		synctest.Wait()
		if e.count() != 1 {
			t.Fatal("renewed before 70% of its life")
		}
		time.Sleep(101 * time.Second)
		for range 100 {
			wants(t, source, "token-1") // at once, while the endpoint hangs
		}
		synctest.Wait()
		if e.count() != 2 {
			t.Fatalf("asked %d times, want once more at 80%% of its life", e.count())
		}
		close(release)
		synctest.Wait()
		wants(t, source, "token-2")
		wants(t, source, "token-2")
		synctest.Wait()
		if e.count() != 2 {
			t.Errorf("asked %d times, want 2", e.count())
		}
	})
}

func TestIdleSourceAsksNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{do: grants(100)}
		source := newSource(t, e)
		wants(t, source, "token-1")
		time.Sleep(time.Hour)
		if e.count() != 1 {
			t.Errorf("asked %d times, want once", e.count())
		}
		wants(t, source, "token-2")
	})
}

func TestRenewalsDriftApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const sources = 200
		renewed := 0
		var all []*clientcred.Source
		var endpoints []*endpoint
		for range sources {
			e := &endpoint{do: grants(1000)}
			all, endpoints = append(all, newSource(t, e)), append(endpoints, e)
			wants(t, all[len(all)-1], "token-1")
		}
		time.Sleep(750 * time.Second)
		for i, source := range all {
			wants(t, source, "token-1")
			synctest.Wait()
			renewed += endpoints[i].count() - 1
		}
		if renewed < sources/5 || renewed > sources*4/5 {
			t.Errorf("%d of %d renewed halfway between 70%% and 80%%, want about half", renewed, sources)
		}
	})
}

func TestOldTokenGoesOnWhileRenewalsFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		grant := grants(1000)
		e := &endpoint{do: grant}
		source := newSource(t, e)
		wants(t, source, "token-1")
		if err := source.Err(); err != nil {
			t.Errorf("Err %v after a success", err)
		}
		e.set(says(http.StatusServiceUnavailable, "{}"))
		time.Sleep(800 * time.Second)
		for range 1899 { // until 10 s before its end
			wants(t, source, "token-1")
			time.Sleep(100 * time.Millisecond)
		}
		isClass(t, source.Err(), clientcred.Refused)
		if n := e.count() - 1; n < 190/16 || n > 190/7+5 {
			t.Errorf("asked %d times in 190 s, want once in 7.5 to 15 s after the first few", n)
		}
		time.Sleep(200 * time.Millisecond)
		fails(t, source, clientcred.Refused)
		e.set(grant)
		time.Sleep(15 * time.Second)
		wants(t, source, "token-2")
		if err := source.Err(); err != nil {
			t.Errorf("Err %v after a success", err)
		}
	})
}

func TestFailureIsRememberedBriefly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{do: says(http.StatusInternalServerError, "")}
		source := newSource(t, e)
		fails(t, source, clientcred.Refused)
		for _, seconds := range []int{1, 2, 4, 8, 15, 15, 15} {
			asked, half := e.count(), time.Duration(seconds)*time.Second/2
			time.Sleep(half - time.Millisecond)
			for range 50 {
				fails(t, source, clientcred.Refused)
			}
			if e.count() != asked {
				t.Fatalf("asked again in less than half of %d s", seconds)
			}
			time.Sleep(half + time.Millisecond)
			fails(t, source, clientcred.Refused)
			if e.count() != asked+1 {
				t.Fatalf("asked %d times after %d s, want once", e.count()-asked, seconds)
			}
		}
		e.set(grants(100))
		time.Sleep(15 * time.Second)
		wants(t, source, "token-1")
		e.set(says(http.StatusInternalServerError, ""))
		time.Sleep(95 * time.Second) // a success begins anew
		fails(t, source, clientcred.Refused)
		time.Sleep(time.Second)
		asked := e.count()
		fails(t, source, clientcred.Refused)
		if e.count() != asked+1 {
			t.Error("the pause after a success is longer than 1 s")
		}
	})
}

func TestLifeOfAToken(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, row := range map[string]struct {
		member string
		opts   []clientcred.Option
		until  time.Duration // it is handed out
	}{
		"a long one":        {member: `,"expires_in":1000`, until: 990 * time.Second},
		"a short one":       {member: `,"expires_in":10`, until: 9 * time.Second},
		"a string":          {member: `,"expires_in":"1000"`, until: 990 * time.Second},
		"a fraction":        {member: `,"expires_in":10.9e0`, until: 9 * time.Second},
		"30 days":           {member: `,"expires_in":2592000`, until: 24*time.Hour - 10*time.Second},
		"for ever":          {member: `,"expires_in":1e999`, until: 24*time.Hour - 10*time.Second},
		"absent":            {until: 290 * time.Second},
		"null":              {member: `,"expires_in":null`, until: 290 * time.Second},
		"absent, and 1 min": {opts: []clientcred.Option{clientcred.WithDefaultLife(time.Minute)}, until: 54 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				grant := says(http.StatusOK, `{"access_token":"token-1","token_type":"Bearer"`+row.member+`}`)
				e := &endpoint{do: func(r *http.Request) (int, string, error) {
					time.Sleep(2 * time.Second) // of its life, which may have begun when the question came
					return grant(r)
				}}
				source := newSource(t, e, row.opts...)
				wants(t, source, "token-1")
				e.set(says(http.StatusInternalServerError, "{}"))
				time.Sleep(row.until - 2*time.Second - ms)
				wants(t, source, "token-1")
				synctest.Wait()
				time.Sleep(ms)
				fails(t, source, clientcred.Refused)
			})
		})
	}
}

func TestTokenWithoutLifeIsForThoseWhoWaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{do: grants(0)}
		source := newSource(t, e)
		wants(t, source, "token-1")
		wants(t, source, "token-2")
	})
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
		if err := source.Close(); err != nil {
			t.Error(err)
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
