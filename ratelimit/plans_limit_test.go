package ratelimit_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestPlanCountsOnTheNextRequest changes a plan under two replicas that have it in memory, for an org in each
// bucket, and takes it away in the end.
func TestPlanCountsOnTheNextRequest(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		plans, name, all := newPlans(t, rdb), planName(t, rdb), orgs(t)
		replicas := []gate{newGate(t, rdb), newGate(t, rdb)}
		check := func(when string, limit int64, source string, level ratelimit.Level) {
			t.Helper()
			for _, org := range all {
				for i, g := range replicas {
					g.org = org
					if got := g.found(name); got.Limit != limit || got.Source != source || got.Level != level {
						t.Errorf("%s, bucket %s, replica %d: %d from %s, level %s, want %d from %s, level %s",
							when, bucket.Of(org), i, got.Limit, got.Source, got.Level, limit, source, level)
					}
				}
			}
		}
		check("before there is one", 1000, "policy", ratelimit.LevelPolicy)
		setPlan(t, plans, limited(name, 5))
		check("set", 5, "plan:"+name, ratelimit.LevelPlan)
		atEndpoint := limited(name, 5)
		atEndpoint.Rules = append(atEndpoint.Rules, ratelimit.PlanRule{Endpoint: endpoint, Limit: new(int64(6))})
		setPlan(t, plans, atEndpoint)
		check("changed", 6, "plan:"+name, ratelimit.LevelPlanEndpoint)
		replicas[0].org = all[1]
		override := replicas[0].set(ratelimit.Override{Limit: new(int64(7))})
		if got := replicas[1]; true {
			got.org = all[1]
			if r := got.found(name); r.Limit != 7 || r.Source != "override:"+override.ID {
				t.Errorf("with an override of the org: %+v", r)
			}
		}
		if err := replicas[0].overrides.Delete(t.Context(), all[1], override.ID, ratelimit.Always); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		check("without the override", 6, "plan:"+name, ratelimit.LevelPlanEndpoint)
		if err := plans.Delete(t.Context(), name, ratelimit.Always); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		check("deleted", 1000, "policy", ratelimit.LevelPolicy)
	}, redistest.OrEmbedded())
}

// TestPlanOfTheHost holds that a plan that is not one of ours, as authkey lets a host have, changes nothing.
func TestPlanOfTheHost(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		g := newGate(t, rdb)
		for _, plan := range []string{"", "never set " + rand.Text(), "never-set-" + rand.Text(), strings.Repeat("p", 128), "\xff\x00"} {
			if got := g.found(plan); got.Limit != 1000 || got.Level != ratelimit.LevelPolicy {
				t.Errorf("plan %q: %+v, want the policy as coded", plan, got)
			}
		}
		r := ratelimit.Request{Plan: "gold", Endpoint: endpoint, Charges: []ratelimit.Charge{{Policy: ratelimit.PerHour(1), Value: "v"}}}
		if _, err := g.limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrInvalid) {
			t.Errorf("a plan of nobody: %v, want ErrInvalid", err)
		}
	}, redistest.OrEmbedded())
}

// TestPlanCostsNoCall counts commands. Each change of a plan in the bucket, which other tests make too, costs a
// read and another check.
func TestPlanCostsNoCall(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		plans, name := newPlans(t, rdb), planName(t, rdb)
		own := setPlan(t, plans, limited(name, 5))
		client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrsOf(t, rdb), IsClusterMode: isCluster(rdb)})
		t.Cleanup(func() { client.Close() })
		var names []string
		var keys int
		client.AddHook(wire{after: func(cmd redis.Cmder) error {
			if strings.HasPrefix(cmd.Name(), "eval") {
				names = append(names, cmd.Name())
				_, all, _ := redistest.Call(cmd)
				keys = len(all)
			}
			return nil
		}})
		g := newGate(t, client)
		quiet := 0
		for i := range 50 {
			if i == 25 {
				own = setPlan(t, plans, limited(name, 6))
			}
			names = nil
			before := g.limiter.Stats()
			if got := g.found(name); got.Limit != *own.Rules[0].Limit {
				t.Fatalf("limit %d of %+v", got.Limit, own)
			}
			stats := g.limiter.Stats()
			stale, misses := stats.Stale-before.Stale, stats.Misses-before.Misses
			if want := int(1 + stale + misses); i > 0 && len(names) != want || i == 25 && stale == 0 {
				t.Errorf("call %d: commands %v, want %d for %d answers that were old", i, names, want, stale)
			}
			if stale == 0 && misses == 0 && len(names) == 1 {
				quiet++
			}
			if keys != 4 { // two epochs, the state and its count
				t.Errorf("call %d: %d keys, want 4", i, keys)
			}
			if g.found(""); keys != 3 {
				t.Errorf("call %d: %d keys without a plan, want 3", i, keys)
			}
		}
		if quiet == 0 {
			t.Error("no call cost one command")
		}
	})
}

func isCluster(rdb redis.UniversalClient) bool {
	_, ok := rdb.(*redis.ClusterClient)
	return ok
}

func addrsOf(t *testing.T, rdb redis.UniversalClient) []string {
	t.Helper()
	if isCluster(rdb) {
		return redistest.ClusterAddrs(t)
	}
	return []string{redistest.StandaloneAddr(t)}
}
