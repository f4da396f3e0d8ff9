// Package self answers the holder of a key about that key: who am I, what are my limits, what did I use? Asking takes
// nothing from a limit and counts for no bill.
//
//	auth := middleware.Authenticate(verifier)
//	handler, err := self.New(
//		self.WithPrefix("/v1/self"),
//		self.WithLimits(limiter),
//		self.WithRoute("GET /v1/search", search.Policies()...),
//		self.WithUsage(reader),
//	)
//	mux.Handle("/v1/self/", httpkit.Middleware(auth)(handler))                     // net/http
//	engine.GET("/v1/self/*path", ginkit.Middleware(auth), gin.WrapH(handler))     // gin
//	e.GET("/v1/self/*", echo.WrapHandler(handler), echokit.Middleware(auth))       // echo
//
// It stands behind an Authenticate stage, whose identity is all that it answers about; no parameter names somebody
// else. Without a stage it answers 500 "misconfigured". Below the prefix, with GET and HEAD:
//
//	/whoami                     the key, its credential, and what they may
//	/limits   ?endpoint=&cursor=  each limit: what it is, why, and what of it is used
//	/usage    ?from=&to=&step=    what the project used, in hours, days or months
//
// A list is {"items":[...]}, times are RFC 3339 in UTC and durations as in Go ("1m30s"), as on the admin route. Limits
// come for 20 endpoints at a time: next, where there is one, is the cursor= of those that follow. Policies that are
// monitored or candidates are left out, for they refuse nobody, and the reasons of overrides, which are for those who
// run the service. Usage is of at most 92 days, by default the last one, without what a process has not flushed yet.
//
// A publishable key is in the hands of strangers. It is told what it says itself and what it may do, not whose it is:
// from /whoami its ids, kind, scopes, products and end; from the others 403 "kind_refused".
//
// The answer is as fresh as what Authenticate has in memory: a key that was revoked sees its own limits for as long as
// a cache may keep it (5 seconds by default). Behind RateLimit it would not, at the cost of a unit.
//
// Errors are problems (RFC 9457): 400 "invalid_query", 404 "not_found" and, where the part was not given to New,
// "not_served", 405 "method_not_allowed", 503 "unavailable".
package self

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/internal/peek"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// ErrInvalid says that something given to New is nil or out of its bounds.
var ErrInvalid = errors.New("self: invalid")

// The codes of a problem, besides those that package middleware has; they are those of the admin route.
const (
	codeQuery     = "invalid_query"      // 400
	codeKind      = "kind_refused"       // 403: not for publishable keys
	codeNotFound  = "not_found"          // 404
	codeNotServed = "not_served"         // 404
	codeMethod    = "method_not_allowed" // 405
	codeInternal  = "internal"           // 500
)

// Handler answers key holders. Make it with New. Safe for concurrent use; it has nothing to close.
type Handler struct {
	prefix    string
	limiter   middleware.Limiter
	endpoints []peek.Endpoint
	reader    UsageReader
	log       *slog.Logger
}

// New returns the handler. It tells who the caller is, and serves the parts besides that its options name. It does no
// I/O. The error joins all that is wrong with the arguments; each fault is ErrInvalid.
func New(opts ...Option) (*Handler, error) {
	h := &Handler{log: slog.New(slog.DiscardHandler)}
	var faults []error
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(h))
	}
	if len(h.endpoints) > 0 && h.limiter == nil {
		faults = append(faults, fmt.Errorf("%w option: WithRoute needs WithLimits too", ErrInvalid))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return h, nil
}

// ServeHTTP serves a request that a stage admitted, and whose path begins with the prefix.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	requestID := (&middleware.Error{}).SetHeaders(w.Header(), r)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	body, err := h.serve(w.Header(), r)
	if err != nil {
		h.refuse(w, r, requestID, err)
		return
	}
	text, err := json.Marshal(body)
	if err != nil { // answers hold nothing that JSON cannot
		panic("self: answer: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // a client that went away is nobody's error
	}
}

func (h *Handler) serve(header http.Header, r *http.Request) (any, error) {
	admission, ok := middleware.FromContext(r.Context())
	if !ok || admission.Identity() == nil {
		return nil, &middleware.Error{Status: http.StatusInternalServerError, Code: middleware.CodeSetup, Message: "The service is not set up as it has to be."}
	}
	path, ok := strings.CutPrefix(r.URL.Path, h.prefix)
	part, known := h.parts()[path]
	if !ok || !known {
		return nil, &middleware.Error{Status: http.StatusNotFound, Code: codeNotFound, Message: "There is nothing here."}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		return nil, &middleware.Error{Status: http.StatusMethodNotAllowed, Code: codeMethod, Message: "Allow names the methods of this path."}
	}
	if !part.given {
		return nil, &middleware.Error{Status: http.StatusNotFound, Code: codeNotServed, Message: "This part is not served here."}
	}
	if part.private && admission.Identity().Kind == authkey.KindPublishable {
		return nil, &middleware.Error{Status: http.StatusForbidden, Code: codeKind, Message: "This is not for publishable keys. Ask with a secret one."}
	}
	q, err := queryOf(r, part.params)
	if err != nil {
		return nil, err
	}
	return part.answer(r.Context(), admission.Identity(), q)
}

// part is one path below the prefix.
type part struct {
	given   bool
	private bool // not for publishable keys
	params  []string
	answer  func(context.Context, *authkey.Identity, query) (any, error)
}

func (h *Handler) parts() map[string]part {
	return map[string]part{
		"/whoami": {given: true, answer: whoami},
		"/limits": {h.limiter != nil, true, []string{"endpoint", "cursor"}, h.limits},
		"/usage":  {h.reader != nil, true, []string{"from", "to", "step"}, h.usage},
	}
}

// refuse answers with a problem. What is wrong here goes to the log alone.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, requestID string, err error) {
	refusal, ok := errors.AsType[*middleware.Error](err)
	if !ok {
		refusal = explain(err)
	}
	if refusal.Status >= http.StatusInternalServerError {
		h.log.ErrorContext(r.Context(), "self: request failed", slog.Int("status", refusal.Status), slog.String("request_id", requestID), slog.Any("cause", err))
	}
	middleware.WriteProblem(w, r, refusal)
}

// explain returns the answer to a failure of a limiter or a reader.
func explain(err error) *middleware.Error {
	for _, outage := range [...]error{ratelimit.ErrUnavailable, meter.ErrUnavailable, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, outage) {
			return &middleware.Error{
				Status: http.StatusServiceUnavailable, Code: middleware.CodeUnavailable, RetryAfter: time.Second,
				Message: "This cannot be told at the moment.",
			}
		}
	}
	return &middleware.Error{Status: http.StatusInternalServerError, Code: codeInternal, Message: "Something is wrong here; the log says more."}
}
