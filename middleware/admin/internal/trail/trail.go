// Package trail serves audit trails on the admin route: that of an org, and that of the plans, which belong to none.
package trail

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tollgate-go/tollgate/middleware/admin/auditlog"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
)

// Resources is what there is to serve; a nil Log is not served. Fields are not changed after Routes.
type Resources struct{ Log *auditlog.Log }

const readAudit = "audit:read"

// The orders of a list.
const (
	newest = "newest"
	oldest = "oldest"
)

// Routes returns the routes.
func (s *Resources) Routes() []rest.Route {
	return []rest.Route{
		s.list("/orgs/{org}/audit", "listAudit", "List who changed what of an org."),
		s.verify("/orgs/{org}/audit:verify", "verifyAudit", "Tell whether the audit trail of an org is as it was written."),
		s.list("/audit", "listPlanAudit", "List who changed which plan."),
		s.verify("/audit:verify", "verifyPlanAudit", "Tell whether the audit trail of the plans is as it was written."),
	}
}

func (s *Resources) list(pattern, id, summary string) rest.Route {
	return rest.Route{Pattern: pattern, Given: s.Log != nil, Operations: []rest.Operation{{
		Method: http.MethodGet, ID: id, Summary: summary, Scope: readAudit,
		Query: []rest.Param{
			rest.TextParam("actor", "Only what this actor did."),
			rest.TextParam("action", "Only this action, such as key.revoke."),
			rest.TextParam("id", "Only what was done to this key, override or plan."),
			rest.TimeParam("from", "Only what was written at this time or later."),
			rest.TimeParam("to", "Only what was written before this time."),
			rest.EnumParam("order", "What comes first; newest where it is absent.", newest, oldest),
			rest.Limit(rest.DefaultPage, rest.MaxPage), rest.Cursor,
		},
		Answers: map[int]any{http.StatusOK: entries{}}, Do: s.listEntries,
	}}}
}

func (s *Resources) verify(pattern, id, summary string) rest.Route {
	return rest.Route{Pattern: pattern, Given: s.Log != nil, Operations: []rest.Operation{{
		Method: http.MethodGet, ID: id, Summary: summary, Scope: readAudit,
		Query: []rest.Param{
			{Name: "seq", Doc: "The seq of a head that was kept elsewhere; with link.", Schema: map[string]any{"type": "integer", "minimum": 0}},
			rest.TextParam("link", "The link of that head."),
		},
		Answers: map[int]any{http.StatusOK: auditlog.Report{}}, Do: s.verifyTrail,
	}}}
}

// entries is a page of a trail. Head is its last entry, whatever the page is of; absent where that is damaged.
type entries struct {
	rest.Page[auditlog.Entry]

	Head *auditlog.Head `json:"head,omitempty" doc:"The end of the trail. Keep it elsewhere, and verify against it."`
}

// place is where a page ended.
type place struct {
	After string `json:"a"`
	Order string `json:"o"`
}

func (s *Resources) listEntries(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	asked, order, err := queryOf(q)
	if err != nil {
		return rest.Reply{}, err
	}
	head, err := s.head(c.Context(), c.Org) // before the entries, so that none of them is missing from a whole page
	if err != nil {
		return rest.Reply{}, err
	}
	items, next, err := s.Log.Entries(c.Context(), c.Org, asked)
	if err != nil {
		return rest.Reply{}, explain(err)
	}
	answer := entries{Page: rest.Page[auditlog.Entry]{Items: items}, Head: head}
	if next != "" {
		answer.Next = rest.CursorOf(place{next, order})
	}
	return rest.Reply{Body: answer}, nil
}

// queryOf reads the parameters of a list.
func queryOf(q rest.Query) (asked auditlog.Query, order string, err error) {
	asked = auditlog.Query{Actor: q["actor"], Action: q["action"], ID: q["id"], Order: auditlog.NewestFirst}
	order = newest
	if text, ok := q.Given("order"); ok {
		order = text
	}
	switch order {
	case newest:
	case oldest:
		asked.Order = auditlog.OldestFirst
	default:
		return asked, "", rest.BadQuery("The query parameter order must be newest or oldest.")
	}
	for name, into := range map[string]*time.Time{"from": &asked.From, "to": &asked.To} {
		if *into, err = q.Time(name, time.Time{}); err != nil {
			return asked, "", err
		}
	}
	if asked.Limit, err = q.Limit(rest.DefaultPage, rest.MaxPage); err != nil {
		return asked, "", err
	}
	var after place
	continued, err := q.Cursor(&after)
	if err == nil && continued && (after.Order != order || after.After == "") {
		err = rest.BadCursor()
	}
	asked.After = after.After
	return asked, order, err
}

func (s *Resources) head(ctx context.Context, org string) (*auditlog.Head, error) {
	head, err := s.Log.Head(ctx, org)
	switch {
	case errors.Is(err, auditlog.ErrDamaged): // the list shows it
		return nil, nil //nolint:nilnil // no head is an answer
	case err != nil:
		return nil, explain(err)
	}
	return &head, nil
}

func (s *Resources) verifyTrail(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	var anchor *auditlog.Head
	seq, given := q.Given("seq")
	link, linked := q.Given("link")
	if given != linked {
		return rest.Reply{}, rest.BadQuery("The query parameters seq and link go together: they are a head.")
	}
	if given {
		n, err := strconv.ParseInt(seq, 10, 64)
		if err != nil {
			return rest.Reply{}, rest.BadQuery("The query parameter seq must be a number.")
		}
		anchor = &auditlog.Head{Seq: n, Link: link}
	}
	report, err := s.Log.Verify(c.Context(), c.Org, anchor)
	if err != nil {
		return rest.Reply{}, explain(err)
	}
	return rest.Reply{Body: report}, nil
}

// explain says of a failure whose it is.
func explain(err error) error {
	switch {
	case errors.Is(err, auditlog.ErrInvalid):
		return rest.BadQuery("The query parameters must be a head that was told before, times of the years 1970 to 9999, and a cursor of the same list.")
	case errors.Is(err, auditlog.ErrUnavailable):
		return fmt.Errorf("%w: %w", rest.ErrUnavailable, err)
	}
	return err
}
