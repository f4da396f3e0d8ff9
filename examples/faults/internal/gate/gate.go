// Package gate is the service that faults are done to: a whole gate, keys, limits and usage, before a handler of
// net/http that does nothing; whom it knows; and what Redis counted of them.
//
//	tenants, err := gate.Seed(ctx, admin, 200)   // past the fault
//	g, err := gate.New(rdb, gate.Config{})       // rdb as a service has it
//	answer := g.Call(ctx, tenants.Warm[0], gate.Each, "call-1")
//	err = g.Close(ctx)                           // flushes usage
//	counts, err := gate.Counted(ctx, admin, calls)
package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Budget is what the limiter, and the look-up of a key, may take at most: their own default.
const Budget = 50 * time.Millisecond

// Limit is what no project of a row reaches.
const Limit = 1_000_000_000

// Config says what the service chose. The zero Config is that of the README.
type Config struct {
	// Failure is what limits do when Redis cannot tell: closed by default.
	Failure middleware.Failure
	// Verifier and Limiter are options of theirs.
	Verifier []authkey.Option
	Limiter  []ratelimit.Option
	// Limit is of each project in 30 days; zero is Limit.
	Limit int64
}

// Route is an endpoint of the service.
type Route string

// The routes. Shared limits the project, so that equal checks travel as one; Each limits the project and each call by
// itself, so that of each call is known how often it was counted.
const (
	Shared Route = "GET /v1/shared"
	Each   Route = "GET /v1/each"
)

// The fields by which a caller tells the service more.
const (
	fieldCall    = "X-Call"
	fieldProject = "X-Project" // whom the handler must see
)

// window is so long that what was counted weighs as much when it is read, also where the window has rolled in between.
const window = 30 * 24 * time.Hour

// policies of the routes.
func policies(r Route, limit int64) []ratelimit.Policy {
	all := []ratelimit.Policy{ratelimit.Per(limit, window)}
	if r == Each {
		all = append(all, ratelimit.Per(Limit, window).Named("call").By("call"))
	}
	return all
}

// Gate is the service. Safe for concurrent use.
type Gate struct {
	Limiter *ratelimit.Limiter
	Usage   *meter.Meter

	handler http.Handler
	handled atomic.Int64
	causes  causes
}

// New returns a service on a client, which stays the caller's to close.
func New(rdb redis.UniversalClient, c Config) (*Gate, error) {
	g := &Gate{}
	if c.Limit == 0 {
		c.Limit = Limit
	}
	verifier, err1 := authkey.New(redisstore.New(rdb), c.Verifier...)
	limiter, err2 := ratelimit.New(rdb, c.Limiter...)
	usage, err3 := meter.New(rdb)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("gate: %w", err)
	}
	g.Limiter, g.Usage = limiter, usage
	auth, mux := middleware.Authenticate(verifier, middleware.WithObserver(&g.causes)), http.NewServeMux()
	for _, r := range []Route{Shared, Each} {
		limited := auth.RateLimit(limiter, policies(r, c.Limit)...).OnFailure(c.Failure)
		if r == Each {
			limited = limited.Partition("call", func(r *http.Request) string { return r.Header.Get(fieldCall) })
		}
		mux.Handle(string(r), httpkit.Middleware(limited.Meter(usage, "stores", "search"))(http.HandlerFunc(g.handle)))
	}
	g.handler = mux
	return g, nil
}

// handle is what stands behind the gate.
func (g *Gate) handle(w http.ResponseWriter, r *http.Request) {
	g.handled.Add(1)
	a, ok := middleware.FromContext(r.Context())
	if !ok || a.Identity().Project != r.Header.Get(fieldProject) {
		w.WriteHeader(http.StatusTeapot) // somebody else's answer
		return
	}
	w.WriteHeader(http.StatusOK)
}

// Causes returns what made steps fail since they were asked for last, each with how often it did.
func (g *Gate) Causes() string { return g.causes.take() }

// Handled returns how many requests came through.
func (g *Gate) Handled() int64 { return g.handled.Load() }

// Answer is what a call came to.
type Answer struct {
	Status     int // 0 where it panicked
	Counted    bool
	RetryAfter string
	Panic      any
	Took       time.Duration
}

// Call makes one request, without a network.
func (g *Gate) Call(ctx context.Context, who Tenant, route Route, id string) (answer Answer) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gate.test"+string(route[len("GET "):]), http.NoBody)
	if err != nil {
		return Answer{Panic: err}
	}
	r.Header.Set("X-Api-Key", who.Key)
	r.Header.Set(fieldProject, who.Project)
	r.Header.Set(fieldCall, id)
	w := &response{header: make(http.Header)}
	began := time.Now()
	defer func() {
		answer.Took = time.Since(began)
		if answer.Panic = recover(); answer.Panic == nil {
			answer.Status, answer.RetryAfter = max(w.status, http.StatusOK), w.header.Get("Retry-After")
			answer.Counted = w.header.Get("RateLimit") != ""
		}
	}()
	g.handler.ServeHTTP(w, r)
	return answer
}

// response is a writer that keeps the head.
type response struct {
	header http.Header
	status int
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *response) Write(text []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(text), nil
}

// Close writes what usage is pending, and ends the service.
func (g *Gate) Close(ctx context.Context) error {
	return errors.Join(g.Limiter.Close(ctx), g.Usage.Close(ctx))
}
