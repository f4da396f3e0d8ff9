package authkey

import (
	"testing"
	"time"
)

func TestFloodTokens(t *testing.T) {
	t.Parallel()
	f, now := newFlood(10, 3), time.Unix(1_800_000_000, 0)
	takes := func(want int) {
		t.Helper()
		got := 0
		for got < 100 && f.take(func() time.Time { return now }) {
			got++
		}
		if got != want {
			t.Errorf("%d tokens, want %d", got, want)
		}
	}
	takes(3)
	now = now.Add(99 * time.Millisecond)
	takes(0)
	now = now.Add(time.Millisecond)
	takes(1)
	f.giveBack()
	takes(1)
	now = now.Add(time.Hour)
	takes(3) // never more than the burst
	for range 5 {
		f.giveBack()
	}
	takes(3)
	now = now.Add(-time.Minute)
	takes(0)
	now = now.Add(200 * time.Millisecond)
	takes(2)
}

func TestFloodSharesTokens(t *testing.T) {
	t.Parallel()
	const callers, burst = 100, 40
	f, now := newFlood(1, burst), time.Unix(1_800_000_000, 0)
	passed := make(chan bool, callers)
	for range callers {
		go func() { passed <- f.take(func() time.Time { return now }) }()
	}
	n := 0
	for range callers {
		if <-passed {
			n++
		}
	}
	if n != burst || f.refused.Load() != callers-burst {
		t.Errorf("%d passed and %d were refused, want %d and %d", n, f.refused.Load(), burst, callers-burst)
	}
}

// Callers that read the clock before they wait for each other would count the same time twice.
func TestFloodReadsTheClockInOrder(t *testing.T) {
	t.Parallel()
	f, now := newFlood(1, 1), time.Unix(1_800_000_000, 0)
	read := false
	f.take(func() time.Time {
		read = !f.mu.TryLock()
		return now
	})
	if !read {
		t.Error("the clock was read before the lock was held")
	}
}
