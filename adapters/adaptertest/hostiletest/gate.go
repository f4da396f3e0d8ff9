package hostiletest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/adapters/adaptertest"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// gate is the real thing: keys that were issued, and limits in Redis.
type gate struct {
	verifier *authkey.Verifier
	limiter  *ratelimit.Limiter
	key      string // of a project that may do all
	unknown  string // as well formed as a key can be
}

func newGate(t *testing.T) *gate {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	store := authkey.NewMemoryStore()
	format, err := authkey.NewFormat("acme", "live")
	must(err)
	issuer, err := authkey.NewIssuer(store, format)
	must(err)
	_, key, err := issuer.Issue(t.Context(), authkey.NewKey{Org: redistest.Org(t), Project: "shop"})
	must(err)
	g := &gate{key: key.Reveal()}
	unknown, _ := format.Mint("nobody")
	g.unknown = unknown.Reveal()
	g.verifier, err = authkey.New(store, authkey.WithUnknownRate(1e6, 1e6))
	must(err)
	g.limiter, err = ratelimit.New(redistest.Standalone(t, redistest.OrEmbedded()), ratelimit.WithTimeout(time.Minute))
	must(err)
	return g
}

// routes are those that the inputs are meant for. There are no others.
var routes = []struct{ method, pattern string }{
	{"GET", "/items/{id}"}, {"POST", "/items/{id}"}, {"GET", "/plain"}, {"GET", "/files/{path...}"}, {"POST", "/upload"}, {"OPTIONS", "/plain"},
}

// server is a real one, with the stages of a gate in front of its routes: a limit of clients, by a field that they choose,
// before all, and of each route a key, two limits and usage.
type server struct {
	*gate
	addr   string
	served sync.WaitGroup
	log    lockedBuffer // of net/http's server

	mu      sync.Mutex
	told    []string
	faults  []string
	reached string
}

// lockedBuffer is what a log is written to.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (g *gate) serve(t *testing.T, adapter adaptertest.Adapter) *server {
	t.Helper()
	return g.serveWith(t, adapter, ratelimit.PerMinute(1e9))
}

func (g *gate) serveWith(t *testing.T, adapter adaptertest.Adapter, policy ratelimit.Policy) *server {
	t.Helper()
	s := &server{gate: g}
	auth := middleware.Authenticate(g.verifier, middleware.WithObserver(s), middleware.WithRetryJitter(0), middleware.WithSources(
		middleware.Header("X-API-Key"), middleware.Bearer(), middleware.Basic(), middleware.Cookie("key"), middleware.Query("key")),
		middleware.WithCORS(middleware.CORS{Origins: []string{"https://app.example"}}))
	var all []adaptertest.Route
	for _, r := range routes {
		all = append(all, adaptertest.Route{
			Method: r.method, Pattern: r.pattern, Handler: http.HandlerFunc(s.handle),
			Stage: auth.RateLimit(s, policy, ratelimit.PerHour(1e9).Named("hourly").By("region")).
				Partition("region", func(r *http.Request) string { return "-" + r.Header.Get("X-Region") }).
				Meter(s, "maps", "search").Source(func(r *http.Request) string { return r.Header.Get("X-Client") }),
		})
	}
	client := middleware.Key{Name: "client", Of: func(r *http.Request) string { return r.Header.Get("X-Client") }}
	outer := middleware.LimitBy(client, s, ratelimit.PerMinute(1e9).Named("clients")).With(middleware.WithObserver(s))
	h := adapter(all, outer)
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.served.Add(1)
		defer s.served.Done()
		h.ServeHTTP(w, r)
	}))
	ts.Config.ErrorLog = log.New(&s.log, "", 0)
	ts.Start()
	t.Cleanup(func() {
		ts.Close()
		if text := s.log.String(); strings.Contains(text, "panic") {
			t.Errorf("a panic:\n%.3000s", text)
		}
	})
	s.addr = ts.Listener.Addr().String()
	return s
}

// handle reads what there is and looks whether the key is gone.
func (s *server) handle(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
	a, _ := middleware.FromContext(r.Context())
	s.mu.Lock()
	s.reached = a.Endpoint()
	if found := fmt.Sprint(r.URL, r.RequestURI, r.Header, r.Form, r.Trailer); strings.Contains(found, s.key) {
		s.faults = append(s.faults, "the handler finds the key")
	}
	s.mu.Unlock()
	_, _ = io.WriteString(w, "ok")
}

// Admit is the limiter's, and told.
func (s *server) Admit(ctx context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	d, err := s.limiter.Admit(ctx, r)
	for i := range d.Results {
		s.tell(fmt.Sprintf("charge %s %d %t of %q at %s", d.Results[i].Policy, d.Results[i].Cost, d.Results[i].Exceeded, r.Charges[i].Value, r.Endpoint))
	}
	return d, err
}

// Record tells of usage.
func (s *server) Record(u middleware.Usage) {
	s.tell(fmt.Sprintf("usage %s/%s %s %s %q %d", u.Project, u.Product, u.Kind, "from", u.Source, u.Units))
}

// Observe tells what a log would be told, as it is.
func (s *server) Observe(e middleware.Event) {
	line := fmt.Sprintf("%s %s %d", e.Step, e.Outcome, e.Status)
	if e.Err != nil {
		line += " " + e.Err.Error()
		if strings.Contains(line, s.key) {
			s.fault("the key is in an error")
		}
	}
	s.tell(line + " at " + e.Endpoint)
}

func (s *server) tell(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, line)
}

func (s *server) fault(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, what)
}

// since returns what was told since it was called last, when all handlers have returned.
func (s *server) since(o *outcome) {
	s.served.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	o.told, o.faults, o.reached = s.told, append(o.faults, s.faults...), s.reached
	s.told, s.faults, s.reached = nil, nil, ""
}
