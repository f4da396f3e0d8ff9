package hostiletest

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/adapters/adaptertest"
	"github.com/tollgate-go/tollgate/middleware"
)

// protocols are those that net/http's server speaks.
var protocols = []string{"HTTP/1.1", "HTTP/2", "h2c"}

// live is a server with a handler that lives long, and a client of it.
type live struct {
	client  *http.Client
	url     string
	key     string
	served  sync.WaitGroup // requests whose handler has not returned
	reached atomic.Int64   // handlers
	next    chan struct{}
	logged  lockedBuffer
}

// serveLive serves the handler behind a stage, which may be nil, by one of the protocols.
func serveLive(t *testing.T, adapter adaptertest.Adapter, stage middleware.Stage, key, protocol string) *live {
	t.Helper()
	l := &live{key: key, next: make(chan struct{})}
	var all []adaptertest.Route
	for _, method := range []string{"GET", "POST"} {
		all = append(all, adaptertest.Route{Method: method, Pattern: "/live/{what}", Stage: stage, Handler: http.HandlerFunc(l.handle)})
	}
	h := adapter(all)
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.served.Add(1)
		defer l.served.Done()
		h.ServeHTTP(w, r)
	}))
	ts.Config.ErrorLog = log.New(&l.logged, "", 0)
	switch protocol {
	case "HTTP/1.1":
		ts.Start()
	case "HTTP/2":
		ts.EnableHTTP2 = true
		ts.StartTLS()
	default:
		ts.Config.Protocols = new(http.Protocols)
		ts.Config.Protocols.SetUnencryptedHTTP2(true)
		ts.Start()
	}
	l.client, l.url = ts.Client(), ts.URL+"/live/"
	if protocol == "h2c" {
		transport := &http.Transport{Protocols: ts.Config.Protocols}
		t.Cleanup(transport.CloseIdleConnections)
		l.client = &http.Client{Transport: transport}
	}
	t.Cleanup(func() {
		ts.Close()
		if text := l.logged.String(); strings.Contains(text, "panic") {
			t.Errorf("a panic:\n%.3000s", text)
		}
	})
	return l
}

// handle does what the path says.
func (l *live) handle(w http.ResponseWriter, r *http.Request) {
	l.reached.Add(1)
	switch path.Base(r.URL.Path) {
	case "events":
		l.events(w, r)
	case "trailers":
		w.Header().Set("Trailer", "X-Sum")
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("X-Sum", fmt.Sprint(n, " ", r.Trailer.Get("X-Of-Request")))
		w.Header().Set(http.TrailerPrefix+"X-Late", "1")
	case "hints":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("X-Final", "1")
		_, _ = io.WriteString(w, "ok")
	case "websocket":
		websocket(w, r)
	default:
		_, _ = io.WriteString(w, "ok")
	}
}

// events sends an event whenever it is told to, until the client goes.
func (l *live) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := 1; ; i++ {
		fmt.Fprintf(w, "id: %d\n\n", i)
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-l.next:
		case <-r.Context().Done():
			return
		}
	}
}

// websocket shakes hands as RFC 6455 has it, and sends back what it gets until the client goes. It does so after the handler
// has returned.
func websocket(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	echo := func() {
		defer func() { _ = conn.Close() }()
		if rw.Flush() == nil {
			_, _ = io.Copy(conn, rw.Reader)
		}
	}
	if r.URL.Query().Has("panic") {
		defer panic(http.ErrAbortHandler)
		echo()
		return
	}
	go echo()
}

// get begins a request, and returns the response with a body that is open.
func (l *live) get(ctx context.Context, t *testing.T, what string) *http.Response {
	t.Helper()
	return l.do(t, l.request(ctx, t, http.MethodGet, what, http.NoBody))
}

func (l *live) request(ctx context.Context, t *testing.T, method, what string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, l.url+what, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", l.key)
	return r
}

func (l *live) do(t *testing.T, r *http.Request) *http.Response {
	t.Helper()
	response, err := l.client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

// status makes a request of its own.
func (l *live) status(t *testing.T) int {
	t.Helper()
	response := l.get(t.Context(), t, "ok")
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return response.StatusCode
}

// free waits until there is a place.
func (l *live) free(t *testing.T, after string) {
	t.Helper()
	for end := time.Now().Add(patience); l.status(t) != http.StatusOK; time.Sleep(time.Millisecond) { // others are about to end
		if time.Now().After(end) {
			t.Fatalf("no place is free after %s", after)
		}
	}
}
