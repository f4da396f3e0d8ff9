package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
)

const token = "an-admin-token-of-the-tests"

func newClient(t *testing.T, server string, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(server, token, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func get(path ...string) client.Request { return client.Request{Method: http.MethodGet, Path: path} }

func ExampleNew() {
	_, err := client.New("http://api.example.com/admin", "an-admin-token")
	fmt.Println(err)
	// Output: client: invalid server "http://api.example.com/admin": http shows the token to everybody on the way; use https
}

func TestServers(t *testing.T) {
	t.Parallel()
	for server, ok := range map[string]bool{
		"https://api.example.com":          true,
		"https://api.example.com:8443/a/b": true,
		"https://api.example.com/admin/":   true,
		"http://localhost:8080":            true,
		"http://127.0.0.1/admin":           true,
		"http://127.9.9.9":                 true,
		"http://[::1]:80":                  true,
		"http://[::ffff:127.0.0.1]":        true,
		"http://api.example.com":           false,
		"http://localhost.example.com":     false,
		"http://127.0.0.1.example.com":     false,
		"http://127.0.0.1@example.com":     false,
		"http://0.0.0.0":                   false,
		"https://u:secret@example.com":     false,
		"https://example.com/?a=b":         false,
		"https://example.com/?":            false,
		"https://example.com/#a":           false,
		"https://":                         false,
		"example.com":                      false,
		"ftp://example.com":                false,
		"https://u:secret@exa mple.com":    false,
		"":                                 false,
	} {
		_, err := client.New(server, token)
		if (err == nil) != ok || err != nil && !errors.Is(err, client.ErrInvalid) {
			t.Errorf("New(%q) = %v, want one: %v", server, err, ok)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in %v", err)
		}
	}
	if _, err := client.New("http://api.example.com", token, client.WithPlainHTTP()); err != nil {
		t.Errorf("WithPlainHTTP: %v", err)
	}
	_, err := client.New("https://example.com", "two words", nil, client.WithTimeout(0))
	for _, part := range []string{"number 1 is nil", "WithTimeout(0s)", "visible ASCII"} {
		if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "two words") {
			t.Errorf("error %v, want %q in it", err, part)
		}
	}
}

// A redirect is told, and nobody else gets the token.
func TestRedirect(t *testing.T) {
	t.Parallel()
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", other.URL+"/\u009b") // Redirect would escape it
			w.WriteHeader(status)
		}))
		_, err := newClient(t, server.URL).Do(t.Context(), get("v1"))
		server.Close()
		if !errors.Is(err, client.ErrAnswer) || !strings.Contains(err.Error(), other.URL) || strings.Contains(err.Error(), "\u009b") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if asked {
		t.Error("a redirect was followed")
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	var line, body string
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		line, body, header = r.Method+" "+r.RequestURI, string(text), r.Header
		w.Header().Set("ETag", `"1"`)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	c := newClient(t, server.URL+"/admin/")
	answer, err := c.Do(t.Context(), client.Request{
		Method: http.MethodPost, Path: []string{"v1", "a/b", "..", "é?", "keys:lookup"}, Query: url.Values{"q": {"x y&z"}},
		Header: http.Header{"If-Match": {`"3"`}}, Body: map[string]any{"key": "<s>"},
	})
	if err != nil || answer.Status != 204 || len(answer.Body) != 0 || answer.Header.Get("ETag") != `"1"` {
		t.Fatalf("answer %+v, %v", answer, err)
	}
	if want := "POST /admin/v1/a%2Fb/%2E%2E/%C3%A9%3F/keys:lookup?q=x+y%26z"; line != want {
		t.Errorf("asked for %q, want %q", line, want)
	}
	if want := `{"key":"\u003cs\u003e"}`; body != want {
		t.Errorf("body %q, want %q", body, want)
	}
	for name, want := range map[string]string{"Authorization": "Bearer " + token, "Content-Type": "application/json", "If-Match": `"3"`} {
		if got := header.Get(name); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	if _, err := c.Do(t.Context(), get("v1", "")); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("an empty part of a path: %v", err)
	}
}

func TestTooMuch(t *testing.T) {
	t.Parallel()
	sent := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		line := []byte(strings.Repeat(" ", 1<<16))
		for n := len(line); err(w.Write(line)) == nil && sent < 64<<20; {
			sent += n
		}
	}))
	_, failure := newClient(t, server.URL).Do(t.Context(), get("v1"))
	server.Close()
	if !errors.Is(failure, client.ErrAnswer) || !strings.Contains(failure.Error(), "longer than") {
		t.Errorf("an answer without end: %v", failure)
	}
	if sent >= 64<<20 {
		t.Errorf("%d bytes were read", sent)
	}
}

func err(_ int, err error) error { return err }

func TestContext(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newClient(t, server.URL).Do(ctx, get("v1")); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended: %v", err)
	}
	c := newClient(t, server.URL, client.WithTimeout(20*time.Millisecond))
	if _, err := c.Do(t.Context(), get("v1")); !errors.Is(err, client.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v", err)
	}
}

func TestProblem(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "r2")
		if r.URL.Path == "/html" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"code":"not_found","detail":"secret"}`)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"status":200,"code":"a b","detail":"d","request_id":"r1","errors":[{"pointer":"/x","code":"c","message":"m"}],"key":"k"}`)
	}))
	defer server.Close()
	c := newClient(t, server.URL)
	_, err := c.Do(t.Context(), get("v1"))
	p, ok := errors.AsType[*client.Error](err)
	if !ok || p.Status != 409 || p.Code != "a b" || p.Detail != "d" || p.RequestID != "r1" || p.Key != "k" || len(p.Errors) != 1 || p.Errors[0] != (client.Fault{Pointer: "/x", Code: "c", Message: "m"}) {
		t.Errorf("problem %+v of %v", p, err)
	}
	_, err = c.Do(t.Context(), get("html"))
	p, ok = errors.AsType[*client.Error](err)
	if !ok || p.Status != 403 || p.Code != "" || p.RequestID != "r2" || strings.Contains(p.Detail, "secret") {
		t.Errorf("problem %+v of %v", p, err)
	}
}

func TestListFaults(t *testing.T) {
	t.Parallel()
	page := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, page)
	}))
	defer server.Close()
	c := newClient(t, server.URL)
	for _, page = range []string{`{}`, `[]`, `{"items":{}}`, `{"items":[],"next":1}`, `{"items":[1],"next":"same"}`} {
		if list, err := c.List(t.Context(), get("v1"), client.Bound{Page: 5}); !errors.Is(err, client.ErrAnswer) {
			t.Errorf("page %s is %+v, %v", page, list, err)
		}
	}
	page = `{"items":[{"a":"<"}],"head":{"seq":1}}`
	list, err := c.List(t.Context(), get("v1"), client.Bound{Page: 5})
	if err != nil || len(list.Items) != 1 || string(list.Document()) != `{"head":{"seq":1},"items":[{"a":"\u003c"}]}` {
		t.Errorf("list %s, %v", list.Document(), err)
	}
	page = `{"items":[]}`
	if list, err = c.List(t.Context(), get("v1"), client.Bound{Page: 5}); err != nil || string(list.Document()) != `{"items":[]}` {
		t.Errorf("list %s, %v", list.Document(), err)
	}
}
