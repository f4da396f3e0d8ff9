package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// ahead is a gate as a service has it, whose limit takes units ahead, and a request that it lets pass.
func ahead(t *testing.T, rdb redis.UniversalClient) (*meter.Meter, http.Handler, *http.Request) {
	t.Helper()
	who := newTenant(t, rdb)
	verifier, err := authkey.New(redisstore.New(rdb, redisstore.WithTimeout(calm)), authkey.WithTimeout(calm), authkey.WithCache(100, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(calm))
	if err != nil {
		t.Fatal(err)
	}
	usage, err := meter.New(rdb)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), calm)
		defer cancel()
		for _, end := range []func(context.Context) error{limiter.Close, usage.Close} {
			if err := end(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	stage := middleware.Authenticate(verifier).
		RateLimit(limiter, ratelimit.PerHour(100_000_000).Ahead(1_000_000)).
		Meter(usage, "stores", "search")
	mux := http.NewServeMux()
	mux.Handle("GET /v1/search", httpkit.Middleware(stage)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, ok := middleware.FromContext(r.Context()); !ok || a.Identity().Org != who.org {
			t.Error("no identity in the context")
		}
		w.WriteHeader(http.StatusNoContent)
	})))
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/v1/search", http.NoBody)
	r.Header.Set("X-API-Key", who.key)
	return usage, mux, r
}

// TestAllocationsOfTheGateOnRedis holds the same of the real thing, while it takes nothing from Redis.
func TestAllocationsOfTheGateOnRedis(t *testing.T) { // not parallel: AllocsPerRun counts what all do
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		usage, gate, r := ahead(t, rdb)
		w := httptest.NewRecorder()
		const warm, runs, tries = 200, 1000, 5
		for range warm { // units are taken ahead by demand
			gate.ServeHTTP(w, r)
		}
		// What is done beside the requests, such as to take units and to write usage, is shared by many where nothing slows
		// it down: of some tries the best one counts.
		least := testing.AllocsPerRun(runs, func() { gate.ServeHTTP(w, r) })
		for range tries - 1 {
			least = min(least, testing.AllocsPerRun(runs, func() { gate.ServeHTTP(w, r) }))
		}
		if least > 4 {
			t.Errorf("%v allocations, want at most 4", least)
		}
		if w.Code != http.StatusNoContent || w.Header().Get("RateLimit") == "" {
			t.Errorf("answered %d %v", w.Code, w.Header())
		}
		if got := usage.Stats().Recorded; got != warm+tries*(runs+1) {
			t.Errorf("usage tells of %d requests, want %d", got, warm+tries*(runs+1))
		}
	})
}
