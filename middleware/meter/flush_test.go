package meter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

func TestFlushSendsAnOpenBatchAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault func(b *book, f func(lua.UsageBatch) error)
	}{
		{"not applied", func(b *book, f func(lua.UsageBatch) error) { b.before = f }},
		{"applied, the reply lost", func(b *book, f func(lua.UsageBatch) error) { b.after = f }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b book
			tt.fault(&b, func(lua.UsageBatch) error { return context.DeadlineExceeded })
			m := open(t, &b)
			m.Record(usage("acme", 1))
			if err := m.Flush(t.Context()); !errors.Is(err, ErrNotFlushed) || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Flush = %v; want ErrNotFlushed and the cause", err)
			}
			m.Record(usage("acme", 10))
			wantStats(t, m, Stats{Recorded: 11, Pending: 11, Entries: 2, Failures: map[lua.Class]uint64{lua.ClassTimeout: 1}})

			tt.fault(&b, nil)
			flush(t, m) // the open batch, as it was, and what came later
			b.want(t, map[string]int64{"acme": 11})
			if len(b.calls) != 3 || b.calls[0].Number != b.calls[1].Number || b.calls[1].Number >= b.calls[2].Number ||
				!slices.Equal(b.calls[0].Entries, b.calls[1].Entries) {
				t.Errorf("sent %+v; want the first twice, then another", b.calls)
			}
			wantStats(t, m, Stats{Recorded: 11, Flushed: 11})
		})
	}
}

func TestFlushOfOneOrgDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	bad, other := "acme", "other"
	same := neighbour(bad)
	for _, tt := range []struct {
		name    string
		failure error
		class   lua.Class
	}{
		{"out of reach", errDown, lua.ClassUnavailable},
		{"refused", lua.ErrUsageRefused, lua.ClassConfig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := book{before: func(batch lua.UsageBatch) error {
				if batch.Org == bad {
					return tt.failure
				}
				return nil
			}}
			m := open(t, &b)
			m.Record(usage(bad, 1))
			if err := m.Flush(t.Context()); !errors.Is(err, tt.failure) {
				t.Fatalf("Flush = %v; want %v", err, tt.failure)
			}
			m.Record(usage(same, 2))
			m.Record(usage(other, 4))
			if err := m.Flush(t.Context()); !errors.Is(err, tt.failure) {
				t.Fatalf("Flush = %v; want %v", err, tt.failure)
			}
			b.want(t, map[string]int64{same: 2, other: 4})
			wantStats(t, m, Stats{Recorded: 7, Flushed: 6, Pending: 1, Entries: 1, Failures: map[lua.Class]uint64{tt.class: 2}})
		})
	}
}

func TestFlushLeavesANodeThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := book{before: func(lua.UsageBatch) error { return errDown }}
	m := open(t, &b)
	m.Record(usage("acme", 1))
	m.Record(usage(neighbour("acme"), 1))
	if err := m.Flush(t.Context()); !errors.Is(err, errDown) {
		t.Fatalf("Flush = %v; want %v", err, errDown)
	}
	if len(b.calls) != 1 {
		t.Errorf("asked for %d orgs of one bucket, want 1: each costs a timeout", len(b.calls))
	}
}

func TestFlushRenumbersARefusedBatch(t *testing.T) {
	t.Parallel()
	damaged := noon.Truncate(time.Hour).Unix()
	b := book{before: func(batch lua.UsageBatch) error {
		if batch.Hour == damaged {
			return lua.ErrUsageRefused
		}
		return nil
	}}
	m := open(t, &b)
	later := usage("acme", 10)
	later.At = noon.Add(time.Hour)
	m.Record(usage("acme", 1))
	m.Record(later)
	if err := m.Flush(t.Context()); !errors.Is(err, lua.ErrUsageRefused) || !errors.Is(err, ErrNotFlushed) {
		t.Fatalf("Flush = %v; want ErrNotFlushed and ErrUsageRefused", err)
	}
	b.want(t, map[string]int64{"acme": 10})
	m.Record(usage("acme", 2)) // joins what was put back
	wantStats(t, m, Stats{Recorded: 13, Flushed: 10, Pending: 3, Entries: 1, Failures: map[lua.Class]uint64{lua.ClassConfig: 1}})

	b.before = nil
	flush(t, m)
	b.want(t, map[string]int64{"acme": 13})
	if last := b.calls[2]; last.Number <= b.calls[1].Number || last.Entries[0].Units != 3 {
		t.Errorf("the refused units went as %+v; want 3 under a new number", last)
	}
	wantStats(t, m, Stats{Recorded: 13, Flushed: 13})
}

func TestFlushPutsBackBesideWhatCameMeanwhile(t *testing.T) {
	t.Parallel()
	var b book
	m := open(t, &b)
	b.before = func(lua.UsageBatch) error {
		m.Record(usage("acme", 1))
		if m.Stats().Recorded == lua.MaxUsageUnits {
			m.Record(usage("acme", 5))
		}
		return lua.ErrUsageRefused
	}
	m.Record(usage("acme", lua.MaxUsageUnits-1))
	if err := m.Flush(t.Context()); !errors.Is(err, lua.ErrUsageRefused) {
		t.Fatalf("Flush = %v; want ErrUsageRefused", err)
	}
	// 6 came while the batch was away; with what came back that is more than a name may hold.
	wantStats(t, m, Stats{Recorded: lua.MaxUsageUnits + 5, Pending: 6, Dropped: lua.MaxUsageUnits - 1, Entries: 1})
	b.before = nil
	flush(t, m)
	b.want(t, map[string]int64{"acme": 6})
}

func TestFlushBoundsBatches(t *testing.T) {
	t.Parallel()
	var b book
	m := open(t, &b)
	for _, u := range names(lua.MaxUsageEntries + 1) {
		m.Record(u)
		u.At = noon.Add(-time.Hour)
		m.Record(u)
	}
	flush(t, m)
	if got := sizes(b.calls); !slices.Equal(got, []int{500, 1, 500, 1}) {
		t.Errorf("batches of %v entries, want 500, 1, 500, 1", got)
	}
	for i, batch := range b.calls {
		if first := noon.Truncate(time.Hour).Unix(); batch.Hour != first-3600 && i < 2 || batch.Hour != first && i >= 2 {
			t.Errorf("batch %d is of hour %d; want the earlier hour first", i, batch.Hour)
		}
	}
	wantStats(t, m, Stats{Recorded: 1002, Flushed: 1002})
}

func TestFlushByInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b book
		m := open(t, &b, WithInterval(time.Second))
		m.Record(usage("acme", 1))
		time.Sleep(time.Second - 1)
		synctest.Wait()
		if got := m.Stats(); got.Flushed != 0 || got.OldestPending != time.Second-1 {
			t.Errorf("before the interval: %+v; want nothing flushed, oldest pending 1s-1ns", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		b.want(t, map[string]int64{"acme": 1})
		if got := m.Stats(); got.Flushed != 1 || got.OldestPending != 0 {
			t.Errorf("after the interval: %+v; want all flushed, nothing waiting", got)
		}
		if err := m.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestOldestPending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := book{before: func(lua.UsageBatch) error { return errDown }}
		m := open(t, &b)
		wantAge := func(when string, want time.Duration) {
			t.Helper()
			if got := m.Stats().OldestPending; got != want {
				t.Errorf("OldestPending %s = %v, want %v", when, got, want)
			}
		}
		m.Record(usage("acme", 1))
		time.Sleep(time.Minute)
		_ = m.Flush(t.Context())
		m.Record(usage("acme", 1))
		m.Record(usage("other", 1))
		time.Sleep(time.Minute)
		wantAge("of an open batch", 2*time.Minute)
		b.before = func(lua.UsageBatch) error { return lua.ErrUsageRefused }
		_ = m.Flush(t.Context())
		wantAge("of a refused batch", 2*time.Minute)
		b.before = nil
		flush(t, m)
		wantAge("of nothing", 0)
	})
}

func TestFlushWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := open(t, &book{})
		m.passing <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.Flush(ctx); !errors.Is(err, ErrNotFlushed) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush = %v; want ErrNotFlushed and the context's error", err)
		}
		<-m.passing
	})
}

func TestCloseDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var failed int
		b := book{before: func(lua.UsageBatch) error {
			if failed++; failed <= 20 {
				return errDown
			}
			return nil
		}}
		m := open(t, &b)
		m.Record(usage("acme", 1))
		_ = m.Flush(t.Context())
		m.Record(usage("acme", 10)) // waits behind the open batch
		if err := m.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		b.want(t, map[string]int64{"acme": 11})
		m.Record(usage("acme", 2))
		if err := m.Close(t.Context()); err != nil {
			t.Errorf("Close again: %v", err)
		}
		wantStats(t, m, Stats{Recorded: 11, Flushed: 11, Dropped: 2, Failures: map[lua.Class]uint64{lua.ClassUnavailable: 20}})
	})
}

func TestCloseTellsWhatIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := book{after: func(lua.UsageBatch) error { return errDown }}
		m := open(t, &b)
		m.Record(usage("acme", 41))
		m.Record(usage("other", 1))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		err := m.Close(ctx)
		if !errors.Is(err, ErrNotFlushed) || !strings.Contains(err.Error(), "42 units") {
			t.Errorf("Close = %v; want ErrNotFlushed and 42 units", err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("Close took %v; want until its context ended", took)
		}
		b.after = nil
		if err := m.Close(t.Context()); err != nil {
			t.Errorf("Close again: %v", err)
		}
		b.want(t, map[string]int64{"acme": 41, "other": 1})
	})
}

func TestCloseWaitsForOthersThanTheRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := map[string]int{}
		b := book{before: func(batch lua.UsageBatch) error {
			tries[batch.Org]++
			switch {
			case batch.Org == "refused":
				return lua.ErrUsageRefused
			case tries[batch.Org] <= 3:
				return errDown
			}
			return nil
		}}
		m := open(t, &b)
		for _, org := range []string{"refused", "acme", neighbour("acme"), neighbour("refused")} {
			m.Record(usage(org, 1))
		}
		if err := m.Close(t.Context()); !errors.Is(err, lua.ErrUsageRefused) || errors.Is(err, errDown) {
			t.Errorf("Close = %v; want ErrUsageRefused alone", err)
		}
		b.want(t, map[string]int64{"acme": 1, neighbour("acme"): 1, neighbour("refused"): 1})
	})
}

func TestCloseDoesNotWaitForWhatIsRefused(t *testing.T) {
	t.Parallel()
	b := book{before: func(lua.UsageBatch) error { return lua.ErrUsageRefused }}
	m := open(t, &b)
	m.Record(usage("acme", 1))
	if err := m.Close(t.Context()); !errors.Is(err, lua.ErrUsageRefused) {
		t.Errorf("Close = %v; want ErrUsageRefused", err)
	}
	wantStats(t, m, Stats{Recorded: 1, Pending: 1, Entries: 1})
}

// TestStorm records, flushes and fails in all ways at once; nothing may be lost or counted twice.
func TestStorm(t *testing.T) {
	t.Parallel()
	var n int
	fault := func(want int, err error) func(lua.UsageBatch) error {
		return func(lua.UsageBatch) error {
			if n++; n%7 == want {
				return err
			}
			return nil
		}
	}
	b := book{before: fault(1, lua.ErrUsageRefused), after: fault(4, errDown)}
	m := open(t, &b)
	var group sync.WaitGroup
	orgs := []string{"acme", neighbour("acme"), "other"}
	for i := range 100 {
		group.Go(func() {
			for range 100 {
				m.Record(usage(orgs[i%len(orgs)], 1))
				if i%10 == 0 {
					_ = m.Flush(t.Context())
				}
			}
		})
	}
	group.Wait()
	for m.Stats().Pending > 0 {
		_ = m.Flush(t.Context())
	}
	b.want(t, map[string]int64{orgs[0]: 3400, orgs[1]: 3300, orgs[2]: 3300})
	wantStats(t, m, Stats{Recorded: 10000, Flushed: 10000})
}
