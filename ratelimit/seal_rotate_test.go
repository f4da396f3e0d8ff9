package ratelimit_test

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/lua/seal"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestSealSecretsRotate gives replicas a new secret one after the other, and drops the old one in the end; and it takes
// into use what was not sealed.
func TestSealSecretsRotate(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		org := redistest.Org(t)
		with := func(keys ...seal.Key) gate {
			g, _ := sealedGate(t, rdb, keys...)
			g.org = org
			return g
		}
		limit := func(g gate) error {
			d, err := g.limiter.Admit(t.Context(), g.request(1, ratelimit.PerHour(1)))
			if err == nil && d.Results[0].Limit != 50 {
				t.Errorf("limit %d, want 50", d.Results[0].Limit)
			}
			return err
		}
		set := func(g gate) { t.Helper(); g.set(ratelimit.Override{Project: "shop", Limit: new(int64(50))}) }
		set(with())
		g := with(oldKey)
		g.broken("not sealed", limit(g))
		set(g)
		for name, g := range map[string]gate{"old": g, "old and new": with(oldKey, newKey), "new and old": with(newKey, oldKey), "none": with()} {
			if err := limit(g); err != nil {
				t.Errorf("sealed with the old one, %s: %v", name, err)
			}
		}
		g = with(newKey)
		g.broken("sealed with the old one, new", limit(g))
		set(with(newKey, oldKey))
		if err := limit(with(newKey)); err != nil {
			t.Errorf("sealed with the new one: %v", err)
		}
		g = with(oldKey)
		g.broken("sealed with the new one, old", limit(g))
	}, redistest.OrEmbedded())
}

// TestSealsSurviveAnyText: what a script passes on as JSON is what was sealed, whatever it holds.
func TestSealsSurviveAnyText(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		g, _ := sealedGate(t, rdb, oldKey)
		rapid.Check(t, func(rt *rapid.T) {
			text := func(name string, most int) string {
				s := rapid.StringN(0, -1, most).Draw(rt, name)
				if !utf8.ValidString(s) {
					rt.Skip("not UTF-8")
				}
				return s
			}
			o := ratelimit.Override{
				Org: g.org, Project: text("project", 128), Reason: text("reason", 500),
				Limit: new(rapid.Int64Range(0, ratelimit.MaxLimit).Draw(rt, "limit")), Window: time.Duration(rapid.Int64Range(1000, 1e12).Draw(rt, "window")) * time.Microsecond,
			}
			stored, _, err := g.overrides.Set(t.Context(), o, ratelimit.Always)
			if err != nil {
				rt.Fatalf("Set: %v", err)
			}
			got, err := g.overrides.Get(t.Context(), g.org, stored.ID)
			if err != nil || got.Project != o.Project || got.Reason != o.Reason || *got.Limit != *o.Limit || got.Window != o.Window {
				rt.Fatalf("Get = %+v, %v; want %+v", got, err, stored)
			}
			if err := g.overrides.Delete(t.Context(), g.org, stored.ID, ratelimit.Always); err != nil {
				rt.Fatalf("Delete: %v", err)
			}
		})
	}, redistest.OrEmbedded())
}
