// Package limits serves what is about limits on the admin route: overrides and their dry run, plans, and what
// the limits of a project are.
package limits

import (
	"context"
	"net/http"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
	"github.com/tollgate-go/tollgate/middleware/internal/peek"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Resources is what there is to serve; what is nil is not served. Fields are not changed after Routes.
type Resources struct {
	Overrides *ratelimit.Overrides
	Plans     *ratelimit.Plans
	Limiter   middleware.Limiter
	Endpoints []peek.Endpoint
	// FindKey returns a key of the project, or authkey.ErrUnknown; nil where keys are not known.
	FindKey func(ctx context.Context, org, project, id string) (authkey.Record, error)
	// PlanOfProject returns the plan of the keys of a project that name none; it is there with FindKey.
	PlanOfProject func(ctx context.Context, org, project string) (string, error)
}

// findKey returns the key that the parameter key names, which must be the project's as far as anybody knows; the
// zero Record where none is named.
func (s *Resources) findKey(c *rest.Call, id string) (authkey.Record, error) {
	if id == "" || s.FindKey == nil {
		return authkey.Record{}, nil
	}
	return s.FindKey(c.Context(), c.Org, c.Project, id)
}

// The scopes of this package.
const (
	readOverrides  = "overrides:read"
	writeOverrides = "overrides:write"
	readLimits     = "limits:read"
	writeLimits    = "limits:write"
	readPlans      = "plans:read"
	writePlans     = "plans:write"
)

var (
	byProject  = rest.TextParam("project", "The name of a project.")
	byEndpoint = rest.TextParam("endpoint", "Method and route template, such as GET /items/{id}.")
	byPolicy   = rest.TextParam("policy", "The name of a policy.")
	ofKey      = rest.TextParam("key", "The id of a key of the project.")
	underPlan  = rest.TextParam("plan", "The name of a plan; the key's own where it is absent.")
)

// Routes returns the routes.
func (s *Resources) Routes() []rest.Route {
	_, previews := s.Limiter.(previewer)
	return []rest.Route{
		{Pattern: "/orgs/{org}/overrides", Given: s.Overrides != nil, Operations: s.overrideOperations()},
		{Pattern: "/orgs/{org}/overrides/{id}", Given: s.Overrides != nil, Operations: []rest.Operation{{
			Method: http.MethodGet, ID: "getOverride", Summary: "Read an override.", Scope: readOverrides,
			Tagged: true, Answers: map[int]any{http.StatusOK: override{}}, Do: s.getOverride,
		}, {
			Method: http.MethodDelete, ID: "deleteOverride", Summary: "Delete an override.", Scope: writeOverrides,
			Conditional: true, Answers: map[int]any{http.StatusNoContent: nil}, Do: s.deleteOverride,
		}}},
		{Pattern: "/orgs/{org}/overrides/dry-run", Given: previews, Operations: []rest.Operation{{
			Method: http.MethodPost, ID: "previewOverride", Summary: "Tell what an override would do, and write nothing.", Scope: readOverrides,
			Query: []rest.Param{byProject, ofKey, underPlan}, Body: new(terms).all,
			Answers: map[int]any{http.StatusOK: forecasts{}}, Do: s.previewOverride,
		}}},
		{Pattern: "/orgs/{org}/projects/{project}/limits", Given: s.Limiter != nil, Operations: s.limitOperations()},
		{Pattern: "/plans", Given: s.Plans != nil, Operations: []rest.Operation{{
			Method: http.MethodGet, ID: "listPlans", Summary: "List the plans.", Scope: readPlans,
			Query:   []rest.Param{rest.Limit(rest.DefaultPage, rest.MaxPage), rest.Cursor},
			Answers: map[int]any{http.StatusOK: rest.Page[plan]{}}, Do: s.listPlans,
		}}},
		{Pattern: "/plans/{id}", Given: s.Plans != nil, Operations: s.planOperations()},
	}
}

func (s *Resources) overrideOperations() []rest.Operation {
	return []rest.Operation{{
		Method: http.MethodGet, ID: "listOverrides", Summary: "List the overrides of an org.", Scope: readOverrides,
		Query: []rest.Param{
			byProject, byEndpoint,
			rest.EnumParam("state", "What time it is for the override.", ratelimit.StatePending, ratelimit.StateActive, ratelimit.StateEnded),
			rest.TimeParam("ending_before", "Only those that end, and do so before this time."),
			rest.Limit(rest.DefaultPage, rest.MaxPage), rest.Cursor,
		},
		Answers: map[int]any{http.StatusOK: rest.Page[override]{}}, Do: s.listOverrides,
	}, {
		Method: http.MethodPut, ID: "putOverride", Summary: "Write the override of a project, an endpoint and a policy.", Scope: writeOverrides,
		Body: new(terms).all, Conditional: true, Creating: true, Tagged: true, Located: true,
		Answers: map[int]any{http.StatusOK: override{}, http.StatusCreated: override{}}, Do: s.putOverride,
	}, {
		Method: http.MethodDelete, ID: "clearOverrides", Summary: "Delete all overrides of a project; or, with an empty one, those of the whole org.",
		Scope: writeOverrides, Query: []rest.Param{byProject},
		Answers: map[int]any{http.StatusOK: cleared{}}, Do: s.clearOverrides,
	}}
}

func (s *Resources) limitOperations() []rest.Operation {
	return []rest.Operation{{
		Method: http.MethodGet, ID: "listLimits", Summary: "Show each limit of a project: what it is, why, and what of it is used.", Scope: readLimits,
		Query:   []rest.Param{byEndpoint, ofKey, underPlan},
		Answers: map[int]any{http.StatusOK: rest.Page[limit]{}}, Do: s.listLimits,
	}, {
		Method: http.MethodDelete, ID: "resetLimits", Summary: "Forget what was counted.", Scope: writeLimits,
		Query: []rest.Param{
			byEndpoint, byPolicy, ofKey,
			rest.EnumParam("partition", "Which counts are meant.", ratelimit.ByProject, ratelimit.ByKey, ratelimit.ByOrg),
		},
		Conflict: true, Answers: map[int]any{http.StatusOK: rest.Page[count]{}}, Do: s.resetLimits,
	}}
}

func (s *Resources) planOperations() []rest.Operation {
	return []rest.Operation{{
		Method: http.MethodGet, ID: "getPlan", Summary: "Read a plan.", Scope: readPlans,
		Tagged: true, Answers: map[int]any{http.StatusOK: plan{}}, Do: s.getPlan,
	}, {
		Method: http.MethodPut, ID: "putPlan", Summary: "Write a plan.", Scope: writePlans,
		Body:        func() []strict.Field { return rulesInto(new([]*terms)) },
		Conditional: true, Creating: true, Tagged: true,
		Answers: map[int]any{http.StatusOK: plan{}, http.StatusCreated: plan{}}, Do: s.putPlan,
	}, {
		Method: http.MethodDelete, ID: "deletePlan", Summary: "Delete a plan.", Scope: writePlans,
		Conditional: true, Answers: map[int]any{http.StatusNoContent: nil}, Do: s.deletePlan,
	}}
}
