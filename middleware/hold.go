package middleware

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// Holder is what a Limiter has to be besides, where a policy has a Lease, and for Admission.Refund.
// *ratelimit.Limiter is one. Implementations are safe for concurrent use.
type Holder interface {
	// Settle ends what a request holds and takes each charge's Cost instead.
	Settle(ctx context.Context, request ratelimit.Request) (ratelimit.Decision, error)
	// Renew makes what a request holds last for the whole lease again.
	Renew(ctx context.Context, request ratelimit.Request) (ratelimit.Decision, error)
	// Refund gives back what a request took at a time.
	Refund(ctx context.Context, request ratelimit.Request, taken time.Time) (ratelimit.Decision, error)
}

// admitted is a request that a limiter let pass. Of its charges, Held is what is held, and Cost what that
// will come to; or without a hold Cost is what was taken and not given back.
type admitted struct {
	limit   *limit
	config  *config
	request ratelimit.Request // whose Charges may be those of all requests of the stage: see own
	at      time.Time
	owned   bool
	local   bool // by the local share
}

// own makes the charges the request's own, to be changed.
func (h *admitted) own() {
	if !h.owned {
		h.request.Charges, h.owned = slices.Clone(h.request.Charges), true
	}
}

// holds tells whether something is held.
func (h *admitted) holds() bool {
	return slices.ContainsFunc(h.request.Charges, func(c ratelimit.Charge) bool { return c.Held > 0 })
}

// remember keeps what a decision took and holds, and renews what is held from then on.
func (a *Admission) remember(config *config, q *question, d *ratelimit.Decision) {
	h := admitted{limit: q.limit, config: config, request: q.Request, at: d.At, local: q.local}
	lease := h.mark(d.Results)
	h.request.Hold, h.request.Token = cmp.Or(d.Hold, h.request.Hold), nil // what was taken is settled, whoever is revoked
	if lease > 0 && !a.shared {
		a.shared = true
	}
	a.lock()
	defer a.unlock()
	if a.released { // the request was given up while the limiter was asked
		abandon(h.limit, h.request, 0)
		return
	}
	if a.admitted == nil {
		a.admitted = a.firstAdmitted[:0]
	}
	a.admitted = append(a.admitted, h)
	if lease > 0 && (a.renewal == nil || lease/3 < a.every) {
		if a.renewal != nil {
			a.renewal.Stop()
		}
		a.every = lease / 3
		a.renewal = time.AfterFunc(a.every, a.renew)
	}
}

// mark says of each charge what was taken of it and what is held, by the results of a limiter, not all of which tell any.
// It returns the shortest lease, zero where nothing is held.
func (h *admitted) mark(results []ratelimit.Result) (lease time.Duration) {
	for i := range min(len(h.request.Charges), len(results)) {
		c := &h.request.Charges[i]
		nothing := results[i].Exceeded || results[i].Unlimited
		if !nothing && !(holds(*c) && c.Cost > 0) {
			continue // it is as it was asked for
		}
		h.own()
		c = &h.request.Charges[i]
		if nothing {
			c.Cost = 0
			continue
		}
		c.Held = c.Cost
		if c.Policy.Algorithm == ratelimit.Concurrency {
			c.Cost = 0
		}
		if lease == 0 || c.Policy.Lease < lease {
			lease = c.Policy.Lease
		}
	}
	return lease
}

// held returns the requests that hold something, with those charges alone.
func (a *Admission) held() []admitted {
	var all []admitted
	for i := range a.admitted {
		if !a.admitted[i].holds() {
			continue
		}
		h := a.admitted[i]
		h.request.Charges = slices.DeleteFunc(slices.Clone(h.request.Charges), func(c ratelimit.Charge) bool { return c.Held == 0 })
		all = append(all, h)
	}
	return all
}

// renew makes the holds last until it is called again.
func (a *Admission) renew() {
	a.mu.Lock()
	seen, holds := a.sight, a.held()
	a.mu.Unlock()
	for _, h := range holds {
		began, e := seen.finish(StepRenew, h, Holder.Renew)
		if errors.Is(e.Err, ratelimit.ErrNotHeld) && !a.holds(h.request.Hold) {
			continue // it was settled meanwhile
		}
		seen.observe(e, began)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.released {
		a.renewal.Reset(a.every)
	}
}

// holds reports whether all that was held under a name still is, as far as the request knows.
func (a *Admission) holds(hold string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.admitted {
		settled := func(c ratelimit.Charge) bool {
			return c.Held == 0 && c.Policy.Lease > 0 && !c.AtOnce && c.Policy.Algorithm != ratelimit.Concurrency
		}
		if h.request.Hold == hold && slices.ContainsFunc(h.request.Charges, settled) {
			return false
		}
	}
	return !a.released
}

// release settles what is still held, once the handler is done and its connections are closed.
func (a *Admission) release() {
	a.mu.Lock()
	if a.released || a.open > 0 || a.kept > 0 {
		a.mu.Unlock()
		return
	}
	a.released = true
	if a.renewal != nil {
		a.renewal.Stop()
	}
	seen, holds := a.sight, a.held()
	a.mu.Unlock()
	for _, h := range holds {
		began, e := seen.finish(StepSettle, h, Holder.Settle)
		seen.observe(e, began)
	}
}

// finish renews or settles one request's holds, although the client may have gone, and returns what to tell the
// observers.
func (s *sight) finish(step Step, h admitted, do func(Holder, context.Context, ratelimit.Request) (ratelimit.Decision, error)) (began time.Time, e Event) {
	s.config = h.config
	began, e = s.now(), Event{Step: step, Outcome: OutcomeAllowed}
	d, err := do(h.limit.holder, context.WithoutCancel(s.request.Context()), h.request)
	e.Decision = &d
	if err != nil {
		e.Decision, e.Outcome, e.Err = nil, OutcomeFailed, errUnavailable(err)
	}
	return began, e
}

// Settle ends the reservation of a policy that has a Lease, for what the request really costs: more or less
// than was reserved, or nothing, which gives it back. It is taken at once, whatever the limit is. It can be
// done once; a reservation that the handler does not settle is taken as it was made when the request is done.
// What a policy of Concurrency holds ends with the request alone.
//
// It makes one Redis call, and then writes the RateLimit fields to header, which is the one of the handler's
// own writer and may be nil. Errors: ratelimit.ErrNotHeld where the lease ended before, so that nothing was
// taken; ratelimit.ErrUnavailable, after which the end of the request tries once more.
func (a *Admission) Settle(ctx context.Context, header http.Header, policy string, units int64) error {
	if units < 0 || units > ratelimit.MaxLimit {
		return fmt.Errorf("middleware: Settle(%q, %d): units must be 0 to %d", policy, units, int64(ratelimit.MaxLimit))
	}
	h, i := a.find(policy, func(c *ratelimit.Charge) bool {
		return c.Held > 0 && c.Policy.Algorithm != ratelimit.Concurrency
	})
	if h == nil {
		return fmt.Errorf("middleware: Settle(%q): the request of %s has no reservation of such a policy, or it is settled: %w", policy, a.endpoint, ratelimit.ErrNotHeld)
	}
	one := *h
	a.mu.Lock()
	one.request.Charges = nil
	for _, c := range h.with(i) {
		c.Cost = units // for the end of the request, if this fails
		one.request.Charges = append(one.request.Charges, *c)
	}
	a.mu.Unlock()
	d, err := one.limit.holder.Settle(ctx, one.request)
	if err != nil && !errors.Is(err, ratelimit.ErrNotHeld) {
		return err
	}
	a.mu.Lock()
	for _, c := range h.with(i) {
		c.Held = 0
		if err != nil { // nothing was taken that could be given back
			c.Cost = 0
		}
	}
	a.mu.Unlock()
	if err == nil {
		a.show(header, &one, &d)
	}
	return err
}

// Refund gives back units that the request took from a policy, with its charge or with Take, for work that was
// not done: never more than it took and did not give back. What was reserved is given back by Settle.
//
// It makes one Redis call for each charge that it takes back, and then writes the RateLimit fields to header,
// which may be nil. Errors: units beyond what was taken change nothing; after ratelimit.ErrUnavailable nobody
// knows, and they count as given back.
func (a *Admission) Refund(ctx context.Context, header http.Header, policy string, units int64) error {
	if units < 0 {
		return fmt.Errorf("middleware: Refund(%q, %d): units must be at least 0", policy, units)
	}
	for units > 0 {
		h, i := a.find(policy, func(c *ratelimit.Charge) bool { return c.Held == 0 && c.Cost > 0 })
		if h == nil {
			return fmt.Errorf("middleware: Refund(%q): %d units more than the request of %s took", policy, units, a.endpoint)
		}
		if h.limit.holder == nil {
			return fmt.Errorf("middleware: Refund(%q): the limiter %T has no Refund", policy, h.limit.limiter)
		}
		one := *h
		a.mu.Lock()
		back := min(h.request.Charges[i].Cost, units)
		one.request.Charges = nil
		for _, c := range h.with(i) {
			charge := *c
			charge.Cost, charge.AtOnce = min(c.Cost, back), true
			c.Cost -= charge.Cost
			one.request.Charges = append(one.request.Charges, charge)
		}
		a.mu.Unlock()
		d, err := h.limit.holder.Refund(ctx, one.request, h.at)
		if err != nil {
			return err
		}
		a.show(header, &one, &d)
		units -= back
	}
	return nil
}

// find returns the last request, its own to change, and which of its charges is of a policy and fits.
func (a *Admission) find(policy string, fits func(*ratelimit.Charge) bool) (*admitted, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, 0
	}
	for h := len(a.admitted) - 1; h >= 0; h-- {
		for i := range a.admitted[h].request.Charges {
			if c := &a.admitted[h].request.Charges[i]; c.Policy.Name == policy && fits(c) {
				a.admitted[h].own()
				return &a.admitted[h], i
			}
		}
	}
	return nil, 0
}

// show tells what a limiter said after something was settled or given back; of a local share clients hear nothing.
func (a *Admission) show(header http.Header, h *admitted, d *ratelimit.Decision) {
	if h.local {
		return
	}
	a.merge(h.limit, h.config, &h.request, d)
	a.setFields(header, h.limit, h.config)
}
