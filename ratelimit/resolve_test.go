package ratelimit_test

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestEffectiveOrder sets every combination of the eight selectors that fit a request, and beside them
// one that does not, and asks which of them counts.
func TestEffectiveOrder(t *testing.T) {
	t.Parallel()
	order := []ratelimit.Override{ // most specific first
		{Project: "shop", Endpoint: endpoint, Policy: "p"},
		{Project: "shop", Endpoint: endpoint},
		{Project: "shop", Policy: "p"},
		{Project: "shop"},
		{Endpoint: endpoint, Policy: "p"},
		{Endpoint: endpoint},
		{Policy: "p"},
		{},
	}
	levels := map[int]ratelimit.Level{
		0: ratelimit.LevelProjectEndpoint, 1: ratelimit.LevelProjectEndpoint, 2: ratelimit.LevelProject, 3: ratelimit.LevelProject,
		4: ratelimit.LevelOrgEndpoint, 5: ratelimit.LevelOrgEndpoint, 6: ratelimit.LevelOrg, 7: ratelimit.LevelOrg, 1000: ratelimit.LevelPolicy,
	}
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		for set := range 1 << len(order) {
			g.org = redistest.Org(t)
			want, wantOrg := 1000, 1000 // the limit of a project's policy, and of one partitioned by org
			for i, o := range slices.Backward(order) {
				if set&(1<<i) == 0 {
					continue
				}
				o.Limit = new(int64(i))
				g.set(o)
				want = i
				if o.Project == "" {
					wantOrg = i
				}
			}
			for _, beside := range []ratelimit.Override{{Project: "other"}, {Endpoint: "POST /things/{id}"}, {Policy: "q"}} {
				if set%4 == 0 {
					beside.Limit = new(int64(77))
					g.set(beside)
				}
			}
			r := g.request(0, ratelimit.PerHour(1000).Named("p"), ratelimit.PerHour(1000).Named("p").By(ratelimit.ByOrg))
			for i, want := range []int{want, wantOrg} {
				one := r
				one.Charges = r.Charges[i : i+1]
				got := g.admit(one).Results[0]
				if got.Limit != int64(want) || (got.Source == ratelimit.SourcePolicy) != (want == 1000) || got.Level != levels[want] {
					t.Errorf("set %08b, by %s: limit %d from %s, level %s, want %d, level %s", set, got.Partition, got.Limit, got.Source, got.Level, want, levels[want])
				}
			}
		}
	}, redistest.OrEmbedded())
}

func TestMissingPartKeepsThePolicys(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, tt := range []struct {
			name   string
			o      ratelimit.Override
			limit  int64
			window time.Duration
		}{
			{"limit", ratelimit.Override{Limit: new(int64(3))}, 3, time.Hour},
			{"limit zero", ratelimit.Override{Limit: new(int64)}, 0, time.Hour},
			{"largest limit", ratelimit.Override{Limit: new(int64(ratelimit.MaxLimit))}, ratelimit.MaxLimit, time.Hour},
			{"window", ratelimit.Override{Window: time.Minute}, 10, time.Minute},
			{"both", ratelimit.Override{Limit: new(int64(3)), Window: 400 * 24 * time.Hour}, 3, 400 * 24 * time.Hour},
		} {
			g := newGate(t, rdb)
			// The less specific one does not fill in what the more specific one leaves out.
			g.set(ratelimit.Override{Limit: new(int64(77)), Window: 77 * time.Hour})
			tt.o.Project = "shop"
			stored := g.set(tt.o)
			got := g.admit(g.request(0, ratelimit.PerHour(10))).Results[0]
			if got.Limit != tt.limit || got.Window != tt.window || got.Source != "override:"+stored.ID {
				t.Errorf("%s: %d per %v from %s, want %d per %v", tt.name, got.Limit, got.Window, got.Source, tt.limit, tt.window)
			}
		}
	}, redistest.OrEmbedded())
}

// TestUsedStaysUsed changes limits and windows in the middle of a window.
func TestUsedStaysUsed(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, p := range []ratelimit.Policy{ratelimit.Per(5, 48*time.Hour), ratelimit.Per(5, 48*time.Hour).Fixed()} {
			t.Run(p.Algorithm.String(), func(t *testing.T) {
				g := newGate(t, rdb)
				if d := g.admit(g.request(5, p)); !d.Allowed {
					t.Fatalf("first: %+v", d)
				}
				for _, step := range []struct {
					name             string
					o                ratelimit.Override
					cost, used, left int64
					allowed          bool
				}{
					{"raised", ratelimit.Override{Limit: new(int64(8))}, 1, 6, 2, true},
					{"lowered", ratelimit.Override{Limit: new(int64(2))}, 1, 6, 0, false},
					{"closed", ratelimit.Override{Limit: new(int64)}, 0, 6, 0, false},
					{"longer window", ratelimit.Override{Limit: new(int64(8)), Window: 96 * time.Hour}, 1, 7, 1, true},
					{"shorter window", ratelimit.Override{Limit: new(int64(8)), Window: 24 * time.Hour}, 1, 8, 0, true},
					{"full", ratelimit.Override{Limit: new(int64(8)), Window: 24 * time.Hour}, 1, 8, 0, false},
				} {
					g.set(step.o)
					d := g.admit(g.request(step.cost, p))
					if got := d.Results[0]; d.Allowed != step.allowed || got.Used != step.used || got.Remaining != step.left {
						t.Errorf("%s: %+v, want %d used, %d left, allowed: %t", step.name, d, step.used, step.left, step.allowed)
					}
				}
			})
		}
	}, redistest.OrEmbedded())
}
