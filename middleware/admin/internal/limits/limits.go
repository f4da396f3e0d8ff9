package limits

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
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

// declared returns the endpoint that the parameter endpoint names, or all of them.
func (s *Resources) declared(q rest.Query) ([]Endpoint, error) {
	name, ok := q.Given("endpoint")
	if !ok {
		return s.Endpoints, nil
	}
	i := slices.IndexFunc(s.Endpoints, func(e Endpoint) bool { return e.Name == name })
	if i < 0 {
		return nil, rest.NotFound()
	}
	return s.Endpoints[i : i+1], nil
}

// noKey stands for the key where none was named: the limit of a policy is the same for all of them.
const noKey = "-"

// asker is the limiter's Admit, or its Preview of an override.
type asker func(context.Context, ratelimit.Request) (ratelimit.Decision, error)

// subject is whose limits are looked at.
type subject struct{ org, project, key, plan string }

// peek asks about all policies of an endpoint, one of which at least it has, in one call; it takes nothing.
func (of *subject) peek(ctx context.Context, at *Endpoint, cost int64, ask asker) (ratelimit.Decision, error) {
	request := ratelimit.Request{Org: of.org, Project: of.project, Key: cmp.Or(of.key, noKey), Plan: of.plan, Endpoint: at.Name, Peek: true}
	for _, p := range at.Policies {
		request.Charges = append(request.Charges, ratelimit.Charge{Policy: p, Cost: cost})
	}
	decision, err := ask(ctx, request)
	if err == nil && len(decision.Results) != len(request.Charges) {
		err = errResults
	}
	return decision, err
}

var errResults = errors.New("admin: the limiter did not answer for each policy")

// limit is a policy at an endpoint, and what it comes to for a project.
type limit struct {
	Endpoint  string `json:"endpoint"`
	Policy    string `json:"policy"`
	Algorithm string `json:"algorithm"`
	Partition string `json:"partition"`
	Shared    bool   `json:"shared,omitempty"` // one count for all endpoints
	Unit      string `json:"unit"`
	Period    string `json:"period,omitempty"` // of a calendar window
	Lease     string `json:"lease,omitempty"`  // how long a hold counts
	Monitor   bool   `json:"monitor,omitempty"`
	Candidate string `json:"candidate,omitempty"` // the policy that it is a candidate for
	Payment   bool   `json:"payment,omitempty"`
	standing
}

// standing is a limit and what of it is used. Used and what follows from it is absent where the policy counts
// each key by itself and no key was named, and where it is unlimited, so that nothing is counted.
type standing struct {
	Limit      int64            `json:"limit"`
	Window     string           `json:"window,omitempty"` // of a calendar window, the length of the running one
	Burst      int64            `json:"burst,omitempty"`
	Access     ratelimit.Access `json:"access,omitempty"` // "blocked" wherever the limit is zero
	Source     string           `json:"source"`
	Level      ratelimit.Level  `json:"level"`
	Reason     string           `json:"reason,omitempty"`
	Used       *int64           `json:"used,omitempty"`
	Held       int64            `json:"held,omitempty"` // the part of it that is held
	Remaining  *int64           `json:"remaining,omitempty"`
	NextAfter  string           `json:"next_after,omitempty"`  // until more remains; "0s" once something held is given back
	ResetAfter string           `json:"reset_after,omitempty"` // until nothing is used
}

func (s *Resources) listLimits(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	key, err := q.Key()
	if err != nil {
		return rest.Reply{}, err
	}
	of := subject{org: c.Org, project: c.Project, key: key}
	if of.plan, err = s.planOfKey(c, q, key); err != nil {
		return rest.Reply{}, err
	}
	endpoints, err := s.declared(q)
	if err != nil {
		return rest.Reply{}, err
	}
	items := []limit{}
	for i := range endpoints {
		if len(endpoints[i].Policies) == 0 {
			continue
		}
		decision, err := of.peek(c.Context(), &endpoints[i], 0, s.Limiter.Admit)
		if err != nil {
			return rest.Reply{}, err
		}
		for j := range decision.Results {
			items = append(items, limitOf(endpoints[i].Name, &endpoints[i].Policies[j], &decision.Results[j], key))
		}
	}
	return rest.Reply{Body: rest.Page[limit]{Items: items}}, nil
}

func limitOf(endpoint string, p *ratelimit.Policy, r *ratelimit.Result, key string) limit {
	l := limit{
		Endpoint: endpoint, Policy: r.Policy, Algorithm: r.Algorithm.String(), Partition: string(r.Partition), Shared: p.Shared, Unit: r.Unit,
		Monitor: r.Monitor, Candidate: r.Candidate, Payment: r.Payment, standing: standingOf(r, key),
	}
	if p.Period != (ratelimit.Period{}) {
		l.Period = p.Period.String()
	}
	if p.Lease != 0 {
		l.Lease = rest.DurationText(p.Lease)
	}
	return l
}

func standingOf(r *ratelimit.Result, key string) standing {
	s := standing{Limit: r.Limit, Burst: r.Burst, Source: r.Source, Level: r.Level, Reason: r.Reason}
	if r.Window != 0 {
		s.Window = rest.DurationText(r.Window)
	}
	switch {
	case r.Unlimited:
		s.Access = ratelimit.Unlimited
		return s
	case r.Limit == 0:
		s.Access = ratelimit.Blocked
	}
	if !counts(r, key) {
		return s
	}
	s.Used, s.Held, s.Remaining = &r.Used, r.Held, &r.Remaining
	if r.Used > 0 {
		s.NextAfter, s.ResetAfter = waitText(r.NextAfter), waitText(r.ResetAfter)
	}
	return s
}

// counts reports whether a result is of a count that was named.
func counts(r *ratelimit.Result, key string) bool { return r.Partition != ratelimit.ByKey || key != "" }

// waitText returns how long to wait, which may be for ever.
func waitText(d time.Duration) string {
	if d == ratelimit.Never {
		return rest.Never
	}
	return rest.DurationText(d)
}
