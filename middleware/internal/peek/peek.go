// Package peek looks at the limits of declared endpoints and takes nothing.
//
//	at, err := peek.NewEndpoint("GET /v1/search", search.Policies()...)
//	of := peek.Subject{Org: "acme", Project: "shop"}
//	decision, err := of.Look(ctx, &at, 0, limiter.Admit)
//
// It is what the admin route and self-service have in common, and decides nothing.
package peek

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Endpoint is one that the service has, and what it is limited by.
type Endpoint struct {
	Name     string // as middleware.Endpoint has it
	Policies []ratelimit.Policy
}

const maxEndpoint = 512 // bytes

// NewEndpoint returns an endpoint with those of its policies that count for a project, a key or an org.
func NewEndpoint(name string, policies ...ratelimit.Policy) (Endpoint, error) {
	declared := Endpoint{Name: name}
	method, template, _ := strings.Cut(name, " ")
	if name != middleware.Unmatched && (len(name) > maxEndpoint || method == "" || !strings.Contains(template, "/")) {
		return declared, errors.New("must be like \"GET /items/{id}\"")
	}
	names := map[string]bool{}
	for _, p := range policies {
		if err := p.Validate(); err != nil {
			return declared, err
		}
		if !slices.Contains([]ratelimit.Partition{"", ratelimit.ByProject, ratelimit.ByKey, ratelimit.ByOrg}, p.Partition) {
			continue
		}
		p.Name = cmp.Or(p.Name, "requests") // as ratelimit has it
		if names[p.Name] {
			return declared, fmt.Errorf("two policies are named %q", p.Name)
		}
		names[p.Name] = true
		declared.Policies = append(declared.Policies, p)
	}
	return declared, declared.compare(policies)
}

// compare leaves out the candidates whose live policy, one of all, was left out. One that has no live policy at all
// is an error, for the limiter would refuse every look at the route.
func (e *Endpoint) compare(all []ratelimit.Policy) error {
	live := func(in []ratelimit.Policy, name string) bool {
		return slices.ContainsFunc(in, func(p ratelimit.Policy) bool {
			return p.Candidate == "" && cmp.Or(p.Name, "requests") == name
		})
	}
	for _, p := range e.Policies {
		if p.Candidate != "" && !live(all, p.Candidate) {
			return fmt.Errorf("policy %q is a candidate for %q, which is not a live policy of the route; give it too", p.Name, p.Candidate)
		}
	}
	e.Policies = slices.DeleteFunc(slices.Clone(e.Policies), func(p ratelimit.Policy) bool {
		return p.Candidate != "" && !live(e.Policies, p.Candidate)
	})
	return nil
}

// Asker is a limiter's Admit, or its Preview of an override.
type Asker func(context.Context, ratelimit.Request) (ratelimit.Decision, error)

// Subject is whose limits are looked at. Key is "" where none is meant: the limit of a policy is the same for all.
type Subject struct{ Org, Project, Key, Plan string }

// noKey stands for the key where none is meant.
const noKey = "-"

// Look asks about all policies of an endpoint, one of which at least it has, in one call; it takes nothing.
func (of *Subject) Look(ctx context.Context, at *Endpoint, cost int64, ask Asker) (ratelimit.Decision, error) {
	request := ratelimit.Request{
		Org: of.Org, Project: of.Project, Key: cmp.Or(of.Key, noKey), Plan: of.Plan, Endpoint: at.Name, Peek: true,
		Charges: make([]ratelimit.Charge, 0, len(at.Policies)),
	}
	for _, p := range at.Policies {
		request.Charges = append(request.Charges, ratelimit.Charge{Policy: p, Cost: cost})
	}
	decision, err := ask(ctx, request)
	if err == nil && len(decision.Results) != len(request.Charges) {
		err = errResults
	}
	return decision, err
}

var errResults = errors.New("the limiter did not answer for each policy")

// DurationText is Duration.String without the zeros at the end: "1m", not "1m0s".
func DurationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// WaitText is DurationText of how long to wait, which may be for ever: "never".
func WaitText(d time.Duration) string {
	if d == ratelimit.Never {
		return "never"
	}
	return DurationText(d)
}
