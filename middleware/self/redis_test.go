package self_test

import (
	"context"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/middleware/self"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const (
	waitLong = 10 * time.Second // a busy machine is no reason to fail
	search   = "GET /v1/search"
)

// service is a service of one route, with self-service.
type service struct {
	org       string
	handler   http.Handler
	issuer    *authkey.Issuer
	overrides *ratelimit.Overrides
	meter     *meter.Meter
}

func newService(t *testing.T, rdb redis.UniversalClient) *service {
	t.Helper()
	s := &service{org: redistest.Org(t)}
	store := redisstore.New(rdb, redisstore.WithTimeout(waitLong/2))
	s.issuer = need(authkey.NewIssuer(store, need(authkey.NewFormat("acme", "test"))(t)))(t)
	verifier := need(authkey.New(store, authkey.WithTimeout(waitLong)))(t)
	limiter := need(ratelimit.New(rdb, ratelimit.WithTimeout(waitLong)))(t)
	s.overrides = need(ratelimit.NewOverrides(rdb, ratelimit.WithTimeout(waitLong)))(t)
	s.meter = need(meter.New(rdb))(t)
	t.Cleanup(func() {
		if err := s.meter.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	auth := middleware.Authenticate(verifier)
	route := auth.RateLimit(limiter, ratelimit.PerHour(10).Fixed(), ratelimit.PerHour(5).Fixed().Named("keys").By(ratelimit.ByKey)).Meter(s.meter, "stores", "search")
	h := need(self.New(self.WithPrefix("/self"), self.WithLimits(limiter), self.WithRoute(search, route.Policies()...), self.WithUsage(s.meter)))(t)
	mux := http.NewServeMux()
	mux.Handle(search, httpkit.Middleware(route)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	mux.Handle("/self/", httpkit.Middleware(auth)(h))
	s.handler = mux
	return s
}

// need fails the test where there is an error.
func need[T any](value T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func (s *service) issue(t *testing.T, project string) string {
	t.Helper()
	_, key, err := s.issuer.Issue(t.Context(), authkey.NewKey{Org: s.org, Project: project, Owner: "a note", Meta: map[string]string{"a": "note"}})
	if err != nil {
		t.Fatal(err)
	}
	return key.Reveal()
}

// get asks as the holder of a key.
func (s *service) get(t *testing.T, key, target string) *answer {
	t.Helper()
	r := request(http.MethodGet, target)
	r.Header.Set("Authorization", "Bearer "+key)
	return serve(t, s.handler, r).want(t, http.StatusOK, "")
}

func (s *service) search(t *testing.T, key string) {
	t.Helper()
	r := request(http.MethodGet, "/v1/search")
	r.Header.Set("Authorization", "Bearer "+key)
	if status := statusOf(s.handler, r); status != http.StatusOK {
		t.Fatalf("search: %d", status)
	}
}

func TestLimitsOnRedis(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		mine, other, elsewhere := s.issue(t, "shop"), s.issue(t, "shop"), s.issue(t, "office")
		if _, _, err := s.overrides.Set(t.Context(), ratelimit.Override{Org: s.org, Project: "shop", Policy: "requests", Limit: new(int64(8)), Reason: "for us alone"}, ratelimit.Always); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			s.search(t, mine)
		}
		s.search(t, other)
		for _, c := range []struct {
			name, key              string
			limit, project, ownUse float64
			source                 string
		}{
			{"mine", mine, 8, 4, 3, "override:"}, {"of the same project", other, 8, 4, 1, "override:"}, {"of another project", elsewhere, 10, 0, 0, "policy"},
		} {
			a := s.get(t, c.key, "/self/limits?endpoint=GET+/v1/search")
			items := a.items(t)
			if len(items) != 2 {
				t.Fatalf("%s: %s", c.name, a.text)
			}
			source, _ := items[0]["source"].(string)
			if items[0]["limit"] != c.limit || items[0]["used"] != c.project || items[0]["remaining"] != c.limit-c.project || !strings.HasPrefix(source, c.source) ||
				items[1]["limit"] != 5.0 || items[1]["used"] != c.ownUse || items[1]["remaining"] != 5-c.ownUse {
				t.Errorf("%s: %s", c.name, a.text)
			}
			if strings.Contains(a.text, "for us alone") {
				t.Errorf("%s: the reason is told: %s", c.name, a.text)
			}
		}
		if a := s.get(t, mine, "/self/whoami"); strings.Contains(a.text, "note") || strings.Contains(a.text, "digest") || !strings.Contains(a.text, `"project":"shop"`) {
			t.Errorf("whoami: %s", a.text)
		}
	})
}

// commands counts what is sent to Redis.
type commands struct {
	mu   sync.Mutex
	sent []string
}

func (c *commands) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.note(cmd)
		return next(ctx, cmd)
	}
}

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.note(cmds...)
		return next(ctx, cmds)
	}
}

func (c *commands) note(cmds ...redis.Cmder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cmd := range cmds {
		c.sent = append(c.sent, cmd.Name())
	}
}

func (c *commands) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.sent
	c.sent = nil
	return sent
}

// TestAskingCostsNothing holds that all of an org is in Redis bit for bit as it was, and that the limits of an endpoint
// are one call.
func TestAskingCostsNothing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		key := s.issue(t, "shop")
		s.search(t, key)
		if err := s.meter.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.get(t, key, "/self/limits") // what is read once is in memory now
		before := stateOf(t, rdb, s.org)
		if len(before) == 0 {
			t.Fatal("the org has nothing in Redis")
		}
		sent := &commands{}
		rdb.AddHook(sent)
		for range 5 {
			s.get(t, key, "/self/limits")
			if got := sent.take(); len(got) != 1 {
				t.Errorf("limits sent %q, want one call", got)
			}
			s.get(t, key, "/self/whoami")
			if got := sent.take(); len(got) != 0 {
				t.Errorf("whoami sent %q", got)
			}
			s.get(t, key, "/self/usage")
			if got := sent.take(); len(got) != 1 {
				t.Errorf("usage of a day sent %q, want one call", got)
			}
		}
		if err := s.meter.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := stateOf(t, rdb, s.org); !maps.Equal(before, after) {
			t.Errorf("state before %q, after %q", before, after)
		}
	})
}

// stateOf returns what Redis has of an org.
func stateOf(t *testing.T, rdb redis.UniversalClient, org string) map[string]string {
	t.Helper()
	var mu sync.Mutex
	state := map[string]string{}
	read := func(ctx context.Context, node *redis.Client) error {
		keys := node.Scan(ctx, 0, "tg1:*"+org+"*", 1000).Iterator()
		for keys.Next(ctx) {
			value, err := node.Dump(ctx, keys.Val()).Result()
			if err != nil {
				return err
			}
			mu.Lock()
			state[keys.Val()] = value
			mu.Unlock()
		}
		return keys.Err()
	}
	var err error
	switch client := rdb.(type) {
	case *redis.ClusterClient:
		err = client.ForEachMaster(t.Context(), read)
	case *redis.Client:
		err = read(t.Context(), client)
	default:
		t.Fatalf("a client of type %T", rdb)
	}
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestUsageOnRedis(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		mine, elsewhere := s.issue(t, "shop"), s.issue(t, "office")
		for range 3 {
			s.search(t, mine)
		}
		s.search(t, elsewhere)
		if err := s.meter.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for key, units := range map[string]float64{mine: 3, elsewhere: 1} {
			sum := 0.0
			for _, item := range s.get(t, key, "/self/usage?step=month").items(t) {
				n, _ := item["units"].(float64)
				if sum += n; item["product"] != "stores" || item["kind"] != "search" {
					t.Errorf("item %v", item)
				}
			}
			if sum != units {
				t.Errorf("%v units, want %v", sum, units)
			}
		}
	})
}
