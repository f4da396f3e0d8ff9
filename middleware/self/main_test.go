package self_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/middleware/self"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// caller is an Authenticator that takes everybody for one identity.
type caller struct{ *authkey.Identity }

func (c caller) Authenticate(context.Context, authkey.Presented) (*authkey.Identity, error) {
	return c.Identity, nil
}

func (c caller) Refresh(context.Context, authkey.Presented, *authkey.Identity) (*authkey.Identity, error) {
	return c.Identity, nil
}

var holder = authkey.Identity{
	Org: "demo", Project: "shop", Key: "17abcdefghijkl", Credential: "17mnopqrstuvwx", Name: "till", Plan: "gold", Owner: "a note",
	Kind: authkey.KindSecret, Scopes: []string{"write"}, Products: []string{"stores"}, Method: "key",
}

// handlerOf is a handler behind a stage that takes everybody for one identity.
func handlerOf(t testing.TB, who authkey.Identity, opts ...self.Option) http.Handler {
	t.Helper()
	h, err := self.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return httpkit.Middleware(middleware.Authenticate(caller{&who}))(h)
}

// answer is what a client sees.
type answer struct {
	status int
	header http.Header
	text   string
	object map[string]any
}

func request(method, target string) *http.Request {
	r := httptest.NewRequest(method, target, http.NoBody)
	r.Header.Set("Authorization", "Bearer some-key-or-other")
	return r
}

// serve asks a handler, and checks what holds for every answer.
func serve(t testing.TB, h http.Handler, r *http.Request) *answer {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := &answer{status: w.Code, header: w.Result().Header, text: w.Body.String()}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := a.header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s %s: %s %q, want %q", r.Method, r.URL, name, got, want)
		}
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Errorf("%s %s: no X-Request-Id", r.Method, r.URL)
	}
	media := "application/json"
	if a.status != http.StatusOK {
		media = "application/problem+json"
	}
	if got := a.header.Get("Content-Type"); got != media {
		t.Errorf("%s %s: Content-Type %q, want %q", r.Method, r.URL, got, media)
	}
	if r.Method == http.MethodHead {
		if a.text != "" {
			t.Errorf("HEAD %s: body %q", r.URL, a.text)
		}
		return a
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a.object); err != nil {
		t.Fatalf("%s %s: body %q: %v", r.Method, r.URL, a.text, err)
	}
	return a
}

// want checks status and, for a problem, its code.
func (a *answer) want(t testing.TB, status int, code string) *answer {
	t.Helper()
	if got, _ := a.object["code"].(string); a.status != status || got != code {
		t.Fatalf("answer %d %q, want %d %q: %s", a.status, got, status, code, a.text)
	}
	return a
}

func (a *answer) items(t testing.TB) []map[string]any {
	t.Helper()
	list, ok := a.object["items"].([]any)
	if !ok {
		t.Fatalf("%d %s is no list", a.status, a.text)
	}
	items := make([]map[string]any, len(list))
	for i := range list {
		items[i], _ = list[i].(map[string]any)
	}
	return items
}

// limiterFunc is a Limiter made of a function.
type limiterFunc func(ratelimit.Request) (ratelimit.Decision, error)

func (f limiterFunc) Admit(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	return f(r)
}

// unused answers for each charge that nothing of it is used.
func unused(r ratelimit.Request) (ratelimit.Decision, error) {
	d := ratelimit.Decision{Allowed: true}
	for _, c := range r.Charges {
		d.Results = append(d.Results, ratelimit.Result{Policy: c.Policy.Name, Limit: c.Policy.Limit, Source: ratelimit.SourcePolicy, Remaining: c.Policy.Limit})
	}
	return d, nil
}

// readerFunc is a UsageReader made of a function.
type readerFunc func(meter.Query) ([]meter.Item, error)

func (f readerFunc) Usage(_ context.Context, q meter.Query) ([]meter.Item, error) { return f(q) }

func nothing(meter.Query) ([]meter.Item, error) { return nil, nil }

// withAll serves all parts.
func withAll() []self.Option {
	return []self.Option{self.WithLimits(limiterFunc(unused)), self.WithRoute("GET /a", ratelimit.PerMinute(10)), self.WithUsage(readerFunc(nothing))}
}

func mustContain(t testing.TB, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}

func statusOf(h http.Handler, r *http.Request) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}
