package self

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/meter"
)

// used is what the caller's project used of one thing in one period.
type used struct {
	Period  time.Time `json:"period"`
	Product string    `json:"product"`
	Kind    string    `json:"kind"`
	Source  string    `json:"source"`
	Units   int64     `json:"units"`
}

const (
	maxDays  = 92
	maxItems = 10_000
)

func (h *Handler) usage(ctx context.Context, who *authkey.Identity, q query) (any, error) {
	if who.Org == "" || who.Project == "" { // which would ask for all projects of the org
		return nil, errors.New("self: an identity without an org or a project has no usage of its own")
	}
	asked, err := usageQuery(q, time.Now().UTC())
	if err != nil {
		return nil, err
	}
	asked.Org, asked.Project = who.Org, who.Project
	items, err := h.reader.Usage(ctx, asked)
	if errors.Is(err, meter.ErrInvalid) {
		return nil, badQuery("The range must be within the years 1970 to 9999.")
	}
	if err != nil {
		return nil, err
	}
	if len(items) > maxItems {
		return nil, badQuery("That is more than " + strconv.Itoa(maxItems) + " items: ask for a shorter range or a longer step.")
	}
	told := list[used]{Items: make([]used, 0, len(items))}
	for _, item := range items {
		if item.Project == who.Project {
			told.Items = append(told.Items, used{item.Period, item.Product, item.Kind, item.Source, item.Units})
		}
	}
	return told, nil
}

// usageQuery reads the parameters. The hour that to lies in counts as a whole, as that of from does.
func usageQuery(q query, now time.Time) (meter.Query, error) {
	asked := meter.Query{Step: meter.Step(cmp.Or(q["step"], string(meter.Hour)))}
	if _, given := q["step"]; given && !slices.Contains([]string{string(meter.Hour), string(meter.Day), string(meter.Month)}, q["step"]) {
		return asked, badQuery("The query parameter step must be hour, day or month.")
	}
	to, err := q.time("to", now)
	if err != nil {
		return asked, err
	}
	asked.To = to.Add(time.Hour - 1).Truncate(time.Hour)
	from, err := q.time("from", asked.To.Add(-24*time.Hour))
	if err != nil {
		return asked, err
	}
	asked.From = from.Truncate(time.Hour)
	if !from.Before(to) || to.Sub(from) > maxDays*24*time.Hour {
		return asked, badQuery("The query parameter from must be before to, which is now where it is absent, by at most " + strconv.Itoa(maxDays) + " days.")
	}
	return asked, nil
}
