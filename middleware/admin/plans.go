package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// WithPlans serves the plans. They belong to no org: an Actor with an Org has no access to them.
func WithPlans(plans *ratelimit.Plans) Option {
	return optionFunc(func(h *Handler) error {
		if plans == nil {
			return fmt.Errorf("%w option: WithPlans(nil)", ErrInvalid)
		}
		h.plans = plans
		return nil
	})
}

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
			shown.Rules[i].Window = durationText(r.Window)
		}
	}
	return shown
}

// planIn reads a body. The name is that of the path.
func planIn(c *call) (ratelimit.Plan, error) {
	p := ratelimit.Plan{Name: c.id, Rules: []ratelimit.PlanRule{{Access: ratelimit.Blocked}}}
	if p.Validate() != nil {
		return p, problemOf(http.StatusBadRequest, codePath, "The name of a plan must be 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	var rules []*terms
	err := c.body(false, strict.Objects("rules", func(int) []strict.Field {
		rules = append(rules, &terms{})
		return rules[len(rules)-1].fields()
	}))
	p.Rules = make([]ratelimit.PlanRule, len(rules))
	for i := range rules {
		o := rules[i].override()
		p.Rules[i] = ratelimit.PlanRule{
			Endpoint: o.Endpoint, Policy: o.Policy, Limit: o.Limit, Window: o.Window, Burst: o.Burst, Access: o.Access, Change: o.Change,
		}
	}
	return p, err
}

func (h *Handler) listPlans(c *call) (reply, error) {
	q, err := c.query("limit", "cursor")
	if err != nil {
		return reply{}, err
	}
	limit, err := q.page(defaultPage, maxPage)
	if err != nil {
		return reply{}, err
	}
	var after string
	continued, err := q.cursor(&after)
	if err != nil {
		return reply{}, err
	}
	all, err := h.plans.List(c.r.Context())
	if err != nil {
		return reply{}, err
	}
	all = slices.DeleteFunc(all, func(p ratelimit.Plan) bool { return continued && p.Name <= after })
	part := cut(all, limit, func(last *ratelimit.Plan) any { return last.Name })
	items := make([]plan, len(part.Items))
	for i := range part.Items {
		items[i] = planOf(&part.Items[i])
	}
	return reply{body: page[plan]{items, part.Next}}, nil
}

func (h *Handler) getPlan(c *call) (reply, error) {
	if _, err := c.query(); err != nil {
		return reply{}, err
	}
	p, err := h.plans.Get(c.r.Context(), c.id)
	if err != nil {
		return reply{}, err
	}
	c.w.Header().Set("ETag", etag(p.Revision))
	return reply{body: planOf(&p)}, nil
}

func (h *Handler) putPlan(c *call) (reply, error) {
	if _, err := c.query(); err != nil {
		return reply{}, err
	}
	condition, err := c.condition()
	if err != nil {
		return reply{}, err
	}
	p, err := planIn(c)
	if err != nil {
		return reply{}, err
	}
	if err := p.Validate(); err != nil { // before it costs a call
		return reply{}, err
	}
	var stored ratelimit.Plan
	var created bool
	err = meet(c.r.Context(), condition, h.planRevision(c.id), func(ctx context.Context, pre ratelimit.Precondition) error {
		stored, created, err = h.plans.Set(ctx, p, pre)
		return err
	})
	if errors.Is(err, ratelimit.ErrNotFound) {
		return reply{}, preconditionFailed()
	}
	if err != nil {
		return reply{}, planFailed(err)
	}
	h.report(c, "plan.set", "", p.Name)
	c.w.Header().Set("ETag", etag(stored.Revision))
	answer := reply{status: http.StatusOK, body: planOf(&stored)}
	if created {
		answer.status = http.StatusCreated
	}
	return answer, nil
}

func (h *Handler) deletePlan(c *call) (reply, error) {
	if _, err := c.query(); err != nil {
		return reply{}, err
	}
	condition, err := c.condition()
	if err != nil {
		return reply{}, err
	}
	if condition.absent {
		return reply{}, preconditionFailed()
	}
	err = meet(c.r.Context(), condition, h.planRevision(c.id), func(ctx context.Context, pre ratelimit.Precondition) error {
		return h.plans.Delete(ctx, c.id, pre)
	})
	if errors.Is(err, ratelimit.ErrNotFound) { // the look alone may have told; this makes sure of it for every org
		err = h.plans.Delete(c.r.Context(), c.id, ratelimit.IfAbsent)
	}
	if err != nil {
		return reply{}, planFailed(err)
	}
	h.report(c, "plan.delete", "", c.id)
	return reply{status: http.StatusNoContent}, nil
}

// planRevision returns a look at the revision of a plan.
func (h *Handler) planRevision(name string) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		p, err := h.plans.Get(ctx, name)
		return p.Revision, err
	}
}

// planFailed tells a client what to do about a change that may have come to some orgs alone.
func planFailed(err error) error {
	p := explain(err)
	if p.Status == http.StatusServiceUnavailable {
		p.Detail = "Redis did not answer in time. The change may be in effect for some orgs and not for others: repeat it to mend that."
	}
	return p
}

// planOfKey returns the plan that limits are looked at under: the one that is asked for, else that of the key,
// as far as both are known. Error: also authkey.ErrUnknown, for a key that is not of the project.
func (h *Handler) planOfKey(c *call, q query, key string) (string, error) {
	name, given := q.given("plan")
	if given && c.actor.Org != "" {
		return "", problemOf(http.StatusForbidden, codeForbidden, "You may not look at plans.")
	}
	record, err := h.findNamed(c, key)
	if given || err != nil {
		return name, err
	}
	return record.Plan, nil
}
