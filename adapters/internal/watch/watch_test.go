package watch_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/adapters/internal/watch"
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

// admission returns one that holds nothing.
func admission(t *testing.T) *middleware.Admission {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	r.Header.Set("X-API-Key", "key")
	a, refusal := middleware.Authenticate(anyone{}).Admit(http.Header{}, r, "GET /")
	if refusal != nil {
		t.Fatal(refusal)
	}
	return a
}

// abilities lists which optional interfaces a writer has.
func abilities(w any) (names []string) {
	add := func(name string, has bool) {
		if has {
			names = append(names, name)
		}
	}
	_, ok := w.(http.Flusher)
	add("Flush", ok)
	_, ok = w.(interface{ FlushError() error })
	add("FlushError", ok)
	_, ok = w.(interface{ CloseNotify() <-chan bool })
	add("CloseNotify", ok)
	_, ok = w.(http.Hijacker)
	add("Hijack", ok)
	_, ok = w.(io.ReaderFrom)
	add("ReadFrom", ok)
	_, ok = w.(interface{ SetReadDeadline(time.Time) error })
	add("SetReadDeadline", ok)
	_, ok = w.(interface{ SetWriteDeadline(time.Time) error })
	add("SetWriteDeadline", ok)
	_, ok = w.(interface{ EnableFullDuplex() error })
	add("EnableFullDuplex", ok)
	_, ok = w.(http.Pusher)
	add("Push", ok)
	_, ok = w.(io.StringWriter)
	add("WriteString", ok)
	return names
}

// TestWriterOfServers looks at the writers of real servers: theirs are known, and what is put in their place can the same.
func TestWriterOfServers(t *testing.T) {
	t.Parallel()
	a := admission(t)
	for protocol, want := range map[string]string{"HTTP/1.1": "watch.http1", "HTTP/2.0": "watch.http2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				watched := watch.Writer(new(watch.Response), w, a)
				if got := fmt.Sprintf("%T", watched); got != want {
					t.Errorf("a %s for %T, want a %s", got, w, want)
				}
				if got, want := abilities(watched), abilities(w); !slices.Equal(got, want) {
					t.Errorf("it can %v, want %v", got, want)
				}
				controller := http.NewResponseController(watched)
				if err := controller.SetWriteDeadline(time.Time{}); err != nil {
					t.Error(err)
				}
				if err := controller.EnableFullDuplex(); err != nil {
					t.Error(err)
				}
			}))
			server.EnableHTTP2 = protocol == "HTTP/2.0"
			server.StartTLS()
			t.Cleanup(server.Close)
			response, err := get(t, server)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.Proto != protocol {
				t.Errorf("the server speaks %s", response.Proto)
			}
		})
	}
}

// bare is an http.ResponseWriter that keeps what it is told.
type bare struct {
	header http.Header
	status int
	body   strings.Builder
}

func (b *bare) Header() http.Header            { return b.header }
func (b *bare) WriteHeader(status int)         { b.status = status }
func (b *bare) Write(text []byte) (int, error) { return b.body.Write(text) }

// hijacker is a bare that gives its connection away.
type hijacker struct{ bare }

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, other := net.Pipe()
	_ = other.Close()
	return conn, nil, nil
}

type flusher struct {
	http.ResponseWriter
	http.Flusher
}

type reader struct {
	http.ResponseWriter
	io.ReaderFrom
}

// TestWriterOfOthers is about writers that are not a server's.
func TestWriterOfOthers(t *testing.T) {
	t.Parallel()
	a := admission(t)
	for name, row := range map[string]struct {
		w     http.ResponseWriter
		known bool
	}{
		"bare":     {&bare{}, true},
		"recorder": {httptest.NewRecorder(), true},
		"hijacker": {&hijacker{}, false},
		"flusher":  {&flusher{&bare{}, httptest.NewRecorder()}, false},
		"reader":   {&reader{&bare{}, new(bytes.Buffer)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watched := watch.Writer(new(watch.Response), row.w, a)
			if got, want := abilities(watched), abilities(row.w); !slices.Equal(got, want) {
				t.Errorf("it can %v, want %v", got, want)
			}
			if known := strings.HasPrefix(fmt.Sprintf("%T", watched), "watch."); known != row.known {
				t.Errorf("a %T for %T", watched, row.w)
			}
			if whole, ok := watched.(interface{ Unwrap() http.ResponseWriter }); !ok || whole.Unwrap() != row.w {
				t.Errorf("a %T does not unwrap to %T", watched, row.w)
			}
		})
	}
}

// snooped is a recorder with an interface that none has.
type snooped struct {
	*httptest.ResponseRecorder
	http.Hijacker
}

// TestSeen tells what is seen of a response.
func TestSeen(t *testing.T) {
	t.Parallel()
	a := admission(t)
	for name, row := range map[string]struct {
		answer func(w http.ResponseWriter)
		status int
		size   int64
	}{
		"nothing":  {func(http.ResponseWriter) {}, 0, 0},
		"a status": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, 404, 0},
		"the first": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusInternalServerError)
		}, 202, 0},
		"informational": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints); w.WriteHeader(http.StatusNoContent) }, 204, 0},
		"a body":        {func(w http.ResponseWriter) { _, _ = w.Write([]byte("abc")) }, 200, 3},
		"a text":        {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "abcd") }, 200, 4},
		"a flush": {func(w http.ResponseWriter) {
			_ = http.NewResponseController(w).Flush()
			w.WriteHeader(http.StatusNotFound)
		}, 200, 0},
		"a copy": {func(w http.ResponseWriter) { _, _ = io.Copy(w, strings.NewReader("abcde")) }, 200, 5},
	} {
		for kind, with := range map[string]func(http.Handler) (end func()){
			"server": func(h http.Handler) func() {
				server := httptest.NewServer(h)
				if response, err := get(t, server); err == nil {
					response.Body.Close()
				}
				return server.Close
			},
			"recorder": func(h http.Handler) func() {
				h.ServeHTTP(httptest.NewRecorder(), nil)
				return func() {}
			},
			"snooped": func(h http.Handler) func() {
				h.ServeHTTP(&snooped{httptest.NewRecorder(), nil}, nil)
				return func() {}
			},
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				var seen watch.Response
				with(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { row.answer(watch.Writer(&seen, w, a)) }))()
				if seen.Status != row.status || seen.Size != row.size || seen.Hijacked {
					t.Errorf("%d, %d bytes, hijacked %v; want %d, %d", seen.Status, seen.Size, seen.Hijacked, row.status, row.size)
				}
			})
		}
	}
}

// TestHijacked takes a connection over, from a server and from a writer of any other kind.
func TestHijacked(t *testing.T) {
	t.Parallel()
	a := admission(t)
	hijack := func(seen *watch.Response, w http.ResponseWriter) {
		conn, _, err := http.NewResponseController(watch.Writer(seen, w, a)).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
		if seen.Status != http.StatusSwitchingProtocols || !seen.Hijacked {
			t.Errorf("%d, hijacked %v; want 101", seen.Status, seen.Hijacked)
		}
	}
	hijack(new(watch.Response), &hijacker{})
	var seen watch.Response
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { hijack(&seen, w) }))
	if response, err := get(t, server); err == nil {
		response.Body.Close()
		t.Error("the server answered on a connection that was taken over")
	}
	server.Close()
}

func TestAllocations(t *testing.T) {
	a := admission(t)
	for name, w := range map[string]http.ResponseWriter{"bare": &bare{}, "recorder": httptest.NewRecorder()} {
		var seen watch.Response
		if got := testing.AllocsPerRun(100, func() { _, _ = watch.Writer(&seen, w, a).Write(nil) }); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

func get(t *testing.T, server *httptest.Server) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatalf("NewRequest: %v", err)
	}
	return server.Client().Do(r)
}
