package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// keyed returns a verifier that has a key in its cache, and a request with the key.
func keyed(t *testing.T) (*authkey.Verifier, *http.Request) {
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
	_, key, err := issuer.Issue(t.Context(), authkey.NewKey{Org: "acme", Project: "shop", Scopes: []string{"search"}})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := authkey.New(store)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/v1/search", http.NoBody)
	r.Header.Set("X-API-Key", key.Reveal())
	r.Header.Set("Accept", "*/*")
	return verifier, r
}

// memory is a Limiter that decides from memory, and so does what it prepares.
type memory struct{ results []ratelimit.Result }

func (m *memory) Admit(context.Context, ratelimit.Request) (ratelimit.Decision, error) {
	return ratelimit.Decision{Allowed: true, At: time.UnixMilli(1_700_000_000_900), Results: m.results}, nil
}

func (m *memory) prepare(ratelimit.Request) (middleware.Prepared, error) {
	return preparedMemory{m}, nil
}

type preparedMemory struct{ *memory }

func (m preparedMemory) Admit(_ context.Context, _ ratelimit.Call, d *ratelimit.Decision) error {
	results := append(d.Results[:0], m.results...)
	*d, _ = m.memory.Admit(context.Background(), ratelimit.Request{})
	d.Results = results
	return nil
}

// sum is a Recorder that adds up.
type sum struct{ units atomic.Int64 }

func (s *sum) Record(u middleware.Usage) { s.units.Add(u.Units) }

// sumTally is a sum with a count at hand.
type sumTally struct{ sum }

func (s *sumTally) Tally(middleware.Usage) middleware.Tally { return s }
func (s *sumTally) Add(units int64, _ time.Time)            { s.units.Add(units) }

// TestAllocationsOfTheGate holds what each step of a request costs, exactly.
func TestAllocationsOfTheGate(t *testing.T) { // not parallel: AllocsPerRun counts what all do
	verifier, r := keyed(t)
	policies := []ratelimit.Policy{ratelimit.PerMinute(100), ratelimit.PerHour(1000).Named("hourly"), ratelimit.PerSecond(9).Named("burst")}
	var results []ratelimit.Result
	for _, p := range policies {
		results = append(results, ratelimit.Result{
			Policy: p.Name, Partition: p.Partition, Limit: p.Limit, Window: p.Window, Remaining: p.Limit - 1, NextAfter: time.Second,
		})
	}
	one, three := &memory{results[:1]}, &memory{results}
	auth := middleware.Authenticate(verifier)
	limited := auth.RateLimit(one, policies[0])
	costly := limited.Cost("requests", func(*http.Request) (int64, error) { return 3, nil })
	watched := middleware.Authenticate(verifier, middleware.WithObserver(middleware.ObserverFunc(func(middleware.Event) {})))
	for _, row := range []struct {
		name  string
		stage middleware.Stage
		want  float64
	}{
		// The admission, and the map of fields without the credential, which is two.
		{"key", auth, 3},
		{"key, scope", auth.RequireScope("search"), 3},
		{"key, meter", auth.Meter(&sum{}, "stores", "search"), 3},
		// RateLimit; RateLimit-Policy is kept with the identity.
		{"key, limit", limited, 4},
		{"key, prepared limit", middleware.PreparedBy(limited, one.prepare), 4},
		{"key, limit, meter", limited.Meter(&sum{}, "stores", "search"), 4},
		{"key, prepared limit, tally", middleware.PreparedBy(limited, one.prepare).Meter(&sumTally{}, "stores", "search"), 4},
		// Besides, room for more results than one.
		{"key, three limits", auth.RateLimit(three, policies...), 4},
		{"key, three prepared limits", middleware.PreparedBy(auth.RateLimit(three, policies...), three.prepare), 5},
		// Besides, its charges and their costs.
		{"key, limit with a cost", costly, 6},
		{"key, prepared limit with a cost", middleware.PreparedBy(costly, one.prepare), 6},
		// Besides, the decision that the observer may keep.
		{"key, limit, observer", watched.RateLimit(one, policies[0]), 5},
	} {
		h := http.Header{}
		if got := testing.AllocsPerRun(200, func() {
			a, refusal := row.stage.Admit(h, r, "GET /v1/search")
			if refusal != nil {
				t.Fatal(refusal)
			}
			a.Done(http.StatusOK, 0)
		}); got != row.want {
			t.Errorf("%s: %v allocations, want %v", row.name, got, row.want)
		}
	}
}

// TestAllocationsOfAHandler holds what a handler pays for what a stage knows.
func TestAllocationsOfAHandler(t *testing.T) {
	verifier, r := keyed(t)
	a, _, refusal := admit(t, middleware.Authenticate(verifier), r)
	if refusal != nil {
		t.Fatal(refusal)
	}
	ctx := a.Request().Context()
	if got := testing.AllocsPerRun(100, func() {
		if found, ok := middleware.FromContext(ctx); !ok || found.Identity().Project != "shop" {
			t.Error("no identity in the context")
		}
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}
