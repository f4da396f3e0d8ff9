package limits

import (
	"slices"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/internal/peek"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// declared returns the endpoint that the parameter endpoint names, or all of them.
func (s *Resources) declared(q rest.Query) ([]peek.Endpoint, error) {
	name, ok := q.Given("endpoint")
	if !ok {
		return s.Endpoints, nil
	}
	i := slices.IndexFunc(s.Endpoints, func(e peek.Endpoint) bool { return e.Name == name })
	if i < 0 {
		return nil, rest.NotFound()
	}
	return s.Endpoints[i : i+1], nil
}

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
	of := peek.Subject{Org: c.Org, Project: c.Project, Key: key}
	if of.Plan, err = s.planOfKey(c, q, key); err != nil {
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
		decision, err := of.Look(c.Context(), &endpoints[i], 0, s.Limiter.Admit)
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
		l.Lease = peek.DurationText(p.Lease)
	}
	return l
}

func standingOf(r *ratelimit.Result, key string) standing {
	s := standing{Limit: r.Limit, Burst: r.Burst, Source: r.Source, Level: r.Level, Reason: r.Reason}
	if r.Window != 0 {
		s.Window = peek.DurationText(r.Window)
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
		s.NextAfter, s.ResetAfter = peek.WaitText(r.NextAfter), peek.WaitText(r.ResetAfter)
	}
	return s
}

// counts reports whether a result is of a count that was named.
func counts(r *ratelimit.Result, key string) bool { return r.Partition != ratelimit.ByKey || key != "" }
