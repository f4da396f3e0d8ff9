package rest

import (
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tollgate-go/tollgate/middleware"
)

const retryAfter = "1" // seconds

// What Server.Authorize may answer, besides errors of its own, which are 401.
var (
	ErrMissing     = errors.New("admin: no credential")
	ErrForbidden   = errors.New("admin: forbidden")
	ErrUnavailable = errors.New("admin: unavailable")
)

// endpoint serves one pattern of the mux, or all that no other does.
type endpoint struct {
	*Server
	operations map[string]*Operation // by method
	parts      []string              // of the path
	absent     func() *Error         // the answer to whoever is authorized; nil: see operations
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &Call{
		Request: r, w: w, server: e.Server,
		Org: r.PathValue("org"), Project: r.PathValue("project"), ID: r.PathValue("id"),
	}
	// An error of the middleware knows how a request id comes about; and it forbids to store.
	c.RequestID = (&middleware.Error{}).SetHeaders(w.Header(), r)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	reply, err := e.serve(c)
	if err != nil {
		e.refuse(c, Explain(err))
		return
	}
	e.answer(c, &reply)
}

func (e *endpoint) answer(c *Call, reply *Reply) {
	if reply.Location != "" {
		c.Header().Set("Location", reply.Location)
	}
	if reply.Revision != 0 {
		c.Header().Set("ETag", etag(reply.Revision))
	}
	if c.fresh(reply) {
		c.w.WriteHeader(http.StatusNotModified)
		return
	}
	c.write(max(reply.Status, http.StatusOK), "application/json", reply.Body)
}

func (e *endpoint) serve(c *Call) (Reply, error) {
	if crossSite(c.Request) {
		return Reply{}, NewProblem(http.StatusForbidden, CodeCrossSite, "Pages of other sites may not use the admin route.")
	}
	method := c.Request.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	c.operation = e.operations[method]
	public := c.operation != nil && c.operation.Public
	if !public {
		if err := e.authorize(c); err != nil {
			return Reply{}, err
		}
	}
	if e.absent != nil {
		return Reply{}, e.absent()
	}
	if c.operation == nil {
		c.Header().Set("Allow", e.allow())
		return Reply{}, NewProblem(http.StatusMethodNotAllowed, CodeMethod, "Allow names the methods of this path.")
	}
	if err := e.checkPath(c); err != nil {
		return Reply{}, err
	}
	if !public {
		if err := e.permit(c); err != nil {
			return Reply{}, err
		}
	}
	if e.Observe != nil {
		c.Request = c.Request.WithContext(e.Observe(c))
	}
	if !c.operation.Conditional && c.operation.Changes() && len(c.Request.Header.Values("If-Match")) > 0 {
		return Reply{}, PreconditionFailed() // of what has no ETag, none matches
	}
	return c.once()
}

// Changes reports whether an operation changes what its path names.
func (o *Operation) Changes() bool {
	return o.Method == http.MethodPut || o.Method == http.MethodPatch || o.Method == http.MethodDelete
}

// crossSite reports whether a browser sends the request for a page of another origin.
func crossSite(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "cross-site" || new(http.CrossOriginProtection).Check(r) != nil
}

const challenge = `Bearer realm="admin"`

func (e *endpoint) authorize(c *Call) error {
	actor, err := e.Authorize(c.Request)
	switch {
	case err == nil:
		c.Actor = actor
		return nil
	case errors.Is(err, ErrForbidden):
		return Forbidden("You may not do this.")
	case errors.Is(err, ErrUnavailable):
		return err
	case errors.Is(err, ErrMissing):
		c.Header().Set("WWW-Authenticate", challenge)
		return NewProblem(http.StatusUnauthorized, middleware.CodeMissing, "The admin route needs a credential.")
	}
	c.Header().Set("WWW-Authenticate", challenge+`, error="invalid_token"`)
	return NewProblem(http.StatusUnauthorized, middleware.CodeInvalid, "The credential is not valid.")
}

// permit keeps an actor to his org, outside of which nothing is there for him, and to his scopes.
func (e *endpoint) permit(c *Call) error {
	if c.Actor.Org != "" && c.Actor.Org != c.Org && (c.Org != "" || !c.operation.EveryOrg) {
		return NotFound()
	}
	if !c.Actor.Has(c.operation.Scope) {
		c.Header().Set("WWW-Authenticate", challenge+`, error="insufficient_scope", scope="`+c.operation.Scope+`"`)
		return NewProblem(http.StatusForbidden, middleware.CodeScope, "This needs the scope "+c.operation.Scope+".")
	}
	return nil
}

// Has reports whether an actor may do what a scope is for.
func (a *Actor) Has(scope string) bool {
	return a.Scopes == nil || slices.Contains(a.Scopes, ScopeAll) || slices.Contains(a.Scopes, scope)
}

func (e *endpoint) checkPath(c *Call) error {
	for _, part := range e.parts {
		value := c.Request.PathValue(part)
		if len(value) > MaxPath || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return NewProblem(http.StatusBadRequest, CodePath, "Each part of the path must be 1 to 128 bytes of UTF-8 without control characters.")
		}
	}
	return nil
}

func (e *endpoint) allow() string {
	methods := slices.Collect(maps.Keys(e.operations))
	if e.operations[http.MethodGet] != nil {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

func (e *endpoint) refuse(c *Call, p *Error) {
	if p.Status == http.StatusServiceUnavailable {
		c.Header().Set("Retry-After", retryAfter)
	}
	if p.Status >= http.StatusInternalServerError {
		e.Log.ErrorContext(c.Request.Context(), "admin: request failed", slog.Int("status", p.Status), slog.String("request_id", c.RequestID),
			slog.String("method", c.Request.Method), slog.String("org", c.Org), slog.String("project", c.Project), slog.Any("cause", p.cause))
	}
	p.RequestID = c.RequestID
	c.write(p.Status, "application/problem+json", p)
}
