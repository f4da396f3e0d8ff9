package admin

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// limit is what a policy comes to for a project at an endpoint. Used and what follows from it is absent
// where the policy counts each key by itself and no key was named.
type limit struct {
	Endpoint   string `json:"endpoint"`
	Policy     string `json:"policy"`
	Limit      int64  `json:"limit"`
	Window     string `json:"window"`
	Used       *int64 `json:"used,omitempty"`
	Remaining  *int64 `json:"remaining,omitempty"`
	ResetAfter string `json:"reset_after,omitempty"`
	Source     string `json:"source"`
	Partition  string `json:"partition"`
	Monitor    bool   `json:"monitor,omitempty"`
}

// noKey stands for the key where none was named: the limit of a policy is the same for all of them.
const noKey = "-"

func (h *Handler) route(endpoint string) *route {
	for i := range h.routes {
		if h.routes[i].endpoint == endpoint {
			return &h.routes[i]
		}
	}
	return nil
}

func (h *Handler) listLimits(c *call) (reply, error) {
	q, err := c.query("endpoint", "key")
	if err != nil {
		return reply{}, err
	}
	if len(q["key"]) > maxPath {
		return reply{}, badQuery("The query parameter key must be the id of a key.")
	}
	routes := h.routes
	if endpoint, ok := q.given("endpoint"); ok {
		declared := h.route(endpoint)
		if declared == nil {
			return reply{}, notFound()
		}
		routes = []route{*declared}
	}
	items := []limit{}
	for i := range routes {
		found, err := h.peek(c, &routes[i], q["key"])
		if err != nil {
			return reply{}, err
		}
		items = append(items, found...)
	}
	return reply{body: page[limit]{Items: items}}, nil
}

// peek asks the limiter for all policies of a route, and takes nothing.
func (h *Handler) peek(c *call, at *route, key string) ([]limit, error) {
	if len(at.policies) == 0 {
		return nil, nil
	}
	request := ratelimit.Request{Org: c.org, Project: c.project, Key: key, Endpoint: at.endpoint, Peek: true}
	if key == "" {
		request.Key = noKey
	}
	for _, p := range at.policies {
		request.Charges = append(request.Charges, ratelimit.Charge{Policy: p})
	}
	decision, err := h.limiter.Admit(c.r.Context(), request)
	if err != nil {
		return nil, err
	}
	limits := make([]limit, len(decision.Results))
	for i := range decision.Results {
		r := &decision.Results[i]
		limits[i] = limit{
			Endpoint: at.endpoint, Policy: r.Policy, Limit: r.Limit, Window: durationText(r.Window),
			Source: r.Source, Partition: string(r.Partition), Monitor: r.Monitor,
		}
		if r.Partition == ratelimit.ByKey && key == "" {
			continue
		}
		limits[i].Used, limits[i].Remaining = &r.Used, &r.Remaining
		if r.Used > 0 {
			limits[i].ResetAfter = durationText(r.ResetAfter)
		}
	}
	return limits, nil
}

// used is a meter.Item as JSON has it.
type used struct {
	Period  time.Time `json:"period"`
	Project string    `json:"project"`
	Product string    `json:"product"`
	Kind    string    `json:"kind"`
	Source  string    `json:"source"`
	Units   int64     `json:"units"`
}

// Pages of usage are longer: a month by the hour is more than 700 items for a single name.
const maxUsagePage = 1000

// usagePlace is where a page of usage ended. It holds the range too, so that all pages are of one range,
// whatever the time is by then.
type usagePlace struct {
	From int64  `json:"f"` // Unix seconds
	To   int64  `json:"t"`
	Last used   `json:"l"` // without units
	Step string `json:"s"`
}

func (h *Handler) listUsage(c *call) (reply, error) {
	q, err := c.query("project", "from", "to", "step", "limit", "cursor")
	if err != nil {
		return reply{}, err
	}
	limit, err := q.page(maxUsagePage, maxUsagePage)
	if err != nil {
		return reply{}, err
	}
	asked, err := usageQuery(c.org, q)
	if err != nil {
		return reply{}, err
	}
	var after usagePlace
	continued, err := q.cursor(&after)
	if err != nil {
		return reply{}, err
	}
	if continued {
		if after.Step != string(asked.Step) {
			return reply{}, badCursor()
		}
		asked.From, asked.To = time.Unix(after.From, 0).UTC(), time.Unix(after.To, 0).UTC()
	}
	items, err := h.readUsage(c.r.Context(), asked, after.Last, continued)
	if err != nil {
		return reply{}, err
	}
	return reply{body: cut(items, limit, func(last *used) any {
		place := *last
		place.Units = 0
		return usagePlace{asked.From.Unix(), asked.To.Unix(), place, string(asked.Step)}
	})}, nil
}

// usageQuery reads the parameters. The hour that To lies in counts as a whole, as that of From does.
func usageQuery(org string, q query) (meter.Query, error) {
	asked := meter.Query{Org: org, Project: q["project"], Step: meter.Hour}
	if project, ok := q.given("project"); ok && project == "" {
		return asked, badQuery("The query parameter project must not be empty; leave it out for all projects.")
	}
	if step, ok := q.given("step"); ok {
		asked.Step = meter.Step(step)
	}
	if asked.Step != meter.Hour && asked.Step != meter.Day && asked.Step != meter.Month {
		return asked, badQuery("The query parameter step must be hour, day or month.")
	}
	to, err := q.time("to", time.Now().UTC())
	if err != nil {
		return asked, err
	}
	asked.To = to.Add(time.Hour - 1).Truncate(time.Hour)
	from, err := q.time("from", asked.To.Add(-24*time.Hour))
	if err != nil {
		return asked, err
	}
	if !from.Before(to) {
		return asked, badQuery("The query parameter from must be before to, which is now where it is absent.")
	}
	asked.From = from.Truncate(time.Hour)
	return asked, nil
}

// readUsage returns what comes after a place, if there is one.
func (h *Handler) readUsage(ctx context.Context, asked meter.Query, after used, continued bool) ([]used, error) {
	all, err := h.usage.Usage(ctx, asked)
	if errors.Is(err, meter.ErrInvalid) {
		return nil, badQuery("The range must be from a time before to, of at most 400 days, within the years 1970 to 9999, and its usage not more than can be told at once.")
	}
	if err != nil {
		return nil, err
	}
	items := make([]used, 0, len(all))
	for i := range all {
		item := used{all[i].Period, all[i].Project, all[i].Product, all[i].Kind, all[i].Source, all[i].Units}
		if !continued || item.compare(&after) > 0 {
			items = append(items, item)
		}
	}
	return items, nil
}

// compare orders items as a meter.Reader does.
func (u *used) compare(other *used) int {
	return cmp.Or(
		u.Period.Compare(other.Period), cmp.Compare(u.Project, other.Project), cmp.Compare(u.Product, other.Product),
		cmp.Compare(u.Kind, other.Kind), cmp.Compare(u.Source, other.Source),
	)
}
