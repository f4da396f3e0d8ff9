package export

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/meter"
)

func reconcile(t *testing.T, s *stage, q Query) Report {
	t.Helper()
	q.Org = s.org
	if q.From.IsZero() {
		q.From, q.To = noon, noon.Add(5*time.Hour)
	}
	report, err := Reconcile(t.Context(), s.Client(), q)
	if err != nil {
		t.Fatalf("Reconcile: %v", err)
	}
	return report
}

func TestReconcile(t *testing.T) {
	eachStage(t, func(t *testing.T, s *stage) {
		// Hour 0 is exported, hour 1 is and has more by now, hour 2 is claimed in part, hour 4 is untouched.
		s.add(t, 0, map[string]int64{"a": 10, "b": 5})
		s.add(t, 1, map[string]int64{"a": 7})
		var r receiver
		once(t, s.exporter(t, &r))
		s.add(t, 1, map[string]int64{"a": 3})
		s.add(t, 2, map[string]int64{"a": 4, "b": 6})
		if _, err := s.ClaimUsage(t.Context(), lua.UsageHour{Org: s.org, Hour: noon.Unix() + 7200}, nil, 10); err != nil {
			t.Fatalf("ClaimUsage: %v", err)
		}
		s.add(t, 2, map[string]int64{"a": 1})
		s.add(t, 4, map[string]int64{"c": 100})
		report := reconcile(t, s, Query{Processes: []meter.Stats{
			{Recorded: 89, Flushed: 80, Pending: 9, Dropped: 3}, {Recorded: 56, Flushed: 56},
		}})
		const want = `               hour  metered  exported  claimed  left  over   verdict
  2026-03-01T12:00Z       15        15        0     0     0  exported
  2026-03-01T13:00Z       10         7        0     3     0       due
  2026-03-01T14:00Z       11         0       10    11     0       due
  2026-03-01T16:00Z      100         0        0   100     0       due
              total      136        22       10   114     0       due
admitted 148 = flushed 136 + pending 9 + dropped 3
`
		if got := report.String(); got != want {
			t.Errorf("the report is\n%swant\n%s", got, want)
		}

		once(t, s.exporter(t, &r))
		report = reconcile(t, s, Query{})
		if total := (Row{Metered: 136, Exported: 136, Verdict: VerdictExported}); report.Total != total {
			t.Errorf("the total is %+v, want %+v", report.Total, total)
		}
		r.want(t, map[string]int64{"a": 25, "b": 11, "c": 100})
	})
}

func TestReconcileVerdicts(t *testing.T) {
	eachStage(t, func(t *testing.T, s *stage) {
		now, err := s.Client().Time(t.Context()).Result()
		if err != nil {
			t.Fatalf("TIME: %v", err)
		}
		open := int(now.Sub(noon) / time.Hour)
		s.add(t, open, map[string]int64{"a": 1})
		hour := noon.Add(time.Duration(open) * time.Hour)
		if report := reconcile(t, s, Query{From: hour, To: hour.Add(time.Hour)}); report.Total.Verdict != VerdictOpen {
			t.Errorf("an hour that is not over: %+v", report.Total)
		}
		// With a grace of weeks no hour is over.
		s.add(t, open-1, map[string]int64{"a": 1})
		if report := reconcile(t, s, Query{From: hour.Add(-time.Hour), To: hour, Grace: 500 * time.Hour}); report.Total.Verdict != VerdictOpen {
			t.Errorf("an hour within its grace: %+v", report.Total)
		}

		s.add(t, 0, map[string]int64{"a": 10, "b": 1})
		var r receiver
		once(t, s.exporter(t, &r))
		key := lua.UsageKey(s.org, "1772366400")
		if err := s.Client().HSet(t.Context(), key, "a:stores:search:", 4).Err(); err != nil {
			t.Fatalf("HSET: %v", err)
		}
		want := Row{Hour: noon, Metered: 5, Exported: 5, Over: 6, Verdict: VerdictOver}
		if report := reconcile(t, s, Query{}); report.Rows[0] != want {
			t.Errorf("an hour of which Redis lost a part: %+v, want %+v", report.Rows[0], want)
		}
		if err := s.Client().HDel(t.Context(), key, "a:stores:search:").Err(); err != nil {
			t.Fatalf("HDEL: %v", err)
		}
		want = Row{Hour: noon, Metered: 1, Exported: 1, Over: 10, Verdict: VerdictOver}
		if report := reconcile(t, s, Query{}); report.Rows[0] != want {
			t.Errorf("an hour of which Redis lost a name: %+v, want %+v", report.Rows[0], want)
		}
		if err := s.Client().HSet(t.Context(), key, "a:stores:search:", "many").Err(); err != nil {
			t.Fatalf("HSET: %v", err)
		}
		_, err = Reconcile(t.Context(), s.Client(), Query{Org: s.org, From: noon, To: noon.Add(time.Hour)})
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "many") {
			t.Errorf("Reconcile of what is damaged = %v; want ErrUnavailable that names it", err)
		}
	})
}

// TestReconcileWithMeters follows units from the request to the receiver.
func TestReconcileWithMeters(t *testing.T) {
	eachStage(t, func(t *testing.T, s *stage) {
		var processes []meter.Stats
		for range 2 {
			m, err := meter.New(s.Client(), meter.WithTimeout(time.Minute), meter.WithInterval(time.Hour))
			if err != nil {
				t.Fatalf("meter.New: %v", err)
			}
			u := usageOf(s.org)
			for range 100 {
				m.Record(u)
			}
			if err := m.Close(t.Context()); err != nil {
				t.Fatalf("Close: %v", err)
			}
			m.Record(u) // too late
			processes = append(processes, m.Stats())
		}
		var r receiver
		once(t, s.exporter(t, &r))
		report := reconcile(t, s, Query{Processes: processes})
		if report.Admitted != 404 || report.Dropped != 4 || report.Flushed != 400 || report.Total.Metered != 400 || report.Total.Verdict != VerdictExported {
			t.Errorf("the report is\n%+v", report)
		}
		r.want(t, map[string]int64{"shop": 400})
	})
}

func TestReconcileInvalid(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	for name, q := range map[string]Query{
		"no org":             {From: noon, To: noon.Add(time.Hour)},
		"a long org":         {Org: strings.Repeat("a", 129), From: noon, To: noon.Add(time.Hour)},
		"no range":           {Org: "acme"},
		"a range backwards":  {Org: "acme", From: noon, To: noon.Add(-time.Hour)},
		"a range of months":  {Org: "acme", From: noon, To: noon.Add(32 * 24 * time.Hour)},
		"before 1970":        {Org: "acme", From: time.Unix(-1, 0), To: noon},
		"a grace that is no": {Org: "acme", From: noon, To: noon.Add(time.Hour), Grace: -1},
	} {
		if _, err := Reconcile(t.Context(), rdb, q); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Reconcile = %v; want ErrInvalid", name, err)
		}
	}
	good := Query{Org: "acme", From: noon, To: noon.Add(time.Hour)}
	if _, err := Reconcile(t.Context(), nil, good); err == nil || !strings.Contains(err.Error(), "client is nil") {
		t.Errorf("Reconcile without a client = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := Reconcile(ctx, rdb, good); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Reconcile without Redis = %v; want ErrUnavailable", err)
	}
}

// usageOf is two units of an org's project "shop" at noon.
func usageOf(org string) middleware.Usage {
	return middleware.Usage{Org: org, Project: "shop", Product: "stores", Kind: "search", Units: 2, At: noon}
}
