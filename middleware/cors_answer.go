package middleware

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

// maxAsked bounds the list of fields that a preflight asks for, in bytes.
const maxAsked = 4 << 10

// authenticate does what Admission.authenticate does, and answers preflights.
func (c *cors) authenticate(a *Admission, header http.Header, authenticator Authenticator) *Error {
	asks := isPreflight(a.request)
	if asks {
		addVary(header, "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers")
	} else {
		addVary(header, c.vary...)
	}
	if asks && !inURL(a.request, a.config.sources) {
		return c.answer(a, header)
	}
	// A preflight reaches no limit that could look at a token's revocation.
	if refusal := a.authenticate(header, authenticator, !asks && a.defers()); refusal != nil {
		if !asks {
			c.allow(header, a.request, nil)
		}
		return refusal
	}
	if asks {
		return c.answer(a, header)
	}
	return nil
}

// isPreflight reports whether a browser asks beforehand (Fetch, section 4.8).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
}

// inURL reports whether the URL has a credential, good or bad.
func inURL(r *http.Request, sources []Source) bool {
	return slices.ContainsFunc(sources, func(s Source) bool {
		credential, ok := "", true
		if s.inURL {
			credential, ok = s.read(r)
		}
		return credential != "" || !ok
	})
}

// answer answers a preflight, of the identity if there is one.
func (c *cors) answer(a *Admission, header http.Header) *Error {
	began := a.now()
	refusal := a.config.restrict(a.request, a.identity)
	if refusal == nil {
		refusal = c.judge(a.request, a.identity)
	}
	if refusal != nil {
		a.observe(Event{Step: StepPreflight, Outcome: OutcomeRefused, Err: refusal}, began)
		return refusal
	}
	origin := single(a.request.Header["Origin"])
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Allow-Methods", c.allowMethods)
	header.Set("Access-Control-Allow-Headers", c.allowHeaders)
	header.Set("Access-Control-Max-Age", c.maxAge)
	if c.credentials && c.listed(origin) {
		header.Set("Access-Control-Allow-Credentials", "true")
	}
	a.observe(Event{Step: StepPreflight, Outcome: OutcomeAllowed}, began)
	return &Error{Status: http.StatusNoContent, Code: "preflight_answered"}
}

// judge refuses a preflight that asks for what is not on the lists.
func (c *cors) judge(r *http.Request, id *authkey.Identity) *Error {
	if !c.allows(single(r.Header["Origin"]), id) {
		return errForbidden(CodeOrigin, "Pages of this origin may not send requests.")
	}
	if !slices.Contains(c.methods, single(r.Header["Access-Control-Request-Method"])) {
		return errForbidden(CodePreflight, "Pages may not use this method.")
	}
	asked := strings.Join(r.Header["Access-Control-Request-Headers"], ",")
	if len(asked) > maxAsked {
		return errForbidden(CodePreflight, "Pages may not send so many fields.")
	}
	for name := range strings.SplitSeq(asked, ",") {
		if name = strings.Trim(name, " \t"); name != "" && !slices.Contains(c.headers, strings.ToLower(name)) {
			return errForbidden(CodePreflight, "Pages may not send one of these fields.")
		}
	}
	return nil
}

// allow says in a response whether the page that sent the request may read it. A nil cors says nothing.
func (c *cors) allow(header http.Header, r *http.Request, id *authkey.Identity) {
	if c == nil || header == nil {
		return
	}
	for _, field := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"} {
		header.Del(field) // what an identity that is stale was allowed
	}
	origin := single(r.Header["Origin"])
	if origin == "" || !c.allows(origin, id) {
		return
	}
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Expose-Headers", c.exposed)
	if c.credentials && c.listed(origin) {
		header.Set("Access-Control-Allow-Credentials", "true")
	}
}

func (c *cors) allows(origin string, id *authkey.Identity) bool {
	if id != nil && id.Kind == authkey.KindPublishable && !anonymous(id) {
		return id.AllowsOrigin(origin)
	}
	return c.listed(origin)
}

func (c *cors) listed(origin string) bool {
	return slices.ContainsFunc(c.origins, func(o authkey.Origin) bool { return o.Matches(origin) })
}

// addVary adds fields to Vary that it does not have.
func addVary(header http.Header, fields ...string) {
	var missing []string
	for _, field := range fields {
		if !slices.ContainsFunc(header["Vary"], func(value string) bool { return names(value, field) }) {
			missing = append(missing, field)
		}
	}
	if len(missing) > 0 {
		header.Add("Vary", strings.Join(missing, ", "))
	}
}

// names reports whether a list has a field, or all of them.
func names(list, field string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.Trim(name, " \t"); name == "*" || strings.EqualFold(name, field) {
			return true
		}
	}
	return false
}
