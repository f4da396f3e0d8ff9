package limits

import (
	"context"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/internal/peek"
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

// forecasts is the answer to a dry run. State is the one that the override would have.
type forecasts struct {
	State ratelimit.State `json:"state,omitempty"`
	Items []preview       `json:"items"`
}

func (s *Resources) previewOverride(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	key, err := q.Key()
	if err != nil {
		return rest.Reply{}, err
	}
	o, err := bodyOf(c)
	if err != nil {
		return rest.Reply{}, err
	}
	if err := o.Validate(); err != nil {
		return rest.Reply{}, err
	}
	of := peek.Subject{Org: c.Org, Key: key}
	if of.Project, err = projectOf(q, &o); err != nil {
		return rest.Reply{}, err
	}
	c.Project = of.Project
	if of.Plan, err = s.planOfKey(c, q, key); err != nil {
		return rest.Reply{}, err
	}
	answer := forecasts{Items: []preview{}}
	for i := range s.Endpoints {
		if len(s.Endpoints[i].Policies) == 0 {
			continue
		}
		if err := s.preview(c.Context(), &of, &s.Endpoints[i], &o, &answer); err != nil {
			return rest.Reply{}, err
		}
	}
	return rest.Reply{Body: answer}, nil
}

// projectOf returns whose limits a dry run is about.
func projectOf(q rest.Query, o *ratelimit.Override) (string, error) {
	project, ok := q.Given("project")
	switch {
	case !ok && o.Project == "", ok && project == "", len(project) > rest.MaxPath:
		return "", rest.BadQuery("An override of the whole org needs the query parameter project: whose limits are looked at.")
	case ok && o.Project != "" && o.Project != project:
		return "", rest.BadQuery("The query parameter project is another than the override's, which does nothing to it; leave it out.")
	case !ok:
		return o.Project, nil
	}
	return project, nil
}

// preview looks twice at a route, without the override and with it: what is taken in between shows.
func (s *Resources) preview(ctx context.Context, of *peek.Subject, at *peek.Endpoint, o *ratelimit.Override, into *forecasts) error {
	before, err := of.Look(ctx, at, 1, s.Limiter.Admit)
	if err != nil {
		return err
	}
	after, err := of.Look(ctx, at, 1, func(ctx context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
		return s.Limiter.(previewer).Preview(ctx, r, *o) //nolint:errcheck // mount asked it
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
			Endpoint: at.Name, Policy: after.Results[i].Policy,
			Before: forecastOf(&before.Results[i], of.Key), After: forecastOf(&after.Results[i], of.Key),
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
		f.RetryAfter = peek.WaitText(r.RetryAfter)
	}
	return f
}
