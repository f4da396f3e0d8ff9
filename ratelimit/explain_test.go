package ratelimit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// explained has a result of each kind, and in Hold what logs must not have.
var explained = ratelimit.Decision{
	At: time.Date(2026, 3, 1, 12, 30, 0, 250_000_000, time.UTC), Hold: "a-hold",
	Results: []ratelimit.Result{
		{
			Policy: "requests", Algorithm: ratelimit.SlidingWindow, Partition: ratelimit.ByProject, Unit: "requests",
			Limit: 100, Window: time.Minute, Source: "override:AbC_-9", Level: ratelimit.LevelProjectEndpoint, Reason: "trial\nuntil \"May\"",
			Cost: 3, Exceeded: true, Used: 98, Remaining: 2,
			NextAfter: 600 * time.Millisecond, ResetAfter: 90 * time.Second, RetryAfter: 1200 * time.Millisecond,
		},
		{
			Policy: "burst", Algorithm: ratelimit.GCRA, Partition: ratelimit.ByKey, Unit: "requests",
			Limit: 10, Window: time.Second, Burst: 20, Source: ratelimit.SourcePolicy, Level: ratelimit.LevelPolicy,
			Cost: 1, Remaining: 20,
		},
		{
			Policy: "quota", Algorithm: ratelimit.CalendarWindow, Partition: ratelimit.ByOrg, Unit: "tokens", Payment: true,
			Limit: 1000, Window: 744 * time.Hour, Source: "override:x", Level: ratelimit.LevelOrg,
			Cost: 5, Exceeded: true, Monitor: true, Used: 999, Held: 40, Remaining: 1,
			NextAfter: time.Hour, ResetAfter: time.Hour, RetryAfter: ratelimit.Never,
		},
		{
			Policy: "concurrent", Algorithm: ratelimit.Concurrency, Partition: ratelimit.ByProject, Unit: "concurrent-requests",
			Limit: 4, Source: ratelimit.SourcePolicy, Level: ratelimit.LevelPolicy, Cost: 1, Used: 2, Held: 2, Remaining: 2,
		},
		{
			Policy: "free", Algorithm: ratelimit.FixedWindow, Partition: ratelimit.ByProject, Unit: "requests",
			Limit: 1, Window: time.Second, Source: "override:y", Level: ratelimit.LevelProject, Unlimited: true, Cost: 7,
		},
		{
			Policy: "next", Algorithm: ratelimit.AlignedWindow, Partition: "network", Unit: "requests", Candidate: "requests",
			Source: ratelimit.SourcePolicy, Level: ratelimit.LevelPolicy, Window: time.Second, Cost: 1, Exceeded: true, RetryAfter: ratelimit.Never,
		},
	},
}

func TestDecisionString(t *testing.T) {
	t.Parallel()
	const lines = `
"requests" 100 requests per 1m0s (sliding window, by project), level project+endpoint, override:AbC_-9 "trial\nuntil \"May\"": cost 3 exceeds, used 98, held 0, remaining 2, more after 600ms, all after 1m30s, retry after 1.2s
"burst" 10 requests per 1s, burst 20 (GCRA, by key), level policy: cost 1 fits, used 0, held 0, remaining 20
"quota" 1000 tokens per 744h0m0s (calendar window, by org), level org, override:x: cost 5 exceeds (monitored), used 999, held 40, remaining 1, more after 1h0m0s, all after 1h0m0s, retry after never
"concurrent" 4 concurrent-requests (concurrency, by project), level policy: cost 1 fits, used 2, held 2, remaining 2, more after 0s, all after 0s
"free" unlimited (fixed window, by project), level project, override:y: cost 7 fits
"next" 0 requests per 1s (aligned window, by network), level policy: cost 1 exceeds (candidate for "requests"), used 0, held 0, remaining 0, retry after never`
	allowed := explained
	allowed.Allowed = true
	for _, tt := range []struct {
		name     string
		decision ratelimit.Decision
		want     string
	}{
		{"refused", explained, "refused by Redis at 2026-03-01T12:30:00.25Z, retry after 1.2s" + lines},
		{"allowed", allowed, "allowed by Redis at 2026-03-01T12:30:00.25Z" + lines},
		{"zero", ratelimit.Decision{}, "nothing decided"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.decision.String(); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
	if got := explained.Results[1].String(); !strings.Contains(lines, "\n"+got+"\n") {
		t.Errorf("the result alone is %s", got)
	}
}

func TestDecisionLogValue(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	decision := explained
	decision.Results = decision.Results[2:3]
	logger.Info("decided", "decision", decision)
	const want = `level=INFO msg=decided decision.allowed=false decision.at=2026-03-01T12:30:00.250Z ` +
		`decision.quota.source=override:x decision.quota.level=org decision.quota.exceeded=true decision.quota.monitor=true ` +
		`decision.quota.candidate="" decision.quota.unlimited=false decision.quota.limit=1000 decision.quota.cost=5 decision.quota.used=999 ` +
		"decision.quota.held=40 decision.quota.remaining=1 decision.quota.retry_after=never\n"
	if got := text.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// stored returns all that Redis holds for an org, byte for byte, and when each key ends.
func (g gate) stored(rdb redis.UniversalClient) map[string]string {
	g.Helper()
	all, mu := map[string]string{}, sync.Mutex{}
	scan := func(ctx context.Context, c *redis.Client) error {
		keys := c.Scan(ctx, 0, "tg1:{*}:"+g.org+":*", 1000).Iterator()
		for keys.Next(ctx) {
			dump, err := c.Dump(ctx, keys.Val()).Result()
			if err != nil {
				return err
			}
			mu.Lock()
			all[keys.Val()] = dump + c.PExpireTime(ctx, keys.Val()).String()
			mu.Unlock()
		}
		return keys.Err()
	}
	var err error
	switch c := rdb.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(g.Context(), scan)
	case *redis.Client:
		err = scan(g.Context(), c)
	}
	if err != nil || len(all) < 2 {
		g.Fatalf("read %d keys: %v", len(all), err)
	}
	return all
}

// TestPreviewTellsWhatSetDoes previews overrides, sets them and looks: the same, for every algorithm and change.
func TestPreviewTellsWhatSetDoes(t *testing.T) {
	t.Parallel()
	policies := []ratelimit.Policy{
		ratelimit.PerHour(10).Fixed().Named("p"), ratelimit.Per(10, 9000*time.Hour).Named("sliding"),
		ratelimit.Per(10, 9000*time.Hour).Aligned().Named("aligned"), ratelimit.Per(10, 9000*time.Hour).Bucket(10).Named("bucket"),
		ratelimit.Quota(10, ratelimit.Monthly(1, nil)), ratelimit.Concurrent(10), ratelimit.PerHour(10).Fixed().Reserved(time.Hour).Named("reserved"),
	}
	overrides := []ratelimit.Override{
		{Project: "shop", Limit: new(int64(4)), Reason: "less"},
		{Project: "shop", Limit: new(int64(40)), Burst: 2},
		{Project: "shop", Limit: new(int64(40)), Burst: 30, Change: ratelimit.Proportional},
		{Project: "shop", Limit: new(int64(15)), Burst: 5, Change: ratelimit.Additive},
		{Project: "shop", Limit: new(int64(9)), Burst: 1, Change: ratelimit.ResetUsed},
		{Project: "shop", Access: ratelimit.Blocked},
		{Project: "shop", Access: ratelimit.Unlimited},
		{Limit: new(int64(9))},
		{Project: "other", Limit: new(int64(1))},
		{Project: "shop", Policy: "none", Limit: new(int64(1))},
	}
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		g := newGate(t, rdb)
		g.set(ratelimit.Override{Project: "shop", Policy: "p", Limit: new(int64(12))})
		g.admit(g.request(7, policies...))
		before, peek := g.stored(rdb), g.request(1, policies...)
		preview := func(g gate, o ratelimit.Override) ratelimit.Decision {
			t.Helper()
			o.Org, peek.Org = g.org, g.org
			d, err := g.limiter.Preview(t.Context(), peek, o)
			if err != nil {
				t.Fatalf("Preview(%+v): %v", o, err)
			}
			return d
		}
		for _, o := range overrides {
			preview(g, o)
		}
		if after := g.stored(rdb); !reflect.DeepEqual(after, before) {
			t.Errorf("the previews wrote: there is %q, there was %q", after, before)
		}
		for _, o := range overrides {
			g := newGate(t, rdb)
			g.set(ratelimit.Override{Project: "shop", Limit: new(int64(12)), Reason: "it was"})
			g.admit(g.request(7, policies...))
			got := preview(g, o)
			g.set(o)
			peek.Peek = true
			want := g.admit(peek)
			for i := range want.Results {
				got, want := &got.Results[i], &want.Results[i]
				for _, r := range []*ratelimit.Result{got, want} { // what depends on the moment
					r.NextAfter, r.ResetAfter, r.RetryAfter = 0, 0, 0
				}
				if *got != *want {
					t.Errorf("%+v: Preview tells\n%v, it became\n%v", o, got, want)
				}
			}
			if got.Allowed != want.Allowed {
				t.Errorf("%+v: Preview tells %v, it became %v", o, got.Allowed, want.Allowed)
			}
		}
	})
}

func TestPreviewOfTimes(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		g := newGate(t, rdb)
		p, now := ratelimit.PerHour(10), time.Now()
		specific := g.set(ratelimit.Override{Project: "shop", Endpoint: endpoint, Limit: new(int64(3))})
		for _, tt := range []struct {
			name     string
			override ratelimit.Override
			limit    int64
			fault    bool
		}{
			{"not begun", ratelimit.Override{Project: "shop", Endpoint: endpoint, Limit: new(int64(5)), StartsAt: now.Add(24 * time.Hour), ExpiresAt: now.Add(48 * time.Hour)}, 5, false},
			{"begun", ratelimit.Override{Project: "shop", Endpoint: endpoint, Limit: new(int64(5)), StartsAt: now.Add(-time.Hour)}, 5, false},
			{"less specific", ratelimit.Override{Project: "shop", Limit: new(int64(5))}, 3, false},
			{"more specific", ratelimit.Override{Project: "shop", Endpoint: endpoint, Policy: "requests", Limit: new(int64(5))}, 5, false},
			{"ended", ratelimit.Override{Project: "shop", Limit: new(int64(5)), ExpiresAt: now.Add(-time.Hour)}, 0, true},
			{"invalid", ratelimit.Override{Project: "shop"}, 0, true},
			{"of another org", ratelimit.Override{Org: g.org + "x", Limit: new(int64(5))}, 0, true},
		} {
			t.Run(tt.name, func(t *testing.T) {
				if tt.override.Org == "" {
					tt.override.Org = g.org
				}
				d, err := g.limiter.Preview(t.Context(), g.request(1, p), tt.override)
				switch {
				case tt.fault && !errors.Is(err, ratelimit.ErrInvalid):
					t.Errorf("Preview = %v, %v; want ErrInvalid", d, err)
				case !tt.fault && (err != nil || d.Results[0].Limit != tt.limit):
					t.Errorf("Preview = %v, %v; want a limit of %d", d, err, tt.limit)
				}
			})
		}
		if d := g.admit(g.request(1, p)); d.Results[0].Limit != 3 || d.Results[0].Source != "override:"+specific.ID {
			t.Errorf("after all previews: %v", d)
		}
	})
}
