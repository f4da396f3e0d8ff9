package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// unpaired returns an error for each candidate whose live policy the limit does not have.
func (l *limit) unpaired() error {
	var faults []error
	for i := range l.policies {
		p := &l.policies[i]
		if p.Candidate != "" && !slices.ContainsFunc(l.policies, func(live ratelimit.Policy) bool {
			return live.Candidate == "" && live.Name == p.Candidate
		}) {
			faults = append(faults, fmt.Errorf("middleware: policy %q is a candidate for %q, which is no live policy of its stage; name one with InPlaceOf", p.Name, p.Candidate))
		}
	}
	return errors.Join(faults...)
}

// follow makes each candidate cost what its live policy does. Where only one of the two counts what runs at
// once, the candidate costs 1: they do not count the same.
func follow(charges []ratelimit.Charge) {
	for i := range charges {
		c := &charges[i]
		live := slices.IndexFunc(charges, func(live ratelimit.Charge) bool { return live.Policy.Name == c.Policy.Candidate })
		if live >= 0 && concurrent(c) == concurrent(&charges[live]) {
			c.Cost = charges[live].Cost
		}
	}
}

func concurrent(c *ratelimit.Charge) bool { return c.Policy.Algorithm == ratelimit.Concurrency }

// atOnce charges a policy of the limit, and the candidates for it, with more units.
func (l *limit) atOnce(i int, units int64, r *http.Request) []ratelimit.Charge {
	charges := []ratelimit.Charge{l.charge(i, units, r)}
	for j := range l.policies {
		if c := l.charge(j, units, r); c.Policy.Candidate == l.policies[i].Name && !concurrent(&c) {
			charges = append(charges, c)
		}
	}
	for i := range charges {
		charges[i].AtOnce = charges[i].Policy.Lease > 0
	}
	return charges
}

// with returns a charge of what was admitted, and those of the candidates for its policy that are, as it is,
// held or taken.
func (h *admitted) with(i int) []*ratelimit.Charge {
	live := &h.request.Charges[i]
	charges := []*ratelimit.Charge{live}
	for j := range h.request.Charges {
		c := &h.request.Charges[j]
		if c.Policy.Candidate == live.Policy.Name && !concurrent(c) && (c.Held > 0) == (live.Held > 0) {
			charges = append(charges, c)
		}
	}
	return charges
}
