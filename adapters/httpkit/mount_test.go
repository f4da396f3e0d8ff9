package httpkit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
)

// anyone is an Authenticator that knows everybody who shows something.
type anyone struct{}

func (anyone) Authenticate(context.Context, authkey.Presented) (*authkey.Identity, error) {
	return &authkey.Identity{Org: "acme", Project: "shop"}, nil
}

func (a anyone) Refresh(ctx context.Context, p authkey.Presented, _ *authkey.Identity) (*authkey.Identity, error) {
	return a.Authenticate(ctx, p)
}

// done returns an option that hands on what became of each handler.
func done(events chan<- middleware.Event) middleware.Option {
	return middleware.WithObserver(middleware.ObserverFunc(func(e middleware.Event) {
		if e.Step == middleware.StepHandler {
			events <- e
		}
	}))
}

func request(ctx context.Context, target string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	r.Header.Set("X-API-Key", "key")
	return r
}

// next returns the event of a request that was answered.
func next(t *testing.T, events <-chan middleware.Event) middleware.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(10 * time.Second): // instead of hanging
		t.Fatal("the request was not counted")
		return middleware.Event{}
	}
}

func TestMountPanics(t *testing.T) {
	t.Parallel()
	bad := middleware.Authenticate(nil)
	for name, mount := range map[string]func(){
		"no stage":    func() { httpkit.Middleware(nil) },
		"a bad stage": func() { httpkit.Middleware(bad) },
		"no handler":  func() { httpkit.Middleware(middleware.Authenticate(anyone{}))(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if err, _ := recover().(error); err == nil {
					t.Error("want a panic with an error")
				}
			}()
			mount()
		})
	}
}

// TestWriterInterfaces compares what a writer can with and without a stage, on real servers.
func TestWriterInterfaces(t *testing.T) {
	t.Parallel()
	abilities := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, flusher := w.(http.Flusher)
		_, hijacker := w.(http.Hijacker)
		_, readerFrom := w.(io.ReaderFrom)
		_, stringWriter := w.(io.StringWriter)
		_, pusher := w.(http.Pusher)
		duplex := http.NewResponseController(w).EnableFullDuplex()
		fmt.Fprint(w, "flush ", flusher, ", hijack ", hijacker, ", read ", readerFrom, ", string ", stringWriter, ", push ", pusher, ", duplex ", duplex)
	})
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			stage := httpkit.Middleware(middleware.Authenticate(anyone{}))
			mux := http.NewServeMux()
			mux.Handle("/bare", abilities)
			mux.Handle("/staged", stage(abilities))
			mux.Handle("/nested", stage(stage(abilities)))
			server := httptest.NewUnstartedServer(mux)
			server.EnableHTTP2 = protocol == "HTTP/2.0"
			server.StartTLS()
			t.Cleanup(server.Close)
			bare := fetch(t, server, "/bare", protocol)
			for _, path := range []string{"/staged", "/nested"} {
				if got := fetch(t, server, path, protocol); got != bare {
					t.Errorf("%s: %s\nwithout a stage: %s", path, got, bare)
				}
			}
		})
	}
}

func fetch(t *testing.T, server *httptest.Server, path, protocol string) string {
	t.Helper()
	r := request(t.Context(), server.URL+path)
	r.RequestURI = ""
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.Proto != protocol {
		t.Fatalf("%s, %v", response.Proto, err)
	}
	return string(body)
}

// TestInformational sends 103 before the answer: only the answer counts.
func TestInformational(t *testing.T) {
	t.Parallel()
	events := make(chan middleware.Event, 1)
	h := httpkit.Middleware(middleware.Authenticate(anyone{}, done(events)))(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	}))
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	var hints []int
	r := request(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(status int, _ textproto.MIMEHeader) error { hints = append(hints, status); return nil },
	}), server.URL)
	r.RequestURI = ""
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if e := next(t, events); e.Status != http.StatusTeapot || response.StatusCode != http.StatusTeapot || !slices.Equal(hints, []int{103}) {
		t.Errorf("counted %d, client got %v and %d", e.Status, hints, response.StatusCode)
	}
}

// TestEndpoint is about which pattern names a request where muxes and handlers stand in each other.
func TestEndpoint(t *testing.T) {
	t.Parallel()
	inner := http.NewServeMux()
	inner.HandleFunc("GET /items/{id}", func(http.ResponseWriter, *http.Request) {})
	inner.HandleFunc("/any/", func(http.ResponseWriter, *http.Request) {})
	hide := func(h http.Handler) http.Handler { return http.HandlerFunc(h.ServeHTTP) }
	for _, row := range []struct {
		name, target, want string
		wrap               func(stage func(http.Handler) http.Handler) http.Handler
	}{
		{"around a mux", "/items/7", "GET /items/{id}", func(s func(http.Handler) http.Handler) http.Handler { return s(inner) }},
		{"around a mux, twice", "/items/7", "GET /items/{id}", func(s func(http.Handler) http.Handler) http.Handler { return s(s(inner)) }},
		{"no method in the pattern", "/any/7", "GET /any/{...}", func(s func(http.Handler) http.Handler) http.Handler { return s(inner) }},
		{"not found", "/nowhere", "unmatched", func(s func(http.Handler) http.Handler) http.Handler { return s(inner) }},
		{"around a handler that hides a mux", "/items/7", "unmatched", func(s func(http.Handler) http.Handler) http.Handler { return s(hide(inner)) }},
		{"inside and outside of it", "/items/7", "GET /items/{id}", func(s func(http.Handler) http.Handler) http.Handler { return s(hide(s(inner))) }},
		{"in a mux, around another", "/api/items/7", "GET /items/{id}", func(s func(http.Handler) http.Handler) http.Handler {
			outer := http.NewServeMux()
			outer.Handle("/api/", http.StripPrefix("/api", s(inner)))
			return outer
		}},
		{"in a mux, around a handler", "/api/items/7", "GET /api/{...}", func(s func(http.Handler) http.Handler) http.Handler {
			outer := http.NewServeMux()
			outer.Handle("/api/", s(http.StripPrefix("/api", inner)))
			return outer
		}},
		{"around two muxes", "/api/items/7", "GET /items/{id}", func(s func(http.Handler) http.Handler) http.Handler {
			outer := http.NewServeMux()
			outer.Handle("/api/", http.StripPrefix("/api", s(inner)))
			return s(outer)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			events := make(chan middleware.Event, 1)
			h := row.wrap(httpkit.Middleware(middleware.Authenticate(anyone{}, done(events))))
			h.ServeHTTP(httptest.NewRecorder(), request(t.Context(), row.target))
			if e := next(t, events); e.Endpoint != row.want {
				t.Errorf("endpoint %q, want %q", e.Endpoint, row.want)
			}
		})
	}
}

// TestOuterRequest shows that what stands outside keeps its own request.
func TestOuterRequest(t *testing.T) {
	t.Parallel()
	r := request(t.Context(), "/")
	h := httpkit.Middleware(middleware.Authenticate(anyone{}))(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("X-API-Key"); got != "" {
			t.Errorf("the handler sees the credential %q", got)
		}
	}))
	h.ServeHTTP(httptest.NewRecorder(), r)
	if _, admitted := middleware.FromContext(r.Context()); admitted || r.Header.Get("X-API-Key") != "key" {
		t.Error("the request outside was changed")
	}
}

// TestFailedHijack shows that only a connection that was taken over counts as 101.
func TestFailedHijack(t *testing.T) {
	t.Parallel()
	events := make(chan middleware.Event, 1)
	h := httpkit.Middleware(middleware.Authenticate(anyone{}, done(events)))(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("error %v, want %v", err, http.ErrNotSupported)
		}
	}))
	h.ServeHTTP(httptest.NewRecorder(), request(t.Context(), "/"))
	if e := next(t, events); e.Status != http.StatusOK {
		t.Errorf("counted %d, want 200", e.Status)
	}
}

// TestAllocations holds what the adapter itself costs, besides the stage: the writer that counts.
func TestAllocations(t *testing.T) {
	stage := middleware.Authenticate(anyone{})
	mux := http.NewServeMux()
	mux.Handle("GET /items/{id}", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	staged := http.NewServeMux()
	staged.Handle("GET /items/{id}", httpkit.Middleware(stage)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	w, r := httptest.NewRecorder(), request(t.Context(), "/items/7")
	bare := testing.AllocsPerRun(100, func() { mux.ServeHTTP(w, r) })
	alone := testing.AllocsPerRun(100, func() {
		if a, _ := stage.Admit(w.Header(), r, "GET /items/{id}"); a != nil {
			a.Done(http.StatusOK, 0)
		}
	})
	if added := testing.AllocsPerRun(100, func() { staged.ServeHTTP(w, r) }) - bare - alone; added > 18 {
		t.Errorf("the adapter allocates %v times", added)
	} else {
		t.Logf("the adapter allocates %v times, the stage %v", added, alone)
	}
}
