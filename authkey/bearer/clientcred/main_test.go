package clientcred_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tokenURL = "https://login.example/token"
	clientID = "search"
	secret   = "s3cret-of/the client%+"
)

// answer is what an endpoint says.
type answer func(r *http.Request) (status int, body string, err error)

// endpoint is a token endpoint without a network, for tests with a clock of their own.
type endpoint struct {
	mu    sync.Mutex
	calls int
	do    answer
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	e.calls++
	do := e.do
	e.mu.Unlock()
	status, body, err := do(r)
	if err != nil {
		return nil, err
	}
	return response(r, status, body), nil
}

func (e *endpoint) set(do answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.do = do
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

func response(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}
}

// grants answers with token-1, token-2 and so on, which live for so many seconds.
func grants(seconds int) answer {
	var mu sync.Mutex
	n := 0
	return func(*http.Request) (int, string, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		return http.StatusOK, fmt.Sprintf(`{"access_token":"token-%d","token_type":"Bearer","expires_in":%d}`, n, seconds), nil
	}
}

// says always says the same.
func says(status int, body string) answer {
	return func(*http.Request) (int, string, error) { return status, body, nil }
}

// hangs answers when the request ends, or until does.
func hangs(until <-chan struct{}, then answer) answer {
	return func(r *http.Request) (int, string, error) {
		select {
		case <-until:
			return then(r)
		case <-r.Context().Done():
			return 0, "", r.Context().Err()
		}
	}
}

func newSource(t *testing.T, transport http.RoundTripper, opts ...clientcred.Option) *clientcred.Source {
	t.Helper()
	return newSourceAt(t, tokenURL, clientcred.SecretBasic(clientID, secret), append([]clientcred.Option{clientcred.WithTransport(transport)}, opts...)...)
}

func newSourceAt(t *testing.T, address string, client clientcred.Client, opts ...clientcred.Option) *clientcred.Source {
	t.Helper()
	source, err := clientcred.New(address, client, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	return source
}

// wants gets a token and compares its text.
func wants(t *testing.T, source *clientcred.Source, want string) {
	t.Helper()
	token, err := source.Token(t.Context())
	if got := token.Access.Reveal(); got != want || err != nil {
		t.Fatalf("token %q, error %v, want %q", got, err, want)
	}
}

// fails gets an error of a class.
func fails(t *testing.T, source *clientcred.Source, want clientcred.Class) {
	t.Helper()
	token, err := source.Token(t.Context())
	isClass(t, err, want)
	if !token.Access.IsZero() {
		t.Errorf("a token besides the error %v", err)
	}
}

func isClass(t *testing.T, err error, want clientcred.Class) {
	t.Helper()
	own, ok := errors.AsType[*clientcred.Error](err)
	if !ok || own.Class != want {
		t.Errorf("error %v, want one of class %s", err, want)
	}
	if !errors.Is(err, authkey.ErrUnavailable) {
		t.Errorf("error %v, want authkey.ErrUnavailable", err)
	}
	keeps(t, err)
}

// keeps fails where an error, or one inside it, tells the secret or a piece of it.
func keeps(t *testing.T, err error) {
	t.Helper()
	for _, told := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err)} {
		tellsNothing(t, told)
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

// tellsNothing fails where a text has a secret or a token in it.
func tellsNothing(t *testing.T, text string) {
	t.Helper()
	for _, hidden := range []string{"s3cret", url.QueryEscape(secret), "czNjcmV0", "token-"} {
		if strings.Contains(text, hidden) {
			t.Errorf("%q tells %q", text, hidden)
		}
	}
}
