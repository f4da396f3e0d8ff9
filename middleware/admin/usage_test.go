package admin_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/middleware/meter"
)

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestUsage(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		org := redistest.Org(t)
		now := time.Now().UTC()
		hour := now.Truncate(time.Hour)
		for _, u := range []middleware.Usage{
			{Org: org, Project: "p", Product: "demo", Kind: "search", Units: 3, At: now},
			{Org: org, Project: "p", Product: "demo", Kind: "search", Units: 4, At: hour.Add(-time.Hour)},
			{Org: org, Project: "q", Product: "demo", Kind: "search", Source: "app", Units: 5, At: now},
			{Org: org, Project: "p", Product: "demo", Kind: "search", Units: 6, At: hour.Add(-30 * time.Hour)},
		} {
			s.meter.Record(u)
		}
		if err := s.meter.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		item := func(period time.Time, project, source string, units float64) map[string]any {
			return map[string]any{"period": period.Format(time.RFC3339), "project": project, "product": "demo", "kind": "search", "source": source, "units": units}
		}
		p, before, q, old := item(hour, "p", "", 3), item(hour.Add(-time.Hour), "p", "", 4), item(hour, "q", "app", 5), item(hour.Add(-30*time.Hour), "p", "", 6)
		at := func(d time.Duration) string { return url.QueryEscape(hour.Add(d).Format(time.RFC3339)) }
		for _, row := range []struct {
			query string
			want  []map[string]any
		}{
			{"", []map[string]any{before, p, q}},
			{"?project=p", []map[string]any{before, p}},
			{"?project=none", nil},
			{"?from=" + at(-31*time.Hour), []map[string]any{old, before, p, q}},
			{"?from=" + at(-31*time.Hour) + "&to=" + at(0), []map[string]any{old, before}},
			{"?to=" + at(time.Second) + "&step=hour", []map[string]any{before, p, q}}, // the begun hour counts
		} {
			got := serve(t, s.admin, request("GET", "/v1/orgs/"+org+"/usage"+row.query, "")).want(t, 200, "").items(t)
			if len(got) != len(row.want) || len(got) > 0 && !reflect.DeepEqual(got, row.want) {
				t.Errorf("usage%s is %v, want %v", row.query, got, row.want)
			}
		}
	})
}

func TestUsageQuery(t *testing.T) {
	t.Parallel()
	var asked meter.Query
	h := newHandler(t, admin.WithUsage(usageFunc(func(q meter.Query) ([]meter.Item, error) {
		asked = q
		if q.To.Sub(q.From) > 400*24*time.Hour {
			return nil, fmt.Errorf("%w query", meter.ErrInvalid)
		}
		return nil, nil
	})))
	for _, query := range []string{
		"from=yesterday", "from=2026-01-01", "to=1767225600", "from=", "step=year", "step=", "step=Hour", "project=", "org=x", "limit=1001", "limit=0",
		"from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from=2026-01-01T00:30:00Z&to=2026-01-01T00:20:00Z",
		"from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "from=9999-01-01T00:00:00Z",
		"from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "cursor=x", "to=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
	} {
		serve(t, h, request("GET", "/v1/orgs/o/usage?"+query, "")).want(t, 400, "invalid_query")
	}
	if a := serve(t, h, request("GET", "/v1/orgs/o/usage?from=2026-01-31T23:59:59%2B02:00&to=2026-02-01T01:00:00.5Z&step=month&project=p", "")).want(t, 200, ""); a.text != `{"items":[]}` {
		t.Errorf("an empty list is %s", a.text)
	}
	want := meter.Query{Org: "o", Project: "p", Step: meter.Month, From: time.Date(2026, 1, 31, 21, 0, 0, 0, time.UTC), To: time.Date(2026, 2, 1, 2, 0, 0, 0, time.UTC)}
	if asked != want {
		t.Errorf("asked %+v, want %+v", asked, want)
	}
	serve(t, h, request("GET", "/v1/orgs/o/usage?step=day", "")).want(t, 200, "")
	if asked.To.Sub(asked.From) != 24*time.Hour || asked.To.Before(time.Now()) || asked.Step != meter.Day {
		t.Errorf("by default it asks %+v", asked)
	}
}

func TestUsagePages(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var ranges []time.Time
	h := newHandler(t, admin.WithUsage(usageFunc(func(q meter.Query) (items []meter.Item, _ error) {
		ranges = append(ranges, q.From)
		for i := range 5 {
			items = append(items, meter.Item{Period: begin.Add(time.Duration(i/2) * time.Hour), Project: fmt.Sprint("p", i%2), Product: "é\x00", Units: int64(i)})
		}
		return items, nil
	})))
	var units []float64
	query := "?limit=2&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z" // which the cursor remembers
	for range 3 {
		a := serve(t, h, request("GET", "/v1/orgs/o/usage"+query, "")).want(t, 200, "")
		for _, item := range a.items(t) {
			units = append(units, item["units"].(float64))
		}
		if next, ok := a.object["next"].(string); ok {
			query = "?limit=2&cursor=" + next
			serve(t, h, request("GET", "/v1/orgs/o/usage?step=day&cursor="+next, "")).want(t, 400, "invalid_query")
		}
	}
	if !reflect.DeepEqual(units, []float64{0, 1, 2, 3, 4}) {
		t.Errorf("pages hold %v", units)
	}
	for _, from := range ranges {
		if !from.Equal(begin) {
			t.Errorf("pages are of different ranges: %v", ranges)
		}
	}
}
