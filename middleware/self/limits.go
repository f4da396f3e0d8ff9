package self

import (
	"context"
	"net/http"
	"slices"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/internal/peek"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// limit is a policy at an endpoint, and what it comes to for the caller.
type limit struct {
	Endpoint   string              `json:"endpoint"`
	Policy     string              `json:"policy"`
	Partition  ratelimit.Partition `json:"partition"`
	Shared     bool                `json:"shared,omitempty"` // one count for all endpoints
	Unit       string              `json:"unit"`
	Limit      int64               `json:"limit"`
	Window     string              `json:"window,omitempty"`
	Burst      int64               `json:"burst,omitempty"`
	Access     ratelimit.Access    `json:"access,omitempty"` // "blocked" where the limit is zero, or "unlimited"
	Source     string              `json:"source"`           // "policy", "plan:" and a name or "override:" and an id
	Used       *int64              `json:"used,omitempty"`
	Held       int64               `json:"held,omitempty"` // the part of it that may be given back
	Remaining  *int64              `json:"remaining,omitempty"`
	NextAfter  string              `json:"next_after,omitempty"`  // until more remains
	ResetAfter string              `json:"reset_after,omitempty"` // until nothing is used
}

// maxEndpoints is how many are looked at for one request.
const maxEndpoints = 20

func (h *Handler) limits(ctx context.Context, who *authkey.Identity, q query) (any, error) {
	endpoints, next, err := h.asked(q)
	if err != nil {
		return nil, err
	}
	of := peek.Subject{Org: who.Org, Project: who.Project, Key: who.Key, Plan: who.Plan}
	told := list[limit]{Items: []limit{}, Next: next}
	for i := range endpoints {
		at := &endpoints[i]
		if len(at.Policies) == 0 {
			continue
		}
		decision, err := of.Look(ctx, at, 0, h.limiter.Admit)
		if err != nil {
			return nil, err
		}
		for j := range decision.Results {
			told.Items = append(told.Items, limitOf(at, &at.Policies[j], &decision.Results[j], who.Key))
		}
	}
	return told, nil
}

// asked returns the endpoint that is named, or those from the cursor on, and the cursor of the rest.
func (h *Handler) asked(q query) (endpoints []peek.Endpoint, next string, err error) {
	index := func(name string) int {
		return slices.IndexFunc(h.endpoints, func(e peek.Endpoint) bool { return e.Name == name })
	}
	name, named := q["endpoint"]
	cursor, continued := q["cursor"]
	switch {
	case named && continued:
		return nil, "", badQuery("The query parameter cursor is for the list of all endpoints.")
	case named:
		i := index(name)
		if i < 0 {
			return nil, "", &middleware.Error{Status: http.StatusNotFound, Code: codeNotFound, Message: "There is no such endpoint."}
		}
		return h.endpoints[i : i+1], "", nil
	}
	rest := h.endpoints
	if continued {
		i := index(cursor)
		if i < 0 {
			return nil, "", badQuery("The query parameter cursor must be the next of the page before.")
		}
		rest = rest[i:]
	}
	if len(rest) > maxEndpoints {
		return rest[:maxEndpoints], rest[maxEndpoints].Name, nil
	}
	return rest, "", nil
}

func limitOf(at *peek.Endpoint, p *ratelimit.Policy, r *ratelimit.Result, key string) limit {
	l := limit{
		Endpoint: at.Name, Policy: r.Policy, Partition: r.Partition, Shared: p.Shared, Unit: r.Unit,
		Limit: r.Limit, Burst: r.Burst, Source: r.Source,
	}
	if r.Window != 0 {
		l.Window = peek.DurationText(r.Window)
	}
	switch {
	case r.Unlimited:
		l.Access = ratelimit.Unlimited
		return l
	case r.Limit == 0:
		l.Access = ratelimit.Blocked
	}
	if r.Partition == ratelimit.ByKey && key == "" {
		return l // whoever authenticated knows no keys
	}
	l.Used, l.Held, l.Remaining = &r.Used, r.Held, &r.Remaining
	if r.Used > 0 {
		l.NextAfter, l.ResetAfter = peek.WaitText(r.NextAfter), peek.WaitText(r.ResetAfter)
	}
	return l
}
