package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Admission is the open passage of one request. It belongs to that request: its methods are for the
// handler and for the goroutine that runs it, one at a time.
type Admission struct {
	request  *http.Request
	header   http.Header
	endpoint string
	config   *config // of the step that runs
	ran      []*step

	authenticator Authenticator
	presented     authkey.Presented
	identity      *authkey.Identity
	results       []ratelimit.Result
	at            time.Time // of the last decision
	counts        []count

	open    int // how many stages were admitted and are not done
	refused bool
	began   time.Time
}

type admissionKey struct{}

// FromContext returns the admission of the request that a context belongs to. ok is false where no stage
// admitted it.
func FromContext(ctx context.Context) (a *Admission, ok bool) {
	a, ok = ctx.Value(admissionKey{}).(*Admission)
	return a, ok
}

// Request returns the request to hand on: without the credential, and with the admission in its context.
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

// Take charges a policy of the request's stages with more units, for a cost that only the handler knows.
// It makes one Redis call, and updates the RateLimit fields if the response has not begun. nil means that
// the units were taken; an *Error that they were not, which the handler may Render or return. Where the
// limiter fails, the stage's Failure decides. Zero units take nothing.
func (a *Admission) Take(ctx context.Context, policy string, units int64) error {
	for _, s := range slices.Backward(a.ran) {
		if s.limit == nil {
			continue
		}
		for i := range s.limit.policies {
			if s.limit.policies[i].Name == policy {
				return a.take(ctx, s, i, units)
			}
		}
	}
	return fmt.Errorf("middleware: Take(%q): no stage of %s has such a policy", policy, a.endpoint)
}

func (a *Admission) take(ctx context.Context, s *step, i int, units int64) error {
	if units < 0 || units > ratelimit.MaxLimit {
		return fmt.Errorf("middleware: Take(%q, %d): units must be 0 to %d", s.limit.policies[i].Name, units, int64(ratelimit.MaxLimit))
	}
	a.config = s.config
	request, err := a.ask(s.limit)
	if err != nil {
		return err
	}
	charge := s.limit.charge(i, units, a.request)
	request.Charges = []ratelimit.Charge{charge}
	if err := a.decide(ctx, StepTake, s.limit, request); err != nil {
		err.render = s.config.render
		return err
	}
	return nil
}

// Count adds to what the request will be metered for, besides what its stages count: units of a product
// and kind. It counts when the handler is done, as the stages do, with the recorder of the innermost
// Meter; without one it is an error.
func (a *Admission) Count(product, kind string, units int64) error {
	for _, s := range slices.Backward(a.ran) {
		if s.meter != nil {
			return s.meter.count(a, product, kind, units)
		}
	}
	return errors.New("middleware: Count: no stage of the request has a Meter")
}

// Done ends the passage of a stage after the handler, with the status and the size of the response in
// bytes. An adapter calls it exactly once for each admission that Admit returned, also when the handler
// panicked (status 500) or took the connection over (101). The outermost call counts the usage.
func (a *Admission) Done(status int, size int64) {
	if a.open--; a.open != 0 {
		return
	}
	if !a.refused {
		for _, s := range a.ran {
			if s.meter != nil {
				s.meter.done(a, status)
			}
		}
	}
	e := Event{Step: StepHandler, Outcome: OutcomeAllowed, Status: status, Size: size}
	if a.refused {
		e.Outcome = OutcomeRefused // by a stage within this one
	}
	a.observe(e, a.began)
}

func (a *Admission) hasRun(s *step) bool { return slices.Contains(a.ran, s) }

// now returns the time for an event's duration; without an observer nobody looks at the clock.
func (a *Admission) now() time.Time {
	if len(a.config.observers) == 0 {
		return time.Time{}
	}
	return time.Now()
}

// observe tells an event to the observers of the running step.
func (a *Admission) observe(e Event, began time.Time) {
	if len(a.config.observers) == 0 {
		return
	}
	e.Endpoint, e.Request, e.Identity, e.Duration = a.endpoint, a.request, a.identity, time.Since(began)
	for _, o := range a.config.observers {
		o.Observe(e)
	}
}

// authenticate is the first step: it finds the credential, asks whose it is, and takes it out of the
// request.
func (a *Admission) authenticate(authenticator Authenticator) *Error {
	began := a.now()
	presented, refusal := readCredential(a.request, a.config)
	if refusal == nil {
		var err error
		if a.identity, err = authenticator.Authenticate(a.request.Context(), presented); err != nil {
			refusal = errAuthentication(a.config.realm, err)
		}
	}
	if refusal != nil {
		a.identity = nil
		a.observe(Event{Step: StepAuthenticate, Outcome: refusal.outcome(), Err: refusal}, began)
		return refusal
	}
	a.authenticator, a.presented = authenticator, presented
	a.request = withoutCredential(a.request, a.config.sources)
	a.observe(Event{Step: StepAuthenticate, Outcome: OutcomeAllowed}, began)
	return nil
}

// refresh reads the identity anew after a change, and asks every guard that passed the old one.
func (a *Admission) refresh(ctx context.Context) *Error {
	identity, err := a.authenticator.Refresh(ctx, a.presented, a.identity)
	if err != nil {
		return errAuthentication(a.config.realm, err)
	}
	a.identity = identity
	for _, s := range a.ran {
		if s.guard != nil {
			if refusal := s.guard(a); refusal != nil {
				return refusal
			}
		}
	}
	return nil
}

// limit is the second step: it charges all policies of a stage or none.
func (a *Admission) limit(l *limit) *Error {
	request, refusal := a.ask(l)
	if refusal != nil {
		return refusal
	}
	request.Charges = make([]ratelimit.Charge, len(l.policies))
	for i := range l.policies {
		cost := int64(1)
		if l.costs[i] != nil {
			var err error
			if cost, err = l.costs[i](a.request); err != nil || cost < 0 || cost > ratelimit.MaxLimit {
				return a.refuseCost(l.policies[i].Name, cost, err)
			}
		}
		request.Charges[i] = l.charge(i, cost, a.request)
	}
	return a.decide(a.request.Context(), StepRateLimit, l, request)
}

func (a *Admission) refuseCost(policy string, cost int64, cause error) *Error {
	if cause == nil {
		cause = fmt.Errorf("middleware: the cost of policy %q is %d, must be 0 to %d", policy, cost, int64(ratelimit.MaxLimit))
	}
	refusal := &Error{Status: http.StatusBadRequest, Code: CodeCost, Message: "The cost of the request cannot be told.", cause: cause}
	a.observe(Event{Step: StepRateLimit, Outcome: OutcomeRefused, Err: refusal}, a.now())
	return refusal
}

// ask begins the question for a limiter.
func (a *Admission) ask(l *limit) (ratelimit.Request, *Error) {
	request := ratelimit.Request{Endpoint: a.endpoint}
	if l.anonymous {
		return request, nil
	}
	if a.identity == nil || a.identity.Org == "" {
		return request, errUnavailable(errors.New("middleware: the authenticator returned an identity without an org"))
	}
	id := a.identity
	request.Org, request.Project, request.Key, request.Epoch = id.Org, id.Project, id.Key, id.Epoch
	return request, nil
}

// charge asks a policy of the limit for units.
func (l *limit) charge(i int, cost int64, r *http.Request) ratelimit.Charge {
	c := ratelimit.Charge{Policy: l.policies[i], Cost: cost}
	if l.values[i] != nil {
		c.Value = l.values[i](r)
	}
	if c.Value == "" && l.anonymous {
		c.Value = "(none)"
	}
	return c
}

// attempts bounds how often a limiter is asked again because the identity was stale. A second time needs
// another change of the org's keys between two calls.
const attempts = 3

// decide asks the limiter, with a fresh identity where it says that the one held is stale.
func (a *Admission) decide(ctx context.Context, name Step, l *limit, request ratelimit.Request) *Error {
	began := a.now()
	decision, err := l.limiter.Admit(ctx, request)
	for range attempts - 1 {
		if !errors.Is(err, ratelimit.ErrStale) || a.authenticator == nil {
			break
		}
		if refusal := a.refresh(ctx); refusal != nil {
			a.observe(Event{Step: StepAuthenticate, Outcome: refusal.outcome(), Err: refusal}, began)
			return refusal
		}
		request.Project, request.Key, request.Epoch = a.identity.Project, a.identity.Key, a.identity.Epoch
		decision, err = l.limiter.Admit(ctx, request)
	}
	if err != nil {
		return a.undecided(name, l, err, began)
	}
	a.merge(&decision)
	a.setFields(l)
	e := Event{Step: name, Outcome: OutcomeAllowed, Decision: &decision}
	if !decision.Allowed {
		refusal := errLimited(&decision)
		e.Outcome, e.Err = OutcomeRefused, refusal
		a.observe(e, began)
		return refusal
	}
	if slices.ContainsFunc(decision.Results, func(r ratelimit.Result) bool { return r.Exceeded }) {
		e.Outcome = OutcomeMonitored
	}
	a.observe(e, began)
	return nil
}

// undecided does what the stage chose for a limiter that fails.
func (a *Admission) undecided(name Step, l *limit, cause error, began time.Time) *Error {
	refusal := errUnavailable(cause)
	if errors.Is(cause, ratelimit.ErrInvalid) { // a value of the request that no limiter takes
		refusal = &Error{Status: http.StatusBadRequest, Code: CodeCost, Message: "The request cannot be limited as it is.", cause: cause}
	}
	e := Event{Step: name, Outcome: refusal.outcome(), Err: refusal}
	if l.failure == FailOpen && e.Outcome == OutcomeFailed {
		e.Outcome, refusal = OutcomeOpened, nil
	}
	a.observe(e, began)
	return refusal
}

// merge adds what a decision found to what was found before; the same policy's result is replaced.
func (a *Admission) merge(d *ratelimit.Decision) {
	a.at = d.At
	for i := range d.Results {
		r := &d.Results[i]
		at := slices.IndexFunc(a.results, func(old ratelimit.Result) bool {
			return old.Policy == r.Policy && old.Partition == r.Partition
		})
		if at < 0 {
			a.results = append(a.results, *r)
		} else {
			a.results[at] = *r
		}
	}
}

func (e *Error) outcome() Outcome {
	if e.Status >= http.StatusInternalServerError {
		return OutcomeFailed
	}
	return OutcomeRefused
}
