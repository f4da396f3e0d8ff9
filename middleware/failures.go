package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// CodeFailures is the code of the 429 for a client network that failed too often.
const CodeFailures = "too_many_failures"

// StepFailures is the step that charges a failed authentication to the network that it came from. Its event has
// the Decision of the limiter, and the outcome OutcomeOpened where the limiter did not answer. A request that
// is refused because of failures before it is an event of StepAuthenticate.
const StepFailures Step = "failures"

// WithFailureBudget bounds how often a client network may show credentials that nobody knows, such as
// ClientNetwork() and ratelimit.PerMinute(20): one more, and every credential from that network is refused with
// 429 and Retry-After until the policy would let another failure pass. Authenticate is for it alone. There is
// none by default. The stages that are given one Option share what their process knows.
//
// What counts is authkey.ErrUnknown: a credential with a good shape and checksum that no store has, or a known
// id with a wrong secret, which is what guessing looks like. Credentials that are missing or malformed do not
// count: they are refused without a look-up, and are most often a mistake in a client's setup. Nor do revoked,
// expired and disabled keys and suspended projects: those who show them hold the secret and guess nothing,
// and they would shut out all others behind their address. An outage is nobody's failure. The count is never
// that of a public id, or whoever knows the id could lock out its owner.
//
// Of tokens that counts which nobody can tell from a guess: a bad signature; an issuer, an audience or a key that is
// not one of ours; one that is bound, without what it is bound to; and an opaque one that is not active, for no
// endpoint says whether it ever was. An expired JWT and a revoked one do not count.
//
// The count is in Redis, through the limiter, so that it holds for all replicas together and all endpoints. A
// failing request makes one call to charge it; a good one makes none, and nor does a request from a network that
// is blocked, whose block is in the process's own memory and is looked at before the authenticator is asked. So
// a good key is refused there too, although it may be cached: else a guesser would learn from a block which
// guess was right. Where many callers share an address, choose a limit that their mistakes do not reach. A
// budget makes up to 200 such calls a second in each process; failures beyond that are added up in the process,
// for up to 4,096 networks, and charged with the network's next one. Those that the limiter was asked for and did
// not answer for are not charged again, since they may have arrived. All that it has not answered for blocks the
// network when that alone is over the limit, until a window after the first. So an outage of Redis lifts the
// budget only as far as a process counts alone; where some answers are lost, each process lets up to the limit
// pass besides what Redis counts. A network that is forgotten because of too many others begins anew with what
// Redis knows of it.
//
// The policy is for the partition of the key, shared by all endpoints, with a Window; without a name of its own
// it is "failures". With Monitor set it counts and refuses nobody. A network without a value shares its count
// with all others that have none. The limiter bounds its own time: a failing request waits for it, and a client
// that hangs up is charged nevertheless.
func WithFailureBudget(limiter Limiter, policy ratelimit.Policy, network Key) Option {
	if policy.Name == "" || policy.Name == "requests" { // which is a limit's
		policy.Name = "failures"
	}
	faults := []error{network.err, policy.Validate()}
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("middleware: WithFailureBudget: "+format, args...))
	}
	if missing(limiter) {
		fault("the limiter is nil")
	}
	if network.Name == "" || network.Of == nil {
		fault("the key needs a Name and Of, as ClientNetwork() has")
	}
	if policy.Limit < 1 || policy.Window <= 0 || policy.Lease != 0 || policy.Candidate != "" || policy.Payment {
		fault("policy %q needs a Limit of at least 1 and a Window, and no Lease, Candidate or Payment", policy.Name)
	}
	if p := policy.Partition; p != "" && p != ratelimit.ByProject && string(p) != network.Name {
		fault("policy %q is partitioned by %s, but the key is of %q", policy.Name, p, network.Name)
	}
	policy.Partition, policy.Shared = ratelimit.Partition(network.Name), true
	budget, err := newFailures(limiter, policy, network.Of), errors.Join(faults...)
	return optionFunc(func(c *config) error {
		c.failures = budget
		return err
	})
}

// identify asks whose a credential is, unless the network that it comes from is blocked.
func (a *Admission) identify(authenticator Authenticator, presented authkey.Presented) (*authkey.Identity, *Error) {
	budget := a.config.failures
	if budget != nil && budget.blocking() {
		if wait := budget.wait(budget.network(a.request)); wait > 0 {
			return nil, errFailures(wait, errBlocked)
		}
	}
	identity, err := authenticator.Authenticate(a.request.Context(), presented)
	if err == nil && identity == nil {
		return nil, errUnavailable(errNobody)
	}
	if err == nil {
		return identity, nil
	}
	if budget != nil && errors.Is(err, authkey.ErrUnknown) && !errors.Is(err, authkey.ErrUnavailable) {
		if wait := a.chargeFailure(budget); wait > 0 {
			return nil, errFailures(wait, err)
		}
	}
	return nil, a.config.errAuthentication(schemeOf(presented), err)
}

// chargeFailure counts a failure of the request's network, and returns how long it is blocked then.
func (a *Admission) chargeFailure(budget *failures) time.Duration {
	network := budget.network(a.request)
	units := budget.add(network)
	if units == 0 {
		return budget.wait(network)
	}
	began := a.now()
	// A guesser who hangs up is charged as well.
	decision, err := budget.limiter.Admit(context.WithoutCancel(a.request.Context()), ratelimit.Request{
		Endpoint: a.endpoint,
		Charges:  []ratelimit.Charge{{Policy: budget.policy, Cost: units, Value: network}},
	})
	if err != nil {
		if errors.Is(err, ratelimit.ErrMonitored) {
			budget.monitor()
		}
		a.observe(Event{Step: StepFailures, Outcome: OutcomeOpened, Err: errUnavailable(err)}, began)
		return budget.wait(network)
	}
	budget.settle(network, units, &decision)
	e := Event{Step: StepFailures, Outcome: OutcomeAllowed, Decision: &decision}
	switch {
	case !decision.Allowed:
		e.Outcome = OutcomeRefused
	case monitors(&decision) && decision.Results[0].Exceeded:
		e.Outcome = OutcomeMonitored
	}
	a.observe(e, began)
	return budget.wait(network)
}

// These are for logs.
var (
	errBlocked = errors.New("middleware: the client's network is blocked, since it showed too many unknown credentials")
	errNobody  = errors.New("middleware: the authenticator returned neither an identity nor an error")
)

func errFailures(wait time.Duration, cause error) *Error {
	return &Error{
		Status: http.StatusTooManyRequests, Code: CodeFailures, RetryAfter: time.Duration(seconds(wait)) * time.Second, cause: cause,
		Message: "Too many requests with credentials that are not valid came from this network.",
	}
}
