package echokit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tollgate-go/tollgate/adapters/echokit"
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

// gates returns a stage that authenticates, and one that does all, and a request that both let pass.
func gates(t *testing.T) (auth, all middleware.Stage, r *http.Request) {
	t.Helper()
	store := authkey.NewMemoryStore()
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := issuer.Issue(t.Context(), authkey.NewKey{Org: "acme", Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := authkey.New(store)
	if err != nil {
		t.Fatal(err)
	}
	r = httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/items/7", http.NoBody)
	r.Header.Set("X-API-Key", key.Reveal())
	m := &memory{results: []ratelimit.Result{{
		Policy: "requests", Partition: ratelimit.ByProject, Limit: 100, Window: time.Minute, Remaining: 99, NextAfter: time.Second,
	}}}
	known := middleware.Authenticate(verifier)
	return known, known.RateLimit(m, ratelimit.PerMinute(100)).Meter(m, "stores", "search"), r
}

// TestAllocationsOfTheGate holds what a request costs besides what it costs Echo, exactly.
func TestAllocationsOfTheGate(t *testing.T) { // not parallel: AllocsPerRun counts what all do
	auth, all, r := gates(t)
	count := func(stages ...middleware.Stage) float64 {
		e := echo.New()
		var chain []echo.MiddlewareFunc
		for _, s := range stages {
			chain = append(chain, echokit.Middleware(s))
		}
		e.GET("/items/:id", func(echo.Context) error { return nil }, chain...)
		w := httptest.NewRecorder()
		c := e.NewContext(r, w) // one for all, since the race detector empties pools
		return testing.AllocsPerRun(200, func() {
			c.Reset(r, w)
			e.Router().Find(r.Method, r.URL.Path, c)
			if err := c.Handler()(c); err != nil {
				t.Error(err)
			}
		})
	}
	bare := count()
	for _, row := range []struct {
		name   string
		stages []middleware.Stage
		want   float64
	}{
		// One is Echo's for each middleware: it makes the chain for each request.
		{"key", []middleware.Stage{auth}, 3 + 1},
		{"key, limit, meter", []middleware.Stage{all}, 4 + 1},
		{"within another, which sees by itself what became of the connection", []middleware.Stage{auth, all}, 5 + 2},
	} {
		if got := count(row.stages...) - bare; got != row.want {
			t.Errorf("%s: %v allocations, want %v", row.name, got, row.want)
		}
	}
}
