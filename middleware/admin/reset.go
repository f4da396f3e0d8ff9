package admin

import (
	"cmp"
	"context"
	"net/http"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// resetter is a limiter that can forget counts. *ratelimit.Limiter is one.
type resetter interface {
	Reset(ctx context.Context, request ratelimit.Request) error
}

// count is one that was reset.
type count struct {
	Endpoint  string              `json:"endpoint"`
	Policy    string              `json:"policy"`
	Partition ratelimit.Partition `json:"partition"`
	Shared    bool                `json:"shared,omitempty"`
}

func (h *Handler) resetLimits(c *call) (reply, error) {
	limiter, ok := h.limiter.(resetter)
	if !ok {
		return reply{}, notServed()
	}
	q, err := c.query("endpoint", "policy", "key", "partition")
	if err != nil {
		return reply{}, err
	}
	partition, err := q.partition()
	if err != nil {
		return reply{}, err
	}
	if _, err := h.findNamed(c, q["key"]); err != nil {
		return reply{}, err
	}
	routes, err := h.declared(q)
	if err != nil {
		return reply{}, err
	}
	matching, err := q.match(routes, partition)
	if err != nil {
		return reply{}, err
	}
	items := []count{}
	for i := range matching {
		if err := h.reset(c, limiter, &matching[i], q, partition); err != nil {
			return reply{}, err
		}
		for _, p := range matching[i].policies {
			items = append(items, count{matching[i].endpoint, p.Name, partition, p.Shared})
		}
	}
	return reply{body: page[count]{Items: items}}, nil
}

// partition returns which counts are meant: the key's if one is named, else the project's. Those of the whole
// org, which other projects use too, have to be asked for.
func (q query) partition() (ratelimit.Partition, error) {
	key, err := q.key()
	if err != nil {
		return "", err
	}
	partition := ratelimit.ByProject
	if key != "" {
		partition = ratelimit.ByKey
	}
	text, ok := q.given("partition")
	if !ok {
		return partition, nil
	}
	partition, err = oneOf(ratelimit.ByProject, ratelimit.ByKey, ratelimit.ByOrg)(text)
	if err != nil || (partition == ratelimit.ByKey) != (key != "") {
		return "", badQuery("The query parameter partition must be project or org, without a key; or key, with one.")
	}
	return partition, nil
}

// match returns the routes with those of their policies that are meant; not those that have none.
func (q query) match(routes []route, partition ratelimit.Partition) ([]route, error) {
	name, named := q.given("policy")
	var matching []route
	other := ratelimit.Partition("")
	for i := range routes {
		at := route{endpoint: routes[i].endpoint}
		for _, p := range routes[i].policies {
			switch by := cmp.Or(p.Partition, ratelimit.ByProject); {
			case named && p.Name != name:
			case by != partition:
				other = by
			default:
				at.policies = append(at.policies, p)
			}
		}
		if len(at.policies) > 0 {
			matching = append(matching, at)
		}
	}
	switch {
	case len(matching) > 0:
		return matching, nil
	case other == "":
		return nil, notFound()
	}
	return nil, problemOf(http.StatusConflict, codePartition, "Nothing was reset: what matches is not counted by "+string(partition)+". "+
		"Ask with a key for what is counted by key, and with partition=org for what is counted for the whole org, all its projects together.")
}

// reset forgets the counts of a route's policies, and reports it.
func (h *Handler) reset(c *call, limiter resetter, at *route, q query, partition ratelimit.Partition) error {
	request := ratelimit.Request{Org: c.org, Project: c.project, Key: q["key"], Endpoint: at.endpoint}
	for _, p := range at.policies {
		request.Charges = append(request.Charges, ratelimit.Charge{Policy: p})
	}
	if err := limiter.Reset(c.r.Context(), request); err != nil {
		return err
	}
	change := Change{Action: "limits.reset", Project: c.project, ID: q["key"], Endpoint: at.endpoint, Policy: q["policy"]}
	if partition == ratelimit.ByOrg {
		change.Project = ""
	}
	h.tell(c, change)
	return nil
}
