package middleware

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

// The codes for an identity that lacks what a stage requires. All are 403.
const (
	CodeRole       = "role_refused"
	CodePermission = "permission_refused"
	CodeFeature    = "feature_refused"
	CodeClaim      = "claim_refused"
	CodeOrg        = "org_refused" // the identity is of another org than the resource
)

// RequireScope returns a stage that refuses, with 403, an identity that lacks one of the scopes. Here and in all
// stages that require something, names are compared as they are: "read" is not in "read:all". Who calls without a
// credential (WithAnonymous) is refused with 401 instead.
func (s *Authenticated) RequireScope(scopes ...string) *Authenticated {
	return s.requireScope("RequireScope", scopes, func(id *authkey.Identity, scopes []string) bool { return all(scopes, id.HasScope) })
}

// RequireAnyScope returns a stage that refuses, with 403, an identity that has none of the scopes. The challenge
// names all of them.
func (s *Authenticated) RequireAnyScope(scopes ...string) *Authenticated {
	return s.requireScope("RequireAnyScope", scopes, func(id *authkey.Identity, scopes []string) bool { return slices.ContainsFunc(scopes, id.HasScope) })
}

func (s *Authenticated) requireScope(name string, scopes []string, has func(*authkey.Identity, []string) bool) *Authenticated {
	scopes = slices.Clone(scopes)
	var faults []error
	for _, scope := range scopes {
		if scope == "" || strings.Contains(scope, " ") || !quotable(scope) {
			faults = append(faults, fmt.Errorf("middleware: %s(%q) is not a scope-token (RFC 6749, section 3.3)", name, scope))
		}
	}
	if len(scopes) == 0 {
		faults = append(faults, fmt.Errorf("middleware: %s() needs a scope", name))
	}
	more := `, scope="` + strings.Join(scopes, " ") + `"`
	return s.require(errors.Join(faults...), func(a *Admission, c *config) *Error {
		if has(a.identity, scopes) {
			return nil
		}
		return c.challenged(Error{
			Status: http.StatusForbidden, Code: CodeScope, Message: "The credential lacks a scope that this resource needs.",
		}, schemeOf(a.presented), "insufficient_scope", more)
	})
}

// RequireRole returns a stage that refuses, with 403, an identity that has none of the roles.
func (s *Authenticated) RequireRole(roles ...string) *Authenticated {
	return s.requireNames("RequireRole", roles, CodeRole, "The credential lacks the role that this resource needs.",
		func(id *authkey.Identity, roles []string) bool { return slices.ContainsFunc(roles, id.HasRole) })
}

// RequirePermission returns a stage that refuses, with 403, an identity that lacks one of the permissions.
func (s *Authenticated) RequirePermission(permissions ...string) *Authenticated {
	return s.requireNames("RequirePermission", permissions, CodePermission, "The credential lacks a permission that this resource needs.",
		func(id *authkey.Identity, permissions []string) bool { return all(permissions, id.HasPermission) })
}

// RequireFeature returns a stage that refuses, with 403, an identity for which one of the features is not on.
func (s *Authenticated) RequireFeature(features ...string) *Authenticated {
	return s.requireNames("RequireFeature", features, CodeFeature, "A feature that this resource needs is not on for this credential.",
		func(id *authkey.Identity, features []string) bool { return all(features, id.HasFeature) })
}

// RequireProduct returns a stage that refuses, with 403, an identity that may not use the product.
func (s *Authenticated) RequireProduct(product string) *Authenticated {
	return s.requireNames("RequireProduct", []string{product}, CodeProduct, "The product is not enabled for this credential.",
		func(id *authkey.Identity, _ []string) bool { return id.HasProduct(product) })
}

// RequireClaim returns a stage that refuses, with 403, an identity whose token does not say one of the values in the
// claim, which is a string or an array of strings; any other type is refused, and so is an identity by no token. The
// path is that of authkey.Token.Claim. The claim is decoded for each request.
func (s *Authenticated) RequireClaim(path string, values ...string) *Authenticated {
	if path == "" {
		return s.require(errors.New(`middleware: RequireClaim("") needs the path of a claim`), nil)
	}
	return s.requireNames("RequireClaim", values, CodeClaim, "The credential lacks a claim that this resource needs.",
		func(id *authkey.Identity, values []string) bool {
			return slices.ContainsFunc(texts(id.Token.Claim(path)), func(text string) bool { return slices.Contains(values, text) })
		})
}

// texts returns a claim of a string or an array of strings; nil for any other.
func texts(claim json.RawMessage) []string {
	var one *string // null is none
	if json.Unmarshal(claim, &one) == nil && one != nil {
		return []string{*one}
	}
	var several []*string
	if json.Unmarshal(claim, &several) != nil || slices.Contains(several, nil) {
		return nil
	}
	list := make([]string, len(several))
	for i := range several {
		list[i] = *several[i]
	}
	return list
}

// RequireOrg returns a stage that refuses, with 403, an identity of another org than the one that the request is
// about, as the function tells: from the route, such as r.PathValue("org") behind http.ServeMux, never from what the
// client may choose freely besides. Where it tells none, everybody is refused.
func (s *Authenticated) RequireOrg(of func(*http.Request) string) *Authenticated {
	var err error
	if of == nil {
		err = errors.New("middleware: RequireOrg(nil): say how a request tells its org")
	}
	return s.require(err, func(a *Admission, _ *config) *Error {
		if org := of(a.request); org == "" || org != a.identity.Org {
			return errForbidden(CodeOrg, "The credential is not for this organization.")
		}
		return nil
	})
}

// requireNames returns a stage that refuses an identity that lacks names, whatever they are.
func (s *Authenticated) requireNames(option string, names []string, code, message string, has func(*authkey.Identity, []string) bool) *Authenticated {
	names = slices.Clone(names)
	var err error
	if len(names) == 0 || slices.Contains(names, "") {
		err = fmt.Errorf("middleware: %s(%q) needs a %s, and no empty one", option, names, strings.ToLower(strings.TrimPrefix(option, "Require")))
	}
	return s.require(err, func(a *Admission, _ *config) *Error {
		if !has(a.identity, names) {
			return errForbidden(code, message)
		}
		return nil
	})
}

func all(names []string, has func(string) bool) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !has(name) })
}

// require returns a stage with a guard, which is given the config of the stage.
func (s *Authenticated) require(err error, guard func(*Admission, *config) *Error) *Authenticated {
	before := s.base()
	next := before.then(step{err: err})
	next.guard = guarded(next.config, func(a *Admission) *Error { return guard(a, next.config) })
	return &Authenticated{next}
}

// guarded returns a guard that observers are told of when it refuses. Who showed no credential is told to.
func guarded(c *config, guard func(*Admission) *Error) func(*Admission, http.Header) *Error {
	return func(a *Admission, _ http.Header) *Error {
		began := a.now()
		refusal := guard(a)
		if refusal != nil {
			if anonymous(a.identity) {
				refusal = c.errMissing()
			}
			a.observe(Event{Step: StepRequire, Outcome: OutcomeRefused, Err: refusal}, began)
		}
		return refusal
	}
}
