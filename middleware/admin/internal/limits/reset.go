package limits

import (
	"cmp"
	"context"
	"net/http"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/internal/peek"
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

func (s *Resources) resetLimits(c *rest.Call) (rest.Reply, error) {
	limiter, ok := s.Limiter.(resetter)
	if !ok {
		return rest.Reply{}, rest.NotServed()
	}
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	partition, err := partitionIn(q)
	if err != nil {
		return rest.Reply{}, err
	}
	if _, err := s.findKey(c, q["key"]); err != nil {
		return rest.Reply{}, err
	}
	endpoints, err := s.declared(q)
	if err != nil {
		return rest.Reply{}, err
	}
	matching, err := match(q, endpoints, partition)
	if err != nil {
		return rest.Reply{}, err
	}
	items := []count{}
	for i := range matching {
		if err := s.reset(c, limiter, &matching[i], q, partition); err != nil {
			return rest.Reply{}, err
		}
		for _, p := range matching[i].Policies {
			items = append(items, count{matching[i].Name, p.Name, partition, p.Shared})
		}
	}
	return rest.Reply{Body: rest.Page[count]{Items: items}}, nil
}

// partitionIn returns which counts are meant: the key's if one is named, else the project's. Those of the whole
// org, which other projects use too, have to be asked for.
func partitionIn(q rest.Query) (ratelimit.Partition, error) {
	key, err := q.Key()
	if err != nil {
		return "", err
	}
	partition := ratelimit.ByProject
	if key != "" {
		partition = ratelimit.ByKey
	}
	text, ok := q.Given("partition")
	if !ok {
		return partition, nil
	}
	partition, err = rest.OneOf(ratelimit.ByProject, ratelimit.ByKey, ratelimit.ByOrg)(text)
	if err != nil || (partition == ratelimit.ByKey) != (key != "") {
		return "", rest.BadQuery("The query parameter partition must be project or org, without a key; or key, with one.")
	}
	return partition, nil
}

// match returns the endpoints with those of their policies that are meant; not those that have none.
func match(q rest.Query, endpoints []peek.Endpoint, partition ratelimit.Partition) ([]peek.Endpoint, error) {
	name, named := q.Given("policy")
	var matching []peek.Endpoint
	other := ratelimit.Partition("")
	for i := range endpoints {
		at := peek.Endpoint{Name: endpoints[i].Name}
		for _, p := range endpoints[i].Policies {
			switch by := cmp.Or(p.Partition, ratelimit.ByProject); {
			case named && p.Name != name:
			case by != partition:
				other = by
			default:
				at.Policies = append(at.Policies, p)
			}
		}
		if len(at.Policies) > 0 {
			matching = append(matching, at)
		}
	}
	switch {
	case len(matching) > 0:
		return matching, nil
	case other == "":
		return nil, rest.NotFound()
	}
	return nil, rest.NewProblem(http.StatusConflict, rest.CodePartition, "Nothing was reset: what matches is not counted by "+string(partition)+". "+
		"Ask with a key for what is counted by key, and with partition=org for what is counted for the whole org, all its projects together.")
}

// reset forgets the counts of an endpoint's policies, and reports it.
func (s *Resources) reset(c *rest.Call, limiter resetter, at *peek.Endpoint, q rest.Query, partition ratelimit.Partition) error {
	request := ratelimit.Request{Org: c.Org, Project: c.Project, Key: q["key"], Endpoint: at.Name}
	for _, p := range at.Policies {
		request.Charges = append(request.Charges, ratelimit.Charge{Policy: p})
	}
	if err := limiter.Reset(c.Context(), request); err != nil {
		return err
	}
	change := rest.Change{Action: "limits.reset", Project: c.Project, ID: q["key"], Endpoint: at.Name, Policy: q["policy"]}
	if partition == ratelimit.ByOrg {
		change.Project = ""
	}
	c.Report(change)
	return nil
}
