package httpkit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// memory is a Limiter that decides from memory, and a Recorder that adds up.
type memory struct {
	results []ratelimit.Result
	units   atomic.Int64
}

func (m *memory) Admit(context.Context, ratelimit.Request) (ratelimit.Decision, error) {
	return ratelimit.Decision{Allowed: true, At: time.UnixMilli(1_700_000_000_900), Results: m.results}, nil
}

func (m *memory) Record(u middleware.Usage)               { m.units.Add(u.Units) }
func (m *memory) Tally(middleware.Usage) middleware.Tally { return m }
func (m *memory) Add(units int64, _ time.Time)            { m.units.Add(units) }
func (m *memory) RateLimit(by *middleware.Authenticated) *middleware.Limited {
	return by.RateLimit(m, ratelimit.PerMinute(100))
}

// discard is the least that a server can be.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header            { return d.header }
func (d *discard) WriteHeader(int)                {}
func (d *discard) Write(text []byte) (int, error) { return len(text), nil }

var ok = []byte("ok")

// gates returns a handler without a stage and with more and more of one, and a request that all of them let pass.
func gates(tb testing.TB) (rows []gate, r *http.Request) {
	tb.Helper()
	store := authkey.NewMemoryStore()
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		tb.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		tb.Fatal(err)
	}
	_, key, err := issuer.Issue(tb.Context(), authkey.NewKey{Org: "acme", Project: "shop"})
	if err != nil {
		tb.Fatal(err)
	}
	verifier, err := authkey.New(store)
	if err != nil {
		tb.Fatal(err)
	}
	r = httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/v1/search", http.NoBody)
	r.Header.Set("X-API-Key", key.Reveal())
	r.Header.Set("Accept", "*/*")
	r.Header.Set("User-Agent", "bench/1.0")
	r.Pattern = "GET /v1/search"
	m := &memory{results: []ratelimit.Result{{
		Policy: "requests", Partition: ratelimit.ByProject, Limit: 100, Window: time.Minute, Remaining: 99, NextAfter: time.Second,
	}}}
	auth := middleware.Authenticate(verifier)
	limited := m.RateLimit(auth)
	alone := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(ok) })
	typed := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, admitted := middleware.FromContext(r.Context()); !admitted || a.Identity().Project != "shop" {
			tb.Error("no identity in the context")
		}
		_, _ = w.Write(ok)
	})
	all := httpkit.Middleware(limited.Meter(m, "stores", "search"))
	return []gate{
		{"alone", alone, 0},
		{"key", httpkit.Middleware(auth)(typed), 3},
		{"limit", httpkit.Middleware(limited)(typed), 4},
		{"all", all(typed), 4},
		{"nested", httpkit.Middleware(auth)(all(typed)), 4},
		{"twice", all(all(typed)), 4},
	}, r
}

type gate struct {
	name        string
	handler     http.Handler
	allocations float64
}

// TestAllocationsOfTheGate holds what the whole gate costs a handler, exactly.
func TestAllocationsOfTheGate(t *testing.T) { // not parallel: AllocsPerRun counts what all do
	rows, r := gates(t)
	w := &discard{http.Header{}}
	for _, row := range rows {
		if got := testing.AllocsPerRun(200, func() { row.handler.ServeHTTP(w, r) }); got != row.allocations {
			t.Errorf("%s: %v allocations, want %v", row.name, got, row.allocations)
		}
	}
}

// BenchmarkGate tells what the gate adds to a handler, in process: a key, a limit that is decided from memory, usage, and
// the identity in the context.
func BenchmarkGate(b *testing.B) {
	rows, r := gates(b)
	w := &discard{http.Header{}}
	for _, row := range rows {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				row.handler.ServeHTTP(w, r)
			}
		})
	}
}
