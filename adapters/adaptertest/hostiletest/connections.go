package hostiletest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/adapters/adaptertest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// connections are those that live long: they work as without the gate, and hold a place for as long as they live.
func connections(t *testing.T, adapter adaptertest.Adapter) {
	t.Helper()
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			serve := func(policies ...ratelimit.Policy) *live {
				return serveLive(t, adapter, middleware.Authenticate(g.verifier).RateLimit(g.limiter, policies...), g.key, protocol)
			}
			bare, gated := serveLive(t, adapter, nil, g.key, protocol), serve(ratelimit.PerHour(1000))
			for what, of := range map[string]func(*live, *testing.T) string{"trailers": (*live).trailers, "hints": (*live).hints} {
				if got, want := of(gated, t), of(bare, t); got != want {
					t.Errorf("%s\n--- behind the gate\n%s\n--- without\n%s", what, got, want)
				}
			}
			one := serve(ratelimit.Concurrent(1))
			one.stream(t)
			serve(ratelimit.PerHour(5).Named("hourly"), ratelimit.Concurrent(100)).resets(t)
			if protocol == "HTTP/1.1" {
				one.sockets(t)
			}
		})
	}
}

// trailers sends a body without a length and a field behind it, and tells what comes back. Both have the same path.
func (l *live) trailers(t *testing.T) string {
	t.Helper()
	r := l.request(t.Context(), t, http.MethodPost, "trailers", io.MultiReader(strings.NewReader("hello"), strings.NewReader(", world")))
	r.Trailer = http.Header{"X-Of-Request": {"sent"}}
	response := l.do(t, r) //nolint:bodyclose // do closes it, at the end of the test
	body, err := io.ReadAll(response.Body)
	if string(body) != "hello, world" {
		t.Errorf("trailers: %d, body %q, %v", response.StatusCode, body, err)
	}
	return fmt.Sprintf("%d %q %v", response.StatusCode, body, response.Trailer)
}

// hints tells what comes before an answer, and the answer.
func (l *live) hints(t *testing.T) string {
	t.Helper()
	var early []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		early = append(early, fmt.Sprint(code, header["Link"])) // all fields that are set already go with it
		return nil
	}})
	response := l.get(ctx, t, "hints") //nolint:bodyclose // do closes it
	body, _ := io.ReadAll(response.Body)
	return fmt.Sprintf("%v, then %d %q %q %q", early, response.StatusCode, response.Header["Link"], response.Header["X-Final"], body)
}

// stream reads events as they are sent. Meanwhile there is no place for another; when the client has gone, there is.
func (l *live) stream(t *testing.T) {
	t.Helper()
	for range 3 {
		ctx, leave := context.WithCancel(t.Context())
		response := l.get(ctx, t, "events")                     //nolint:bodyclose // do closes it
		for response.StatusCode == http.StatusTooManyRequests { // the one before is about to end
			response = l.get(ctx, t, "events") //nolint:bodyclose // do closes it
		}
		events := bufio.NewReader(response.Body)
		for i := 1; i <= 3; i++ {
			if i > 1 {
				l.next <- struct{}{}
			}
			line, err := events.ReadString('\n')
			if want := fmt.Sprintf("id: %d\n", i); err != nil || line != want {
				t.Fatalf("event %q, %v, want %q", line, err, want)
			}
			if _, err := events.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if got := l.status(t); got != http.StatusTooManyRequests {
			t.Errorf("beside a stream: %d, want 429", got)
		}
		leave()
		l.free(t, "a stream that its client left")
	}
}

// resets begins requests and takes them back as soon as they are sent, as a rapid reset does. Whatever reached the handler
// counts; and no place is lost.
func (l *live) resets(t *testing.T) {
	t.Helper()
	const limit = 5
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 25 {
				ctx, reset := context.WithCancel(context.Background())
				ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { reset() }})
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+"ok", http.NoBody)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("X-API-Key", l.key)
				if response, err := l.client.Do(r); err == nil {
					response.Body.Close()
				}
				reset()
			}
		})
	}
	group.Wait()
	for range limit {
		l.status(t)
	}
	if got := l.status(t); got != http.StatusTooManyRequests {
		t.Errorf("after %d resets and %d requests: %d, want 429", 8*25, limit, got)
	}
	if n := l.reached.Load(); n > limit {
		t.Errorf("%d requests reached a handler that %d may reach: those that were reset do not count", n, limit)
	}
}

// sockets are WebSockets: they hold a place until they are closed, although their handler has returned.
func (l *live) sockets(t *testing.T) {
	t.Helper()
	for _, how := range []string{"websocket", "websocket?panic"} {
		conn, r := l.shake(t, how)
		frame := "\x81\x85\x01\x02\x03\x04" + "igohn" // masked, which is the handler's to see
		if _, err := io.WriteString(conn, frame); err != nil {
			t.Fatal(err)
		}
		back := make([]byte, len(frame))
		if _, err := io.ReadFull(r, back); err != nil || string(back) != frame {
			t.Errorf("%s: %q came back, %v, want %q", how, back, err, frame)
		}
		if how == "websocket" {
			l.served.Wait() // the handler has returned, and all before it
		}
		if got := l.status(t); got != http.StatusTooManyRequests {
			t.Errorf("%s: beside it: %d, want 429", how, got)
		}
		_ = conn.Close()
		l.free(t, how)
	}
}

// shake shakes hands, by the example of RFC 6455, section 1.3.
func (l *live) shake(t *testing.T, what string) (net.Conn, *bufio.Reader) {
	t.Helper()
	address := strings.TrimSuffix(strings.TrimPrefix(l.url, "http://"), "/live/")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, request("GET /live/"+what, "", "X-API-Key: "+l.key, "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode == http.StatusTooManyRequests { // the one before is about to end
		return l.shake(t, what)
	}
	if got := response.Header.Get("Sec-Websocket-Accept"); response.StatusCode != http.StatusSwitchingProtocols || got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("the handshake: %d, %q", response.StatusCode, got)
	}
	return conn, r
}
