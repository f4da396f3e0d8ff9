package admin

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/tollgate-go/tollgate/middleware/meter"
)

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
