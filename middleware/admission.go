package middleware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Admission is the open passage of one request. It belongs to that request: its methods are for the
// handler and for the goroutine that runs it, one at a time. The zero Admission is room for one, for Stage.AdmitInto.
//
// It has room for all that most requests need, so that their way through the stages is one allocation.
type Admission struct {
	// mu is for a handler that outlives its request, as behind http.TimeoutHandler: it guards the sight, and what
	// Done needs besides. Nobody is called while it is held.
	mu sync.Mutex
	sight
	carrier carrier
	copied  http.Request // what carries the admission, until somebody else copies it

	authenticator Authenticator
	credential    hidden // what presented points to
	presented     authkey.Presented
	presentation  authkey.Presentation // room for the first that there is
	sources       []Source             // where presented came from
	chain         *step                // the last step of the stage that is being admitted

	decision ratelimit.Decision // of the limiter that is being asked
	results  []ratelimit.Result // of all; as long as there was one decision its own, which others may hold
	marks    []mark             // of the results; those that are missing are zero
	at       time.Time          // of the last decision
	noted    *note              // what the identity keeps for the limit that was asked last
	told     [2]string          // room for the first fields

	admitted []admitted // by limiters, in order
	renewal  *time.Timer
	every    time.Duration // how often what is held is renewed
	kept     int32         // how many connections were taken over and are open
	open     int32         // how many stages were admitted and are not done

	pending  authkey.Pending // what is still to check of the identity's token
	unsure   bool            // a limiter that was asked for it could not tell
	shared   bool            // others may have the admission: see lock
	closed   bool
	released bool // nothing is held any more

	firstRan      [4]*step
	firstResult   [1]ratelimit.Result
	firstAdmitted [1]admitted
}

// sight is what is told of an admission: as it is now, or as it was when others went on with it.
type sight struct {
	request  *http.Request
	endpoint string
	config   *config // of the step that runs
	ran      []*step
	identity *authkey.Identity
	counts   []count
	refused  bool
	began    time.Time
}

// Format writes the endpoint for every verb, and nothing of the credential.
func (a *Admission) Format(f fmt.State, _ rune) {
	if a != nil {
		_, _ = io.WriteString(f, "admission of "+a.endpoint)
	}
}

// Request returns the request to hand on: without the credential, and with the admission in its context. It shares the
// values of its fields with the one that came, so write into no slice of Header in place.
func (a *Admission) Request() *http.Request { return a.request }

// Identity returns who is calling, nil where nobody was authenticated. Do not change it.
func (a *Admission) Identity() *authkey.Identity { return a.identity }

// Endpoint returns the method and the route template, as in "GET /items/{id}", or Unmatched.
func (a *Admission) Endpoint() string { return a.endpoint }

// Decision returns what the limits of the request said so far, all stages and takes together. Without a
// limit, or where it could not be counted, it has no results.
func (a *Admission) Decision() ratelimit.Decision {
	return ratelimit.Decision{Allowed: !a.refused, At: a.at, Results: slices.Clone(a.results)}
}

// errDone is what a handler gets that goes on after its response.
var errDone = errors.New("middleware: the request is done; Take, Settle, Refund and Count belong before the end of its handler")

// Take charges a policy of the request's stages with more units, for a cost that only the handler knows.
// It makes one Redis call, and then writes the RateLimit fields to header, which is the one of the
// handler's own writer and may be nil. A nil error means that the units were taken; an *Error that they
// were not, which the handler may Render or return. Where the limiter fails, the stage's Failure decides.
// Zero units take nothing.
func (a *Admission) Take(ctx context.Context, header http.Header, policy string, units int64) error {
	if a.isClosed() {
		return errDone
	}
	if units < 0 || units > ratelimit.MaxLimit {
		return fmt.Errorf("middleware: Take(%q, %d): units must be 0 to %d", policy, units, int64(ratelimit.MaxLimit))
	}
	for _, s := range slices.Backward(a.ran) {
		if s.limit == nil {
			continue
		}
		i := slices.IndexFunc(s.limit.policies, func(p ratelimit.Policy) bool { return p.Name == policy && p.Candidate == "" })
		if i >= 0 && s.limit.policies[i].Algorithm == ratelimit.Concurrency {
			return fmt.Errorf("middleware: Take(%q): the policy counts what runs at once, and takes nothing", policy)
		}
		if i >= 0 {
			return asError(a.take(ctx, header, s, i, units))
		}
	}
	return fmt.Errorf("middleware: Take(%q): no stage of %s has such a policy", policy, a.endpoint)
}

// asError keeps a nil refusal from becoming an error that is not nil.
func asError(refusal *Error) error {
	if refusal == nil {
		return nil
	}
	return refusal
}

func (a *Admission) take(ctx context.Context, header http.Header, s *step, i int, units int64) *Error {
	q, refusal := a.ask(s.limit)
	if refusal == nil {
		q.Charges = s.limit.atOnce(i, units, a.request)
		if !s.limit.anonymous {
			q.Token = a.token() // also where it was looked up before: a handler may take its time
		}
		refusal = a.decide(ctx, header, StepTake, &q)
	}
	if refusal != nil {
		refusal.render = s.config.render
	}
	return refusal
}

func (a *Admission) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// Count adds to what the request will be metered for, besides what its stages count: units of a product
// and kind. It counts when the handler is done, as the stages do, with the recorder of the innermost
// Meter; without one it is an error.
func (a *Admission) Count(product, kind string, units int64) error {
	for _, s := range slices.Backward(a.ran) {
		if s.meter == nil {
			continue
		}
		if !validName(product) || !validName(kind) || units < 1 {
			return fmt.Errorf("middleware: Count(%q, %q, %d): product and kind must be 1 to %d bytes of visible ASCII, units at least 1", product, kind, units, maxName)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.closed {
			return errDone
		}
		a.counts = append(a.counts, count{s.meter, product, kind, units})
		return nil
	}
	return errors.New("middleware: Count: no stage of the request has a Meter")
}

// authenticate is the first step: it finds the credential, asks whose it is, and takes it out of the
// request. defers says that a limit will look whether a token is revoked.
func (a *Admission) authenticate(header http.Header, authenticator Authenticator, defers bool) *Error {
	began := a.now()
	presented, scheme, refusal := a.presented, schemeOf(a.presented), (*Error)(nil)
	if a.authenticator == nil || !sameSources(a.sources, a.config.sources) { // else a stage around this one took it out
		presented, scheme, refusal = a.readCredential(header)
		a.removeCredential()
	}
	var identity *authkey.Identity
	switch {
	case refusal == nil:
		if presented, refusal = a.present(presented, scheme, defers); refusal == nil {
			identity, refusal = a.identify(authenticator, presented)
		}
	case refusal.Code == CodeMissing && a.authenticator == nil && a.config.anonymous != nil:
		if identity, refusal = a.config.nobody(a.request); refusal == nil {
			authenticator = nil // who could read nobody anew
		}
	}
	a.setIdentity(identity)
	if refusal != nil {
		a.observe(Event{Step: StepAuthenticate, Outcome: refusal.outcome(), Err: refusal}, began)
		return refusal
	}
	a.authenticator, a.presented, a.sources = authenticator, presented, a.config.sources
	a.observe(Event{Step: StepAuthenticate, Outcome: OutcomeAllowed}, began)
	return nil
}

// removeCredential has the request hold nothing any more that a source finds. What nobody was given yet is changed as it
// is, else another copy.
func (a *Admission) removeCredential() {
	r := a.request
	if r != &a.copied || a.shared {
		r = new(*r)
	}
	without(r, a.config.sources)
	a.lock()
	defer a.unlock()
	a.request = r
}

func (a *Admission) setIdentity(identity *authkey.Identity) {
	a.lock()
	defer a.unlock()
	a.identity, a.pending, a.unsure = identity, pendingOf(identity), false
}

// refresh reads the identity anew after a change, and asks every guard that passed the old one.
func (a *Admission) refresh(ctx context.Context, header http.Header, config *config) *Error {
	identity, err := a.authenticator.Refresh(ctx, a.presented, a.identity)
	if err != nil {
		return config.errAuthentication(schemeOf(a.presented), err)
	}
	if identity == nil {
		return errUnavailable(errNobody)
	}
	a.setIdentity(identity)
	for _, s := range a.ran {
		if s.guard != nil {
			if refusal := s.guard(a, header); refusal != nil {
				return refusal
			}
		}
	}
	return nil
}

func (e *Error) outcome() Outcome {
	if e.Status >= http.StatusInternalServerError {
		return OutcomeFailed
	}
	return OutcomeRefused
}
