// Package middleware is the way of a request: Authenticate, then RateLimit, then Meter, then the
// handler. The order is kept by the types: RateLimit is a method of what Authenticate returns, and Meter
// of what RateLimit returns, so a chain in a wrong order does not compile.
//
//	auth := middleware.Authenticate(verifier)
//	search := auth.RequireScope("search").
//		RateLimit(limiter, ratelimit.PerMinute(100)).
//		Meter(usage, "stores", "search")
//
//	mux.Handle("GET /v1/search", httpkit.Middleware(search)(handler))
//
// Each of them is a [Stage], which a package below adapters mounts in a router. A stage that already ran
// for a request is not run again, so auth may stand before a whole group and search before one route of
// it. Inside the handler, [FromContext] gives the identity, the decision, and more to take or to count.
//
// The package knows neither Redis nor a web framework. It asks an [Authenticator], a [Limiter] and a
// [Recorder], and tells every [Observer] what they said. Stages are immutable and safe for concurrent use.
package middleware

import (
	"context"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Authenticator tells who a caller is. *authkey.Verifier is one, *bearer.Verifier another. Implementations are safe
// for concurrent use. Their errors are those of package authkey: ErrUnavailable becomes 503, ErrSuspended and
// ErrForbidden 403, a *ProofError 401 with its code, any other error 401.
//
// What came with the credential is in its Presentation, which is nil where that is nothing. Where it says
// DeferRevocation, a limit of the stage looks whether the token is revoked, if the identity's Token says that this is
// pending. An authenticator that leaves it pending otherwise has its callers refused with 503.
type Authenticator interface {
	// Authenticate returns the identity that a credential stands for.
	Authenticate(ctx context.Context, presented authkey.Presented) (*authkey.Identity, error)
	// Refresh does the same anew, when the limiter found that a key of held's org was changed after held
	// was read. It must not answer with anything as old as held.
	Refresh(ctx context.Context, presented authkey.Presented, held *authkey.Identity) (*authkey.Identity, error)
}

// Limiter decides whether a caller may call now. *ratelimit.Limiter is one. Implementations are safe for
// concurrent use; ratelimit.ErrStale makes the stage refresh the identity and ask again, twice at most, and
// ratelimit.ErrMonitored beside an outage lets the request pass, unless OnFailure was called.
//
// Where the Request has a Token, the Decision has to say TokenChecked, or nobody passes; ratelimit.ErrRevoked becomes
// 401. An outage then is one of who knows what is revoked: it refuses with 503, also where the stage is FailOpen, unless
// the token may pass (authkey.RevocationPendingOpen).
type Limiter interface {
	Admit(ctx context.Context, request ratelimit.Request) (ratelimit.Decision, error)
}

// Recorder counts usage. *meter.Meter is one. Implementations are safe for concurrent use.
type Recorder interface {
	// Record adds to a count. It must not block, and cannot fail: a recorder that loses something
	// reports that by itself.
	Record(usage Usage)
}

// Tallier is what a Recorder may be besides, to save looking its count up for each request: the stage then keeps a Tally
// with an identity that is cached. *meter.Meter is one. Implementations are safe for concurrent use.
type Tallier interface {
	// Tally returns the count of usage with these names, to add to for as long as the caller likes; Units and At do not
	// matter. Nil: there is none to be had, and Record is asked.
	Tally(usage Usage) Tally
}

// Tally is one count of a Recorder. Implementations are safe for concurrent use.
type Tally interface {
	// Add is Record for the names of the tally: units, at a time by the process's clock. Of it holds what Record says.
	Add(units int64, at time.Time)
}

// Usage is what one request adds to a count.
type Usage struct {
	Org, Project string
	// Product and Kind name what was used, Source where from ("" if nobody said).
	Product, Kind, Source string
	// Units is how much, at least 1.
	Units int64
	// At is when, by the process's clock.
	At time.Time
}

// Observer is told what each stage did: the place for metrics, logs and traces. Implementations are safe
// for concurrent use and return quickly, for the request waits.
type Observer interface {
	Observe(event Event)
}

// ObserverFunc is a function that is an Observer.
type ObserverFunc func(Event)

// Observe calls the function.
func (f ObserverFunc) Observe(event Event) { f(event) }

// Event is what one stage did for one request. Its pointers are shared: do not change what they point to.
type Event struct {
	// Step names the stage: one of the constants below.
	Step Step
	// Outcome is how it ended.
	Outcome Outcome
	// Endpoint is the method and the route template, or Unmatched.
	Endpoint string
	// Duration is how long the step took. For StepHandler, the handler.
	Duration time.Duration
	// Request is the request without its credential.
	Request *http.Request
	// Identity is nil until somebody is authenticated.
	Identity *authkey.Identity
	// Decision is set for StepRateLimit, StepTake and StepFailures when there is one. That of a local share comes with an
	// Err that is ratelimit.ErrUnavailable, also where it refused.
	Decision *ratelimit.Decision
	// Status and Size are those of the response, for StepHandler.
	Status int
	Size   int64
	// Err is why the step refused or failed: an *Error, whose cause is not for clients.
	Err error
}

// Step names what an Event is about.
type Step string

// The steps of a request.
const (
	// StepAuthenticate is told twice where a limit of the stage looks for revocations and finds the token revoked, or
	// finds the key changed: allowed first, then refused in place of StepRateLimit.
	StepAuthenticate Step = "authenticate"
	StepRequire      Step = "require"
	StepRateLimit    Step = "rate_limit"
	StepTake         Step = "take"
	StepRenew        Step = "renew"  // of what the request holds, beside the handler
	StepSettle       Step = "settle" // of what it holds still, when it is done
	StepHandler      Step = "handler"
)

// Outcome is how a step ended.
type Outcome string

// The outcomes.
const (
	OutcomeAllowed   Outcome = "allowed"
	OutcomeRefused   Outcome = "refused"   // the caller's fault, or a limit
	OutcomeMonitored Outcome = "monitored" // let pass, although a monitored policy was exceeded
	OutcomeOpened    Outcome = "opened"    // let pass, because the limiter failed and the stage is FailOpen
	OutcomeLocal     Outcome = "local"     // let pass by the local share, because the limiter failed and the stage is FailLocal
	OutcomeFailed    Outcome = "failed"    // nobody could decide, so it was refused
)
