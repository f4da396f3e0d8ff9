package adaptertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
)

// protocol is about what a handler does with its writer besides to write.
func protocol() []scenario {
	metered := func(w *world) middleware.Stage { return w.auth().Meter(w, "maps", "search") }
	handled := func(what string) string {
		return "authenticate allowed GET /items/{id}\nhandler allowed GET /items/{id} " + what
	}
	const once = `acme/shop maps search "" 1`
	more := make(chan struct{}) // each Run makes its own scenarios
	return []scenario{{
		name: "Protocol/Stream", why: "a flush reaches the client while the handler runs", stage: metered,
		handler: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "one")
			err := http.NewResponseController(w).Flush()
			select {
			case <-more:
			case <-r.Context().Done():
			}
			fmt.Fprint(w, ", two ", err)
		},
		check: func(t *testing.T, _ *world, s *server) {
			conn, r := s.dial(t, get)
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil { // instead of hanging
				t.Fatal(err)
			}
			response, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			first := make([]byte, 3)
			_, err = io.ReadFull(response.Body, first)
			close(more)
			rest, _ := io.ReadAll(response.Body)
			if got := string(first) + string(rest); err != nil || got != "one, two <nil>" {
				t.Errorf("got %q, %v", got, err)
			}
		},
		events: handled("200 14"), usage: once,
	}, {
		name: "Protocol/Flusher", why: "http.Flusher stays", stage: metered,
		handler: func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush() // panics where it is gone
			_, _ = io.WriteString(w, "ok")
		},
		sends: []exchange{{get, "200\n\nok"}}, events: handled("200 2"),
	}, {
		name: "Protocol/Hijacker", why: "a connection taken over counts as 101", stage: metered,
		handler: func(w http.ResponseWriter, _ *http.Request) {
			conn, rw, err := w.(http.Hijacker).Hijack()
			switchProtocols(conn, rw, err)
		},
		sends: []exchange{{get, switched}}, events: handled("101 0"), usage: once,
	}, {
		name: "Protocol/HijackByController", why: "a connection taken over counts as 101", stage: metered,
		handler: func(w http.ResponseWriter, _ *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			switchProtocols(conn, rw, err)
		},
		sends: []exchange{{get, switched}}, events: handled("101 0"), usage: once,
	}, {
		name: "Protocol/HijackNested", why: "every stage sees it, and counts it once",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			auth := w.auth()
			return []Route{{Method: "GET", Pattern: "/items/{id}", Stage: auth.Meter(w, "maps", "search"),
				Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					conn, rw, err := http.NewResponseController(w).Hijack()
					switchProtocols(conn, rw, err)
				})}}, []middleware.Stage{auth}
		},
		sends: []exchange{{get, switched}}, events: handled("101 0"), usage: once,
	}, {
		name: "Protocol/Controller", why: "deadlines and full duplex reach the connection", stage: auth,
		handler: func(w http.ResponseWriter, _ *http.Request) {
			c, soon := http.NewResponseController(w), time.Now().Add(time.Minute)
			fmt.Fprint(w, errors.Join(c.SetReadDeadline(soon), c.SetWriteDeadline(soon), c.EnableFullDuplex()))
		},
		sends: []exchange{{get, "200\nContent-Type: text/plain; charset=utf-8\n\n<nil>"}},
	}, {
		name: "Protocol/Copy", why: "what is copied from a reader is counted", stage: auth,
		handler: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(strings.NewReader(strings.Repeat("x", 100_000)), 70_000))
		},
		check: func(t *testing.T, _ *world, s *server) {
			if _, body, _ := strings.Cut(s.do(t, get), "\n\n"); body != strings.Repeat("x", 70_000) {
				t.Errorf("got %d bytes", len(body))
			}
		},
		events: handled("200 70000"),
	}, {
		name: "Protocol/PanicValue", why: "a panic goes on with its own value", stage: metered,
		handler: func(http.ResponseWriter, *http.Request) { panic(errPanic) },
		sends:   []exchange{{get, "closed"}}, check: panicked(errPanic), events: handled("500 0"), usage: once,
	}, {
		name: "Protocol/PanicAbort", why: "http.ErrAbortHandler stays itself", stage: metered,
		handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		sends:   []exchange{{get, "closed"}}, check: panicked(http.ErrAbortHandler), events: handled("500 0"), usage: once,
	}, {
		name: "Protocol/PanicNested", why: "two stages count it once",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			auth := w.auth()
			return []Route{{Method: "GET", Pattern: "/items/{id}", Stage: auth.Meter(w, "maps", "search"),
				Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(errPanic) })}}, []middleware.Stage{auth}
		},
		sends: []exchange{{get, "closed"}}, check: panicked(errPanic), events: handled("500 0"), usage: once,
	}, {
		name: "Protocol/PanicLate", why: "also when the response has begun", stage: metered,
		handler: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "o")
			panic(errPanic)
		},
		sends: []exchange{{get, "closed"}}, check: panicked(errPanic), events: handled("500 1"), usage: once,
	}, {
		name: "Protocol/ExpectContinue", why: "who is refused is not asked for a body",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			return []Route{{Method: "POST", Pattern: "/items", Stage: w.auth(), Handler: http.HandlerFunc(echoBody)}}, nil
		},
		sends: []exchange{{"POST /items\nExpect: 100-continue\nContent-Length: 5", answerMissing}},
	}, {
		name: "Protocol/LargeBody", why: "a body reaches the handler as it was sent",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			return []Route{{Method: "POST", Pattern: "/items", Stage: w.auth(), Handler: http.HandlerFunc(echoBody)}}, nil
		},
		check: func(t *testing.T, _ *world, s *server) {
			body := bytes.Repeat([]byte("0123456789"), 20_000)
			_, got, _ := strings.Cut(s.do(t, "POST /items\nX-API-Key: good\n\n"+string(body)), "\n\n")
			if got != string(body) {
				t.Errorf("sent %d bytes, got %d others", len(body), len(got))
			}
		},
	}}
}

var errPanic = errors.New("adaptertest: a handler's mistake")

const switched = "101\nConnection: Upgrade\nUpgrade: test"

// switchProtocols answers on a connection that was taken over, and closes it.
func switchProtocols(conn io.Closer, rw io.Writer, err error) {
	if err != nil {
		panic(err)
	}
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
	if f, ok := rw.(interface{ Flush() error }); ok {
		_ = f.Flush()
	}
	conn.Close()
}

func panicked(want error) func(*testing.T, *world, *server) {
	return func(t *testing.T, _ *world, s *server) {
		s.served.Wait()
		if got := <-s.panics; got != any(want) {
			t.Errorf("panic with %v, want %v", got, want)
		}
	}
}
