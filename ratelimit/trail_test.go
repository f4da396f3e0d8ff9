package ratelimit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/lua/seal"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// trail returns the entries of an org's audit trail, each of which has a seal of the old key. To that of the plans
// others write too, so what is not ours is left out.
func trail(t *testing.T, rdb redis.UniversalClient, org string, newest int) []audit.Entry {
	t.Helper()
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatalf("NewConn: %v", err)
	}
	sealer, err := seal.New(oldKey)
	if err != nil {
		t.Fatalf("seal.New: %v", err)
	}
	stored, err := conn.Trail(t.Context(), org, lua.TrailRange{Count: newest, Newest: true})
	if err != nil {
		t.Fatalf("Trail: %v", err)
	}
	var entries []audit.Entry
	for _, s := range stored {
		if err := s.Line.Verify(sealer, org); err != nil {
			if org != "" {
				t.Errorf("entry %+v: %v", s, err)
			}
			continue
		}
		var e audit.Entry
		if err := json.Unmarshal([]byte(s.Line.Text), &e); err != nil {
			t.Fatalf("entry %+v: %v", s, err)
		}
		entries = append(entries, e)
	}
	slices.Reverse(entries)
	return entries
}

// TestChangesOfAnOrgAreOnItsTrail: who changed which override or count, and what it is now.
func TestChangesOfAnOrgAreOnItsTrail(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		g, _ := sealedGate(t, rdb, oldKey)
		ctx := audit.NewContext(t.Context(), audit.Actor{Name: "mia", RequestID: "r7", Address: "203.0.113.7"})
		o := ratelimit.Override{Org: g.org, Project: "shop", Limit: new(int64(5)), Reason: "sale"}
		stored, _, err := g.overrides.Set(ctx, o, ratelimit.Always)
		if err != nil {
			t.Fatalf("Set: %v", err)
		}
		if _, _, err := g.overrides.Set(ctx, o, ratelimit.IfAbsent); !errors.Is(err, ratelimit.ErrConflict) {
			t.Errorf("Set again: %v", err)
		}
		deleteErr := g.overrides.Delete(ctx, g.org, stored.ID, ratelimit.Always)
		missingErr := g.overrides.Delete(ctx, g.org, stored.ID, ratelimit.Always)
		_, clearNone := g.overrides.Clear(ctx, g.org, "shop")
		if deleteErr != nil || !errors.Is(missingErr, ratelimit.ErrNotFound) || clearNone != nil {
			t.Errorf("Delete: %v, %v; Clear: %v", deleteErr, missingErr, clearNone)
		}
		g.set(o) // by nobody in particular
		if n, err := g.overrides.Clear(ctx, g.org, "shop"); n != 1 || err != nil {
			t.Errorf("Clear: %d, %v", n, err)
		}
		perKey, perOrg := ratelimit.PerHour(3), ratelimit.PerHour(4)
		perKey.Name, perKey.Partition, perOrg.Name, perOrg.Partition = "k", ratelimit.ByKey, "o", ratelimit.ByOrg
		reset := func(r ratelimit.Request) {
			t.Helper()
			if err := g.limiter.Reset(ctx, r); err != nil {
				t.Errorf("Reset: %v", err)
			}
		}
		reset(g.request(1, perKey)) // nothing there
		g.admit(g.request(1, ratelimit.PerHour(5), perKey, perOrg))
		reset(g.request(1, ratelimit.PerHour(5)))
		reset(g.request(1, perKey))
		reset(g.request(1, perOrg))
		if d := g.admit(g.request(5, ratelimit.PerHour(5))); !d.Allowed {
			t.Errorf("after the reset: %+v", d)
		}
		const after = `{"project":"shop","endpoint":"","policy":"","limit":"5","window":"0","until":"0","reason":"sale"}`
		by := func(action, project, id, after string) audit.Entry {
			return audit.Entry{Actor: "mia", RequestID: "r7", Address: "203.0.113.7", Action: action, Org: g.org, Project: project, ID: id, After: json.RawMessage(after)}
		}
		nobody := by("override.set", "shop", stored.ID, after)
		nobody.Actor, nobody.RequestID, nobody.Address = "", "", ""
		policy := func(name, partition, value string) string {
			return fmt.Sprintf(`{"endpoint":%q,"policies":[{"name":%q,"partition":%q,"value":%q}]}`, endpoint, name, partition, value)
		}
		want := []audit.Entry{
			by("override.set", "shop", stored.ID, after), by("override.delete", "", stored.ID, ""), nobody, by("override.clear", "shop", "", ""),
			by("limits.reset", "shop", "", policy("requests", "project", "shop")), by("limits.reset", "shop", "k", policy("k", "key", "k")),
			by("limits.reset", "", "", policy("o", "org", g.org)),
		}
		got := trail(t, rdb, g.org, 100)
		if len(got) != len(want) {
			t.Fatalf("%d entries, want %d: %+v", len(got), len(want), got)
		}
		for i, e := range got {
			want[i].At = e.At
			if fmt.Sprintf("%+v", e) != fmt.Sprintf("%+v", want[i]) || e.At.IsZero() {
				t.Errorf("entry %d\n got %+v %s\nwant %+v %s", i, e, e.After, want[i], want[i].After)
			}
		}
	}, redistest.OrEmbedded())
}

// TestChangesOfPlansAreOnTheirTrail holds one entry for each change that was made, of a plan too large for it too.
func TestChangesOfPlansAreOnTheirTrail(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		_, plans := sealedGate(t, rdb, oldKey)
		name := planName(t, rdb)
		ctx := audit.NewContext(t.Context(), audit.Actor{Name: "mia"})
		large := limited(name, 5)
		for i := range 99 {
			large.Rules = append(large.Rules, ratelimit.PlanRule{Endpoint: fmt.Sprint("GET /", i, strings.Repeat("x", 50)), Limit: new(int64(i))})
		}
		for _, p := range []ratelimit.Plan{limited(name, 5), large} {
			if _, _, err := plans.Set(ctx, p, ratelimit.Always); err != nil {
				t.Fatalf("Set: %v", err)
			}
			// The same rules again, as after a call that was cut.
			if _, _, err := plans.Set(ctx, p, ratelimit.IfAbsent); err != nil {
				t.Fatalf("Set again: %v", err)
			}
		}
		if err := plans.Delete(ctx, name, ratelimit.Always); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		if err := plans.Delete(ctx, name, ratelimit.Always); !errors.Is(err, ratelimit.ErrNotFound) {
			t.Fatalf("Delete again: %v", err)
		}
		var got []audit.Entry
		for _, e := range trail(t, rdb, "", 100_000) {
			if e.ID == name {
				got = append(got, e)
			}
		}
		want := []struct{ action, after string }{
			{"plan.set", `{"rules":[{"limit":"5"}]}`}, {"plan.set", `{"sha256":"`}, {"plan.delete", ""},
		}
		if len(got) != len(want) {
			t.Fatalf("%d entries, want %d: %+v", len(got), len(want), got)
		}
		for i, e := range got {
			if e.Action != want[i].action || e.Actor != "mia" || e.Org != "" || !strings.HasPrefix(string(e.After), want[i].after) || (want[i].after == "") != (e.After == nil) {
				t.Errorf("entry %d: %+v %s, want %s of %s", i, e, e.After, want[i].action, want[i].after)
			}
		}
	}, redistest.OrEmbedded())
}

// TestAnonymousResetHasNoTrail: what belongs to no org is reset all the same.
func TestAnonymousResetHasNoTrail(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		g, _ := sealedGate(t, rdb, oldKey)
		policy := ratelimit.PerHour(1)
		policy.Partition = "network"
		r := ratelimit.Request{Endpoint: endpoint, Charges: []ratelimit.Charge{{Policy: policy, Cost: 1, Value: redistest.Org(t)}}}
		g.admit(r)
		if err := g.limiter.Reset(t.Context(), r); err != nil {
			t.Errorf("Reset: %v", err)
		}
		if d := g.admit(r); !d.Allowed {
			t.Errorf("after the reset: %+v", d)
		}
	}, redistest.OrEmbedded())
}
