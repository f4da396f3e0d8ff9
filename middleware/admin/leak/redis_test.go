package leak_test

import (
	"crypto/elliptic"
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
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const waitLong = 10 * time.Second // a busy machine is no reason to fail

// TestLeakedKeyIsRefused holds that a key that was reported opens no replica's gate any more, although all have it in
// memory.
func TestLeakedKeyIsRefused(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]leak.Policy{"revoke": leak.Revoke(), "revoke the key": leak.RevokeKey()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				t.Parallel()
				store := redisstore.New(rdb, redisstore.WithTimeout(waitLong/2))
				issuer := newIssuer(t, store)
				_, presented, err := issuer.Issue(t.Context(), authkey.NewKey{Org: redistest.Org(t), Project: "shop"})
				if err != nil {
					t.Fatal(err)
				}
				github := newSigner(t, elliptic.P256())
				h := newHandler(t, issuer, github.keys(t), leak.WithPolicy("", "", policy))
				replicas := []http.Handler{gate(t, rdb), gate(t, rdb)}
				for i, replica := range replicas {
					if got := call(replica, presented.Reveal()); got != http.StatusOK {
						t.Fatalf("replica %d: %d before the report", i, got)
					}
				}
				a := serve(t, h, github.request(t, report(t, presented.Reveal()))).want(t, http.StatusOK, "")
				if got := a.labels(); got[0] != truePositive {
					t.Errorf("a %s", got[0])
				}
				for i, replica := range replicas {
					if got := call(replica, presented.Reveal()); got != http.StatusUnauthorized {
						t.Errorf("replica %d: %d after the report", i, got)
					}
				}
			})
		})
	}
}

// gate is one replica of a service.
func gate(t *testing.T, rdb redis.UniversalClient) http.Handler {
	t.Helper()
	verifier, err := authkey.New(redisstore.New(rdb, redisstore.WithTimeout(waitLong/2)), authkey.WithTimeout(waitLong))
	if err != nil {
		t.Fatal(err)
	}
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(waitLong))
	if err != nil {
		t.Fatal(err)
	}
	stage := middleware.Authenticate(verifier).RateLimit(limiter, ratelimit.PerMinute(100))
	mux := http.NewServeMux()
	mux.Handle("GET /v1/stores", httpkit.Middleware(stage)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	return mux
}

func call(h http.Handler, key string) int {
	r := httptest.NewRequest(http.MethodGet, "/v1/stores", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}
