package middleware_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
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

// service is one replica with everything that a key can be restricted by.
type service struct {
	handler http.Handler
	limiter *ratelimit.Limiter
	usage   *meter.Meter
	served  atomic.Int64 // by the handler itself
}

// plenty is a limit that nobody reaches here.
var plenty = []ratelimit.Policy{ratelimit.Per(1e9, 24*time.Hour).Fixed(), ratelimit.Per(1e9, 24*time.Hour).Fixed().By(ratelimit.ByKey).Named("key")}

// newService returns a replica that has keys in its cache for life.
func newService(t *testing.T, rdb redis.UniversalClient, life time.Duration) *service {
	t.Helper()
	verifier, err := authkey.New(redisstore.New(rdb, redisstore.WithTimeout(calm)), authkey.WithTimeout(calm), authkey.WithCache(100, life))
	if err != nil {
		t.Fatal(err)
	}
	s := &service{}
	if s.limiter, err = ratelimit.New(rdb, ratelimit.WithTimeout(calm)); err != nil {
		t.Fatal(err)
	}
	if s.usage, err = meter.New(rdb); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), calm)
		defer cancel()
		if err := s.usage.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	stage := middleware.Authenticate(verifier).RequireScope("search").RequireProduct("stores").
		RateLimit(s.limiter, plenty...).Meter(s.usage, "stores", "search")
	mux := http.NewServeMux()
	mux.Handle("GET /v1/search", httpkit.Middleware(stage)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.served.Add(1)
		w.WriteHeader(http.StatusNoContent)
	})))
	s.handler = mux
	return s
}

// call returns the status of a call and, if it was refused, the code. It comes from a network and a page of its own.
func (s *service) call(key authkey.Presented) (status int, code string) {
	r := httptest.NewRequest(http.MethodGet, "/v1/search", nil)
	r.RemoteAddr = "192.0.2.7:1"
	r.Header.Set("X-API-Key", key.Reveal())
	r.Header.Set("Origin", "https://shop.example.com")
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	var problem struct{ Code string }
	_ = json.Unmarshal(w.Body.Bytes(), &problem) // an answer without one has no code
	return w.Code, problem.Code
}

// customer is a key and who may change it.
type customer struct {
	org, id string
	key     authkey.Presented
	issuer  *authkey.Issuer
}

func newCustomer(t *testing.T, rdb redis.UniversalClient) *customer {
	t.Helper()
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(redisstore.New(rdb, redisstore.WithTimeout(calm)), format)
	if err != nil {
		t.Fatal(err)
	}
	c := &customer{org: redistest.Org(t), issuer: issuer}
	record, key, err := issuer.Issue(t.Context(), authkey.NewKey{
		Org: c.org, Project: "shop", Kind: authkey.KindPublishable, Scopes: []string{"search", "export"}, Products: []string{"stores", "maps"},
		Networks: prefixes("192.0.2.0/24"), Origins: []string{"https://*.example.com"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.id, c.key = record.ID, key
	return c
}

// eachDeployment runs a test on a standalone and on a cluster; dial gives each replica a client of its own.
func eachDeployment(t *testing.T, test func(t *testing.T, dial func(*testing.T) redis.UniversalClient)) {
	t.Helper()
	t.Run("standalone", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T) redis.UniversalClient { return redistest.Standalone(t) })
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T) redis.UniversalClient { return redistest.Cluster(t) })
	})
}

// charged asks, without charging, what the limits of the key and its project have used. Cost 0 of a policy shows it.
func (s *service) charged(t *testing.T, c *customer, want int64) {
	t.Helper()
	record, err := c.issuer.Find(t.Context(), c.org, c.id)
	if err != nil {
		t.Fatal(err)
	}
	request := ratelimit.Request{Org: c.org, Project: "shop", Key: c.id, Endpoint: "GET /v1/search", Epoch: record.Epoch}
	for _, policy := range plenty {
		request.Charges = append(request.Charges, ratelimit.Charge{Policy: policy})
	}
	decision, err := s.limiter.Admit(t.Context(), request)
	if err != nil || len(decision.Results) != len(plenty) {
		t.Fatalf("%+v, %v", decision, err)
	}
	for _, result := range decision.Results {
		if result.Used != want {
			t.Errorf("policy %s by %s has used %d, want %d", result.Policy, result.Partition, result.Used, want)
		}
	}
}

// metered asks for the usage of an org, once all replicas have told theirs.
func metered(t *testing.T, replicas []*service, org string, want int64) {
	t.Helper()
	for _, r := range replicas {
		if err := r.usage.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	items, err := replicas[0].usage.Usage(t.Context(), meter.Query{Org: org, From: now.Add(-time.Hour), To: now.Add(2 * time.Hour), Step: meter.Month})
	if err != nil {
		t.Fatal(err)
	}
	var units int64
	for _, item := range items {
		units += item.Units
	}
	if units != want {
		t.Errorf("metered %d, want %d: %+v", units, want, items)
	}
}
