package adaptertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// exchange is a request and its whole answer. The request is "METHOD target", then header lines, then an
// empty line and a body. The answer is a status, all header fields but Date and Content-Length, sorted,
// and after an empty line the body.
type exchange struct{ send, want string }

// server is a real one, so that its parser and its writer take part.
type server struct {
	http.Handler
	addr   string
	served *sync.WaitGroup // requests whose handler has not returned
	panics chan any        // what handlers panicked with
}

func newServer(t *testing.T, h http.Handler) *server {
	t.Helper()
	s := &server{served: new(sync.WaitGroup), panics: make(chan any, 8)}
	s.Handler = s.watch(h)
	ts := httptest.NewUnstartedServer(s.Handler)
	ts.Config.ErrorLog = log.New(io.Discard, "", 0)
	ts.Start()
	t.Cleanup(ts.Close)
	s.addr = ts.Listener.Addr().String()
	return s
}

// watch notes when a handler returned and what it panicked with.
func (s *server) watch(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.served.Add(1)
		defer s.served.Done()
		defer func() {
			if v := recover(); v != nil {
				s.panics <- v
				panic(http.ErrAbortHandler)
			}
		}()
		h.ServeHTTP(w, r)
	})
}

// dial connects, and writes a request as it stands. A request has the X-Request-Id "t1" if it states none.
func (s *server) dial(t *testing.T, send string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	head, body, _ := strings.Cut(plain(send), "\n\n")
	line, fields, _ := strings.Cut(head, "\n")
	wire := line + " HTTP/1.1\r\nHost: tollgate.test\r\n"
	if fields != "" {
		wire += strings.ReplaceAll(fields, "\n", "\r\n") + "\r\n"
	}
	if !strings.Contains(fields, "X-Request-Id") {
		wire += "X-Request-Id: t1\r\n"
	}
	if body != "" {
		wire += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	if _, err := io.WriteString(conn, wire+"\r\n"+body); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// do sends a request on a connection of its own and returns the answer as text, or "closed" where there
// was none.
func (s *server) do(t *testing.T, send string) string {
	t.Helper()
	conn, r := s.dial(t, send)
	defer conn.Close()
	return answer(t, r, send)
}

// http2 gets a target with a key by HTTP/2 and returns the answer as text.
func (s *server) http2(t *testing.T, target, key string) string {
	t.Helper()
	ts := httptest.NewUnstartedServer(s.Handler)
	ts.EnableHTTP2 = true
	ts.StartTLS()
	t.Cleanup(ts.Close)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ts.URL+target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"X-Api-Key": {key}, "X-Request-Id": {"t1"}, "Accept-Encoding": {"identity"}}
	response, err := ts.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return text(t, response)
}

// answer reads the answer to a request.
func answer(t *testing.T, r *bufio.Reader, send string) string {
	t.Helper()
	method, _, _ := strings.Cut(plain(send), " ")
	response, err := http.ReadResponse(r, &http.Request{Method: method})
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "closed"
	}
	if err != nil {
		t.Fatalf("no answer to %.100q: %v", send, err)
	}
	defer response.Body.Close()
	return text(t, response)
}

func text(t *testing.T, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	parseFields(t, response.Header)
	var b strings.Builder
	fmt.Fprintln(&b, response.StatusCode)
	for _, name := range slices.Sorted(maps.Keys(response.Header)) {
		if name == "Date" || name == "Content-Length" {
			continue
		}
		for _, value := range response.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	return strings.TrimSpace(b.String() + "\n" + string(body))
}

// Answers that several scenarios share.
const (
	answerOK = `
		200
		Content-Type: text/plain

		ok`
	answerMissing = `
		401
		Cache-Control: no-store
		Content-Type: application/problem+json
		Www-Authenticate: Bearer realm="api"
		X-Request-Id: t1

		{"type":"about:blank","title":"Unauthorized","status":401,"detail":"This resource needs a credential.","code":"missing_credential","request_id":"t1"}`
	answerInvalid = `
		401
		Cache-Control: no-store
		Content-Type: application/problem+json
		Www-Authenticate: Bearer realm="api", error="invalid_token", error_description="The credential is not valid."
		X-Request-Id: t1

		{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The credential is not valid.","code":"invalid_credential","request_id":"t1"}`
	answerMalformed = `
		400
		Cache-Control: no-store
		Content-Type: application/problem+json
		Www-Authenticate: Bearer realm="api", error="invalid_request", error_description="The credential is not well formed, or sent more than once."
		X-Request-Id: t1

		{"type":"about:blank","title":"Bad Request","status":400,"detail":"The credential is not well formed, or sent more than once.","code":"malformed_credential","request_id":"t1"}`
	answerUnavailable = `
		503
		Cache-Control: no-store
		Content-Type: application/problem+json
		Retry-After: 1
		X-Request-Id: t1

		{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The request cannot be checked at the moment.","code":"unavailable","request_id":"t1"}`
	// answerLimited is that of LimitBy, which sends no RateLimit fields.
	answerLimited = `
		429
		Cache-Control: no-store
		Content-Type: application/problem+json
		Retry-After: 60
		X-Request-Id: t1

		{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota exceeded","status":429,"detail":"A limit was reached.","code":"limit_reached","request_id":"t1","violated-policies":["requests"],"violations":[{"policy":"requests","partition":"network","retry_after":60}]}`
)
