package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// callers is an Authenticator that knows identities by their key, and what Refresh finds instead.
type callers struct {
	mu        sync.Mutex
	known     map[string]*authkey.Identity
	refreshed map[string]*authkey.Identity
	err       error
	asked     int
	refreshes int
}

func (c *callers) Authenticate(_ context.Context, p authkey.Presented) (*authkey.Identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.err != nil {
		return nil, c.err
	}
	if id, ok := c.known[p.Reveal()]; ok {
		return id, nil
	}
	return nil, authkey.ErrUnknown
}

func (c *callers) Refresh(_ context.Context, p authkey.Presented, _ *authkey.Identity) (*authkey.Identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refreshes++
	if id, ok := c.refreshed[p.Reveal()]; ok {
		return id, nil
	}
	return nil, authkey.ErrRevoked
}

// limiterFunc is a Limiter made of a function.
type limiterFunc func(ratelimit.Request) (ratelimit.Decision, error)

func (f limiterFunc) Admit(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	return f(r)
}

// allow lets everything pass, with a result for each charge.
func allow(r ratelimit.Request) (ratelimit.Decision, error) {
	d := ratelimit.Decision{Allowed: true}
	for _, c := range r.Charges {
		d.Results = append(d.Results, ratelimit.Result{
			Policy: c.Policy.Name, Partition: c.Policy.Partition, Limit: c.Policy.Limit, Window: c.Policy.Window,
			Source: ratelimit.SourcePolicy, Cost: c.Cost, Used: c.Cost, Remaining: c.Policy.Limit - c.Cost,
			NextAfter: 1500 * time.Millisecond, ResetAfter: c.Policy.Window,
		})
	}
	return d, nil
}

// ledger is a Recorder that keeps what it was told.
type ledger struct {
	mu   sync.Mutex
	rows []middleware.Usage
}

func (l *ledger) Record(u middleware.Usage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = append(l.rows, u)
}

const goodKey = "good-key-of-the-demo"

func demoCallers() *callers {
	return &callers{known: map[string]*authkey.Identity{goodKey: {
		Org: "acme", Project: "shop", Key: "07key", Kind: authkey.KindSecret,
		Scopes: []string{"search", authkey.ScopeWrite}, Products: []string{"stores"}, Epoch: 1,
	}}}
}

func request(method, target string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("X-Api-Key", goodKey)
	return r
}

// admit runs a stage as an adapter does, and returns the admission and the response header.
func admit(t *testing.T, s middleware.Stage, r *http.Request) (*middleware.Admission, http.Header, *middleware.Error) {
	t.Helper()
	if err := s.Err(); err != nil {
		t.Fatalf("the stage is not well built: %v", err)
	}
	h := http.Header{}
	a, refusal := s.Admit(h, r, "GET /v1/search")
	return a, h, refusal
}

// violated returns the names of the policies that refused.
func violated(refusal *middleware.Error) (names []string) {
	for _, v := range refusal.Violations {
		names = append(names, v.Policy)
	}
	return names
}
