package ratelimit

import (
	"fmt"
	"iter"
	"slices"

	"github.com/tollgate-go/tollgate/lua"
)

// Verdict compares what a candidate and its live policy made of a request, each by itself, whatever other
// policies said and whether or not the live one is monitored.
type Verdict string

// The verdicts.
const (
	AgreeAllow  Verdict = "agree_allow"
	AgreeRefuse Verdict = "agree_refuse"
	WouldRefuse Verdict = "would_refuse" // the live policy was not exceeded, the candidate was
	WouldAllow  Verdict = "would_allow"  // the live policy was exceeded, the candidate was not
)

// Candidates yields the result of each candidate of a decision and its verdict. It is for decisions of
// Limiter.Admit; allocates nothing.
func (d *Decision) Candidates() iter.Seq2[*Result, Verdict] {
	return func(yield func(*Result, Verdict) bool) {
		for i := range d.Results {
			candidate := &d.Results[i]
			if candidate.Candidate == "" {
				continue
			}
			live := slices.IndexFunc(d.Results, func(r Result) bool { return r.Policy == candidate.Candidate })
			if live >= 0 && !yield(candidate, verdict(d.Results[live].Exceeded, candidate.Exceeded)) {
				return
			}
		}
	}
}

func verdict(live, candidate bool) Verdict {
	switch {
	case live && candidate:
		return AgreeRefuse
	case live:
		return WouldAllow
	case candidate:
		return WouldRefuse
	}
	return AgreeAllow
}

// compared returns an ErrInvalid for each candidate that has no live policy beside it.
func (r *Request) compared() (faults []error) {
	for i := range r.Charges {
		p := &r.Charges[i].Policy
		if p.Candidate != "" && !slices.ContainsFunc(r.Charges, func(c Charge) bool {
			return c.Policy.Candidate == "" && c.Policy.name() == p.Candidate
		}) {
			faults = append(faults, fmt.Errorf("%w request: policy %q is a candidate for %q, which is not a live policy of the request", ErrInvalid, p.name(), p.Candidate))
		}
	}
	return faults
}

// countable reports whether a charge tells which count it goes to.
func (r *Request) countable(c *Charge) bool { return r.value(c) != "" && len(c.Value) <= maxValue }

// role returns what a policy means for the others of its request.
func (p *Policy) role() lua.Role {
	switch {
	case p.Candidate != "":
		return lua.Candidate
	case p.Monitor:
		return lua.Monitored
	}
	return lua.Enforced
}
