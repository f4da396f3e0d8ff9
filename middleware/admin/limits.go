package admin

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

// WithLimits serves the limits of the endpoints that WithRoute declares, as a limiter finds them. Give it
// one with a longer timeout than that of requests where Redis is far. Each endpoint costs one call of it, and two
// in a dry run. A *ratelimit.Limiter also serves dry runs and resets; one that has Admit alone serves neither.
func WithLimits(limiter middleware.Limiter) Option {
	return optionFunc(func(h *Handler) error {
		if limiter == nil {
			return fmt.Errorf("%w option: WithLimits(nil)", ErrInvalid)
		}
		h.limiter = limiter
		return nil
	})
}

// route is an endpoint and what it is limited by.
type route struct {
	endpoint string
	policies []ratelimit.Policy
}

// WithRoute declares an endpoint, as middleware.Endpoint names it, and its policies, of which a stage's
// Policies tells. Those with a partition of the caller's own, as LimitBy has, belong to no project and
// are left out, with their candidates. An endpoint is declared once.
func WithRoute(endpoint string, policies ...ratelimit.Policy) Option {
	return optionFunc(func(h *Handler) error {
		method, template, _ := strings.Cut(endpoint, " ")
		if endpoint != middleware.Unmatched && (len(endpoint) > maxEndpoint || method == "" || !strings.Contains(template, "/")) {
			return fmt.Errorf("%w option: WithRoute(%.100q) must be like \"GET /items/{id}\"", ErrInvalid, endpoint)
		}
		if h.route(endpoint) != nil {
			return fmt.Errorf("%w option: WithRoute(%.100q) is there twice", ErrInvalid, endpoint)
		}
		names := map[string]bool{}
		declared := route{endpoint: endpoint}
		for _, p := range policies {
			if err := p.Validate(); err != nil {
				return fmt.Errorf("%w option: WithRoute(%.100q): %w", ErrInvalid, endpoint, err)
			}
			if !slices.Contains([]ratelimit.Partition{"", ratelimit.ByProject, ratelimit.ByKey, ratelimit.ByOrg}, p.Partition) {
				continue
			}
			p.Name = cmp.Or(p.Name, "requests") // as ratelimit has it
			if names[p.Name] {
				return fmt.Errorf("%w option: WithRoute(%.100q): two policies are named %q", ErrInvalid, endpoint, p.Name)
			}
			names[p.Name] = true
			declared.policies = append(declared.policies, p)
		}
		if err := declared.compare(policies); err != nil {
			return err
		}
		h.routes = append(h.routes, declared)
		return nil
	})
}

// compare leaves out the candidates whose live policy, one of all, was left out. One that has no live policy at all
// is an error, for the limiter would refuse every look at the route.
func (r *route) compare(all []ratelimit.Policy) error {
	live := func(in []ratelimit.Policy, name string) bool {
		return slices.ContainsFunc(in, func(p ratelimit.Policy) bool {
			return p.Candidate == "" && cmp.Or(p.Name, "requests") == name
		})
	}
	for _, p := range r.policies {
		if p.Candidate != "" && !live(all, p.Candidate) {
			return fmt.Errorf("%w option: WithRoute(%.100q): policy %q is a candidate for %q, which is not a live policy of the route; give it too",
				ErrInvalid, r.endpoint, p.Name, p.Candidate)
		}
	}
	r.policies = slices.DeleteFunc(slices.Clone(r.policies), func(p ratelimit.Policy) bool {
		return p.Candidate != "" && !live(r.policies, p.Candidate)
	})
	return nil
}

func (h *Handler) route(endpoint string) *route {
	for i := range h.routes {
		if h.routes[i].endpoint == endpoint {
			return &h.routes[i]
		}
	}
	return nil
}

// declared returns the route that the parameter endpoint names, or all of them.
func (h *Handler) declared(q query) ([]route, error) {
	endpoint, ok := q.given("endpoint")
	if !ok {
		return h.routes, nil
	}
	declared := h.route(endpoint)
	if declared == nil {
		return nil, notFound()
	}
	return []route{*declared}, nil
}

// key returns the parameter key, the id of a key; "" where there is none.
func (q query) key() (string, error) {
	key, ok := q.given("key")
	if ok && key == "" || len(key) > maxPath {
		return "", badQuery("The query parameter key must be the id of a key.")
	}
	return key, nil
}

// noKey stands for the key where none was named: the limit of a policy is the same for all of them.
const noKey = "-"

// asker is the limiter's Admit, or its Preview of an override.
type asker func(context.Context, ratelimit.Request) (ratelimit.Decision, error)

// peek asks about all policies of a route, one of which at least it has, in one call; it takes nothing.
func (c *call) peek(at *route, key string, cost int64, ask asker) (ratelimit.Decision, error) {
	request := ratelimit.Request{Org: c.org, Project: c.project, Key: cmp.Or(key, noKey), Plan: c.plan, Endpoint: at.endpoint, Peek: true}
	for _, p := range at.policies {
		request.Charges = append(request.Charges, ratelimit.Charge{Policy: p, Cost: cost})
	}
	decision, err := ask(c.r.Context(), request)
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

func (h *Handler) listLimits(c *call) (reply, error) {
	q, err := c.query("endpoint", "key", "plan")
	if err != nil {
		return reply{}, err
	}
	key, err := q.key()
	if err != nil {
		return reply{}, err
	}
	if c.plan, err = h.planOfKey(c, q, key); err != nil {
		return reply{}, err
	}
	routes, err := h.declared(q)
	if err != nil {
		return reply{}, err
	}
	items := []limit{}
	for i := range routes {
		if len(routes[i].policies) == 0 {
			continue
		}
		decision, err := c.peek(&routes[i], key, 0, h.limiter.Admit)
		if err != nil {
			return reply{}, err
		}
		for j := range decision.Results {
			items = append(items, limitOf(routes[i].endpoint, &routes[i].policies[j], &decision.Results[j], key))
		}
	}
	return reply{body: page[limit]{Items: items}}, nil
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
		l.Lease = durationText(p.Lease)
	}
	return l
}

func standingOf(r *ratelimit.Result, key string) standing {
	s := standing{Limit: r.Limit, Burst: r.Burst, Source: r.Source, Level: r.Level, Reason: r.Reason}
	if r.Window != 0 {
		s.Window = durationText(r.Window)
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
		return never
	}
	return durationText(d)
}
