package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token    = "a-token-for-tests-only"
	search   = "GET /v1/search"
	waitLong = 10 * time.Second // a busy machine is no reason to fail
)

// answer is what a client sees.
type answer struct {
	status int
	header http.Header
	text   string
	object map[string]any // of a JSON body
}

func (a *answer) items(t *testing.T) []map[string]any {
	t.Helper()
	list, ok := a.object["items"].([]any)
	if !ok {
		t.Fatalf("%d %s is no list", a.status, a.text)
	}
	items := make([]map[string]any, len(list))
	for i := range list {
		items[i] = list[i].(map[string]any)
	}
	return items
}

// request builds a request with the token; a body is JSON. fields are names and values of its header.
func request(method, target, body string, fields ...string) *http.Request {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, reader)
	r.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] == "" {
			r.Header.Del(fields[i])
			continue
		}
		r.Header.Set(fields[i], fields[i+1])
	}
	return r
}

// serve asks a handler, and checks what holds for every answer.
func serve(t *testing.T, h http.Handler, r *http.Request) *answer {
	t.Helper()
	body := []byte{}
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if d := documentOf(t, h, r); d != nil && r.Method != http.MethodHead && w.Code != http.StatusMethodNotAllowed {
		d.check(t, r, body, w)
	}
	a := &answer{status: w.Code, header: w.Result().Header, text: w.Body.String()}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := a.header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s %s: %s %q, want %q", r.Method, r.URL, name, got, want)
		}
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Errorf("%s %s: no X-Request-Id", r.Method, r.URL)
	}
	if strings.Contains(a.text, token) {
		t.Errorf("%s %s tells the token: %s", r.Method, r.URL, a.text)
	}
	if a.text != "" {
		if err := json.Unmarshal(w.Body.Bytes(), &a.object); err != nil {
			t.Fatalf("%s %s: body %q: %v", r.Method, r.URL, a.text, err)
		}
	}
	if a.status >= 400 && r.Method != http.MethodHead {
		a.checkProblem(t, r)
	}
	return a
}

func (a *answer) checkProblem(t *testing.T, r *http.Request) {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s %s: Content-Type %q", r.Method, r.URL, got)
	}
	for name, want := range map[string]any{
		"type": "about:blank", "title": http.StatusText(a.status), "status": float64(a.status), "request_id": a.header.Get("X-Request-Id"),
	} {
		if a.object[name] != want {
			t.Errorf("%s %s: %s is %v, want %v", r.Method, r.URL, name, a.object[name], want)
		}
	}
	for _, name := range [...]string{"detail", "code"} {
		if text, ok := a.object[name].(string); !ok || text == "" {
			t.Errorf("%s %s: no %s in %s", r.Method, r.URL, name, a.text)
		}
	}
}

// want checks status and, for a problem, its code.
func (a *answer) want(t *testing.T, status int, code string) *answer {
	t.Helper()
	got, _ := a.object["code"].(string)
	if a.status != status || got != code {
		t.Fatalf("answer %d %q, want %d %q: %s", a.status, got, status, code, a.text)
	}
	return a
}

// service is one replica of a service with its admin route.
type service struct {
	admin     *admin.Handler
	overrides *ratelimit.Overrides
	limiter   *ratelimit.Limiter
	verifier  *authkey.Verifier
	meter     *meter.Meter
	store     authkey.Store
	issuer    *authkey.Issuer

	revocations *revocation.Store
}

var policy = ratelimit.PerMinute(10).Fixed()

func newService(t *testing.T, rdb redis.UniversalClient, opts ...admin.Option) *service {
	t.Helper()
	s := &service{}
	var err error
	check := func(what string) {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	format, err := authkey.NewFormat("acme", "test")
	check("NewFormat")
	store := redisstore.New(rdb, redisstore.WithTimeout(waitLong/2))
	issuer, err := authkey.NewIssuer(store, format)
	check("NewIssuer")
	s.store, s.issuer = store, issuer
	s.verifier, err = authkey.New(store, authkey.WithFormat(format), authkey.WithTimeout(waitLong))
	check("authkey.New")
	s.limiter, err = ratelimit.New(rdb, ratelimit.WithTimeout(waitLong))
	check("ratelimit.New")
	s.overrides, err = ratelimit.NewOverrides(rdb, ratelimit.WithTimeout(waitLong))
	check("NewOverrides")
	s.revocations = newRevocations(t, rdb)
	s.meter, err = meter.New(rdb)
	check("meter.New")
	t.Cleanup(func() {
		if err := s.meter.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	s.admin, err = admin.New(admin.BearerToken(token), append([]admin.Option{
		admin.WithOverrides(s.overrides), admin.WithKeys(store, issuer), admin.WithUsage(s.meter), admin.WithRevocations(s.revocations),
		admin.WithLimits(s.limiter), admin.WithRoute(search, policy),
	}, opts...)...)
	check("admin.New")
	return s
}

// newKeyless returns a service whose admin route knows no keys, so that any may be named.
func newKeyless(t *testing.T, rdb redis.UniversalClient, opts ...admin.Option) *service {
	t.Helper()
	s := newService(t, rdb)
	s.admin = newHandler(t, append([]admin.Option{admin.WithOverrides(s.overrides), admin.WithLimits(s.limiter), admin.WithRoute(search, policy)}, opts...)...)
	return s
}
