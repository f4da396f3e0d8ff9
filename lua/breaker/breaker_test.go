package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/lua/breaker"
)

var (
	errAway   = errors.New("away")
	errAnswer = errors.New("a refusal by a server that is well")
)

// world is a breaker, and what it told.
type world struct {
	*breaker.Breaker
	mu   sync.Mutex
	told []string
}

func newWorld() *world {
	w := new(world)
	w.Breaker = breaker.New(breaker.Settings{
		Name:   "server",
		Failed: func(err error) bool { return !errors.Is(err, errAnswer) },
		Changed: func(name string, open bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, fmt.Sprint(name, " ", open))
		},
	})
	return w
}

// wants checks what was told so far.
func (w *world) wants(t *testing.T, told ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.told, told) {
		t.Errorf("told %q, want %q", w.told, told)
	}
}

// call makes a call that comes to an error, and reports whether it was let through.
func (w *world) call(t *testing.T, err error) bool {
	t.Helper()
	open, called := w.Open(), false
	got := w.Do(func() error {
		called = true
		return err
	})
	want := err
	if !called {
		want = breaker.ErrOpen
	}
	if !errors.Is(got, want) || (got == nil) != (want == nil) {
		t.Errorf("Do returned %v, want %v", got, want)
	}
	if open == called {
		t.Errorf("Open was %t, and the call was made: %t", open, called)
	}
	return called
}

func (w *world) fail(t *testing.T, times int) {
	t.Helper()
	for range times {
		if !w.call(t, errAway) {
			t.Fatal("refused too early")
		}
	}
}

func TestOpensAfterFailuresInARow(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		between error
		open    bool
	}{
		{"of nothing else", errAway, true},
		{"but a success", nil, false},
		{"but an answer", fmt.Errorf("wrapped: %w", errAnswer), false},
		{"and somebody who went away", fmt.Errorf("wrapped: %w", context.Canceled), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.fail(t, 4)
			w.call(t, row.between)
			if w.Open() != row.open {
				t.Errorf("open: %t, want %t", w.Open(), row.open)
			}
		})
	}
}

func TestWhoWentAwayCountsAsNeither(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.fail(t, 4)
	for range 10 {
		w.call(t, context.Canceled)
	}
	w.fail(t, 1)
	if w.call(t, nil) {
		t.Error("five failures in a row did not open it, for others had gone away between them")
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail(t, 5)
		w.wants(t, "server true")
		for range 3 {
			if w.call(t, nil) {
				t.Error("let through while it is open")
			}
			time.Sleep(200*time.Millisecond + 1)
			w.fail(t, 1) // one probe, and it is open again
		}
		w.wants(t, "server true")
		time.Sleep(200*time.Millisecond + 1)
		if !w.call(t, context.Canceled) || !w.call(t, nil) {
			t.Error("the probe after one whose caller went away was refused")
		}
		w.wants(t, "server true", "server false")
		w.fail(t, 4)
		if !w.call(t, nil) {
			t.Error("the failures of before still count")
		}
	})
}

// TestOneProbeAtATime holds a probe under way while others come.
func TestOneProbeAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail(t, 5)
		time.Sleep(time.Second)
		if w.Open() {
			t.Error("open, where a probe would be let through")
		}
		probe, err := w.Allow()
		if err != nil {
			t.Fatalf("the probe: %v", err)
		}
		for range 200 {
			if w.call(t, nil) {
				t.Fatal("a second probe")
			}
		}
		probe.Done(nil)
		if !w.call(t, nil) {
			t.Error("refused after a good probe")
		}
		w.wants(t, "server true", "server false")
	})
}

// TestLateResults are of calls that began before the server was given up.
func TestLateResults(t *testing.T) {
	t.Parallel()
	w := newWorld()
	late, err := w.Allow()
	if err != nil {
		t.Fatal(err)
	}
	w.fail(t, 5)
	late.Done(nil)
	late.Done(errAway)
	if !w.Open() {
		t.Error("what began before closed it")
	}
	w.wants(t, "server true")
}

func TestPanicIsAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for range 5 {
		func() {
			defer func() {
				if r := recover(); r != "oh" {
					t.Errorf("recovered %v", r)
				}
			}()
			_ = w.Do(func() error { panic("oh") })
		}()
	}
	if !w.Open() {
		t.Error("closed after five panics")
	}
}

// TestTellsOnce has many callers fail at once, again and again, with a slow ear.
func TestTellsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []bool
		b := breaker.New(breaker.Settings{Changed: func(_ string, open bool) {
			mu.Lock()
			told = append(told, open)
			mu.Unlock()
			time.Sleep(time.Millisecond)
		}})
		for range 5 {
			for _, err := range []error{errAway, nil} {
				var callers sync.WaitGroup
				for range 200 {
					callers.Go(func() { _ = b.Do(func() error { return err }) })
				}
				callers.Wait()
				time.Sleep(time.Second)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if want := slices.Repeat([]bool{true, false}, 5); !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

// TestNobodyWaitsForTheEar has one caller stuck in Changed.
func TestNobodyWaitsForTheEar(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var told []bool
		b := breaker.New(breaker.Settings{Changed: func(_ string, open bool) {
			told = append(told, open)
			<-release
		}})
		var stuck sync.WaitGroup
		stuck.Go(func() {
			for range 5 {
				_ = b.Do(func() error { return errAway })
			}
		})
		synctest.Wait()
		time.Sleep(time.Second)
		if err := b.Do(func() error { return nil }); err != nil || b.Open() {
			t.Errorf("the probe: %v, open: %t", err, b.Open())
		}
		close(release)
		stuck.Wait()
		if want := []bool{true, false}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

// TestLateResultsOfARoundBefore are of calls that began before it opened, and end when it has closed again.
func TestLateResultsOfARoundBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		late := make([]breaker.Pass, 10)
		for i := range late {
			late[i], _ = w.Allow()
		}
		w.fail(t, 5)
		time.Sleep(time.Second)
		late[0].Done(nil) // neither a probe nor a failure of one
		w.call(t, nil)
		for _, pass := range late[1:] {
			pass.Done(errAway)
		}
		if w.Open() {
			t.Error("failures of before opened it")
		}
		w.wants(t, "server true", "server false")
	})
}

func TestCostsNothingWhileTheServerIsWell(t *testing.T) {
	b, f := breaker.New(breaker.Settings{}), func() error { return nil }
	if n := testing.AllocsPerRun(100, func() {
		pass, _ := b.Allow()
		pass.Done(nil)
		_ = b.Do(f)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	breaker.Pass{}.Done(errAway)
}

func ExampleBreaker_Do() {
	b := breaker.New(breaker.Settings{
		Name:    "redis",
		Changed: func(name string, open bool) { fmt.Println(name, "open:", open) },
	})
	for range 5 {
		_ = b.Do(func() error { return errors.New("connection refused") })
	}
	err := b.Do(func() error { return nil })
	fmt.Println(errors.Is(err, breaker.ErrOpen))
	// Output:
	// redis open: true
	// true
}

func BenchmarkAllow(b *testing.B) {
	br := breaker.New(breaker.Settings{})
	b.ReportAllocs()
	for b.Loop() {
		pass, err := br.Allow()
		if err != nil {
			b.Fatal(err)
		}
		pass.Done(nil)
	}
}
