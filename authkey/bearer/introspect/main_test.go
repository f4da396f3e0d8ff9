package introspect_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/introspect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	endpoint = "https://login.example.com/introspect"
	token    = "an-opaque.secret-token_of~68+characters/=="
	password = "our-own-secret"
)

// calm is a time that a busy machine does not need, for tests that are not about time.
const calm = 10 * time.Second

// said is what an endpoint answers with.
type said struct {
	status int
	kind   string
	body   io.Reader
}

func (s said) response() *http.Response {
	return &http.Response{StatusCode: s.status, Header: http.Header{"Content-Type": {s.kind}}, Body: io.NopCloser(s.body)}
}

// server is an endpoint without a network.
type server struct {
	clock authtest.Clock

	mu    sync.Mutex
	asked []string // tokens
	do    func(r *http.Request) (said, error)
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.asked = append(s.asked, r.PostForm.Get("token"))
	do := s.do
	s.mu.Unlock()
	got, err := do(r)
	if err != nil {
		return nil, err
	}
	return got.response(), nil
}

func (s *server) set(do func(r *http.Request) (said, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do = do
}

// says has the server say the same for all tokens.
func (s *server) says(body string) { s.set(says(body)) }

func (s *server) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func says(body string) func(*http.Request) (said, error) {
	return response(http.StatusOK, "application/json", body)
}

func response(status int, kind, body string) func(*http.Request) (said, error) {
	return func(*http.Request) (said, error) { return said{status, kind, strings.NewReader(body)}, nil }
}

// until is an answer about a good token that ends after d.
func (s *server) until(d time.Duration) string {
	return fmt.Sprintf(`{"active":true,"sub":"ann","scope":"read","exp":%d}`, s.clock.Now().Add(d).Unix())
}

func (s *server) introspector(t testing.TB, opts ...introspect.Option) *introspect.Introspector {
	t.Helper()
	opts = append([]introspect.Option{introspect.WithTransport(s), introspect.WithClock(s.clock.Now), introspect.WithTimeout(calm)}, opts...)
	i, err := introspect.New(endpoint, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// newServer returns a server that says that all tokens are good for an hour, and an Introspector that asks it.
func newServer(t testing.TB, opts ...introspect.Option) (*server, *introspect.Introspector) {
	t.Helper()
	s := &server{}
	s.says(s.until(time.Hour))
	return s, s.introspector(t, opts...)
}

func ask(t testing.TB, i *introspect.Introspector) (map[string]json.RawMessage, error) {
	t.Helper()
	claims, err := i.Introspect(t.Context(), token)
	if (claims == nil) == (err == nil) {
		t.Errorf("claims %v and error %v", claims, err)
	}
	quiet(t, err)
	return claims, err
}

// good fails unless the token is active, and the server was asked so often by now.
func good(t testing.TB, what string, s *server, i *introspect.Introspector, calls int) map[string]json.RawMessage {
	t.Helper()
	claims, err := ask(t, i)
	if err != nil || s.calls() != calls {
		t.Errorf("%s: %v after %d calls, want it active after %d", what, err, s.calls(), calls)
	}
	return claims
}

// bad fails unless the error is want alone, and the server was asked so often by now.
func bad(t testing.TB, what string, s *server, i *introspect.Introspector, want error, calls int) {
	t.Helper()
	_, err := ask(t, i)
	if s.calls() != calls {
		t.Errorf("%s: %d calls, want %d", what, s.calls(), calls)
	}
	is(t, what, err, want)
}

// is fails unless an error is one of those that package authkey has, and no other.
func is(t testing.TB, what string, err, want error) {
	t.Helper()
	for _, of := range []error{authkey.ErrUnavailable, authkey.ErrUnknown, authkey.ErrMalformed, authkey.ErrInvalid, authkey.ErrExpired} {
		if errors.Is(err, of) != (of == want) { //nolint:errorlint // the very same
			t.Errorf("%s: error %v, want one that is %v alone", what, err, want)
		}
	}
}

// quiet fails where an error, or one inside it, tells a secret.
func quiet(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells a secret: %v", err)
	}
	switch inner := err.(type) { //nolint:errorlint // every error inside is looked at by itself
	case interface{ Unwrap() error }:
		quiet(t, inner.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range inner.Unwrap() {
			quiet(t, e)
		}
	}
}

// hang answers when the request ends.
func hang(r *http.Request) (said, error) {
	<-r.Context().Done()
	return said{}, context.Cause(r.Context())
}
