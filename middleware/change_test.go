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

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// taking is one way to take a right from a key, and what the key is told from then on.
type taking struct {
	name   string
	take   func(ctx context.Context, c *customer) error
	status int
	code   string
}

func takings() []taking {
	change := func(changes func() authkey.Changes) func(context.Context, *customer) error {
		return func(ctx context.Context, c *customer) error {
			_, err := c.issuer.Change(ctx, c.org, c.id, 0, changes())
			return err
		}
	}
	state := func(s authkey.State) func(context.Context, *customer) error {
		return func(ctx context.Context, c *customer) error {
			_, err := c.issuer.SetState(ctx, c.org, c.id, 0, s, "test")
			return err
		}
	}
	return []taking{
		{"revoked", state(authkey.StateRevoked), 401, middleware.CodeInvalid},
		{"disabled", state(authkey.StateDisabled), 401, middleware.CodeInvalid},
		{"expired", change(func() authkey.Changes { return authkey.Changes{ExpiresAt: new(time.Now())} }), 401, middleware.CodeInvalid},
		{"put off", change(func() authkey.Changes { return authkey.Changes{NotBefore: new(time.Now().Add(time.Hour))} }), 401, middleware.CodeInvalid},
		{"credential rotated out", func(ctx context.Context, c *customer) error {
			_, _, err := c.issuer.Rotate(ctx, c.org, c.id, authkey.Rotation{Reason: "leaked"})
			return err
		}, 401, middleware.CodeInvalid},
		{"credential revoked", func(ctx context.Context, c *customer) error {
			_, err := c.issuer.RevokeCredential(ctx, c.org, c.id, c.id, 0, "test")
			return err
		}, 401, middleware.CodeInvalid},
		{"project suspended", func(ctx context.Context, c *customer) error {
			_, err := c.issuer.SetProject(ctx, c.org, "shop", 0, authkey.StateSuspended, "", "test")
			return err
		}, 403, middleware.CodeSuspended},
		{"scope taken", change(func() authkey.Changes { return authkey.Changes{Scopes: &[]string{"export"}} }), 403, middleware.CodeScope},
		{"product taken", change(func() authkey.Changes { return authkey.Changes{Products: &[]string{"maps"}} }), 403, middleware.CodeProduct},
		{"network taken", change(func() authkey.Changes {
			networks := prefixes("198.51.100.0/24")
			return authkey.Changes{Networks: &networks}
		}), 403, middleware.CodeNetwork},
		{"origin taken", change(func() authkey.Changes { return authkey.Changes{Origins: &[]string{"https://www.example.com"}} }), 403, middleware.CodeOrigin},
	}
}

// Callers call two replicas without a pause, while a third party takes something from their key. No call that begins
// once that is acknowledged passes; none that is refused is charged or counted, and each that passed is, once. One
// replica has the key in its cache all the time; the other forgets it so soon that it always reads it anew.
func TestChangeActsOnTheNextRequestUnderLoad(t *testing.T) {
	t.Parallel()
	eachDeployment(t, func(t *testing.T, dial func(*testing.T) redis.UniversalClient) {
		for _, taken := range takings() {
			t.Run(taken.name, func(t *testing.T) {
				customer := newCustomer(t, dial(t)) // the third party
				replicas := []*service{newService(t, dial(t), time.Minute), newService(t, dial(t), time.Microsecond)}
				load := startLoad(t, replicas, customer.key, taken)
				load.warm.Wait()
				err := taken.take(t.Context(), customer)
				load.acknowledged.Store(true)
				load.done.Wait()
				if err != nil {
					t.Fatal(err)
				}
				if n := load.late.Load(); n != 0 {
					t.Errorf("%d calls that began after the acknowledgement were not refused with %d %s", n, taken.status, taken.code)
				}
				served := replicas[0].served.Load() + replicas[1].served.Load()
				if served != load.passed.Load() || served == 0 {
					t.Errorf("handlers served %d, callers saw %d", served, load.passed.Load())
				}
				replicas[0].charged(t, customer, served)
				metered(t, replicas, customer.org, served)
			})
		}
	})
}

// load is many callers of one key.
type load struct {
	warm, done   sync.WaitGroup
	acknowledged atomic.Bool
	passed, late atomic.Int64
}

const (
	callersEach = 4  // of each replica
	callsBefore = 5  // of each caller, at least
	callsAfter  = 10 // of each caller
	callsAtMost = 100_000
)

// startLoad starts the callers. Each notes, before a call begins, whether the change was acknowledged by then.
func startLoad(t *testing.T, replicas []*service, key authkey.Presented, taken taking) *load {
	t.Helper()
	l := &load{}
	for _, replica := range replicas {
		for range callersEach {
			l.warm.Add(1)
			l.done.Go(func() {
				warm := sync.OnceFunc(l.warm.Done)
				defer warm()
				for n, after := 0, 0; after < callsAfter && n < callsAtMost; n++ {
					acknowledged := l.acknowledged.Load()
					status, code := replica.call(key)
					refused := status == taken.status && code == taken.code
					switch {
					case acknowledged && !refused:
						l.late.Add(1)
					case status != http.StatusNoContent && !refused:
						t.Errorf("status %d %s, want 204 or %d %s", status, code, taken.status, taken.code)
					}
					if status == http.StatusNoContent {
						l.passed.Add(1)
					}
					if acknowledged {
						after++
					}
					if n == callsBefore {
						warm()
					}
				}
			})
		}
	}
	return l
}

// A route without a limit asks nobody: it follows when the cache's entry ends, or when a limited route of its replica
// has noticed.
func TestChangeActsOnRoutesWithoutLimitWithinTheCacheLife(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	for name, row := range map[string]struct {
		noticed bool          // by a limited route
		passes  time.Duration // how long it takes otherwise
	}{
		"by itself":            {false, 5 * time.Second},
		"with a limited route": {true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			customer := newCustomer(t, rdb)
			var passed atomic.Int64
			clock := func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
			verifier, err := authkey.New(redisstore.New(rdb), authkey.WithTimeout(calm), authkey.WithClock(clock))
			if err != nil {
				t.Fatal(err)
			}
			limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(calm))
			if err != nil {
				t.Fatal(err)
			}
			auth := middleware.Authenticate(verifier)
			call := func(stage middleware.Stage) *middleware.Error {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.RemoteAddr = "192.0.2.7:1"
				r.Header.Set("X-API-Key", customer.key.Reveal())
				r.Header.Set("Origin", "https://shop.example.com")
				_, _, refusal := admit(t, stage, r)
				return refusal
			}
			refusedAs(t, call(auth), 0, "")
			if _, err := customer.issuer.SetState(t.Context(), customer.org, customer.id, 0, authkey.StateRevoked, "test"); err != nil {
				t.Fatal(err)
			}
			if row.noticed {
				refusedAs(t, call(auth.RateLimit(limiter, plenty...)), http.StatusUnauthorized, middleware.CodeInvalid)
			}
			passed.Add(int64(row.passes))
			refusedAs(t, call(auth), http.StatusUnauthorized, middleware.CodeInvalid)
		})
	}
}
