package meter

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/middleware"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(envChild); what != "" {
		if err := beChild(what); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var (
	errDown = errors.New("connection refused")
	noon    = time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
)

// book is a ledger that keeps what it is told as usage.lua does, and fails as a test wants.
type book struct {
	// before and after are asked for an error before a batch is added and after it; nil is none.
	before, after func(lua.UsageBatch) error
	markFault     error // of UsageMark

	mu               sync.Mutex
	calls            []lua.UsageBatch
	decided, refused map[mark]int64
	units            map[string]int64 // by org
}

type mark struct{ org, process string }

func (b *book) AddUsage(ctx context.Context, batch lua.UsageBatch) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, batch)
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.decided == nil {
		b.decided, b.refused, b.units = map[mark]int64{}, map[mark]int64{}, map[string]int64{}
	}
	of := mark{batch.Org, batch.Process}
	if b.refused[of] == batch.Number {
		return lua.ErrUsageRefused
	}
	if b.before != nil {
		err := b.before(batch)
		if errors.Is(err, lua.ErrUsageRefused) && batch.Number > b.decided[of] {
			b.decided[of], b.refused[of] = batch.Number, batch.Number
		} else if errors.Is(err, lua.ErrUsageRefused) {
			err = nil // it was added before
		}
		if err != nil {
			return err
		}
	}
	if batch.Number > b.decided[of] {
		b.decided[of] = batch.Number
		for _, e := range batch.Entries {
			b.units[batch.Org] += e.Units
		}
	}
	if b.after != nil {
		return b.after(batch)
	}
	return nil
}

func (b *book) UsageMark(_ context.Context, org, process string) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.markFault != nil {
		return 0, b.markFault
	}
	return b.decided[mark{org, process}], nil
}

func (b *book) want(t *testing.T, want map[string]int64) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !maps.Equal(b.units, want) {
		t.Errorf("the book has %v, want %v", b.units, want)
	}
}

// open returns a Meter on a book that flushes only when it is told, and is closed with the test.
func open(t *testing.T, to ledger, opts ...Option) *Meter {
	t.Helper()
	c := defaults()
	c.interval = time.Hour
	for _, o := range opts {
		if err := o.apply(&c); err != nil {
			t.Fatalf("option: %v", err)
		}
	}
	m := build(nil, to, c, rand.Text())
	m.start()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = m.Close(ctx)
	})
	return m
}

// usage is one unit of one thing, of an org's project "shop".
func usage(org string, units int64) middleware.Usage {
	return middleware.Usage{Org: org, Project: "shop", Product: "stores", Kind: "search", Units: units, At: noon}
}

func flush(t *testing.T, m *Meter) {
	t.Helper()
	if err := m.Flush(t.Context()); err != nil {
		t.Fatalf("Flush: %v", err)
	}
}

func wantStats(t *testing.T, m *Meter, want Stats) {
	t.Helper()
	got := m.Stats()
	got.OldestPending, got.Orgs = 0, 0
	if want.Failures == nil {
		want.Failures = got.Failures
	}
	if !maps.Equal(got.Failures, want.Failures) {
		t.Errorf("Failures = %v, want %v", got.Failures, want.Failures)
	}
	got.Failures, want.Failures = nil, nil
	if got.Recorded != want.Recorded || got.Flushed != want.Flushed || got.Pending != want.Pending ||
		got.Dropped != want.Dropped || got.Invalid != want.Invalid || got.Entries != want.Entries {
		t.Errorf("Stats = %+v, want %+v", got, want)
	}
}

// neighbour returns an org of the same bucket as another.
func neighbour(org string) string {
	other := org
	for {
		if other += "x"; bucket.Of(other) == bucket.Of(org) {
			return other
		}
	}
}

// names returns the distinct names of one org that fill n entries.
func names(n int) []middleware.Usage {
	all := make([]middleware.Usage, n)
	for i := range all {
		all[i] = usage("acme", 1)
		all[i].Project = strings.Repeat("p", i/100+1) + string(rune('0'+i%100/10)) + string(rune('0'+i%10))
	}
	return all
}

func sizes(calls []lua.UsageBatch) []int {
	all := make([]int, len(calls))
	for i := range calls {
		all[i] = len(calls[i].Entries)
	}
	return slices.Clone(all)
}
