package admin

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

const (
	maxBody     = 128 << 10 // bytes; a plan of as many rules as it may have needs more than half
	maxPath     = 128       // bytes of {org}, {project} and {id}
	maxEndpoint = 512       // bytes; the longest value that a query parameter may have, but for a cursor
	retryAfter  = "1"       // seconds
)

// call is one request on its way through the handler. org, project and id are of the path; "" where the
// path has none.
type call struct {
	w                http.ResponseWriter
	r                *http.Request
	requestID        string
	actor            Actor
	org, project, id string
	plan             string // whose limits are looked at
}

// reply is what an action answers with: 200 and a body, unless it says otherwise. 204 has no body.
type reply struct {
	status int
	body   any
}

// action does what a method of an endpoint is for.
type action func(c *call) (reply, error)

// endpoint serves one pattern of the mux, or all that no other does.
type endpoint struct {
	*Handler
	methods map[string]action
	absent  *problem // the answer to whoever is authorized; nil: see methods
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{w: w, r: r, org: r.PathValue("org"), project: r.PathValue("project"), id: r.PathValue("id")}
	// An error of the middleware knows how a request id comes about; and it forbids to store.
	c.requestID = (&middleware.Error{}).SetHeaders(w.Header(), r)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	answer, err := e.serve(c)
	if err != nil {
		e.refuse(c, explain(err))
		return
	}
	c.write(max(answer.status, http.StatusOK), "application/json", answer.body)
}

func (e *endpoint) serve(c *call) (reply, error) {
	if crossSite(c.r) {
		return reply{}, problemOf(http.StatusForbidden, codeCrossSite, "Pages of other sites may not use the admin route.")
	}
	if err := e.authorize(c); err != nil {
		return reply{}, err
	}
	if e.absent != nil {
		absent := *e.absent
		return reply{}, &absent
	}
	method := c.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	act := e.methods[method]
	if act == nil {
		c.w.Header().Set("Allow", e.allow())
		return reply{}, problemOf(http.StatusMethodNotAllowed, codeMethod, "Allow names the methods of this path.")
	}
	for _, value := range [...]string{c.org, c.project, c.id} {
		if len(value) > maxPath || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return reply{}, problemOf(http.StatusBadRequest, codePath, "Org, project and id must be 1 to 128 bytes of UTF-8 without control characters.")
		}
	}
	if c.actor.Org != "" && c.actor.Org != c.org {
		return reply{}, notFound()
	}
	return act(c)
}

// crossSite reports whether a browser sends the request for a page of another origin.
func crossSite(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "cross-site" || new(http.CrossOriginProtection).Check(r) != nil
}

func (e *endpoint) authorize(c *call) error {
	actor, err := e.authorizer.Authorize(c.r)
	challenge := `Bearer realm="admin"`
	switch {
	case err == nil:
		c.actor = actor
		return nil
	case errors.Is(err, ErrForbidden):
		return problemOf(http.StatusForbidden, codeForbidden, "You may not do this.")
	case errors.Is(err, ErrUnavailable):
		return err
	case errors.Is(err, ErrMissing):
		c.w.Header().Set("WWW-Authenticate", challenge)
		return problemOf(http.StatusUnauthorized, middleware.CodeMissing, "The admin route needs a credential.")
	}
	c.w.Header().Set("WWW-Authenticate", challenge+`, error="invalid_token"`)
	return problemOf(http.StatusUnauthorized, middleware.CodeInvalid, "The credential is not valid.")
}

func (e *endpoint) allow() string {
	methods := slices.Collect(maps.Keys(e.methods))
	if e.methods[http.MethodGet] != nil {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

func (h *Handler) refuse(c *call, p *problem) {
	if p.Status == http.StatusServiceUnavailable {
		c.w.Header().Set("Retry-After", retryAfter)
	}
	if p.Status >= http.StatusInternalServerError {
		h.log.ErrorContext(c.r.Context(), "admin: request failed", slog.Int("status", p.Status), slog.String("request_id", c.requestID),
			slog.String("method", c.r.Method), slog.String("org", c.org), slog.String("project", c.project), slog.Any("cause", p.cause))
	}
	p.RequestID = c.requestID
	c.write(p.Status, "application/problem+json", p)
}

func (h *Handler) report(c *call, action, project, id string) {
	h.tell(c, Change{Action: action, Project: project, ID: id})
}

// tell reports a change by the actor of a call, in its org.
func (h *Handler) tell(c *call, change Change) {
	change.Actor, change.RequestID, change.Org = c.actor, c.requestID, c.org
	for _, report := range h.audit {
		report(change)
	}
}

func (c *call) write(status int, contentType string, body any) {
	if status == http.StatusNoContent {
		c.w.WriteHeader(status)
		return
	}
	text := marshal(body)
	c.w.Header().Set("Content-Type", contentType)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(text) // a client that went away is nobody's error
	}
}

// path returns the absolute path of something of the call's org.
func (c *call) path(prefix string, segments ...string) string {
	p := prefix + "/v1/orgs"
	for _, segment := range append([]string{c.org}, segments...) {
		segment = url.PathEscape(segment)
		if strings.Trim(segment, ".") == "" { // a client would walk up
			segment = strings.ReplaceAll(segment, ".", "%2E")
		}
		p += "/" + segment
	}
	return p
}

// body reads the request's body. An empty one is an object without fields where that is allowed.
func (c *call) body(mayBeEmpty bool, fields ...strict.Field) error {
	text, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	types := c.r.Header.Values("Content-Type")
	if err == nil && len(text) == 0 && len(types) == 0 && mayBeEmpty {
		return nil
	}
	if len(types) != 1 || !isJSON(types[0]) || c.r.Header.Get("Content-Encoding") != "" {
		c.w.Header().Set("Accept", "application/json")
		return problemOf(http.StatusUnsupportedMediaType, codeMediaType, "The body must be application/json in UTF-8, not compressed.")
	}
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		most := strconv.Itoa(maxBody)
		return badBody("The body must be at most "+most+" bytes.", "ends at byte "+most+" at the latest")
	} else if err != nil {
		return badBody("The body could not be read to its end.", "ends early")
	}
	if len(text) == 0 && mayBeEmpty {
		return nil
	}
	faults, err := strict.Decode(text, fields...)
	if syntax := new(strict.SyntaxError); errors.As(err, &syntax) {
		at := "at byte " + strconv.FormatInt(syntax.Offset, 10)
		return badBody("The body is not one JSON object in UTF-8: look "+at+".", "not valid JSON "+at)
	}
	if len(faults) > 0 {
		return invalidFields(faults)
	}
	return err
}

func badBody(detail, message string) *problem {
	return problemOf(http.StatusBadRequest, codeBody, detail, strict.Fault{Pointer: "", Code: "syntax", Message: message})
}

func isJSON(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	charset, given := params["charset"]
	return err == nil && media == "application/json" && (!given || strings.EqualFold(charset, "utf-8"))
}
