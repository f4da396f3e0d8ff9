package adaptertest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// routing is about endpoints, and requests that no route takes.
func routing() []scenario {
	items := func(outer func(*world) middleware.Stage) func(*world) ([]Route, []middleware.Stage) {
		return func(w *world) ([]Route, []middleware.Stage) {
			return []Route{{Method: "GET", Pattern: "/items/{id}"}}, []middleware.Stage{outer(w)}
		}
	}
	once := limited(ratelimit.PerMinute(1))
	return []scenario{{
		name: "Route/NotFoundUnauthenticated", why: "a stage before all routes stands before those that do not exist, too",
		mount: items(auth), sends: []exchange{{"GET /nowhere", answerMissing}, {"DELETE /items/7", answerMissing}, {"OPTIONS /items/7", answerMissing}},
		events: `
			authenticate refused unmatched missing_credential
			authenticate refused unmatched missing_credential
			authenticate refused unmatched missing_credential`,
	}, {
		name: "Route/NotFoundSharesOneLimit", why: "made-up paths and methods are no endpoints of their own",
		mount: items(once), check: func(t *testing.T, _ *world, s *server) {
			if got := s.do(t, "GET /nowhere\nX-API-Key: good"); !strings.HasPrefix(got, "404\n") {
				t.Errorf("the router's own answer: got\n%s", got)
			}
			for _, line := range []string{"GET /elsewhere", "POST /items/7", "PURGE /items/7"} {
				if got := s.do(t, line+"\nX-API-Key: good"); !strings.HasPrefix(got, "429\n") {
					t.Errorf("%s: got\n%s", line, got)
				}
			}
			if got := s.do(t, get); !strings.HasPrefix(got, "200\n") {
				t.Errorf("%s: has a limit of its own; got\n%s", get, got)
			}
		},
		calls: "authenticate 5, refresh 0, limit 5",
	}, {
		name: "Route/NotFoundWithoutStage", why: "a stage of one route is not asked about others",
		stage: once, check: func(t *testing.T, _ *world, s *server) {
			for _, line := range []string{"GET /nowhere", "DELETE /items/7"} {
				if got := s.do(t, line); !strings.HasPrefix(got, "404\n") && !strings.HasPrefix(got, "405\n") {
					t.Errorf("%s: got\n%s", line, got)
				}
			}
		},
		calls: "authenticate 0, refresh 0, limit 0",
	}, {
		name: "Route/Spellings", why: "all spellings of a path that reach the handler are one endpoint",
		mount: items(auth), check: spellings,
	}, {
		name: "Route/MethodOverride", why: "the endpoint has the real method",
		mount: items(auth), sends: []exchange{{get + "\nX-HTTP-Method-Override: DELETE", answerOK}},
		events: "authenticate allowed GET /items/{id}\nhandler allowed GET /items/{id} 200 2",
	}, endpoints("Inside", false), endpoints("Outside", true)}
}

// spellings sends spellings of one path. Which of them are found is for the router to say.
func spellings(t *testing.T, w *world, s *server) {
	reached := 0
	for _, target := range []string{
		"/items/7", "/items/%37", "/%69tems/7", "/items/a%2fb", "/items%2f7", "//items/7", "/./items/7", "/x/../items/7",
		"/items//7", "/items/7/", "/items/%ff", "/items/%2e%2e", "/items/{id}", "/items/:id", "/items/*", "/items/%00",
		"/ITEMS/7", "/items/7;v=1", "/items/7?id=8", "/items/é", "http://evil.example/items/7",
	} {
		got := s.do(t, "GET "+target+"\nX-API-Key: good")
		s.served.Wait()
		w.mu.Lock()
		last := ""
		if n := len(w.observed); n > 0 {
			last = w.observed[n-1]
		}
		w.mu.Unlock()
		if got == plain(answerOK) {
			reached++
			if last != "handler allowed GET /items/{id} 200 2" {
				t.Errorf("%s: reached the handler, as %q", target, last)
			}
		} else if strings.HasPrefix(got, "5") || got == "closed" {
			t.Errorf("%s: got\n%s", target, got)
		}
	}
	if reached < 10 {
		t.Errorf("only %d spellings reached the handler", reached)
	}
}

// endpoints is about the names of routes, at a stage of the route or before all routes.
func endpoints(name string, outside bool) scenario {
	rows := []struct{ method, pattern, target, want string }{
		{"GET", "/{$}", "/", "GET /"},
		{"GET", "/plain", "/plain", "GET /plain"},
		{"POST", "/plain", "/plain", "POST /plain"},
		{"HEAD", "/head/{id}", "/head/1", "GET /head/{id}"},
		{"OPTIONS", "/options", "/options", "OPTIONS /options"},
		{"PATCH", "/orgs/{org}/items/{item_id}", "/orgs/a/items/b", "PATCH /orgs/{org}/items/{item_id}"},
		{"PUT", "/orgs/{org}/members", "/orgs/a/members", "PUT /orgs/{org}/members"},
		{"DELETE", "/files/{path...}", "/files/a/b", "DELETE /files/{...}"},
		{"PURGE", "/cache/{id}", "/cache/1", "OTHER /cache/{id}"},
		{"GET", "/v1.0/a-b_c~d", "/v1.0/a-b_c~d", "GET /v1.0/a-b_c~d"},
	}
	s := scenario{name: "Route/Endpoints" + name, why: "a route has the same name in all routers"}
	s.mount = func(w *world) (routes []Route, outer []middleware.Stage) {
		stage := w.auth()
		for _, r := range rows {
			route := Route{Method: r.method, Pattern: r.pattern, Stage: stage, Handler: http.HandlerFunc(ok200)}
			if outside {
				route.Stage = nil
			}
			routes = append(routes, route)
		}
		if outside {
			outer = append(outer, stage)
		}
		return routes, outer
	}
	var events []string
	for _, r := range rows {
		want, size := plain(answerOK), " 200 2"
		if r.method == http.MethodHead {
			want, _, _ = strings.Cut(want, "\n\n")
		}
		s.sends = append(s.sends, exchange{r.method + " " + r.target + "\nX-API-Key: good", want})
		events = append(events, "authenticate allowed "+r.want, "handler allowed "+r.want+size)
	}
	s.events = strings.Join(events, "\n")
	return s
}

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
			f, ok := w.(http.Flusher)
			f.Flush()
			fmt.Fprint(w, ok)
		},
		sends: []exchange{{get, "200\n\ntrue"}}, events: handled("200 4"),
	}, {
		name: "Protocol/Hijacker", why: "a connection taken over counts as 101", stage: metered,
		handler: func(w http.ResponseWriter, _ *http.Request) {
			h, _ := w.(http.Hijacker)
			switchProtocols(h.Hijack())
		},
		sends: []exchange{{get, switched}}, events: handled("101 0"), usage: once,
	}, {
		name: "Protocol/HijackByController", why: "a connection taken over counts as 101", stage: metered,
		handler: func(w http.ResponseWriter, _ *http.Request) {
			switchProtocols(http.NewResponseController(w).Hijack())
		},
		sends: []exchange{{get, switched}}, events: handled("101 0"), usage: once,
	}, {
		name: "Protocol/HijackNested", why: "every stage sees it, and counts it once",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			auth := w.auth()
			return []Route{{Method: "GET", Pattern: "/items/{id}", Stage: auth.Meter(w, "maps", "search"),
				Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					switchProtocols(http.NewResponseController(w).Hijack())
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
		name: "Protocol/HTTP2", why: "the same answers and the same counts", stage: metered,
		handler: func(w http.ResponseWriter, r *http.Request) {
			c := http.NewResponseController(w)
			_, _ = io.WriteString(w, r.Proto)
			fmt.Fprint(w, " ", errors.Join(c.Flush(), c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{})))
		},
		check: func(t *testing.T, _ *world, s *server) {
			if got := s.http2(t, "/items/7", "good"); got != "200\nContent-Type: text/plain; charset=utf-8\n\nHTTP/2.0 <nil>" {
				t.Errorf("got\n%s", got)
			}
			if got := s.http2(t, "/items/7", ""); got != plain(answerMissing) {
				t.Errorf("got\n%s", got)
			}
		},
		events: handled("200 14") + "\nauthenticate refused GET /items/{id} missing_credential", usage: once,
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

const switched = "101\nConnection: Upgrade\nUpgrade: test"

// switchProtocols answers on a connection that was taken over, and closes it.
func switchProtocols(conn net.Conn, _ *bufio.ReadWriter, err error) {
	if err == nil {
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
		conn.Close()
	}
	if err != nil {
		panic(err)
	}
}
