package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// CodePreflight is the code of the 403 for a preflight that asks for a method or a field that is not on the
// list. An origin that is not gets CodeOrigin.
const CodePreflight = "preflight_refused"

// StepPreflight is the step that answers a preflight, after which there is no other.
const StepPreflight Step = "preflight"

// maxAge is how long browsers keep the answer to a preflight at most: what Firefox does.
const maxAge = 24 * time.Hour

// CORS says which pages of other origins may read responses (Fetch, section 3.2). The zero CORS allows those
// that publishable keys name in their Origins, to send GET, HEAD and POST with a credential in a field.
type CORS struct {
	// Origins are rules of authkey.ParseOrigin: the pages that may send requests whose key does not say, because
	// it is a secret one, is not known yet or is not good. None by default.
	Origins []string
	// Methods are those that a preflight may ask for. The default is GET, HEAD and POST.
	Methods []string
	// Headers are request fields that a preflight may ask for, besides Content-Type and those that a credential
	// or its proof (DPoP) is read from.
	Headers []string
	// ExposedHeaders are response fields that pages may read, besides those of WithFields and WWW-Authenticate,
	// Retry-After, X-Request-Id, Deprecation and Sunset, and DPoP-Nonce where there is DPoP.
	ExposedHeaders []string
	// MaxAge is how long a browser may keep the answer to a preflight, in whole seconds: a second to a day, which
	// is the default. What a key may do is asked anew with every request.
	MaxAge time.Duration
	// Credentials lets pages of Origins send cookies. Then no rule may be "*". Pages that only a key names may
	// not, whoever wrote the rules of the key.
	Credentials bool
}

// WithCORS answers preflights, and tells browsers which pages may read a response. It is for Authenticate alone;
// without it no field of CORS is sent and OPTIONS is a method like any other.
//
// A preflight is OPTIONS with Origin and Access-Control-Request-Method. It carries no credential but one in the
// URL (Query): if that is a publishable key, the key's own Origins decide, and any page may use a key that has
// none; otherwise CORS.Origins does. It is answered with 204 and reaches neither a limit of the stage, nor a
// meter, nor the handler; or refused with 403, or 401 where the key is not good, without any field that allows
// something. The adapter is given the 204 as an *Error, which no Renderer sees; routers may log it as one.
//
// Every other response has Access-Control-Allow-Origin with the origin of the request, also a refusal, if the
// page may read it: by the Origins of a publishable key, by CORS.Origins for everybody else. It never is "*",
// and Vary names Origin and the fields with credentials. Private networks (Access-Control-Request-Private-Network)
// are not granted.
//
// A preflight has to reach the stage. Around the whole router it always does: httpkit.Middleware(auth)(mux), or
// Use of gin.Engine, echo.Echo and Echo's groups. Middleware of a gin group or of one route is run only for the
// methods that have a route there, so add one for OPTIONS: group.OPTIONS("/*path", ginkit.Middleware(auth), handler)
// in gin, e.OPTIONS("/v1/*", handler, echokit.Middleware(auth)) in Echo, and the pattern "OPTIONS /v1/" in
// http.ServeMux. The handler answers an OPTIONS that is no preflight. Put no other CORS middleware beside it, and
// LimitBy within the stage where pages have to read its refusals.
func WithCORS(cors CORS) Option {
	return optionFunc(func(c *config) error {
		rules, err := newCORS(cors)
		c.cors = rules
		return err
	})
}

// cors is a CORS with its rules read and its fields written. Immutable.
type cors struct {
	origins          []authkey.Origin
	methods, headers []string // the second in lower case
	credentials      bool

	allowMethods, allowHeaders, exposed, maxAge string
	vary                                        []string
}

func newCORS(from CORS) (*cors, error) {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("middleware: WithCORS: "+format, args...))
	}
	c := &cors{methods: slices.Clone(from.Methods), headers: slices.Clone(from.Headers), credentials: from.Credentials}
	for _, rule := range from.Origins {
		o, err := authkey.ParseOrigin(rule)
		if err != nil {
			fault("Origins: %w", err)
		}
		if o.Any() && from.Credentials {
			fault("Origins: %q would let every page send cookies; name the origins, or leave Credentials out", rule)
		}
		c.origins = append(c.origins, o)
	}
	if len(c.methods) == 0 {
		c.methods = []string{http.MethodGet, http.MethodHead, http.MethodPost}
	}
	for _, list := range []struct {
		name   string
		tokens []string
	}{{"Methods", from.Methods}, {"Headers", from.Headers}, {"ExposedHeaders", from.ExposedHeaders}} {
		for _, token := range list.tokens {
			if !validToken(token) || token == "*" {
				fault("%s: %.40q is not a name (RFC 9110, section 5.6.2); there is no wildcard", list.name, token)
			}
		}
	}
	if from.MaxAge == 0 {
		from.MaxAge = maxAge
	}
	if from.MaxAge < time.Second || from.MaxAge > maxAge || from.MaxAge%time.Second != 0 {
		fault("MaxAge %v must be 1s to %v, in whole seconds", from.MaxAge, maxAge)
	}
	c.maxAge, c.exposed = strconv.FormatInt(int64(from.MaxAge/time.Second), 10), strings.Join(from.ExposedHeaders, ", ")
	return c, errors.Join(faults...)
}

// complete returns the rules with what depends on other options. A nil cors stays nil.
func (c *cors) complete(with *config) *cors {
	if c == nil {
		return nil
	}
	whole := *c
	allowed, exposed := []string{"Content-Type"}, with.fields.names()
	whole.vary = []string{"Origin"}
	for i := range with.sources {
		field, settable := with.sources[i].field()
		if field != "" && !slices.Contains(whole.vary, field) {
			whole.vary = append(whole.vary, field)
			if settable {
				allowed = append(allowed, field)
			}
		}
	}
	exposed = append(exposed, "Retry-After", "X-Request-Id", "Deprecation", "Sunset", "WWW-Authenticate")
	if with.takes(schemeDPoP) {
		allowed, exposed = append(allowed, "DPoP"), append(exposed, "DPoP-Nonce")
	}
	allowed = append(allowed, c.headers...)
	whole.headers = make([]string, len(allowed))
	for i, name := range allowed {
		whole.headers[i] = strings.ToLower(name)
	}
	if c.exposed != "" {
		exposed = append(exposed, c.exposed)
	}
	whole.allowMethods, whole.allowHeaders, whole.exposed = strings.Join(c.methods, ", "), strings.Join(allowed, ", "), strings.Join(exposed, ", ")
	return &whole
}

// field returns the request field that a source reads, "" for one that reads none, and whether a page can set
// it.
func (s *Source) field() (name string, settable bool) {
	kind, rest, _ := strings.Cut(s.name, " ")
	switch kind {
	case "header":
		return rest, true
	case "bearer", "basic", "dpop":
		return "Authorization", true
	case "subprotocol":
		return "Sec-WebSocket-Protocol", false
	case "cookie":
		return "Cookie", false
	}
	return "", false
}

// names returns the response fields of the generations.
func (f Fields) names() (names []string) {
	if f&FieldsDraft10 != 0 {
		names = append(names, "RateLimit", "RateLimit-Policy")
	}
	if f&FieldsDraft6 != 0 {
		names = append(names, "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy")
	}
	if f&(FieldsX|FieldsXUnix) != 0 {
		names = append(names, "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
	}
	return names
}

// validToken is RFC 9110, section 5.6.2.
func validToken(s string) bool {
	const also = "!#$%&'*+-.^_`|~"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune(also, r)
	})
}
