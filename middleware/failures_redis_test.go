package middleware_test

import (
	"context"
	"crypto/rand"
	"hash/crc32"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// commands counts what a client sends.
type commands struct{ n atomic.Int64 }

func (c *commands) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// guarded is one process of a service with a failure budget, on a Redis.
type guarded struct {
	verifier *authkey.Verifier
	handler  http.Handler
}

func newGuarded(t *testing.T, rdb redis.UniversalClient, key middleware.Key, policy ratelimit.Policy) *guarded {
	t.Helper()
	verifier, err := authkey.New(redisstore.New(rdb, redisstore.WithTimeout(calm)), authkey.WithTimeout(calm))
	if err != nil {
		t.Fatal(err)
	}
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(calm))
	if err != nil {
		t.Fatal(err)
	}
	stage := middleware.Authenticate(verifier, middleware.WithFailureBudget(limiter, policy, key))
	return &guarded{verifier, httpkit.Middleware(stage)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))}
}

func (g *guarded) call(key, network string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/v1/search", nil)
	r.Header.Set("X-API-Key", key)
	r.Header.Set("X-Network", network)
	w := httptest.NewRecorder()
	g.handler.ServeHTTP(w, r)
	return w
}

// networkOf is a Key whose values no other test has.
func networkOf(t *testing.T) middleware.Key {
	run := redistest.Org(t)
	return middleware.Key{Name: "network", Of: func(r *http.Request) string { return run + r.Header.Get("X-Network") }}
}

// unknownKeys mints keys of an org that nobody stores.
func unknownKeys(t *testing.T, org string) func() string {
	t.Helper()
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		key, _ := format.Mint(org)
		return key.Reveal()
	}
}

func TestReplicasShareAFailureBudget(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		who, network := newTenant(t, rdb), networkOf(t)
		guess := unknownKeys(t, who.org)
		policy := ratelimit.PerHour(4).Fixed()
		replicas := []*guarded{newGuarded(t, rdb, network, policy), newGuarded(t, rdb, network, policy)}
		for i := range 4 {
			expect(t, "within the budget", replicas[i%2].call(guess(), "a"), http.StatusUnauthorized, nil)
		}
		for _, r := range replicas {
			w := r.call(guess(), "a")
			expect(t, "over it", w, http.StatusTooManyRequests, map[string]string{"RateLimit": "", "RateLimit-Policy": "", "WWW-Authenticate": ""})
			if wait := w.Header().Get("Retry-After"); wait != "3600" && wait != "3599" && wait != "3598" {
				t.Errorf("Retry-After: %q, want an hour or a little less", wait)
			}
			expect(t, "a good key from there", r.call(who.key, "a"), http.StatusTooManyRequests, nil)
			expect(t, "a good key from elsewhere", r.call(who.key, "b"), http.StatusNoContent, nil)
			expect(t, "a guess from elsewhere", r.call(guess(), "b"), http.StatusUnauthorized, nil)
		}
	})
}

// Whoever knows a public id can make up keys of it, and does not lock out its owner.
func TestNobodyLocksOutAnID(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		who := newTenant(t, rdb)
		g := newGuarded(t, rdb, networkOf(t), ratelimit.PerHour(2).Fixed())
		for network := range 20 {
			for range 3 {
				g.call(forged(who.key), strconv.Itoa(network))
			}
			expect(t, "a network that guessed", g.call(who.key, strconv.Itoa(network)), http.StatusTooManyRequests, nil)
		}
		expect(t, "the owner", g.call(who.key, "home"), http.StatusNoContent, nil)
	})
}

// A flood from many networks reaches Redis at the set rate, whatever it comes to.
func TestFloodIsChargedToRedisAtASetRate(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func(testing.TB) redis.UniversalClient{
		"standalone": func(tb testing.TB) redis.UniversalClient { return redistest.Standalone(tb) },
		"cluster":    redistest.Cluster,
	} {
		t.Run(name, func(t *testing.T) {
			const perSecond, failures = 200, 2000
			var sent commands
			rdb := connect(t)
			rdb.AddHook(&sent)
			limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(calm))
			if err != nil {
				t.Fatal(err)
			}
			who := demoCallers()
			stage := middleware.Authenticate(who, middleware.WithFailureBudget(limiter, ratelimit.PerHour(5), networkOf(t)))
			call := func(key, network string) int {
				r := request(http.MethodGet, "/v1/search")
				r.Header.Set("X-Api-Key", key)
				r.Header.Set("X-Network", network)
				if _, _, refusal := admit(t, stage, r); refusal != nil {
					return refusal.Status
				}
				return http.StatusOK
			}
			began := time.Now()
			for i := range failures {
				if got := call("guess", strconv.Itoa(i)); got != http.StatusUnauthorized {
					t.Fatalf("the first failure of a network: %d, want 401", got)
				}
			}
			most := int64(perSecond*(time.Since(began).Seconds()+1)) + 4 // and to load the script, at each master
			if n := sent.n.Load(); n > most || n < perSecond {
				t.Errorf("%d commands for %d failures in %v, want %d to %d", n, failures, time.Since(began), perSecond, most)
			}
			before := sent.n.Load()
			for range 100 {
				if got := call(goodKey, "1"); got != http.StatusOK {
					t.Fatalf("a good key: %d", got)
				}
			}
			if n := sent.n.Load() - before; n != 0 {
				t.Errorf("%d commands for good keys, want none", n)
			}
		})
	}
}

// forged returns a key with the id of another one and a good checksum.
func forged(key string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	body := key[:strings.LastIndexByte(key, '_')+1] + strings.ToLower(rand.Text()) + "000000"
	sum := ""
	for rest := crc32.ChecksumIEEE([]byte(body)); len(sum) < 6; rest /= 62 {
		sum = string(digits[rest%62]) + sum
	}
	return body + sum
}
