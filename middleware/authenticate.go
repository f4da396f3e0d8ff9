package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Authenticated is a stage whose requests have an identity.
type Authenticated struct{ *step }

// Authenticate returns a stage that knows its callers by one credential each, and refuses all others:
// 401 without one or with one that is not good, 400 with two, 503 when nobody can tell. What an
// authenticator says of it beyond that goes to observers alone.
//
// It refuses, with 403, a good credential of a suspended project, from a network that is not among the
// identity's Networks (see WithTrustedProxies), and a publishable key from a page that is not among its Origins:
// by Origin or, where that is missing, by the origin of Referer; a request with neither is refused. The last holds
// off other people's pages, and nobody who makes up the field. Nothing is charged before.
//
// Where a newer credential of the key is there (Identity.SupersededAt), the response says so with Deprecation
// (RFC 9745), and with Sunset (RFC 8594) when this one ends, also a refusal. A handler that says the same of its
// resource replaces them.
func Authenticate(authenticator Authenticator, opts ...Option) *Authenticated {
	config, err := newConfig().with(opts)
	if missing(authenticator) {
		err = errors.Join(errors.New("middleware: Authenticate(nil): an authenticator is needed"), err)
	}
	config.cors = config.cors.complete(config)
	run := func(a *Admission, header http.Header) *Error {
		if config.cors != nil {
			return config.cors.authenticate(a, header, authenticator)
		}
		return a.authenticate(header, authenticator)
	}
	known := guarded(func(a *Admission) *Error { return config.restrict(a.request, a.identity) })
	guard := func(a *Admission, header http.Header) *Error {
		announce(header, a.identity)
		config.cors.allow(header, a.request, a.identity)
		return known(a, header)
	}
	return &Authenticated{&step{config: config, err: err, run: run, guard: guard}}
}

// RequireScope returns a stage that refuses, with 403, an identity that lacks one of the scopes.
func (s *Authenticated) RequireScope(scopes ...string) *Authenticated {
	var err error
	for _, scope := range scopes {
		if scope == "" || strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }) {
			err = errors.Join(err, fmt.Errorf("middleware: RequireScope(%q) is not a scope-token (RFC 6749, section 3.3)", scope))
		}
	}
	if len(scopes) == 0 {
		err = errors.New("middleware: RequireScope() needs a scope")
	}
	return s.require(err, func(a *Admission) *Error {
		for _, scope := range scopes {
			if !a.identity.HasScope(scope) {
				return errForbidden(CodeScope, "The credential lacks a scope that this resource needs.",
					challenge(a.config.realm, `, error="insufficient_scope", scope="`+strings.Join(scopes, " ")+`"`))
			}
		}
		return nil
	})
}

// RequireProduct returns a stage that refuses, with 403, an identity that may not use the product.
func (s *Authenticated) RequireProduct(product string) *Authenticated {
	var err error
	if product == "" {
		err = errors.New(`middleware: RequireProduct("") needs a product`)
	}
	return s.require(err, func(a *Admission) *Error {
		if !a.identity.HasProduct(product) {
			return errForbidden(CodeProduct, "The product is not enabled for this credential.", "")
		}
		return nil
	})
}

// Mode says what an endpoint is for, and so which methods and keys it takes.
type Mode uint8

// The modes. To write, a key has to be secret and to have authkey.ScopeWrite.
const (
	// ReadWrite takes any key for GET, HEAD and OPTIONS; every other method writes.
	ReadWrite Mode = iota + 1
	// ReadOnly takes any key, and no method but GET, HEAD, OPTIONS and POST, which then is a search
	// whose question is in the body.
	ReadOnly
	// WriteOnly takes only keys that can write, whatever the method.
	WriteOnly
)

// RequireMode returns a stage that refuses, with 403, methods and keys that do not suit the mode. A
// stage without it takes any method from any key.
func (s *Authenticated) RequireMode(mode Mode) *Authenticated {
	var err error
	if mode < ReadWrite || mode > WriteOnly {
		err = fmt.Errorf("middleware: RequireMode(%d) is not a mode", mode)
	}
	return s.require(err, func(a *Admission) *Error {
		method := a.request.Method
		reads := method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
		if mode == ReadOnly {
			if reads || method == http.MethodPost {
				return nil
			}
			return errForbidden(CodeMode, "This resource can only be read.", "")
		}
		if mode == ReadWrite && reads {
			return nil
		}
		if a.identity.Kind != authkey.KindSecret || !a.identity.HasScope(authkey.ScopeWrite) {
			return errForbidden(CodeMode, "The credential may not write.", "")
		}
		return nil
	})
}

// RateLimit returns a stage that limits each project, key, org or whatever else the policies are
// partitioned by, and refuses with 429 what is too much. All policies are decided at once: either all are
// charged or none. A request of the stage costs one Redis call. If the identities come from Redis, the
// limiter has to ask the same one, or it finds them stale.
func (s *Authenticated) RateLimit(limiter Limiter, policies ...ratelimit.Policy) *Limited {
	return &Limited{s.base().then(newLimit(limiter, policies, nil))}
}

// Meter returns a stage that counts what was admitted, without a limit.
func (s *Authenticated) Meter(recorder Recorder, product, kind string) *Metered {
	return newMetered(s.base(), recorder, product, kind)
}

func (s *Authenticated) require(err error, guard func(*Admission) *Error) *Authenticated {
	return &Authenticated{s.base().then(step{err: err, guard: guarded(guard)})}
}

// guarded returns a guard that observers are told of when it refuses.
func guarded(guard func(*Admission) *Error) func(*Admission, http.Header) *Error {
	return func(a *Admission, _ http.Header) *Error {
		began := a.now()
		refusal := guard(a)
		if refusal != nil {
			a.observe(Event{Step: StepRequire, Outcome: OutcomeRefused, Err: refusal}, began)
		}
		return refusal
	}
}

func (s *Authenticated) base() *step {
	if s == nil {
		return nil
	}
	return s.step
}
