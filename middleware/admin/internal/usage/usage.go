// Package usage serves on the admin route what was used.
package usage

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/meter"
)

// Resources is what there is to serve. Fields are not changed after Routes.
type Resources struct {
	// Reader is what admin.UsageReader says; nil is not served.
	Reader interface {
		Usage(ctx context.Context, query meter.Query) ([]meter.Item, error)
	}
}

// Routes returns the routes.
func (s *Resources) Routes() []rest.Route {
	return []rest.Route{{Pattern: "/orgs/{org}/usage", Given: s.Reader != nil, Operations: []rest.Operation{{
		Method: http.MethodGet, ID: "listUsage", Summary: "Tell what was used.", Scope: "usage:read",
		Query: []rest.Param{
			rest.TextParam("project", "The name of a project; all of them where it is absent."),
			rest.TimeParam("from", "The hour to begin with; a day before the end where it is absent."),
			rest.TimeParam("to", "The hour to end with; now where it is absent."),
			rest.EnumParam("step", "What an item is the sum of.", meter.Hour, meter.Day, meter.Month),
			rest.Limit(maxPage, maxPage), rest.Cursor,
		},
		Answers: map[int]any{http.StatusOK: rest.Page[used]{}}, Do: s.list,
	}}}}
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
const maxPage = 1000

// place is where a page of usage ended. It holds the range too, so that all pages are of one range,
// whatever the time is by then.
type place struct {
	From int64  `json:"f"` // Unix seconds
	To   int64  `json:"t"`
	Last used   `json:"l"` // without units
	Step string `json:"s"`
}

func (s *Resources) list(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	limit, err := q.Limit(maxPage, maxPage)
	if err != nil {
		return rest.Reply{}, err
	}
	asked, err := queryOf(c.Org, q)
	if err != nil {
		return rest.Reply{}, err
	}
	var after place
	continued, err := q.Cursor(&after)
	if err != nil {
		return rest.Reply{}, err
	}
	if continued {
		if after.Step != string(asked.Step) {
			return rest.Reply{}, rest.BadCursor()
		}
		asked.From, asked.To = time.Unix(after.From, 0).UTC(), time.Unix(after.To, 0).UTC()
	}
	items, err := s.read(c.Context(), asked, after.Last, continued)
	if err != nil {
		return rest.Reply{}, err
	}
	return rest.Reply{Body: rest.Cut(items, limit, func(last *used) any {
		at := *last
		at.Units = 0
		return place{asked.From.Unix(), asked.To.Unix(), at, string(asked.Step)}
	})}, nil
}

// queryOf reads the parameters. The hour that To lies in counts as a whole, as that of From does.
func queryOf(org string, q rest.Query) (meter.Query, error) {
	asked := meter.Query{Org: org, Project: q["project"], Step: meter.Hour}
	if project, ok := q.Given("project"); ok && project == "" {
		return asked, rest.BadQuery("The query parameter project must not be empty; leave it out for all projects.")
	}
	if step, ok := q.Given("step"); ok {
		asked.Step = meter.Step(step)
	}
	if asked.Step != meter.Hour && asked.Step != meter.Day && asked.Step != meter.Month {
		return asked, rest.BadQuery("The query parameter step must be hour, day or month.")
	}
	to, err := q.Time("to", time.Now().UTC())
	if err != nil {
		return asked, err
	}
	asked.To = to.Add(time.Hour - 1).Truncate(time.Hour)
	from, err := q.Time("from", asked.To.Add(-24*time.Hour))
	if err != nil {
		return asked, err
	}
	if !from.Before(to) {
		return asked, rest.BadQuery("The query parameter from must be before to, which is now where it is absent.")
	}
	asked.From = from.Truncate(time.Hour)
	if asked.From.Year() < 1970 || asked.To.Year() > 9999 {
		return asked, rest.BadQuery("The query parameters from and to must lie within the years 1970 to 9999.")
	}
	return asked, nil
}

// read returns what comes after a place, if there is one.
func (s *Resources) read(ctx context.Context, asked meter.Query, after used, continued bool) ([]used, error) {
	all, err := s.Reader.Usage(ctx, asked)
	if errors.Is(err, meter.ErrInvalid) {
		return nil, rest.BadQuery("The range must be from a time before to, of at most 400 days, within the years 1970 to 9999, and its usage not more than can be told at once.")
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
