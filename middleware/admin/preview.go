package admin

import (
	"context"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// previewer is a limiter that can tell what an override would do. *ratelimit.Limiter is one.
type previewer interface {
	Preview(ctx context.Context, request ratelimit.Request, override ratelimit.Override) (ratelimit.Decision, error)
}

// preview is what an override would do to a policy at an endpoint.
type preview struct {
	Endpoint string   `json:"endpoint"`
	Policy   string   `json:"policy"`
	Before   forecast `json:"before"`
	After    forecast `json:"after"`
}

// forecast is what comes of a policy, and whether it lets the next request of cost 1 pass; if not, after how
// long. Where the count is not known, nor is that.
type forecast struct {
	standing
	Passes     *bool  `json:"passes,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"`
}

// previews is the answer to a dry run. State is the one that the override would have.
type previews struct {
	State ratelimit.State `json:"state,omitempty"`
	Items []preview       `json:"items"`
}

func (h *Handler) previewOverride(c *call) (reply, error) {
	q, err := c.query("project", "key", "plan")
	if err != nil {
		return reply{}, err
	}
	key, err := q.key()
	if err != nil {
		return reply{}, err
	}
	o, err := c.override()
	if err != nil {
		return reply{}, err
	}
	if err := o.Validate(); err != nil {
		return reply{}, err
	}
	if c.project, err = q.projectOf(&o); err != nil {
		return reply{}, err
	}
	if c.plan, err = h.planOfKey(c, q, key); err != nil {
		return reply{}, err
	}
	answer := previews{Items: []preview{}}
	for i := range h.routes {
		if len(h.routes[i].policies) == 0 {
			continue
		}
		if err := h.preview(c, &h.routes[i], key, &o, &answer); err != nil {
			return reply{}, err
		}
	}
	return reply{body: answer}, nil
}

// projectOf returns whose limits a dry run is about.
func (q query) projectOf(o *ratelimit.Override) (string, error) {
	project, ok := q.given("project")
	switch {
	case !ok && o.Project == "", ok && project == "", len(project) > maxPath:
		return "", badQuery("An override of the whole org needs the query parameter project: whose limits are looked at.")
	case ok && o.Project != "" && o.Project != project:
		return "", badQuery("The query parameter project is another than the override's, which does nothing to it; leave it out.")
	case !ok:
		return o.Project, nil
	}
	return project, nil
}

// preview looks twice at a route, without the override and with it: what is taken in between shows.
func (h *Handler) preview(c *call, at *route, key string, o *ratelimit.Override, into *previews) error {
	before, err := c.peek(at, key, 1, h.limiter.Admit)
	if err != nil {
		return err
	}
	after, err := c.peek(at, key, 1, func(ctx context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
		return h.limiter.(previewer).Preview(ctx, r, *o) //nolint:errcheck // mount asked it
	})
	if err != nil {
		return err
	}
	into.State = ratelimit.StateActive
	if after.At.Before(o.StartsAt) {
		into.State = ratelimit.StatePending
	}
	for i := range after.Results {
		into.Items = append(into.Items, preview{
			Endpoint: at.endpoint, Policy: after.Results[i].Policy,
			Before: forecastOf(&before.Results[i], key), After: forecastOf(&after.Results[i], key),
		})
	}
	return nil
}

func forecastOf(r *ratelimit.Result, key string) forecast {
	f := forecast{standing: standingOf(r, key)}
	if !r.Unlimited && r.Limit > 0 && !counts(r, key) {
		return f
	}
	f.Passes = new(!r.Exceeded || r.Monitor || r.Candidate != "")
	if !*f.Passes {
		f.RetryAfter = waitText(r.RetryAfter)
	}
	return f
}
