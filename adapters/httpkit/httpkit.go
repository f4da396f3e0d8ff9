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
// context; what stands outside keeps the request that it passed in, with the credential. The two share the values of
// fields: set and add fields as you like, but write into no slice of Header in place. A refusal is
// written by its renderer. A handler does the same with one of Admission.Take: err.Render(w, r).
//
// Flusher, Hijacker, ReaderFrom, Pusher and http.ResponseController work as they do without a stage.
package httpkit

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"github.com/tollgate-go/tollgate/adapters/internal/mount"
	"github.com/tollgate-go/tollgate/adapters/internal/watch"
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
	names  mount.Names
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
	endpoint := h.endpoint(r.Method, pattern)
	if _, nested := middleware.FromContext(r.Context()); nested && watch.Watched(w) { // by a stage around this one
		admission, refusal := h.stage.Admit(w.Header(), r, endpoint)
		if refusal != nil {
			refusal.Render(w, r)
			return
		}
		defer admission.Done(http.StatusOK, 0)
		h.next.ServeHTTP(w, admission.Request())
		return
	}
	p := new(passage)
	admission, refusal := h.stage.AdmitInto(&p.room, w.Header(), r, endpoint)
	if refusal != nil {
		refusal.Render(w, r)
		return
	}
	returned := false
	defer func() {
		if !returned { // a panic goes on by itself when nobody recovers
			p.seen.Status = http.StatusInternalServerError
		}
		admission.Done(cmp.Or(p.seen.Status, http.StatusOK), p.seen.Size)
	}()
	h.next.ServeHTTP(watch.Writer(&p.seen, w, admission), admission.Request())
	returned = true
}

// passage is all that a request needs: one allocation.
type passage struct {
	room middleware.Admission
	seen watch.Response
}

// endpoint names the pattern that a request met.
func (h *handler) endpoint(method, pattern string) string {
	if name, ok := h.names.Get(method, pattern); ok {
		return name
	}
	name := middleware.EndpointOfPattern(method, pattern)
	if name == middleware.Unmatched || strings.HasPrefix(name, "OTHER ") { // methods are for clients to invent
		return name
	}
	return h.names.Keep(method, pattern, name)
}
