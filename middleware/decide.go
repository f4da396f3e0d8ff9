package middleware

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// limit is the second step: it charges all policies of a stage or none.
func (a *Admission) limit(header http.Header, l *limit) *Error {
	if refusal := a.distinct(l); refusal != nil {
		return refusal
	}
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
	follow(request.Charges)
	return a.decide(a.request.Context(), header, StepRateLimit, l, request)
}

// distinct refuses policies that a stage around this one has too: they would have one count, and each
// would spoil it for the other. Only a request shows which stages meet.
func (a *Admission) distinct(l *limit) *Error {
	for _, s := range a.ran {
		if s.limit == nil || s.limit.anonymous != l.anonymous {
			continue
		}
		for i := range s.limit.policies {
			for j := range l.policies {
				outer, inner := &s.limit.policies[i], &l.policies[j]
				if outer.Name == inner.Name && outer.Partition == inner.Partition {
					refusal := &Error{
						Status: http.StatusInternalServerError, Code: CodeSetup, Message: "The service is not set up to answer this.",
						cause: fmt.Errorf("middleware: two stages before %s have a policy %q by %s; give one of them another name with Named", a.endpoint, inner.Name, inner.Partition),
					}
					a.observe(Event{Step: StepRateLimit, Outcome: OutcomeFailed, Err: refusal}, a.now())
					return refusal
				}
			}
		}
	}
	return nil
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
	a.fillIdentity(&request)
	return request, nil
}

// fillIdentity tells a limiter who is calling.
func (a *Admission) fillIdentity(request *ratelimit.Request) {
	id := a.identity
	request.Org, request.Project, request.Key, request.Plan, request.Epoch = id.Org, id.Project, id.Key, id.Plan, id.Epoch
	request.Token = nil
	if a.pending != authkey.NothingPending {
		request.Token = a.token()
	}
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

// decide asks the limiter, and tells what it said.
func (a *Admission) decide(ctx context.Context, header http.Header, name Step, l *limit, request ratelimit.Request) *Error {
	began, config := a.now(), a.configOf(l)
	if slices.ContainsFunc(request.Charges, func(c ratelimit.Charge) bool { return c.Policy.Lease > 0 && !c.AtOnce }) {
		request.Hold = rand.Text() // known here, it can be given back although the answer is lost
	}
	decision, refusal, err := a.askFresh(ctx, header, config, l, &request)
	switch {
	case refusal != nil:
		a.observe(Event{Step: StepAuthenticate, Outcome: refusal.outcome(), Err: refusal}, began)
		return refusal
	case errors.Is(err, ratelimit.ErrRevoked):
		return a.revoked(config, err, began)
	case err != nil:
		if errors.Is(err, ratelimit.ErrUnavailable) && request.Hold != "" {
			abandon(l, request, lost)
		}
		return a.undecided(ctx, name, l, err, began)
	case !l.anonymous && a.pending != authkey.NothingPending:
		if !decision.TokenChecked {
			return a.overlooked(name, l, request, began)
		}
		a.pending = authkey.NothingPending
	}
	a.merge(l, config, &request, &decision)
	a.setFields(header, l, config)
	e := Event{Step: name, Outcome: OutcomeAllowed, Decision: &decision}
	if !decision.Allowed {
		refusal := config.refusal(&decision)
		e.Outcome, e.Err = OutcomeRefused, refusal
		a.observe(e, began)
		return refusal
	}
	if slices.ContainsFunc(decision.Results, func(r ratelimit.Result) bool { return r.Exceeded && r.Candidate == "" }) {
		e.Outcome = OutcomeMonitored
	}
	a.observe(e, began)
	a.remember(l, config, request, &decision)
	return nil
}

// askFresh asks the limiter, with a fresh identity where it says that the one held is stale. A limit that is for nobody
// cannot say that of anybody.
func (a *Admission) askFresh(ctx context.Context, header http.Header, config *config, l *limit, request *ratelimit.Request) (ratelimit.Decision, *Error, error) {
	decision, err := l.limiter.Admit(ctx, *request)
	for range attempts - 1 {
		if !errors.Is(err, ratelimit.ErrStale) || a.authenticator == nil || l.anonymous {
			break
		}
		if refusal := a.refresh(ctx, header, config); refusal != nil {
			return decision, refusal, nil
		}
		a.fillIdentity(request)
		decision, err = l.limiter.Admit(ctx, *request)
	}
	if errors.Is(err, ratelimit.ErrStale) {
		err = fmt.Errorf("middleware: the identity stays stale; are its store and the limiter on the same Redis? %w", err)
	}
	return decision, nil, err
}

// configOf returns the config of the stage that a limit belongs to: the one that runs or, when the handler
// takes more, one that ran.
func (a *Admission) configOf(l *limit) *config {
	for _, s := range a.ran {
		if s.limit == l {
			return s.config
		}
	}
	return a.config
}

// undecided does what the stage chose for a limiter that fails.
func (a *Admission) undecided(ctx context.Context, name Step, l *limit, cause error, began time.Time) *Error {
	refusal := errUnavailable(cause)
	if errors.Is(cause, ratelimit.ErrInvalid) { // a value of the request that no limiter takes
		refusal = &Error{Status: http.StatusBadRequest, Code: CodeCost, Message: "The request cannot be limited as it is.", cause: cause}
	}
	e := Event{Step: name, Outcome: refusal.outcome(), Err: refusal}
	// A client that hangs up makes the limiter fail too; it must not lift the limit by that.
	open := l.failure == FailOpen || !l.chosen && errors.Is(cause, ratelimit.ErrMonitored)
	if open && a.spared(cause) && e.Outcome == OutcomeFailed && ctx.Err() == nil {
		e.Outcome, refusal = OutcomeOpened, nil
		a.unsure = true
	}
	a.observe(e, began)
	return refusal
}

// merge adds what a decision found to what was found before; the same policy's result is replaced.
func (a *Admission) merge(l *limit, config *config, request *ratelimit.Request, d *ratelimit.Decision) {
	a.at = d.At
	a.results = slices.Grow(a.results, len(d.Results))
	for i := range d.Results {
		r := found{Result: d.Results[i], anonymous: l.anonymous}
		if config.secret != nil && !l.anonymous && i < len(request.Charges) {
			r.key = config.partitionKey(request, &request.Charges[i])
		}
		at := slices.IndexFunc(a.results, func(old found) bool {
			return old.Policy == r.Policy && old.Partition == r.Partition
		})
		if at < 0 {
			a.results = append(a.results, r)
		} else {
			a.results[at] = r
		}
	}
}
