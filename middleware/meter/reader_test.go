package meter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestUsageByStep(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		org, m := redistest.Org(t), newMeter(t, rdb)
		record := func(when, project, kind, source string, units int64) {
			m.Record(middleware.Usage{Org: org, Project: project, Product: "stores", Kind: kind, Source: source, Units: units, At: at(when)})
		}
		record("2024-02-28 23:59", "a", "search", "", 1)
		record("2024-02-29 00:00", "a", "search", "", 2)
		record("2024-02-29 00:59", "a", "search", "", 4)
		record("2024-02-29 23:59", "a", "search", "", 8)
		record("2024-03-01 00:00", "b", "search", "web", 16)
		record("2024-03-01 00:01", "b", "search", "app", 32)
		record("2024-03-01 00:02", "b", "detail", "", 64)
		record("2024-03-01 00:03", "a", "search", "", 128)
		record("2024-03-31 23:30", "a", "search", "", 256)
		flush(t, m)

		item := func(period, project, kind, source string, units int64) Item {
			return Item{Period: at(period), Project: project, Product: "stores", Kind: kind, Source: source, Units: units}
		}
		march := []Item{
			item("2024-03-01 00:00", "a", "search", "", 128), item("2024-03-01 00:00", "b", "detail", "", 64),
			item("2024-03-01 00:00", "b", "search", "app", 32), item("2024-03-01 00:00", "b", "search", "web", 16),
		}
		for _, tt := range []struct {
			name, from, to, project string
			step                    Step
			want                    []Item
		}{
			{"hours", "2024-02-28 00:00", "2024-03-02 00:00", "", "", slices.Concat([]Item{
				item("2024-02-28 23:00", "a", "search", "", 1), item("2024-02-29 00:00", "a", "search", "", 6),
				item("2024-02-29 23:00", "a", "search", "", 8),
			}, march)},
			{"days", "2024-02-28 00:00", "2024-03-02 00:00", "", Day, slices.Concat([]Item{
				item("2024-02-28 00:00", "a", "search", "", 1), item("2024-02-29 00:00", "a", "search", "", 14),
			}, march)},
			{"months", "2024-02-01 00:00", "2024-04-01 00:00", "a", Month, []Item{
				item("2024-02-01 00:00", "a", "search", "", 15), item("2024-03-01 00:00", "a", "search", "", 384),
			}},
			{"a month cut by the range", "2024-02-29 01:00", "2024-03-31 23:00", "a", Month, []Item{
				item("2024-02-01 00:00", "a", "search", "", 8), item("2024-03-01 00:00", "a", "search", "", 128),
			}},
			{"from within an hour", "2024-02-29 00:59", "2024-02-29 01:00", "", Hour, []Item{item("2024-02-29 00:00", "a", "search", "", 6)}},
			{"to within an hour is not in it", "2024-02-28 23:00", "2024-02-29 00:59", "", Hour, []Item{item("2024-02-28 23:00", "a", "search", "", 1)}},
			{"within one hour", "2024-02-29 00:10", "2024-02-29 00:50", "", Hour, []Item{}},
			{"another project", "2024-02-28 00:00", "2024-03-02 00:00", "c", Hour, []Item{}},
			{"the longest range", "2023-12-01 00:00", "2025-01-04 00:00", "b", Month, march[1:]},
		} {
			t.Run(tt.name, func(t *testing.T) {
				got, err := m.Usage(t.Context(), Query{Org: org, Project: tt.project, From: at(tt.from), To: at(tt.to), Step: tt.step})
				if err != nil || !slices.Equal(got, tt.want) {
					t.Errorf("Usage = %v, %v; want %v", got, err, tt.want)
				}
			})
		}
	})
}

func TestUsageInAnotherZone(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		org, m := redistest.Org(t), newMeter(t, rdb)
		zone := time.FixedZone("half", 5*3600+1800)
		u := usage(org, 7)
		u.At = time.Date(2026, 1, 1, 5, 29, 0, 0, zone) // 23:59 UTC the day before
		m.Record(u)
		flush(t, m)
		got, err := m.Usage(t.Context(), Query{Org: org, From: u.At, To: u.At.Add(2 * time.Hour), Step: Day})
		if err != nil || len(got) != 1 || got[0].Period != at("2025-12-31 00:00") || got[0].Units != 7 {
			t.Errorf("Usage = %v, %v; want 7 units on 2025-12-31 UTC", got, err)
		}
	})
}

func TestUsageBounds(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // a query out of bounds asks nobody
	t.Cleanup(func() { rdb.Close() })
	r, err := NewReader(rdb)
	if err != nil {
		t.Fatalf("NewReader: %v", err)
	}
	long := strings.Repeat("x", maxName+1)
	for _, tt := range []struct {
		name  string
		query Query
		texts []string
	}{
		{"the zero query", Query{}, []string{"Org must be", "within the years"}},
		{"long names", Query{Org: long, Project: long, From: noon, To: noon.Add(time.Hour)}, []string{"Org must be", "Project must be"}},
		{"unknown step", Query{Org: "acme", From: noon, To: noon.Add(time.Hour), Step: "week"}, []string{`Step "week"`}},
		{"no range", Query{Org: "acme", From: noon, To: noon}, []string{"From must be before To"}},
		{"backwards", Query{Org: "acme", From: noon, To: noon.Add(-time.Hour)}, []string{"From must be before To"}},
		{"too long", Query{Org: "acme", From: noon, To: noon.Add(400*day + 1)}, []string{"more than 400 days"}},
		{"before 1970", Query{Org: "acme", From: time.Unix(-1, 0), To: time.Unix(3600, 0)}, []string{"within the years"}},
		{"year 10000", Query{Org: "acme", From: time.Unix(maxHour-3600, 0), To: time.Unix(maxHour, 0)}, []string{"within the years"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			items, err := r.Usage(t.Context(), tt.query)
			if items != nil || !errors.Is(err, ErrInvalid) {
				t.Fatalf("Usage = %v, %v; want ErrInvalid", items, err)
			}
			for _, text := range tt.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("Usage: %q does not name %q", err, text)
				}
			}
		})
	}
}

func TestUsageWithoutRedis(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialerRetries: 1})
	defer rdb.Close()
	r, err := NewReader(rdb)
	if err != nil {
		t.Fatalf("NewReader: %v", err)
	}
	q := Query{Org: "acme", From: noon, To: noon.Add(time.Hour)}
	if items, err := r.Usage(t.Context(), q); items != nil || !errors.Is(err, ErrUnavailable) {
		t.Errorf("Usage = %v, %v; want ErrUnavailable", items, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Usage(ctx, q); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("Usage after cancel = %v; want ErrUnavailable and context.Canceled", err)
	}
}
