package middleware

import (
	"errors"
	"net/http"
	"slices"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// Authenticated is a stage whose requests have an identity.
type Authenticated struct{ *step }

// Authenticate returns a stage that knows its callers by one credential each, and refuses all others:
// 401 without one (see WithAnonymous) or with one that is not good, 400 with two, 503 when nobody can tell. What an
// authenticator says of it beyond that goes to observers alone, but for a proof of possession (WithDPoP) that the
// caller has to make anew.
//
// It refuses, with 403, a good credential that the authenticator finds not to be for this (authkey.ErrForbidden) or of
// a suspended project, one from a network that is not among the identity's Networks (see WithTrustedProxies), and a
// publishable key from a page that is not among its Origins: by Origin or, where that is missing, by the origin of
// Referer; a request with neither is refused. The last holds off other people's pages, and nobody who makes up the
// field. Nothing is charged before.
//
// A bearer token's revocation is looked up by the first limit of identities in the chain that is mounted, in its own
// call. A stage without one, such as this around a group, leaves that to the authenticator, which costs a call more.
//
// Where a newer credential of the key is there (Identity.SupersededAt), the response says so with Deprecation
// (RFC 9745), and with Sunset (RFC 8594) when this one ends, also a refusal. A handler that says the same of its
// resource replaces them.
func Authenticate(authenticator Authenticator, opts ...Option) *Authenticated {
	config, err := newConfig().with(opts)
	if missing(authenticator) {
		err = errors.Join(errors.New("middleware: Authenticate(nil): an authenticator is needed"), err)
	}
	if config.algorithms != "" && !config.takes(schemeDPoP) {
		config.sources = append(slices.Clone(config.sources), DPoP())
	}
	config.cors = config.cors.complete(config)
	run := func(a *Admission, header http.Header) *Error {
		if config.cors != nil {
			return config.cors.authenticate(a, header, authenticator)
		}
		return a.authenticate(header, authenticator, a.defers())
	}
	known := guarded(config, func(a *Admission) *Error { return config.restrict(a.request, a.identity) })
	guard := func(a *Admission, header http.Header) *Error {
		announce(header, a.identity)
		config.cors.allow(header, a.request, a.identity)
		return known(a, header)
	}
	return &Authenticated{&step{config: config, err: err, run: run, guard: guard}}
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

func (s *Authenticated) base() *step {
	if s == nil {
		return nil
	}
	return s.step
}
