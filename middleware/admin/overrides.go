package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
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
	o, burst := ratelimit.Override{Org: c.org}, new(int64)
	err := c.body(false,
		strict.Text("project", &o.Project), strict.Text("endpoint", &o.Endpoint), strict.Text("policy", &o.Policy),
		strict.Integer("limit", &o.Limit), strict.Parsed("window", `a duration, such as "1m30s"`, &o.Window, parseWindow),
		strict.Integer("burst", &burst),
		strict.Parsed("access", `"blocked" or "unlimited", or leave it out`, &o.Access, oneOf(ratelimit.Blocked, ratelimit.Unlimited)),
		strict.Parsed("change", `"proportional", "additive" or "reset", or leave it out`, &o.Change,
			oneOf(ratelimit.Proportional, ratelimit.Additive, ratelimit.ResetUsed)),
		strict.Parsed("starts_at", "a time as RFC 3339 has it, or leave it out", &o.StartsAt, parseTime),
		strict.Parsed("expires_at", `a time as RFC 3339 has it, or "never"`, &o.ExpiresAt, parseTimeOrNever),
		strict.Text("reason", &o.Reason))
	o.Burst = *burst
	return o, err
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
	err = h.meet(c.r.Context(), c.org, condition,
		func(other *ratelimit.Override) bool { return placeOf(other) == placeOf(&o) },
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
	err = h.meet(c.r.Context(), c.org, condition,
		func(other *ratelimit.Override) bool { return other.ID == c.id },
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
	if c.r.Header.Get("If-Match") != "" { // of what has no ETag, none matches
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

// condition is what If-Match and If-None-Match ask of an override (RFC 9110, section 13.1). The zero
// condition asks nothing.
type condition struct {
	absent    bool    // If-None-Match: *
	present   bool    // If-Match: *
	listed    bool    // If-Match: with tags, even if none of them can match
	revisions []int64 // those tags that can
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

func (c *call) condition() (condition, error) {
	match := strings.Join(c.r.Header.Values("If-Match"), ",")
	none := strings.Join(c.r.Header.Values("If-None-Match"), ",")
	switch {
	case none != "" && (none != "*" || match != ""):
		return condition{}, problemOf(http.StatusBadRequest, codeConditional, "If-None-Match may only be *, without If-Match.")
	case none == "*":
		return condition{absent: true}, nil
	case match == "":
		return condition{}, nil
	case match == "*":
		return condition{present: true}, nil
	}
	want := condition{listed: true}
	for tag := range strings.SplitSeq(match, ",") {
		if tag = strings.Trim(tag, " \t"); tag == "" {
			continue // a list may have empty elements
		}
		strong := strings.TrimPrefix(tag, "W/")
		if len(strong) < 2 || strong[0] != '"' || strong[len(strong)-1] != '"' || strings.Contains(strong[1:len(strong)-1], `"`) {
			return condition{}, problemOf(http.StatusBadRequest, codeConditional, "If-Match must be * or a list of ETags in quotes.")
		}
		// Only what etag writes can match: 0 would mean "always" further down, and a weak tag never matches.
		if n, err := strconv.ParseInt(strong[1:len(strong)-1], 10, 64); err == nil && n > 0 && etag(n) == tag {
			want.revisions = append(want.revisions, n)
		}
	}
	return want, nil
}

// attempts bounds how often meet looks again after somebody else was quicker.
const attempts = 5

// meet runs a change under the precondition that a condition comes to. A single revision needs no look at
// what is there, for the change itself compares it; * and lists do. Errors: ratelimit.ErrNotFound and
// ErrConflict, and those of the change.
func (h *Handler) meet(ctx context.Context, org string, want condition, is func(*ratelimit.Override) bool, change func(context.Context, ratelimit.Precondition) error) error {
	switch {
	case want.absent:
		return change(ctx, ratelimit.IfAbsent)
	case !want.present && !want.listed:
		return change(ctx, ratelimit.Always)
	case want.listed && len(want.revisions) == 1:
		return change(ctx, ratelimit.Precondition(want.revisions[0]))
	}
	for range attempts {
		all, err := h.overrides.List(ctx, org)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(o ratelimit.Override) bool { return is(&o) })
		if i < 0 {
			return ratelimit.ErrNotFound
		}
		if want.listed && !slices.Contains(want.revisions, all[i].Revision) {
			return ratelimit.ErrConflict
		}
		if err := change(ctx, ratelimit.Precondition(all[i].Revision)); !errors.Is(err, ratelimit.ErrConflict) {
			return err
		}
	}
	return ratelimit.ErrConflict
}
