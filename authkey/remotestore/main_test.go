package remotestore_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/remotestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "acme_live_a-secret-nobody-may-see"
	good   = `{"org":"acme","project":"shop","key":"k1","kind":"secret"}`
)

// calm is a time that a busy machine does not need, for tests that are not about time.
const calm = 5 * time.Second

// service is a server with one handler.
func service(t *testing.T, handler http.HandlerFunc) (url string, transport http.RoundTripper) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL + "/validate", &http.Transport{DisableKeepAlives: true} // which leaves nothing to close
}

// answers is a handler that says one thing.
func answers(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func newAuthenticator(t *testing.T, handler http.HandlerFunc, opts ...remotestore.Option) *remotestore.Authenticator {
	t.Helper()
	url, transport := service(t, handler)
	a, err := remotestore.New(url, append([]remotestore.Option{remotestore.WithTransport(transport), remotestore.WithTimeout(calm)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// answer is what a service says, as JSON.
type answer func(r *http.Request) (status int, body string, err error)

// transport is a service without a network, for tests with a clock of their own.
type transport struct {
	mu    sync.Mutex
	calls int
	do    answer
}

func (s *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.calls++
	do := s.do
	s.mu.Unlock()
	status, body, err := do(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

func (s *transport) set(do answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do = do
}

func (s *transport) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// says always says the same.
func says(status int, body string) answer {
	return func(*http.Request) (int, string, error) { return status, body, nil }
}

func newOn(t *testing.T, s http.RoundTripper, opts ...remotestore.Option) *remotestore.Authenticator {
	t.Helper()
	a, err := remotestore.New("https://auth.internal/validate", append([]remotestore.Option{remotestore.WithTransport(s)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func authenticate(t *testing.T, a *remotestore.Authenticator) (*authkey.Identity, error) {
	t.Helper()
	identity, err := a.Authenticate(t.Context(), authkey.NewPresented(secret))
	if identity != nil && err != nil {
		t.Errorf("both an identity and the error %v", err)
	}
	if err != nil {
		keeps(t, err)
	}
	return identity, err
}

// keeps fails where an error, or one inside it, tells the key or a piece of it.
func keeps(t *testing.T, err error) {
	t.Helper()
	if strings.Contains(err.Error(), "secret-nobody") {
		t.Errorf("the error tells the key: %v", err)
	}
	switch inner := err.(type) { //nolint:errorlint // every error inside is looked at by itself
	case interface{ Unwrap() error }:
		if inner.Unwrap() != nil {
			keeps(t, inner.Unwrap())
		}
	case interface{ Unwrap() []error }:
		for _, e := range inner.Unwrap() {
			keeps(t, e)
		}
	}
}

func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func isClass(t *testing.T, what string, err error, class remotestore.Class, status int) {
	t.Helper()
	is(t, what, err, authkey.ErrUnavailable)
	own, ok := errors.AsType[*remotestore.Error](err)
	if !ok || own.Class != class || own.Status != status {
		t.Errorf("%s: error %#v, want one of class %s with status %d", what, err, class, status)
	}
	for _, of := range []error{authkey.ErrUnknown, authkey.ErrMalformed, authkey.ErrRevoked, authkey.ErrDisabled, authkey.ErrExpired} {
		if errors.Is(err, of) {
			t.Errorf("%s: error %v is %v too: an outage says nothing about a key", what, err, of)
		}
	}
}

// clock is a time that a test moves.
type clock struct{ offset atomic.Int64 }

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func (c *clock) now() time.Time          { return start.Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// hang answers when the request ends.
func hang(r *http.Request) (int, string, error) {
	<-r.Context().Done()
	return 0, "", context.Cause(r.Context())
}
