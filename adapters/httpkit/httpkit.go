// Package httpkit mounts the stages of package middleware in net/http.
//
//	auth := middleware.Authenticate(verifier)
//	search := auth.RateLimit(limiter, ratelimit.PerMinute(100)).Meter(usage, "stores", "search")
//
//	mux := http.NewServeMux()
//	mux.Handle("GET /v1/stores/{id}", httpkit.Middleware(search)(handler))
//	http.ListenAndServe(addr, httpkit.Middleware(auth)(mux)) // before all routes, also those that do not exist
//
// # Endpoints
//
// The endpoint is the pattern that http.ServeMux matched, as "GET /v1/stores/{id}". A stage around a
// ServeMux asks it for the pattern before it serves. Between the two there may be further stages, or a
// handler of yours that has ServeMux's method Handler. Around anything else that routes, every request is
// middleware.Unmatched, and so are requests that no pattern matches.
//
// # Requests and errors
//
// The handler is given a copy of the request, without the credential and with the admission in its
// context; what stands outside keeps the request that it passed in, with the credential. A refusal is
// written by its renderer. A handler does the same with one of Admission.Take: err.Render(w, r).
//
// Flusher, Hijacker, ReaderFrom, Pusher and http.ResponseController work as they do without a stage.
package httpkit

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/felixge/httpsnoop"

	"github.com/tollgate-go/tollgate/adapters/internal/mount"
	"github.com/tollgate-go/tollgate/middleware"
)

// Middleware returns a function that puts the stage before a handler. It panics with stage.Err() if the
// stage is not well made, and so does the function if the handler is nil. Both may be used many times and
// concurrently.
//
// A panic of the handler goes on unchanged, after the stage counted it as status 500. A connection that
// the handler hijacked counts as 101; what the request holds then, such as a place among concurrent requests,
// it holds until the connection is closed.
func Middleware(stage middleware.Stage) func(http.Handler) http.Handler {
	mount.Check("httpkit", stage)
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic(errors.New("httpkit: Middleware: the handler is nil"))
		}
		routes, _ := next.(router)
		return &handler{stage: stage, next: next, routes: routes}
	}
}

// router is http.ServeMux, or what stands before one.
type router interface {
	Handler(r *http.Request) (h http.Handler, pattern string)
}

type handler struct {
	stage  middleware.Stage
	next   http.Handler
	routes router // next, if it routes
}

// Handler returns the handler and the pattern that the request will meet, for a stage outside this one.
func (h *handler) Handler(r *http.Request) (next http.Handler, pattern string) {
	if h.routes != nil {
		return h.routes.Handler(r)
	}
	return h.next, r.Pattern
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, pattern := h.Handler(r)
	admission, refusal := h.stage.Admit(w.Header(), r, middleware.EndpointOfPattern(r.Method, pattern))
	if refusal != nil {
		refusal.Render(w, r)
		return
	}
	seen := response{admission: admission}
	returned := false
	defer func() {
		if !returned { // a panic goes on by itself when nobody recovers
			seen.status = http.StatusInternalServerError
		}
		admission.Done(seen.status, seen.size)
	}()
	h.next.ServeHTTP(seen.watch(w), admission.Request())
	if seen.status == 0 {
		seen.status = http.StatusOK
	}
	returned = true
}

// response is what was seen of a response; status is 0 until it begins.
type response struct {
	status    int
	size      int64
	admission *middleware.Admission
}

// watch returns a writer with the very interfaces of w.
func (s *response) watch(w http.ResponseWriter) http.ResponseWriter {
	return httpsnoop.Wrap(w, httpsnoop.Hooks{
		WriteHeader: func(next httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
			return func(status int) {
				if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
					s.begin(status)
				}
				next(status)
			}
		},
		Write: func(next httpsnoop.WriteFunc) httpsnoop.WriteFunc {
			return func(p []byte) (int, error) {
				n, err := next(p)
				s.wrote(int64(n))
				return n, err
			}
		},
		WriteString: func(next httpsnoop.WriteStringFunc) httpsnoop.WriteStringFunc {
			return func(p string) (int, error) {
				n, err := next(p)
				s.wrote(int64(n))
				return n, err
			}
		},
		ReadFrom: func(next httpsnoop.ReadFromFunc) httpsnoop.ReadFromFunc {
			return func(src io.Reader) (int64, error) {
				n, err := next(src)
				s.wrote(n)
				return n, err
			}
		},
		Flush: func(next httpsnoop.FlushFunc) httpsnoop.FlushFunc {
			return func() {
				s.begin(http.StatusOK) // what was not begun is now
				next()
			}
		},
		FlushError: func(next httpsnoop.FlushErrorFunc) httpsnoop.FlushErrorFunc {
			return func() error {
				s.begin(http.StatusOK)
				return next()
			}
		},
		Hijack: s.hijack,
	})
}

func (s *response) hijack(next httpsnoop.HijackFunc) httpsnoop.HijackFunc {
	return func() (net.Conn, *bufio.ReadWriter, error) {
		conn, rw, err := next()
		if err == nil {
			s.begin(http.StatusSwitchingProtocols)
			conn = s.admission.Keep(conn)
		}
		return conn, rw, err
	}
}

func (s *response) begin(status int) {
	if s.status == 0 {
		s.status = status
	}
}

func (s *response) wrote(n int64) {
	s.begin(http.StatusOK)
	s.size += n
}
