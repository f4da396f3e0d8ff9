package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
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

// replica is one process of a service: its own client, caches and meter.
type replica struct {
	handler http.Handler
	usage   *meter.Meter
}

// calm is a budget that a busy machine cannot spend, for tests that are not about time.
const calm = 5 * time.Second

func newReplica(t *testing.T, rdb redis.UniversalClient, limit int64) *replica {
	t.Helper()
	verifier, err := authkey.New(redisstore.New(rdb, redisstore.WithTimeout(calm)), authkey.WithTimeout(calm))
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
		if err := usage.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	stage := middleware.Authenticate(verifier).
		RateLimit(limiter, ratelimit.PerHour(limit).Fixed()).
		Meter(usage, "stores", "search")
	mux := http.NewServeMux()
	mux.Handle("GET /v1/search", httpkit.Middleware(stage)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})))
	return &replica{mux, usage}
}

func (r *replica) call(key string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodGet, "/v1/search", nil)
	request.Header.Set("X-API-Key", key)
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, request)
	return w
}

// tenant is an org with a key, on the Redis of a test.
type tenant struct {
	org, key, id string
	issuer       *authkey.Issuer
}

func newTenant(t *testing.T, rdb redis.UniversalClient) tenant {
	t.Helper()
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		t.Fatal(err)
	}
	store := redisstore.New(rdb, redisstore.WithTimeout(calm))
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		t.Fatal(err)
	}
	org := redistest.Org(t)
	record, key, err := issuer.Issue(t.Context(), authkey.NewKey{Org: org, Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	return tenant{org, key.Reveal(), record.ID, issuer}
}

func expect(t *testing.T, when string, w *httptest.ResponseRecorder, status int, fields map[string]string) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("%s: status %d, want %d; %s", when, w.Code, status, w.Body)
	}
	for name, want := range fields {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %s: %q, want %q", when, name, got, want)
		}
	}
}

// Both replicas have the key and the limits in their caches, and nobody tells them of the change.
func TestRevocationActsOnTheNextRequestAtEveryReplica(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		who := newTenant(t, rdb)
		replicas := []*replica{newReplica(t, rdb, 100), newReplica(t, rdb, 100)}
		for range 2 {
			for _, r := range replicas {
				expect(t, "before", r.call(who.key), http.StatusNoContent, nil)
			}
		}
		if _, err := who.issuer.SetState(t.Context(), who.org, who.id, 0, authkey.StateRevoked, "leaked"); err != nil {
			t.Fatal(err)
		}
		for _, r := range replicas {
			expect(t, "after", r.call(who.key), http.StatusUnauthorized, map[string]string{"RateLimit": ""})
		}
	})
}

func TestOverrideActsOnTheNextRequestAtEveryReplica(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		who := newTenant(t, rdb)
		replicas := []*replica{newReplica(t, rdb, 100), newReplica(t, rdb, 100)}
		for range 2 {
			for _, r := range replicas {
				expect(t, "before", r.call(who.key), http.StatusNoContent, map[string]string{"RateLimit-Policy": `"requests";q=100;w=3600`})
			}
		}
		overrides, err := ratelimit.NewOverrides(rdb, ratelimit.WithTimeout(calm))
		if err != nil {
			t.Fatal(err)
		}
		set := func(limit int64) {
			t.Helper()
			if _, _, err := overrides.Set(t.Context(), ratelimit.Override{Org: who.org, Project: "shop", Limit: &limit}, ratelimit.Always); err != nil {
				t.Fatal(err)
			}
		}
		set(4) // the four that were used stay used
		for _, r := range replicas {
			expect(t, "lowered", r.call(who.key), http.StatusTooManyRequests, map[string]string{"RateLimit-Policy": `"requests";q=4;w=3600`})
		}
		set(6)
		for _, r := range replicas {
			expect(t, "raised", r.call(who.key), http.StatusNoContent, map[string]string{"RateLimit-Policy": `"requests";q=6;w=3600`})
		}
		expect(t, "used up", replicas[0].call(who.key), http.StatusTooManyRequests, nil)
		if n, err := overrides.Clear(t.Context(), who.org, "shop"); err != nil || n != 1 {
			t.Fatalf("Clear = %d, %v", n, err)
		}
		for _, r := range replicas {
			expect(t, "cleared", r.call(who.key), http.StatusNoContent, map[string]string{"RateLimit-Policy": `"requests";q=100;w=3600`})
		}
	})
}

func TestThousandAgainstAHundred(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		const calls, limit = 1000, 100
		who := newTenant(t, rdb)
		replicas := []*replica{newReplica(t, rdb, limit), newReplica(t, rdb, limit)}
		var passed, refused atomic.Int64
		var wait sync.WaitGroup
		for i := range calls {
			wait.Go(func() {
				switch w := replicas[i%len(replicas)].call(who.key); w.Code {
				case http.StatusNoContent:
					passed.Add(1)
				case http.StatusTooManyRequests:
					refused.Add(1)
				default:
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
			})
		}
		wait.Wait()
		if passed.Load() != limit || refused.Load() != calls-limit {
			t.Errorf("%d passed and %d were refused, want %d and %d", passed.Load(), refused.Load(), limit, calls-limit)
		}
		for _, r := range replicas {
			if err := r.usage.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		now := time.Now()
		items, err := replicas[0].usage.Usage(t.Context(), meter.Query{
			Org: who.org, From: now.Add(-time.Hour), To: now.Add(2 * time.Hour), Step: meter.Month,
		})
		if err != nil {
			t.Fatal(err)
		}
		var units int64
		for _, item := range items {
			units += item.Units
			if item.Project != "shop" || item.Product != "stores" || item.Kind != "search" {
				t.Errorf("usage of %+v", item)
			}
		}
		if units != limit {
			t.Errorf("usage says %d, want %d", units, limit)
		}
	})
}
