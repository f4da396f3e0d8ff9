package middleware

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// LocalLimiter is what a Limiter has to be besides for a stage with OnFailure(FailLocal). *ratelimit.Limiter is one, if it
// was made with ratelimit.WithReplicas. Implementations are safe for concurrent use.
type LocalLimiter interface {
	// AdmitLocal decides a request from memory, for this process's share of the limits. The request's Epoch and Token
	// are not looked at. Where something is held under the Decision's Hold, Holder's Settle and Renew know that.
	AdmitLocal(ctx context.Context, request ratelimit.Request) (ratelimit.Decision, error)
}

// localOf returns a limiter that has a share to decide by.
func localOf(limiter Limiter) (LocalLimiter, error) {
	local, ok := limiter.(LocalLimiter)
	if !ok {
		return nil, fmt.Errorf("middleware: OnFailure(FailLocal): the limiter %T is no LocalLimiter", limiter)
	}
	if l, ok := limiter.(interface{ Replicas() int }); ok && !missing(limiter) && l.Replicas() == 0 {
		return nil, errors.New("middleware: OnFailure(FailLocal): the limiter knows no share of its limits; make it with ratelimit.WithReplicas")
	}
	return local, nil
}

// failed does what the stage chose for a limiter that fails, and gives back what that may hold all the same.
func (a *Admission) failed(ctx context.Context, name Step, q *question, cause error, began time.Time) *Error {
	if errors.Is(cause, ratelimit.ErrUnavailable) && q.Hold != "" {
		abandon(q.limit, q.Request, lost)
	}
	l := q.limit
	// As of a stage that opens: neither a client that hangs up, nor a token that nobody can look up, comes this way.
	if l.local == nil || !errors.Is(cause, ratelimit.ErrUnavailable) || errors.Is(cause, ratelimit.ErrOff) || !a.spared(cause) || ctx.Err() != nil {
		return a.undecided(ctx, name, l, cause, began)
	}
	d, err := l.local.AdmitLocal(ctx, q.Request)
	if err != nil {
		return a.undecided(ctx, name, l, errors.Join(cause, err), began)
	}
	return a.tellLocal(name, q, &d, cause, began)
}

// tellLocal tells what the local share said: no client hears of it unless it is refused.
func (a *Admission) tellLocal(name Step, q *question, d *ratelimit.Decision, cause error, began time.Time) *Error {
	config := a.configOf(q.limit)
	e := Event{Step: name, Outcome: OutcomeLocal, Err: errUnavailable(cause), Decision: d}
	if !d.Allowed {
		refusal := config.refusal(d)
		refusal.cause = cause
		e.Outcome, e.Err = OutcomeRefused, refusal
		a.observe(e, began)
		return refusal
	}
	a.unsure = true
	a.observe(e, began)
	q.local = true
	a.remember(config, q, d)
	return nil
}

// lost is how long after a limiter gave no answer its holds are given back: by then what was sent is decided.
const lost = time.Second

// abandon gives back what a request may hold, after a while, once: its answer was lost, or nobody waits for it.
// If that fails too, the leases end it.
func abandon(l *limit, request ratelimit.Request, after time.Duration) {
	request.Charges, request.Token = slices.Clone(request.Charges), nil
	for i := range request.Charges {
		c := &request.Charges[i]
		if c.Policy.Lease > 0 && !c.AtOnce && c.Held == 0 {
			c.Held = c.Cost
		}
		c.Cost = 0
	}
	request.Charges = slices.DeleteFunc(request.Charges, func(c ratelimit.Charge) bool { return c.Held == 0 })
	if l.holder == nil || len(request.Charges) == 0 {
		return
	}
	time.AfterFunc(after, func() { _, _ = l.holder.Settle(context.Background(), request) })
}
