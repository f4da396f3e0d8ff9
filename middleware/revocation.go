package middleware

import (
	"errors"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// A limit of identities asks Redis anyway, so it looks there, in the same call, whether the token is revoked, and the
// authenticator leaves that out. What is pending is known until a limiter looked: no request reaches its handler
// before, whatever way it came.

// defers reports whether the chain that is being admitted has a limit that will look: it stands behind what asks.
func (a *Admission) defers() bool {
	for s := a.chain; s != nil; s = s.before {
		if s.limit != nil && !s.limit.anonymous && !s.limit.off() {
			return true
		}
	}
	return false
}

// pendingOf returns what an identity leaves to check. What that may be that is not known here is let pass nowhere.
func pendingOf(id *authkey.Identity) authkey.Pending {
	if id == nil || id.Token == nil {
		return authkey.NothingPending
	}
	return id.Token.Pending
}

// token tells a limiter what to look for; nil where the authenticator looked.
func (a *Admission) token() *ratelimit.Token {
	if pendingOf(a.identity) == authkey.NothingPending {
		return nil
	}
	t := a.identity.Token
	return &ratelimit.Token{
		Issuer: t.Issuer, ID: t.ID, Subject: t.Subject, Session: t.Session, Client: t.Client, IssuedAt: t.IssuedAt,
	}
}

// errPending is for logs.
var errPending = errors.New("middleware: the authenticator left it to the stage to look whether the token is revoked, which has no limit that does; " +
	"leave it only where Presentation.DeferRevocation asks for that")

// looked refuses a request at the end of a chain whose token nobody looked for.
func (a *Admission) looked() *Error {
	if a.pending == authkey.NothingPending || a.pending == authkey.RevocationPendingOpen && a.unsure {
		return nil
	}
	refusal := errUnavailable(errPending)
	a.observe(Event{Step: StepAuthenticate, Outcome: OutcomeFailed, Err: refusal}, a.now())
	return refusal
}

// spared reports whether a request may pass a limiter that failed, as far as its token goes: the outage of the limiter
// is one of who knows what is revoked. A limiter that finds identities stale is none.
func (a *Admission) spared(cause error) bool {
	return a.pending == authkey.NothingPending || a.pending == authkey.RevocationPendingOpen && !errors.Is(cause, ratelimit.ErrStale)
}

// revoked is the answer of every credential that is not good, for a token that a limiter found revoked.
func (a *Admission) revoked(config *config, cause error, began time.Time) *Error {
	refusal := config.errAuthentication(schemeOf(a.presented), fmt.Errorf("%w: %w", authkey.ErrRevoked, cause))
	a.observe(Event{Step: StepAuthenticate, Outcome: refusal.outcome(), Err: refusal}, began)
	return refusal
}

// overlooked refuses a request whose limiter does not look for tokens, although it had to, and gives back what it holds.
func (a *Admission) overlooked(name Step, l *limit, request ratelimit.Request, began time.Time) *Error {
	if request.Hold != "" {
		abandon(l, request, 0)
	}
	refusal := errUnavailable(fmt.Errorf("middleware: the limiter %T does not look whether tokens are revoked: it has to know ratelimit.Request.Token", l.limiter))
	a.observe(Event{Step: name, Outcome: refusal.outcome(), Err: refusal}, began)
	return refusal
}
