package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
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
		StartsAt: timeOrAbsent(o.StartsAt), ExpiresAt: timeOrNever(o.ExpiresAt), State: o.State, Reason: o.Reason,
		Revision: o.Revision, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
	}
	if o.Window != 0 {
		shown.Window = durationText(o.Window)
	}
	return shown
}

// override reads a body. What is not in it stays as the policy has it.
func (c *call) override() (ratelimit.Override, error) {
	t := terms{Override: ratelimit.Override{Org: c.org}}
	err := c.body(false, append(t.fields(), strict.Text("project", &t.Project),
		strict.Parsed("starts_at", "a time as RFC 3339 has it, or leave it out", &t.StartsAt, parseTime),
		strict.Parsed("expires_at", `a time as RFC 3339 has it, or "never"`, &t.ExpiresAt, parseTimeOrNever),
		strict.Text("reason", &t.Reason))...)
	return t.override(), err
}

// terms is an override while it is read, and what a plan's rule has of one.
type terms struct {
	ratelimit.Override

	burst *int64
}

func (t *terms) fields() []strict.Field {
	return []strict.Field{
		strict.Text("endpoint", &t.Endpoint), strict.Text("policy", &t.Policy),
		strict.Integer("limit", &t.Limit), strict.Parsed("window", `a duration, such as "1m30s"`, &t.Window, parseWindow),
		strict.Integer("burst", &t.burst),
		strict.Parsed("access", `"blocked" or "unlimited", or leave it out`, &t.Access, oneOf(ratelimit.Blocked, ratelimit.Unlimited)),
		strict.Parsed("change", `"proportional", "additive" or "reset", or leave it out`, &t.Change,
			oneOf(ratelimit.Proportional, ratelimit.Additive, ratelimit.ResetUsed)),
	}
}

func (t *terms) override() ratelimit.Override {
	if t.burst != nil {
		t.Burst = *t.burst
	}
	return t.Override
}

// place is what overrides are ordered by, and what no two of an org have in common.
type place [3]string

func placeOf(o *ratelimit.Override) place { return place{o.Project, o.Endpoint, o.Policy} }

func (h *Handler) listOverrides(c *call) (reply, error) {
	q, err := c.query("project", "endpoint", "state", "ending_before", "limit", "cursor")
	if err != nil {
		return reply{}, err
	}
	asked, err := q.overrides()
	if err != nil {
		return reply{}, err
	}
	limit, err := q.page(defaultPage, maxPage)
	if err != nil {
		return reply{}, err
	}
	var after place
	continued, err := q.cursor(&after)
	if err != nil {
		return reply{}, err
	}
	all, err := h.overrides.List(c.r.Context(), c.org)
	if err != nil {
		return reply{}, err
	}
	all = slices.DeleteFunc(all, func(o ratelimit.Override) bool {
		at := placeOf(&o)
		return !asked(&o) || continued && slices.Compare(at[:], after[:]) <= 0
	})
	part := cut(all, limit, func(last *ratelimit.Override) any { return placeOf(last) })
	items := make([]override, len(part.Items))
	for i := range part.Items {
		items[i] = overrideOf(&part.Items[i])
	}
	return reply{body: page[override]{items, part.Next}}, nil
}

// overrides returns which overrides the parameters of a list ask for.
func (q query) overrides() (func(*ratelimit.Override) bool, error) {
	project, ofProject := q.given("project")
	endpoint, ofEndpoint := q.given("endpoint")
	state, inState := q.given("state")
	if inState {
		if _, err := oneOf(ratelimit.StatePending, ratelimit.StateActive, ratelimit.StateEnded)(state); err != nil {
			return nil, badQuery("The query parameter state must be pending, active or ended.")
		}
	}
	_, ending := q.given("ending_before")
	before, err := q.time("ending_before", time.Time{})
	return func(o *ratelimit.Override) bool {
		return (!ofProject || o.Project == project) && (!ofEndpoint || o.Endpoint == endpoint) &&
			(!inState || string(o.State) == state) && (!ending || !o.ExpiresAt.IsZero() && o.ExpiresAt.Before(before))
	}, err
}

func (h *Handler) getOverride(c *call) (reply, error) {
	if _, err := c.query(); err != nil {
		return reply{}, err
	}
	o, err := h.overrides.Get(c.r.Context(), c.org, c.id)
	if err != nil {
		return reply{}, err
	}
	c.w.Header().Set("ETag", etag(o.Revision))
	return reply{body: overrideOf(&o)}, nil
}

func (h *Handler) putOverride(c *call) (reply, error) {
	if _, err := c.query(); err != nil {
		return reply{}, err
	}
	condition, err := c.condition()
	if err != nil {
		return reply{}, err
	}
	o, err := c.override()
	if err != nil {
		return reply{}, err
	}
	if err := o.Validate(); err != nil { // before it costs a call
		return reply{}, err
	}
	var stored ratelimit.Override
	var created bool
	err = meet(c.r.Context(), condition,
		h.revision(c.org, func(other *ratelimit.Override) bool { return placeOf(other) == placeOf(&o) }),
		func(ctx context.Context, p ratelimit.Precondition) error {
			stored, created, err = h.overrides.Set(ctx, o, p)
			return err
		})
	if errors.Is(err, ratelimit.ErrNotFound) {
		return reply{}, preconditionFailed()
	}
	if err != nil {
		return reply{}, err
	}
	h.report(c, "override.set", o.Project, stored.ID)
	c.w.Header().Set("ETag", etag(stored.Revision))
	c.w.Header().Set("Location", c.path(h.prefix, "overrides", stored.ID))
	answer := reply{status: http.StatusOK, body: overrideOf(&stored)}
	if created {
		answer.status = http.StatusCreated
	}
	return answer, nil
}

func (h *Handler) deleteOverride(c *call) (reply, error) {
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
	err = meet(c.r.Context(), condition,
		h.revision(c.org, func(other *ratelimit.Override) bool { return other.ID == c.id }),
		func(ctx context.Context, p ratelimit.Precondition) error {
			return h.overrides.Delete(ctx, c.org, c.id, p)
		})
	if err != nil {
		return reply{}, err
	}
	h.report(c, "override.delete", "", c.id)
	return reply{status: http.StatusNoContent}, nil
}

func (h *Handler) clearOverrides(c *call) (reply, error) {
	q, err := c.query("project")
	if err != nil {
		return reply{}, err
	}
	project, ok := q.given("project")
	if !ok {
		return reply{}, badQuery("The query parameter project is needed; with an empty one, what holds for the whole org is cleared.")
	}
	if len(c.r.Header.Values("If-Match")) > 0 { // of what has no ETag, none matches
		return reply{}, preconditionFailed()
	}
	n, err := h.overrides.Clear(c.r.Context(), c.org, project)
	if err != nil {
		return reply{}, err
	}
	if n > 0 {
		h.report(c, "override.clear", project, "")
	}
	return reply{body: struct {
		Deleted int `json:"deleted"`
	}{n}}, nil
}

// revision returns a look at the revision of an org's override.
func (h *Handler) revision(org string, is func(*ratelimit.Override) bool) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		all, err := h.overrides.List(ctx, org)
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
