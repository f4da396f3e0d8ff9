package ratelimit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/lua/seal"
	"github.com/tollgate-go/tollgate/ratelimit"
)

var (
	oldKey = seal.NewKey("1", bytes.Repeat([]byte("o"), 32))
	newKey = seal.NewKey("2", bytes.Repeat([]byte("n"), 32))
)

// sealing returns options with a sealer of keys, none without any.
func sealing(t *testing.T, keys ...seal.Key) []ratelimit.Option {
	t.Helper()
	opts := []ratelimit.Option{ratelimit.WithTimeout(time.Minute)}
	if len(keys) > 0 {
		s, err := seal.New(keys...)
		if err != nil {
			t.Fatalf("seal.New: %v", err)
		}
		opts = append(opts, ratelimit.WithSealer(s))
	}
	return opts
}

// sealedGate is a gate whose limiter and administration have a sealer, and plans beside them.
func sealedGate(t *testing.T, rdb redis.UniversalClient, keys ...seal.Key) (gate, *ratelimit.Plans) {
	t.Helper()
	opts := sealing(t, keys...)
	limiter, limiterErr := ratelimit.New(rdb, opts...)
	overrides, overridesErr := ratelimit.NewOverrides(rdb, opts...)
	plans, plansErr := ratelimit.NewPlans(rdb, opts...)
	if err := errors.Join(limiterErr, overridesErr, plansErr); err != nil {
		t.Fatalf("New: %v", err)
	}
	return gate{t, limiter, overrides, redistest.Org(t)}, plans
}

// broken holds that an error says so of a seal.
func (g gate) broken(name string, err error) {
	g.Helper()
	if !errors.Is(err, ratelimit.ErrUnavailable) || !errors.Is(err, seal.ErrBroken) {
		g.Errorf("%s: %v, want ErrUnavailable for a broken seal", name, err)
	}
}

// tamper changes members of a stored JSON object, or removes those that are nil, and makes every cache of it old.
func tamper(t *testing.T, rdb redis.UniversalClient, epoch, key, field, text string, members map[string]any) {
	t.Helper()
	object := map[string]any{}
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("Unmarshal: %v", err)
	}
	for name, value := range members {
		if object[name] = value; value == nil {
			delete(object, name)
		}
	}
	changed, err := json.Marshal(object)
	if err != nil {
		t.Fatalf("Marshal: %v", err)
	}
	if err := rdb.HSet(t.Context(), key, field, changed).Err(); err != nil {
		t.Fatalf("HSET: %v", err)
	}
	if err := rdb.HIncrBy(t.Context(), epoch, "limits", 1).Err(); err != nil {
		t.Fatalf("HINCRBY: %v", err)
	}
}

// TestSealedOverrides changes each member of an override in Redis: whoever has a sealer refuses it until it is mended,
// and whoever has none takes it.
func TestSealedOverrides(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		g, _ := sealedGate(t, rdb, oldKey)
		plain, _ := sealedGate(t, rdb)
		now := time.Now()
		o := ratelimit.Override{
			Org: g.org, Project: "shop", Endpoint: endpoint, Limit: new(int64(5)), Window: time.Minute, Burst: 2, Change: ratelimit.Additive,
			StartsAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour), Reason: "a <b> & \"c\" /\u2028é\x00",
		}
		stored := g.set(o)
		id, epoch, key := stored.ID, lua.EpochKey(g.org), lua.OverridesKey(g.org)
		r := g.request(1, ratelimit.PerHour(1))
		if d := g.admit(r); d.Results[0].Limit != 7 {
			t.Fatalf("as set: %+v", d)
		}
		text, err := rdb.HGet(t.Context(), key, id).Result()
		if err != nil {
			t.Fatalf("HGET: %v", err)
		}
		later := fmt.Sprint(now.Add(9 * time.Hour).UnixMicro())
		for name, members := range map[string]map[string]any{
			"limit": {"limit": "6"}, "no limit": {"limit": nil}, "window": {"window": "1000000"}, "burst": {"burst": "9"}, "no burst": {"burst": nil},
			"access": {"limit": nil, "window": "0", "burst": nil, "change": nil, "access": "unlimited"}, "change": {"change": "reset"}, "no change": {"change": nil},
			"start": {"from": fmt.Sprint(now.UnixMicro())}, "no start": {"from": nil}, "end": {"until": later}, "no end": {"until": "0"},
			"project": {"project": "other"}, "all projects": {"project": ""}, "endpoint": {"endpoint": "GET /"}, "policy": {"policy": "p"}, "reason": {"reason": "x"},
			"another case": {"limit": nil, "Limit": "9"}, "no seal": {"seal": nil}, "empty seal": {"seal": ""}, "another seal": {"seal": "1:" + strings.Repeat("A", 43)},
		} {
			tamper(t, rdb, epoch, key, id, text, members)
			_, err := g.limiter.Admit(t.Context(), r)
			g.broken(name, err)
			_, err = g.overrides.List(t.Context(), g.org)
			g.broken(name+", List", err)
			_, err = g.overrides.Get(t.Context(), g.org, id)
			g.broken(name+", Get", err)
			if !strings.Contains(fmt.Sprint(err), id) || !strings.Contains(fmt.Sprint(err), "set it again or delete it") {
				t.Errorf("%s: %v, want it to name the override and how to mend it", name, err)
			}
			if _, err := plain.limiter.Admit(t.Context(), r); err != nil {
				t.Errorf("%s, without a sealer: %v", name, err)
			}
			if mended := g.set(o); mended.ID != id {
				t.Errorf("%s: mended as %q", name, mended.ID)
			}
			if d := g.admit(r); d.Results[0].Limit != 7 {
				t.Errorf("%s: set again: %+v", name, d)
			}
		}
		// What the script adds is not what limits.
		tamper(t, rdb, epoch, key, id, text, map[string]any{"revision": "5", "created": "5", "more": "x"})
		if d := g.admit(r); d.Results[0].Limit != 7 {
			t.Errorf("another revision: %+v", d)
		}
		if err := g.overrides.Delete(t.Context(), g.org, id, ratelimit.Always); err != nil {
			t.Errorf("Delete: %v", err)
		}
		// An older one passes, as WithSealer says.
		tamper(t, rdb, epoch, key, id, text, nil)
		if d := g.admit(r); d.Results[0].Limit != 7 {
			t.Errorf("put back: %+v", d)
		}
	}, redistest.OrEmbedded())
}

// TestSealsDoNotMove copies a sealed override to another org, and under another id: of no use there.
func TestSealsDoNotMove(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		from, _ := sealedGate(t, rdb, oldKey)
		stored := from.set(ratelimit.Override{Project: "shop", Limit: new(int64(1000))})
		text, err := rdb.HGet(t.Context(), lua.OverridesKey(from.org), stored.ID).Result()
		if err != nil {
			t.Fatalf("HGET: %v", err)
		}
		for name, to := range map[string]struct{ org, id string }{"another org": {redistest.Org(t), stored.ID}, "another id": {from.org, "other"}} {
			g := from
			g.org = to.org
			r := g.request(1, ratelimit.PerHour(1))
			tamper(t, rdb, lua.EpochKey(to.org), lua.OverridesKey(to.org), to.id, text, nil)
			_, err := g.limiter.Admit(t.Context(), r)
			g.broken(name, err)
			if err := g.overrides.Delete(t.Context(), to.org, to.id, ratelimit.Always); err != nil {
				t.Errorf("%s: Delete: %v", name, err)
			}
			if d := g.admit(r); !d.Allowed {
				t.Errorf("%s: after it was deleted: %+v", name, d)
			}
		}
	}, redistest.OrEmbedded())
}

// TestSealedPlans changes the rules of a plan in the bucket of an org, and moves them to another name.
func TestSealedPlans(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		g, plans := sealedGate(t, rdb, oldKey)
		for bucket.Of(g.org) == lua.AuthorityBucket { // where a copy that somebody puts is the plan itself
			g, plans = sealedGate(t, rdb, oldKey)
		}
		plain, plainPlans := sealedGate(t, rdb)
		name, other := planName(t, rdb), planName(t, rdb)
		plan := func(name string, limit int64) ratelimit.Plan {
			return ratelimit.Plan{Name: name, Rules: []ratelimit.PlanRule{{Limit: &limit, Burst: 1}, {Endpoint: endpoint, Policy: "p", Access: ratelimit.Blocked}}}
		}
		set := func(p ratelimit.Plan) {
			t.Helper()
			if _, _, err := plans.Set(t.Context(), p, ratelimit.Always); err != nil {
				t.Fatalf("Set: %v", err)
			}
		}
		set(plan(name, 5))
		r := g.request(1, ratelimit.PerHour(1))
		r.Plan = name
		if d := g.admit(r); d.Results[0].Limit != 6 {
			t.Fatalf("as set: %+v", d)
		}
		in := bucket.Of(g.org)
		text, err := rdb.HGet(t.Context(), lua.PlansKey(in), name).Result()
		if err != nil {
			t.Fatalf("HGET: %v", err)
		}
		rule := func(name, value string) map[string]any {
			return map[string]any{"limit": "5", "burst": "1", name: value}
		}
		for damage, members := range map[string]map[string]any{
			"limit": {"rules": []any{rule("limit", "6")}}, "window": {"rules": []any{rule("window", "1000000")}}, "endpoint": {"rules": []any{rule("endpoint", "GET /")}},
			"a rule less": {"rules": []any{rule("limit", "5")}}, "no seal": {"seal": nil}, "another seal": {"seal": "2:x"},
		} {
			// No more than that: other tests share the plans, and each change of one makes their limits old.
			tamper(t, rdb, lua.PlansEpochKey(in), lua.PlansKey(in), name, text, members)
			tamper(t, rdb, lua.EpochKey(g.org), lua.PlansKey(lua.AuthorityBucket), name, text, members)
			_, err := g.limiter.Admit(t.Context(), r)
			g.broken(damage, err)
			_, err = plans.Get(t.Context(), name)
			g.broken(damage+", Get", err)
			if _, err := plain.limiter.Admit(t.Context(), r); err != nil {
				t.Errorf("%s, without a sealer: %v", damage, err)
			}
			if _, err := plainPlans.Get(t.Context(), name); err != nil {
				t.Errorf("%s, Get without a sealer: %v", damage, err)
			}
		}
		set(plan(name, 5))
		if d := g.admit(r); d.Results[0].Limit != 6 {
			t.Errorf("set again: %+v", d)
		}
		tamper(t, rdb, lua.PlansEpochKey(in), lua.PlansKey(in), other, text, nil)
		r.Plan = other
		_, err = g.limiter.Admit(t.Context(), r)
		g.broken("another name", err)
		// The mark that a deletion leaves is no plan, and has no seal.
		if err := plans.Delete(t.Context(), other, ratelimit.Always); !errors.Is(err, ratelimit.ErrNotFound) {
			t.Errorf("Delete: %v", err)
		}
		if d := g.admit(r); d.Results[0].Limit != 1 {
			t.Errorf("after it was deleted: %+v", d)
		}
	}, redistest.OrEmbedded())
}
