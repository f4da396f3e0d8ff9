package ratelimit

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestWatchTellsEachInTime: whoever has less time than one that came before, as who had to read overrides first, is told
// in time that it is late, wherever it waits.
func TestWatchTellsEachInTime(t *testing.T) {
	t.Parallel()
	for name, lane := range map[string]int{"behind another": 1, "in a lane of its own": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := &queue{config: &config{timeout: time.Second, queued: 2}} // and nothing flies
				began := time.Now()
				wait := func(lane int, timeout time.Duration) *call {
					c := of(lane)
					c.deadline = began.Add(timeout)
					if err := q.add(c); err != nil {
						t.Fatal(err)
					}
					return c
				}
				long, short := wait(1, time.Second), wait(lane, 100*time.Millisecond)
				for c, due := range map[*call]time.Duration{short: 100 * time.Millisecond, long: time.Second} {
					go func() {
						if e := <-c.done; e != isLate || time.Since(began) != due {
							t.Errorf("told %v after %v, want that it is late after %v", e, time.Since(began), due)
						}
					}()
				}
				time.Sleep(2 * time.Second)
				if !short.told.Load() || !long.told.Load() {
					t.Error("not told at all")
				}
			})
		})
	}
}
