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

// question is what a limiter is asked for a stage. Its charges may be those of all requests of the stage: who changes one
// copies them.
type question struct {
	ratelimit.Request
	limit *limit
	// stage tells that the charges are the stage's own, for which alone an identity may have something prepared, and costs
	// what they cost where that is not as usual.
	stage bool
	costs []int64
	local bool // the local share decided it
}

// limit is the second step: it charges all policies of a stage or none.
func (a *Admission) limit(header http.Header, l *limit) *Error {
	if refusal := a.distinct(l); refusal != nil {
		return refusal
	}
	q, refusal := a.ask(l)
	if refusal == nil {
		q.stage = true
		refusal = a.price(&q)
	}
	if refusal != nil {
		return refusal
	}
	return a.decide(a.request.Context(), header, StepRateLimit, &q)
}

// price fills in the charges of the stage.
func (a *Admission) price(q *question) *Error {
	l := q.limit
	q.Charges = l.usual
	if l.costly {
		q.costs = make([]int64, len(l.policies))
	}
	if l.costly || !l.ofIdentity {
		q.Charges = slices.Clone(l.usual)
	}
	for i := range l.policies {
		if l.costs[i] != nil {
			cost, err := l.costs[i](a.request)
			if err != nil || cost < 0 || cost > ratelimit.MaxLimit {
				return a.refuseCost(l.policies[i].Name, cost, err)
			}
			q.Charges[i].Cost = cost
		}
		if l.anonymous || l.values[i] != nil {
			q.Charges[i].Value = l.value(i, a.request)
		}
	}
	if l.costly {
		follow(q.Charges)
		for i := range q.costs {
			q.costs[i] = q.Charges[i].Cost
		}
	}
	return nil
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
func (a *Admission) ask(l *limit) (question, *Error) {
	q := question{limit: l}
	q.Endpoint = a.endpoint
	a.noted = nil
	if l.anonymous {
		return q, nil
	}
	if a.identity == nil || a.identity.Org == "" {
		return q, errUnavailable(errors.New("middleware: the authenticator returned an identity without an org"))
	}
	a.introduce(&q)
	return q, nil
}

// introduce tells a limiter who is calling.
func (a *Admission) introduce(q *question) {
	fillIdentity(&q.Request, a.identity)
	a.noted, q.Token = a.note(q.limit), nil
	if a.pending != authkey.NothingPending {
		q.Token = a.token()
	}
}

func fillIdentity(request *ratelimit.Request, id *authkey.Identity) {
	request.Org, request.Project, request.Key, request.Plan, request.Epoch = id.Org, id.Project, id.Key, id.Plan, id.Epoch
}

// charge asks a policy of the limit for units.
func (l *limit) charge(i int, cost int64, r *http.Request) ratelimit.Charge {
	return ratelimit.Charge{Policy: l.policies[i], Cost: cost, Value: l.value(i, r)}
}

// value returns which partition of a policy a request is for, where the identity does not tell that.
func (l *limit) value(i int, r *http.Request) (value string) {
	if l.values[i] != nil {
		value = l.values[i](r)
	}
	if value == "" && l.anonymous {
		return "(none)"
	}
	return value
}

// holds tells whether a charge is held rather than taken.
func holds(c ratelimit.Charge) bool { return c.Policy.Lease > 0 && !c.AtOnce }

// attempts bounds how often a limiter is asked again because the identity was stale. A second time needs
// another change of the org's keys between two calls.
const attempts = 3

// decide asks the limiter, and tells what it said.
func (a *Admission) decide(ctx context.Context, header http.Header, name Step, q *question) *Error {
	l, began := q.limit, a.now()
	config := a.configOf(l)
	if slices.ContainsFunc(q.Charges, holds) {
		q.Hold = rand.Text() // known here, it can be given back although the answer is lost
	}
	refusal, err := a.askFresh(ctx, header, config, q)
	switch {
	case refusal != nil:
		a.observe(Event{Step: StepAuthenticate, Outcome: refusal.outcome(), Err: refusal}, began)
		return refusal
	case errors.Is(err, ratelimit.ErrRevoked):
		return a.revoked(config, err, began)
	case err != nil:
		return a.failed(ctx, name, q, err, began)
	case !l.anonymous && a.pending != authkey.NothingPending:
		if !a.decision.TokenChecked {
			return a.overlooked(name, l, q.Request, began)
		}
		a.pending = authkey.NothingPending
	}
	a.merge(l, config, &q.Request, &a.decision)
	a.setFields(header, l, config)
	if !a.decision.Allowed {
		refusal = config.refusal(&a.decision)
	}
	a.tellDecision(name, refusal, began)
	if refusal == nil {
		a.remember(config, q, &a.decision)
	}
	return refusal
}

// tellDecision tells the observers what the limiter said, in a copy that they may keep.
func (a *Admission) tellDecision(name Step, refusal *Error, began time.Time) {
	if !a.watched() {
		return
	}
	e := Event{Step: name, Outcome: OutcomeAllowed, Decision: new(a.decision)}
	switch {
	case refusal != nil:
		e.Outcome, e.Err = OutcomeRefused, refusal
	case slices.ContainsFunc(a.decision.Results, func(r ratelimit.Result) bool { return r.Exceeded && r.Candidate == "" }):
		e.Outcome = OutcomeMonitored
	}
	a.observe(e, began)
}

// askFresh asks the limiter, with a fresh identity where it says that the one held is stale. A limit that is for nobody
// cannot say that of anybody.
func (a *Admission) askFresh(ctx context.Context, header http.Header, config *config, q *question) (*Error, error) {
	err := a.put(ctx, q)
	for range attempts - 1 {
		if !errors.Is(err, ratelimit.ErrStale) || a.authenticator == nil || q.limit.anonymous {
			break
		}
		if refusal := a.refresh(ctx, header, config); refusal != nil {
			return refusal, nil
		}
		a.introduce(q)
		err = a.put(ctx, q)
	}
	if errors.Is(err, ratelimit.ErrStale) {
		err = fmt.Errorf("middleware: the identity stays stale; are its store and the limiter on the same Redis? %w", err)
	}
	return nil, err
}

// put puts the question, to what the identity has prepared for it or else to the limiter. The decision is this request's
// alone, and so are its results.
func (a *Admission) put(ctx context.Context, q *question) (err error) {
	a.decision = ratelimit.Decision{}
	if q.stage && a.noted != nil && a.noted.prepared != nil {
		if len(a.results) == 0 {
			a.decision.Results = a.firstResult[:0]
		}
		return a.noted.prepared.Admit(ctx, ratelimit.Call{Epoch: q.Epoch, Token: q.Token, Costs: q.costs}, &a.decision)
	}
	a.decision, err = q.limit.limiter.Admit(ctx, q.Request)
	return err
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
	if l.opens(cause) && a.spared(cause) && e.Outcome == OutcomeFailed && ctx.Err() == nil {
		e.Outcome, refusal = OutcomeOpened, nil
		a.unsure = true
	}
	a.observe(e, began)
	return refusal
}

// merge adds what a decision found to what was found before; the same policy's result is replaced.
func (a *Admission) merge(l *limit, config *config, request *ratelimit.Request, d *ratelimit.Decision) {
	a.at = d.At
	marked := l.anonymous || config.secret != nil || len(a.marks) > 0
	if len(a.results) == 0 && !marked {
		a.results = slices.Clip(d.Results)
		return
	}
	a.results = slices.Grow(a.results, len(d.Results)) // a copy, the first time
	for i := range d.Results {
		r, m := &d.Results[i], mark{anonymous: l.anonymous}
		if config.secret != nil && !l.anonymous && i < len(request.Charges) {
			m.key = config.partitionKey(request, &request.Charges[i])
		}
		at := slices.IndexFunc(a.results, func(old ratelimit.Result) bool {
			return old.Policy == r.Policy && old.Partition == r.Partition
		})
		if at < 0 {
			at = len(a.results)
			a.results = append(a.results, *r)
		} else {
			a.results[at] = *r
		}
		if marked {
			a.marks = append(a.marks, make([]mark, max(at+1-len(a.marks), 0))...)
			a.marks[at] = m
		}
	}
}
