package ratelimit_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const endpoint = "GET /things/{id}"

// gate is one replica's limiter and the administration beside it, on one org. A test of what is decided
// has time; those of time set their own.
type gate struct {
	*testing.T
	limiter   *ratelimit.Limiter
	overrides *ratelimit.Overrides
	org       string
}

func newGate(t *testing.T, rdb redis.UniversalClient) gate {
	t.Helper()
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(time.Minute))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	overrides, err := ratelimit.NewOverrides(rdb, ratelimit.WithTimeout(time.Minute))
	if err != nil {
		t.Fatalf("NewOverrides: %v", err)
	}
	return gate{t, limiter, overrides, redistest.Org(t)}
}

func (g gate) request(cost int64, policies ...ratelimit.Policy) ratelimit.Request {
	r := ratelimit.Request{Org: g.org, Project: "shop", Key: "k", Endpoint: endpoint}
	for _, p := range policies {
		r.Charges = append(r.Charges, ratelimit.Charge{Policy: p, Cost: cost})
	}
	return r
}

func (g gate) admit(r ratelimit.Request) ratelimit.Decision {
	g.Helper()
	d, err := g.limiter.Admit(g.Context(), r)
	if err != nil {
		g.Fatalf("Admit: %v", err)
	}
	return d
}

func (g gate) set(o ratelimit.Override) ratelimit.Override {
	g.Helper()
	o.Org = g.org
	stored, _, err := g.overrides.Set(g.Context(), o, ratelimit.Always)
	if err != nil {
		g.Fatalf("Set: %v", err)
	}
	return stored
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g, ctx := newGate(t, rdb), t.Context()
		zone := time.FixedZone("east", 3600)
		o := ratelimit.Override{
			Org: g.org, Project: "shop/ü:{}%\x00", Endpoint: endpoint, Policy: "p", Limit: new(int64(5)), Window: time.Minute,
			ExpiresAt: time.Now().Add(time.Hour).In(zone), Reason: "a <b> & \"c\"",
		}
		stored, created, err := g.overrides.Set(ctx, o, ratelimit.IfAbsent)
		if err != nil || !created || stored.ID == "" || stored.Revision == 0 || stored.CreatedAt.IsZero() || stored.UpdatedAt.IsZero() {
			t.Fatalf("Set = %+v, %t, %v", stored, created, err)
		}
		got, err := g.overrides.Get(ctx, g.org, stored.ID)
		if err != nil || *got.Limit != 5 {
			t.Fatalf("Get = %+v, %v", got, err)
		}
		got.Limit = stored.Limit
		if got != stored || got.Project != o.Project || got.Reason != o.Reason || !got.ExpiresAt.Equal(o.ExpiresAt.Truncate(time.Microsecond)) {
			t.Errorf("Get = %+v, want what Set returned: %+v", got, stored)
		}
		if _, _, err := g.overrides.Set(ctx, o, ratelimit.IfAbsent); !errors.Is(err, ratelimit.ErrConflict) {
			t.Errorf("Set where there is one: %v, want ErrConflict", err)
		}
		o.Limit = nil
		again, created, err := g.overrides.Set(ctx, o, ratelimit.Precondition(stored.Revision))
		if err != nil || created || again.ID != stored.ID || again.Revision <= stored.Revision || again.CreatedAt != stored.CreatedAt {
			t.Errorf("Set again = %+v, %t, %v", again, created, err)
		}
		stale := ratelimit.Precondition(stored.Revision)
		if _, _, err := g.overrides.Set(ctx, o, stale); !errors.Is(err, ratelimit.ErrConflict) {
			t.Errorf("Set of an old revision: %v, want ErrConflict", err)
		}
		if err := g.overrides.Delete(ctx, g.org, stored.ID, stale); !errors.Is(err, ratelimit.ErrConflict) {
			t.Errorf("Delete of an old revision: %v, want ErrConflict", err)
		}
		for _, o := range []ratelimit.Override{{Limit: new(int64(1))}, {Project: "a", Policy: "p", Limit: new(int64(1))}, {Project: "a", Limit: new(int64(1))}} {
			g.set(o)
		}
		list, err := g.overrides.List(ctx, g.org)
		if err != nil || len(list) != 4 || list[0].Project != "" || list[1].Policy != "" || list[2].Policy != "p" || list[3] != again {
			t.Errorf("List = %+v, %v; want four in order", list, err)
		}
		for project, want := range map[string]int{"nobody": 0, "a": 2, "": 1} {
			if n, err := g.overrides.Clear(ctx, g.org, project); err != nil || n != want {
				t.Errorf("Clear(%q) = %d, %v; want %d", project, n, err, want)
			}
		}
		if err := g.overrides.Delete(ctx, g.org, stored.ID, ratelimit.Precondition(again.Revision)); err != nil {
			t.Errorf("Delete: %v", err)
		}
		if err := g.overrides.Delete(ctx, g.org, stored.ID, ratelimit.Always); !errors.Is(err, ratelimit.ErrNotFound) {
			t.Errorf("Delete again: %v, want ErrNotFound", err)
		}
		if _, err := g.overrides.Get(ctx, g.org, stored.ID); !errors.Is(err, ratelimit.ErrNotFound) {
			t.Errorf("Get: %v, want ErrNotFound", err)
		}
	}, redistest.OrEmbedded())
}

func TestOverrideInvalid(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	g := newGate(t, rdb)
	good := ratelimit.Override{Org: g.org, Project: "shop", Endpoint: endpoint, Policy: "p", Limit: new(int64(1))}
	later := time.Now().Add(time.Hour)
	for name, tt := range map[string]struct {
		change func(*ratelimit.Override)
		says   string
	}{
		"no org":            {func(o *ratelimit.Override) { o.Org = "" }, "Org must be 1 to 128 bytes"},
		"long org":          {func(o *ratelimit.Override) { o.Org = strings.Repeat("o", 129) }, "Org must be 1 to 128 bytes"},
		"long project":      {func(o *ratelimit.Override) { o.Project = strings.Repeat("p", 129) }, "Project must be at most 128 bytes"},
		"project not UTF-8": {func(o *ratelimit.Override) { o.Project = "\xff" }, "must be UTF-8"},
		"reason not UTF-8":  {func(o *ratelimit.Override) { o.Reason = "\xff" }, "must be UTF-8"},
		"path not UTF-8":    {func(o *ratelimit.Override) { o.Endpoint = "GET /\xff" }, "must be UTF-8"},
		"no method":         {func(o *ratelimit.Override) { o.Endpoint = "/things" }, "Endpoint must be a method"},
		"small method":      {func(o *ratelimit.Override) { o.Endpoint = "get /things" }, "Endpoint must be a method"},
		"no path":           {func(o *ratelimit.Override) { o.Endpoint = "GET things" }, "Endpoint must be a method"},
		"long endpoint":     {func(o *ratelimit.Override) { o.Endpoint = "GET /" + strings.Repeat("a", 512) }, "at most 512 bytes"},
		"odd policy":        {func(o *ratelimit.Override) { o.Policy = "a b" }, "Policy must be 1 to 64 of"},
		"nothing to change": {func(o *ratelimit.Override) { o.Limit = nil }, "Limit, Window, Burst or Access must be set"},
		"a change of nothing": {func(o *ratelimit.Override) { o.Limit, o.Change = nil, ratelimit.ResetUsed },
			"Limit, Window, Burst or Access must be set"},
		"negative limit":   {func(o *ratelimit.Override) { o.Limit = new(int64(-1)) }, "Limit -1 must be 0 to 999999999999999"},
		"limit too large":  {func(o *ratelimit.Override) { o.Limit = new(int64(math.MaxInt64)) }, "must be 0 to 999999999999999"},
		"negative window":  {func(o *ratelimit.Override) { o.Window = -time.Hour }, "Window -1h0m0s must be 1ms to 9600h0m0s"},
		"window too short": {func(o *ratelimit.Override) { o.Window = time.Microsecond }, "must be 1ms"},
		"window too long":  {func(o *ratelimit.Override) { o.Window = 401 * 24 * time.Hour }, "to 9600h0m0s"},
		"window not whole": {func(o *ratelimit.Override) { o.Window = time.Second + 1 }, "whole microseconds"},
		"negative burst":   {func(o *ratelimit.Override) { o.Burst = -1 }, "Burst -1 must be 0 to 999999999999999"},
		"burst too large":  {func(o *ratelimit.Override) { o.Burst = ratelimit.MaxLimit + 1 }, "must be 0 to 999999999999999"},
		"burst of nothing": {func(o *ratelimit.Override) { o.Limit, o.Burst = new(int64), 5 }, "Burst 5 must be 0 beside a Limit of 0"},
		"odd access":       {func(o *ratelimit.Override) { o.Access = "open" }, `Access must be "blocked", "unlimited"`},
		"odd change":       {func(o *ratelimit.Override) { o.Change = "keep" }, `Change must be "proportional", "additive", "reset"`},
		"blocked with a limit": {func(o *ratelimit.Override) { o.Access = ratelimit.Blocked },
			`Access "blocked" must stand without Limit, Window, Burst and Change`},
		"unlimited with a window": {func(o *ratelimit.Override) { o.Limit, o.Window, o.Access = nil, time.Hour, ratelimit.Unlimited },
			`Access "unlimited" must stand without`},
		"unlimited with a burst": {func(o *ratelimit.Override) { o.Limit, o.Burst, o.Access = nil, 1, ratelimit.Unlimited },
			`Access "unlimited" must stand without`},
		"blocked with a change": {func(o *ratelimit.Override) { o.Limit, o.Access, o.Change = nil, ratelimit.Blocked, ratelimit.Additive },
			`Access "blocked" must stand without`},
		"ended": {func(o *ratelimit.Override) { o.ExpiresAt = time.Now().Add(-time.Hour) }, "ExpiresAt has passed"},
		"ended since begun": {func(o *ratelimit.Override) {
			o.StartsAt, o.ExpiresAt = later.Add(-3*time.Hour), later.Add(-2*time.Hour)
		}, "ExpiresAt has passed"},
		"long ended":    {func(o *ratelimit.Override) { o.ExpiresAt = time.Unix(0, 0) }, "ExpiresAt 1970-01-01"},
		"ends too late": {func(o *ratelimit.Override) { o.ExpiresAt = time.Now().AddDate(300, 0, 0) }, "between the years 2000 and 2200"},
		"ends in 2201, but not here": {func(o *ratelimit.Override) {
			o.ExpiresAt = time.Date(2200, 12, 31, 23, 30, 0, 0, time.FixedZone("west", -3600))
		}, "between the years 2000 and 2200, in UTC"},
		"starts too early":  {func(o *ratelimit.Override) { o.StartsAt = time.Unix(0, 0) }, "StartsAt 1970-01-01"},
		"starts at its end": {func(o *ratelimit.Override) { o.StartsAt, o.ExpiresAt = later, later }, "must be before ExpiresAt"},
		"starts after it":   {func(o *ratelimit.Override) { o.StartsAt, o.ExpiresAt = later.Add(time.Hour), later }, "must be before ExpiresAt"},
		"no whole microsecond": {func(o *ratelimit.Override) {
			o.StartsAt = later.Truncate(time.Microsecond)
			o.ExpiresAt = o.StartsAt.Add(999)
		}, "must be before ExpiresAt"},
		"long reason": {func(o *ratelimit.Override) { o.Reason = strings.Repeat("r", 501) }, "Reason must be at most 500 bytes"},
	} {
		o := good
		tt.change(&o)
		got, created, err := g.overrides.Set(t.Context(), o, ratelimit.Always)
		if !errors.Is(err, ratelimit.ErrInvalid) || created || got != (ratelimit.Override{}) {
			t.Errorf("%s: Set = %+v, %t, %v; want ErrInvalid", name, got, created, err)
		}
		if text := fmt.Sprint(err); !strings.Contains(text, tt.says) || strings.Contains(text, "\n") {
			t.Errorf("%s: %q, want one fault that says %q", name, text, tt.says)
		}
	}
	if n, err := rdb.Exists(t.Context(), lua.OverridesKey(g.org), lua.EpochKey(g.org)).Result(); err != nil || n != 0 {
		t.Errorf("%d keys written (%v), want none", n, err)
	}
	for _, org := range []string{"", strings.Repeat("o", 129)} {
		_, listErr := g.overrides.List(t.Context(), org)
		_, getErr := g.overrides.Get(t.Context(), org, "id")
		_, clearErr := g.overrides.Clear(t.Context(), org, "")
		for i, err := range []error{listErr, getErr, clearErr, g.overrides.Delete(t.Context(), org, "id", ratelimit.Always)} {
			if !errors.Is(err, ratelimit.ErrInvalid) {
				t.Errorf("call %d with an org of %d bytes: %v, want ErrInvalid", i, len(org), err)
			}
		}
	}
}

// TestConcurrentEditsLoseNothing lets many read, add one and write back, on condition that nobody else did.
func TestConcurrentEditsLoseNothing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		const editors, edits = 8, 10
		g := newGate(t, rdb)
		start := g.set(ratelimit.Override{Project: "shop", Limit: new(int64)})
		var conflicts atomic.Int64
		var group sync.WaitGroup
		edit := func() error {
			for {
				o, err := g.overrides.Get(t.Context(), g.org, start.ID)
				if err != nil {
					return err
				}
				o.Limit = new(*o.Limit + 1)
				_, _, err = g.overrides.Set(t.Context(), o, ratelimit.Precondition(o.Revision))
				if !errors.Is(err, ratelimit.ErrConflict) {
					return err
				}
				conflicts.Add(1)
			}
		}
		for range editors {
			group.Go(func() {
				for range edits {
					if err := edit(); err != nil {
						t.Errorf("edit: %v", err)
						return
					}
				}
			})
		}
		group.Wait()
		if o, err := g.overrides.Get(t.Context(), g.org, start.ID); err != nil || *o.Limit != editors*edits {
			t.Errorf("limit %d (%v) after %d edits and %d conflicts", *o.Limit, err, editors*edits, conflicts.Load())
		}
	}, redistest.OrEmbedded())
}

// TestDamagedOverrideIsToldAndMended: it stops the org, for nobody knows what it meant, and says how to
// go on.
func TestDamagedOverrideIsToldAndMended(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, damage := range []string{"{", `{"limit":"-1"}`, `{"limit":"x"}`, `{"window":"5"}`, "{}", "null",
			`{"limit":"1","revision":"9000000000000000000"}`, `{"limit":"1","created":"-1"}`} {
			g := newGate(t, rdb)
			if err := rdb.HSet(t.Context(), lua.OverridesKey(g.org), "bad", damage).Err(); err != nil {
				t.Fatalf("HSET: %v", err)
			}
			r := g.request(1, ratelimit.PerHour(1))
			_, err := g.limiter.Admit(t.Context(), r)
			if !errors.Is(err, ratelimit.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), `"bad"`) {
				t.Errorf("%s: Admit: %v, want ErrUnavailable that names the override", damage, err)
			}
			if err := g.overrides.Delete(t.Context(), g.org, "bad", ratelimit.Always); err != nil {
				t.Errorf("%s: Delete: %v", damage, err)
			}
			if d := g.admit(r); !d.Allowed {
				t.Errorf("%s: refused after it was deleted: %+v", damage, d)
			}
		}
	}, redistest.OrEmbedded())
}
