package limits

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
	"github.com/tollgate-go/tollgate/middleware/internal/peek"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// plan is a ratelimit.Plan as JSON has it.
type plan struct {
	Name      string    `json:"name"`
	Rules     []rule    `json:"rules"`
	Revision  int64     `json:"revision"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// rule is a ratelimit.PlanRule as JSON has it. What it leaves to the policy, and what is as usual, is absent.
type rule struct {
	Endpoint string           `json:"endpoint"`
	Policy   string           `json:"policy"`
	Limit    *int64           `json:"limit,omitempty"`
	Window   string           `json:"window,omitempty"`
	Burst    int64            `json:"burst,omitempty"`
	Access   ratelimit.Access `json:"access,omitempty"`
	Change   ratelimit.Change `json:"change,omitempty"`
}

func planOf(p *ratelimit.Plan) plan {
	shown := plan{Name: p.Name, Rules: make([]rule, len(p.Rules)), Revision: p.Revision, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt}
	for i, r := range p.Rules {
		shown.Rules[i] = rule{Endpoint: r.Endpoint, Policy: r.Policy, Limit: r.Limit, Burst: r.Burst, Access: r.Access, Change: r.Change}
		if r.Window != 0 {
			shown.Rules[i].Window = peek.DurationText(r.Window)
		}
	}
	return shown
}

// planIn reads a body. The name is that of the path.
func planIn(c *rest.Call) (ratelimit.Plan, error) {
	p := ratelimit.Plan{Name: c.ID, Rules: []ratelimit.PlanRule{{Access: ratelimit.Blocked}}}
	if p.Validate() != nil {
		return p, rest.NewProblem(http.StatusBadRequest, rest.CodePath, "The name of a plan must be 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	var rules []*terms
	err := c.Body(rulesInto(&rules)...)
	p.Rules = make([]ratelimit.PlanRule, len(rules))
	for i := range rules {
		o := rules[i].override()
		p.Rules[i] = ratelimit.PlanRule{
			Endpoint: o.Endpoint, Policy: o.Policy, Limit: o.Limit, Window: o.Window, Burst: o.Burst, Access: o.Access, Change: o.Change,
		}
	}
	return p, err
}

// rulesInto returns the fields of a plan's body.
func rulesInto(rules *[]*terms) []strict.Field {
	return []strict.Field{strict.Objects("rules", func(int) []strict.Field {
		t := &terms{}
		*rules = append(*rules, t)
		return t.fields()
	})}
}

func (s *Resources) listPlans(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	limit, err := q.Limit(rest.DefaultPage, rest.MaxPage)
	if err != nil {
		return rest.Reply{}, err
	}
	var after string
	continued, err := q.Cursor(&after)
	if err != nil {
		return rest.Reply{}, err
	}
	all, err := s.Plans.List(c.Context())
	if err != nil {
		return rest.Reply{}, err
	}
	all = slices.DeleteFunc(all, func(p ratelimit.Plan) bool { return continued && p.Name <= after })
	part := rest.Cut(all, limit, func(last *ratelimit.Plan) any { return last.Name })
	return rest.Reply{Body: rest.Map(part, planOf)}, nil
}

func (s *Resources) getPlan(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	p, err := s.Plans.Get(c.Context(), c.ID)
	if err != nil {
		return rest.Reply{}, err
	}
	return rest.Reply{Body: planOf(&p), Revision: p.Revision}, nil
}

func (s *Resources) putPlan(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	condition, err := c.Condition()
	if err != nil {
		return rest.Reply{}, err
	}
	p, err := planIn(c)
	if err != nil {
		return rest.Reply{}, err
	}
	if err := p.Validate(); err != nil { // before it costs a call
		return rest.Reply{}, err
	}
	var stored ratelimit.Plan
	var created bool
	err = condition.Meet(c.Context(), s.planRevision(c.ID), func(ctx context.Context, pre ratelimit.Precondition) error {
		stored, created, err = s.Plans.Set(ctx, p, pre)
		return err
	})
	if errors.Is(err, ratelimit.ErrNotFound) {
		return rest.Reply{}, rest.PreconditionFailed()
	}
	if err != nil {
		return rest.Reply{}, planFailed(err)
	}
	c.Report(rest.Change{Action: "plan.set", Project: "", ID: p.Name})
	answer := rest.Reply{Status: http.StatusOK, Body: planOf(&stored), Revision: stored.Revision}
	if created {
		answer.Status = http.StatusCreated
	}
	return answer, nil
}

func (s *Resources) deletePlan(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	condition, err := c.Condition()
	if err != nil {
		return rest.Reply{}, err
	}
	err = condition.Meet(c.Context(), s.planRevision(c.ID), func(ctx context.Context, pre ratelimit.Precondition) error {
		return s.Plans.Delete(ctx, c.ID, pre)
	})
	if errors.Is(err, ratelimit.ErrNotFound) { // the look alone may have told; this makes sure of it for every org
		err = s.Plans.Delete(c.Context(), c.ID, ratelimit.IfAbsent)
	}
	if err != nil {
		return rest.Reply{}, planFailed(err)
	}
	c.Report(rest.Change{Action: "plan.delete", Project: "", ID: c.ID})
	return rest.NoContent(), nil
}

// planRevision returns a look at the revision of a plan.
func (s *Resources) planRevision(name string) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		p, err := s.Plans.Get(ctx, name)
		return p.Revision, err
	}
}

// planFailed tells a client what to do about a change that may have come to some orgs alone.
func planFailed(err error) error {
	p := rest.Explain(err)
	if p.Status == http.StatusServiceUnavailable {
		p.Detail = "Redis did not answer in time. The change may be in effect for some orgs and not for others: repeat it to mend that."
	}
	return p
}

// planOfKey returns the plan that limits are looked at under: the one that is asked for, else that of the key or, as for
// every key that has none, that of the project; as far as they are known. Error: also authkey.ErrUnknown, for a key
// that is not of the project.
func (s *Resources) planOfKey(c *rest.Call, q rest.Query, key string) (string, error) {
	name, given := q.Given("plan")
	if given && c.Actor.Org != "" {
		return "", rest.Forbidden("You may not look at plans.")
	}
	record, err := s.findKey(c, key)
	if given || err != nil || s.FindKey == nil {
		return name, err
	}
	if key == "" {
		return s.PlanOfProject(c.Context(), c.Org, c.Project)
	}
	return cmp.Or(record.Plan, record.Within.Plan), nil
}
