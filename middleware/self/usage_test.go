package self_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/middleware/self"
)

func TestUsageTells(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 15, 0, 0, 0, time.UTC)
	var asked meter.Query
	h := handlerOf(t, holder, self.WithUsage(readerFunc(func(q meter.Query) ([]meter.Item, error) {
		asked = q
		return []meter.Item{ // a reader that forgot whose usage was asked for
			{Period: at, Project: "other", Product: "stores", Kind: "search", Units: 7},
			{Period: at, Project: "shop", Product: "stores", Kind: "search", Source: "web", Units: 3},
		}, nil
	})))
	a := serve(t, h, request(http.MethodGet, "/usage?step=day&from=2026-01-01T00:30:00Z&to=2026-01-31T16:30:00%2B01:00")).want(t, http.StatusOK, "")
	if want := `{"items":[{"period":"2026-01-31T15:00:00Z","product":"stores","kind":"search","source":"web","units":3}]}`; a.text != want {
		t.Errorf("answer %s, want %s", a.text, want)
	}
	want := meter.Query{Org: "demo", Project: "shop", From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: at.Add(time.Hour), Step: meter.Day}
	if asked != want {
		t.Errorf("asked %+v, want %+v", asked, want)
	}
	serve(t, h, request(http.MethodGet, "/usage")).want(t, http.StatusOK, "")
	if until := time.Now().UTC(); asked.Step != meter.Hour || asked.To.Sub(asked.From) != 24*time.Hour || asked.To.Before(until) || asked.To.Sub(until) > time.Hour {
		t.Errorf("asked %+v at %v", asked, until)
	}
}

// TestUsageOfNoProject holds that an identity without a project is not told that of all projects.
func TestUsageOfNoProject(t *testing.T) {
	t.Parallel()
	for _, who := range []authkey.Identity{{Org: "demo"}, {Project: "shop"}, {}} {
		h := handlerOf(t, who, self.WithUsage(readerFunc(func(q meter.Query) ([]meter.Item, error) {
			t.Errorf("asked %+v", q)
			return nil, nil
		})))
		serve(t, h, request(http.MethodGet, "/usage")).want(t, http.StatusInternalServerError, "internal")
	}
}

func TestUsageQueries(t *testing.T) {
	t.Parallel()
	h := handlerOf(t, holder, self.WithUsage(readerFunc(nothing)))
	for query, status := range map[string]int{
		"step=":     http.StatusBadRequest,
		"step=week": http.StatusBadRequest,
		"from=x":    http.StatusBadRequest,
		"to=":       http.StatusBadRequest,
		"from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z": http.StatusBadRequest,
		"from=2026-01-03T00:00:00Z&to=2026-01-02T00:00:00Z": http.StatusBadRequest,
		"from=2026-01-01T00:30:00Z&to=2026-04-03T00:30:00Z": http.StatusOK, // 92 days
		"from=2026-01-01T00:30:00Z&to=2026-04-03T00:30:01Z": http.StatusBadRequest,
		"from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z": http.StatusBadRequest,
		"step=month": http.StatusOK,
		"from=" + url.QueryEscape(time.Now().Add(-time.Minute).Format(time.RFC3339)): http.StatusOK,
		"from=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)):    http.StatusBadRequest,
	} {
		code := ""
		if status != http.StatusOK {
			code = "invalid_query"
		}
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			serve(t, h, request(http.MethodGet, "/usage?"+query)).want(t, status, code)
		})
	}
}

func TestUsageThatCannotBeTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		items  int
		err    error
		status int
		code   string
	}{
		{"many", 10_000, nil, http.StatusOK, ""},
		{"too many", 10_001, nil, http.StatusBadRequest, "invalid_query"},
		{"out of bounds", 0, fmt.Errorf("%w query", meter.ErrInvalid), http.StatusBadRequest, "invalid_query"},
		{"outage", 0, meter.ErrUnavailable, http.StatusServiceUnavailable, "unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := handlerOf(t, holder, self.WithUsage(readerFunc(func(meter.Query) ([]meter.Item, error) {
				items := make([]meter.Item, c.items)
				for i := range items {
					items[i].Project = "shop"
				}
				return items, c.err
			})))
			serve(t, h, request(http.MethodGet, "/usage")).want(t, c.status, c.code)
		})
	}
}
