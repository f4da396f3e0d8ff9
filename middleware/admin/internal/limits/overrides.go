package limits

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/internal/peek"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// override is a ratelimit.Override as JSON has it. What it leaves to the policy, and what is as usual, is absent.
type override struct {
	ID        string           `json:"id"`
	Project   string           `json:"project"`
	Endpoint  string           `json:"endpoint"`
	Policy    string           `json:"policy"`
	Limit     *int64           `json:"limit,omitempty"`
	Window    string           `json:"window,omitempty"`
	Burst     int64            `json:"burst,omitempty"`
	Access    ratelimit.Access `json:"access,omitempty"`
	Change    ratelimit.Change `json:"change,omitempty"`
	StartsAt  *time.Time       `json:"starts_at,omitempty"`
	ExpiresAt string           `json:"expires_at"`
	State     ratelimit.State  `json:"state"`
	Reason    string           `json:"reason"`
	Revision  int64            `json:"revision"`
	CreatedAt time.Time        `json:"created_at"`
	UpdatedAt time.Time        `json:"updated_at"`
}

func overrideOf(o *ratelimit.Override) override {
	shown := override{
		ID: o.ID, Project: o.Project, Endpoint: o.Endpoint, Policy: o.Policy,
		Limit: o.Limit, Burst: o.Burst, Access: o.Access, Change: o.Change,
		StartsAt: rest.TimeOrAbsent(o.StartsAt), ExpiresAt: rest.TimeOrNever(o.ExpiresAt), State: o.State, Reason: o.Reason,
		Revision: o.Revision, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
	}
	if o.Window != 0 {
		shown.Window = peek.DurationText(o.Window)
	}
	return shown
}

// place is what overrides are ordered by, and what no two of an org have in common.
type place [3]string

func placeOf(o *ratelimit.Override) place { return place{o.Project, o.Endpoint, o.Policy} }

func (s *Resources) listOverrides(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	asked, err := overridesIn(q)
	if err != nil {
		return rest.Reply{}, err
	}
	limit, err := q.Limit(rest.DefaultPage, rest.MaxPage)
	if err != nil {
		return rest.Reply{}, err
	}
	var after place
	continued, err := q.Cursor(&after)
	if err != nil {
		return rest.Reply{}, err
	}
	all, err := s.Overrides.List(c.Context(), c.Org)
	if err != nil {
		return rest.Reply{}, err
	}
	all = slices.DeleteFunc(all, func(o ratelimit.Override) bool {
		at := placeOf(&o)
		return !asked(&o) || continued && slices.Compare(at[:], after[:]) <= 0
	})
	part := rest.Cut(all, limit, func(last *ratelimit.Override) any { return placeOf(last) })
	return rest.Reply{Body: rest.Map(part, overrideOf)}, nil
}

// overridesIn returns which overrides the parameters of a list ask for.
func overridesIn(q rest.Query) (func(*ratelimit.Override) bool, error) {
	project, ofProject := q.Given("project")
	endpoint, ofEndpoint := q.Given("endpoint")
	state, inState := q.Given("state")
	if inState {
		if _, err := rest.OneOf(ratelimit.StatePending, ratelimit.StateActive, ratelimit.StateEnded)(state); err != nil {
			return nil, rest.BadQuery("The query parameter state must be pending, active or ended.")
		}
	}
	_, ending := q.Given("ending_before")
	before, err := q.Time("ending_before", time.Time{})
	return func(o *ratelimit.Override) bool {
		return (!ofProject || o.Project == project) && (!ofEndpoint || o.Endpoint == endpoint) &&
			(!inState || string(o.State) == state) && (!ending || !o.ExpiresAt.IsZero() && o.ExpiresAt.Before(before))
	}, err
}

func (s *Resources) getOverride(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	o, err := s.Overrides.Get(c.Context(), c.Org, c.ID)
	if err != nil {
		return rest.Reply{}, err
	}
	return rest.Reply{Body: overrideOf(&o), Revision: o.Revision}, nil
}

func (s *Resources) putOverride(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	condition, err := c.Condition()
	if err != nil {
		return rest.Reply{}, err
	}
	o, err := bodyOf(c)
	if err != nil {
		return rest.Reply{}, err
	}
	if err := o.Validate(); err != nil { // before it costs a call
		return rest.Reply{}, err
	}
	var stored ratelimit.Override
	var created bool
	err = condition.Meet(c.Context(),
		s.revision(c.Org, func(other *ratelimit.Override) bool { return placeOf(other) == placeOf(&o) }),
		func(ctx context.Context, p ratelimit.Precondition) error {
			stored, created, err = s.Overrides.Set(ctx, o, p)
			return err
		})
	if errors.Is(err, ratelimit.ErrNotFound) {
		return rest.Reply{}, rest.PreconditionFailed()
	}
	if err != nil {
		return rest.Reply{}, err
	}
	c.Report(rest.Change{Action: "override.set", Project: o.Project, ID: stored.ID})
	answer := rest.Reply{
		Status: http.StatusOK, Body: overrideOf(&stored), Location: c.Path("overrides", stored.ID), Revision: stored.Revision,
	}
	if created {
		answer.Status = http.StatusCreated
	}
	return answer, nil
}

func (s *Resources) deleteOverride(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	condition, err := c.Condition()
	if err != nil {
		return rest.Reply{}, err
	}
	err = condition.Meet(c.Context(),
		s.revision(c.Org, func(other *ratelimit.Override) bool { return other.ID == c.ID }),
		func(ctx context.Context, p ratelimit.Precondition) error {
			return s.Overrides.Delete(ctx, c.Org, c.ID, p)
		})
	if err != nil {
		return rest.Reply{}, err
	}
	c.Report(rest.Change{Action: "override.delete", Project: "", ID: c.ID})
	return rest.NoContent(), nil
}

// cleared is the answer where overrides were cleared.
type cleared struct {
	Deleted int `json:"deleted"`
}

func (s *Resources) clearOverrides(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	project, ok := q.Given("project")
	if !ok {
		return rest.Reply{}, rest.BadQuery("The query parameter project is needed; with an empty one, what holds for the whole org is cleared.")
	}
	n, err := s.Overrides.Clear(c.Context(), c.Org, project)
	if err != nil {
		return rest.Reply{}, err
	}
	if n > 0 {
		c.Report(rest.Change{Action: "override.clear", Project: project, ID: ""})
	}
	return rest.Reply{Body: cleared{n}}, nil
}

// revision returns a look at the revision of an org's override.
func (s *Resources) revision(org string, is func(*ratelimit.Override) bool) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		all, err := s.Overrides.List(ctx, org)
		if err != nil {
			return 0, err
		}
		i := slices.IndexFunc(all, func(o ratelimit.Override) bool { return is(&o) })
		if i < 0 {
			return 0, ratelimit.ErrNotFound
		}
		return all[i].Revision, nil
	}
}
