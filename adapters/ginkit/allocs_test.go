package ginkit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tollgate-go/tollgate/adapters/ginkit"
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

// TestAllocationsOfTheGate holds what a request costs besides what it costs gin, exactly.
func TestAllocationsOfTheGate(t *testing.T) { // not parallel: AllocsPerRun counts what all do
	auth, all, r := gates(t)
	count := func(stages ...middleware.Stage) float64 {
		router := gin.New()
		var chain []gin.HandlerFunc
		for _, s := range stages {
			chain = append(chain, ginkit.Middleware(s))
		}
		router.GET("/items/:id", append(chain, func(*gin.Context) {})...)
		c := gin.CreateTestContextOnly(httptest.NewRecorder(), router) // one for all, since the race detector empties pools
		return testing.AllocsPerRun(200, func() {
			c.Request = r
			router.HandleContext(c)
		})
	}
	bare := count()
	for _, row := range []struct {
		name   string
		stages []middleware.Stage
		want   float64
	}{
		{"key", []middleware.Stage{auth}, 3},
		{"key, limit, meter", []middleware.Stage{all}, 4},
		{"within another", []middleware.Stage{auth, all}, 4},
	} {
		if got := count(row.stages...) - bare; got != row.want {
			t.Errorf("%s: %v allocations, want %v", row.name, got, row.want)
		}
	}
}
