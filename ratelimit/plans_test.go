package ratelimit_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// wire is a hook that asks before each command whether it may go, and after it whether its reply may come. Plans
// are shared by all tests, so it hears of one client alone.
type wire struct{ before, after func(cmd redis.Cmder) error }

func (w wire) DialHook(next redis.DialHook) redis.DialHook { return next }
func (w wire) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (w wire) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		for _, step := range []func(redis.Cmder) error{w.before, func(cmd redis.Cmder) error { return next(ctx, cmd) }, w.after} {
			if step == nil {
				continue
			}
			if err := step(cmd); err != nil {
				cmd.SetErr(err)
				return err
			}
		}
		return nil
	}
}

// in reports whether a command is for a bucket.
func in(cmd redis.Cmder, bucket string) bool {
	args := cmd.Args()
	return len(args) > 3 && strings.HasPrefix(fmt.Sprint(args[3]), "tg1:{"+bucket+"}")
}

func newPlans(t *testing.T, rdb redis.UniversalClient) *ratelimit.Plans {
	t.Helper()
	plans, err := ratelimit.NewPlans(rdb, ratelimit.WithTimeout(time.Minute))
	if err != nil {
		t.Fatalf("NewPlans: %v", err)
	}
	return plans
}

// planName returns the name of a plan that no other test has, and that is gone when the test has ended.
func planName(t *testing.T, rdb redis.UniversalClient) string {
	t.Helper()
	name := "plan-" + rand.Text()
	plans := newPlans(t, rdb)
	t.Cleanup(func() {
		if err := plans.Delete(context.WithoutCancel(t.Context()), name, ratelimit.Always); err != nil && !errors.Is(err, ratelimit.ErrNotFound) {
			t.Errorf("Delete: %v", err)
		}
	})
	return name
}

// limited returns a plan of one rule.
func limited(name string, limit int64) ratelimit.Plan {
	return ratelimit.Plan{Name: name, Rules: []ratelimit.PlanRule{{Limit: &limit}}}
}

func setPlan(t *testing.T, plans *ratelimit.Plans, p ratelimit.Plan) ratelimit.Plan {
	t.Helper()
	stored, _, err := plans.Set(t.Context(), p, ratelimit.Always)
	if err != nil {
		t.Fatalf("Set: %v", err)
	}
	return stored
}

// orgIn returns the name of an org that lies in a bucket.
func orgIn(t *testing.T, in string) string {
	t.Helper()
	for {
		if org := redistest.Org(t); bucket.Of(org) == in {
			return org
		}
	}
}

// orgs returns an org in each bucket.
func orgs(t *testing.T) []string {
	t.Helper()
	var all []string
	for b := range bucket.All() {
		all = append(all, orgIn(t, b))
	}
	return all
}

// found asks for an hour's policy of 1000 under a plan, and returns what it comes to.
func (g gate) found(plan string) ratelimit.Result {
	g.Helper()
	r := g.request(0, ratelimit.PerHour(1000))
	r.Plan = plan
	return g.admit(r).Results[0]
}

func TestPlans(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		plans, name, ctx := newPlans(t, rdb), planName(t, rdb), t.Context()
		p := ratelimit.Plan{Name: name, Rules: []ratelimit.PlanRule{
			{Limit: new(int64(ratelimit.MaxLimit)), Window: 400 * 24 * time.Hour, Burst: 7, Change: ratelimit.Proportional},
			{Endpoint: "GET /ü/{id}", Policy: "p", Limit: new(int64)},
			{Policy: "p", Access: ratelimit.Blocked}, {Policy: "q", Access: ratelimit.Unlimited},
		}}
		stored, created, err := plans.Set(ctx, p, ratelimit.IfAbsent)
		if err != nil || !created || stored.Revision == 0 || stored.CreatedAt.IsZero() || !stored.UpdatedAt.Equal(time.UnixMicro(stored.Revision)) {
			t.Fatalf("Set = %+v, %t, %v", stored, created, err)
		}
		if got, err := plans.Get(ctx, name); err != nil || !reflect.DeepEqual(got, stored) || !reflect.DeepEqual(got.Rules, p.Rules) {
			t.Errorf("Get = %+v, %v; want %+v", got, err, stored)
		}
		again, created, err := plans.Set(ctx, p, ratelimit.IfAbsent)
		if err != nil || created || !reflect.DeepEqual(again, stored) {
			t.Errorf("the same Set again = %+v, %t, %v; want %+v", again, created, err, stored)
		}
		if _, _, err := plans.Set(ctx, limited(name, 1), ratelimit.IfAbsent); !errors.Is(err, ratelimit.ErrConflict) {
			t.Errorf("Set where there is another: %v, want ErrConflict", err)
		}
		replaced, created, err := plans.Set(ctx, limited(name, 1), ratelimit.Precondition(stored.Revision))
		if err != nil || created || replaced.Revision <= stored.Revision || replaced.CreatedAt != stored.CreatedAt {
			t.Errorf("Set of the revision = %+v, %t, %v", replaced, created, err)
		}
		stale := ratelimit.Precondition(stored.Revision)
		if _, _, err := plans.Set(ctx, limited(name, 2), stale); !errors.Is(err, ratelimit.ErrConflict) {
			t.Errorf("Set of an old revision: %v, want ErrConflict", err)
		}
		if err := plans.Delete(ctx, name, stale); !errors.Is(err, ratelimit.ErrConflict) {
			t.Errorf("Delete of an old revision: %v, want ErrConflict", err)
		}
		second := planName(t, rdb)
		setPlan(t, plans, limited(second, 2))
		list, err := plans.List(ctx)
		if !slices.IsSortedFunc(list, func(a, b ratelimit.Plan) int { return strings.Compare(a.Name, b.Name) }) || err != nil {
			t.Errorf("List = %+v, %v; want them in order", list, err)
		}
		list = slices.DeleteFunc(list, func(p ratelimit.Plan) bool { return p.Name != name && p.Name != second })
		if len(list) != 2 {
			t.Errorf("List = %+v, want both", list)
		}
		if err := plans.Delete(ctx, name, ratelimit.Precondition(replaced.Revision)); err != nil {
			t.Errorf("Delete: %v", err)
		}
		_, getErr := plans.Get(ctx, name)
		_, oddErr := plans.Get(ctx, "a b")
		for i, err := range []error{getErr, oddErr, plans.Delete(ctx, name, ratelimit.Always), plans.Delete(ctx, "", ratelimit.Always)} {
			if !errors.Is(err, ratelimit.ErrNotFound) {
				t.Errorf("call %d: %v, want ErrNotFound", i, err)
			}
		}
		if list, err := plans.List(ctx); err != nil || slices.ContainsFunc(list, func(p ratelimit.Plan) bool { return p.Name == name }) {
			t.Errorf("List = %+v, %v; want it gone", list, err)
		}
		if _, _, err := plans.Set(ctx, limited(name, 3), ratelimit.Precondition(replaced.Revision)); !errors.Is(err, ratelimit.ErrConflict) {
			t.Errorf("Set of a revision that is gone: %v, want ErrConflict", err)
		}
		if p, created, err := plans.Set(ctx, limited(name, 3), ratelimit.IfAbsent); err != nil || !created || p.Revision <= replaced.Revision || p.CreatedAt.Equal(stored.CreatedAt) {
			t.Errorf("Set after it was deleted = %+v, %t, %v", p, created, err)
		}
	}, redistest.OrEmbedded())
}

func TestPlanInvalid(t *testing.T) {
	t.Parallel()
	plans := newPlans(t, redistest.Standalone(t, redistest.OrEmbedded()))
	for name, tt := range map[string]struct {
		change func(*ratelimit.Plan)
		says   string
	}{
		"no name":    {func(p *ratelimit.Plan) { p.Name = "" }, "plan: Name must be 1 to 64 of"},
		"long name":  {func(p *ratelimit.Plan) { p.Name = strings.Repeat("n", 65) }, "Name must be 1 to 64 of"},
		"odd name":   {func(p *ratelimit.Plan) { p.Name = "a:b" }, "Name must be 1 to 64 of"},
		"no rules":   {func(p *ratelimit.Plan) { p.Rules = nil }, "Rules must be 1 to 100"},
		"many rules": {func(p *ratelimit.Plan) { p.Rules = make([]ratelimit.PlanRule, 101) }, "Rules must be 1 to 100"},
		"empty rule": {func(p *ratelimit.Plan) { p.Rules[1] = ratelimit.PlanRule{Policy: "q"} }, "rule 1: Limit, Window, Burst or Access must be set"},
		"twice":      {func(p *ratelimit.Plan) { p.Rules[1] = p.Rules[0] }, "rule 1: Endpoint and Policy must not be those of rule 0"},
		"endpoint":   {func(p *ratelimit.Plan) { p.Rules[1].Endpoint = "things" }, "rule 1: Endpoint must be a method"},
		"not UTF-8":  {func(p *ratelimit.Plan) { p.Rules[1].Endpoint = "GET /\xff" }, "rule 1: Endpoint must be UTF-8"},
		"policy":     {func(p *ratelimit.Plan) { p.Rules[1].Policy = "a b" }, "rule 1: Policy must be 1 to 64"},
		"limit":      {func(p *ratelimit.Plan) { p.Rules[1].Limit = new(int64(-1)) }, "rule 1: Limit -1 must be 0 to"},
		"window":     {func(p *ratelimit.Plan) { p.Rules[1].Window = 1 }, "rule 1: Window 1ns must be"},
		"burst":      {func(p *ratelimit.Plan) { p.Rules[1].Burst = math.MaxInt64 }, "rule 1: Burst 9223372036854775807 must be"},
		"access":     {func(p *ratelimit.Plan) { p.Rules[1].Access = ratelimit.Unlimited }, `rule 1: Access "unlimited" must stand without`},
		"change":     {func(p *ratelimit.Plan) { p.Rules[1].Change = "keep" }, "rule 1: Change must be"},
		"additive":   {func(p *ratelimit.Plan) { p.Rules[1].Change = ratelimit.Additive }, `rule 1: Change must be "proportional", or left out`},
		"reset":      {func(p *ratelimit.Plan) { p.Rules[1].Change = ratelimit.ResetUsed }, `rule 1: Change must be "proportional", or left out`},
	} {
		p := ratelimit.Plan{Name: "gold", Rules: []ratelimit.PlanRule{{Limit: new(int64(1))}, {Policy: "p", Limit: new(int64(1))}}}
		tt.change(&p)
		got, created, err := plans.Set(t.Context(), p, ratelimit.Always)
		if !errors.Is(err, ratelimit.ErrInvalid) || created || !reflect.DeepEqual(got, ratelimit.Plan{}) {
			t.Errorf("%s: Set = %+v, %t, %v; want ErrInvalid", name, got, created, err)
		}
		if text := fmt.Sprint(err); !strings.Contains(text, tt.says) || strings.Contains(text, "\n") {
			t.Errorf("%s: %q, want one fault that says %q", name, text, tt.says)
		}
	}
}

// TestDamagedPlanIsToldAndMended: it stops the identities that point to it where it is damaged, and no others.
func TestDamagedPlanIsToldAndMended(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		plans, g := newPlans(t, rdb), newGate(t, rdb)
		g.org = orgIn(t, "41")
		for _, damage := range []string{"{", `{"rules":"x"}`, `{"rules":[{"limit":"-1"}]}`, `{"rules":[{}]}`, "{}", "null", `{"revision":"1e300","rules":[]}`,
			`{"rules":[{"limit":"5"}],"revision":"-9000000000000000000"}`, `{"rules":[{"limit":"5"}],"created":"9000000000000000000"}`} {
			name := planName(t, rdb)
			stored := setPlan(t, plans, limited(name, 5))
			if err := rdb.HSet(t.Context(), lua.PlansKey("41"), name, damage).Err(); err != nil {
				t.Fatalf("HSET: %v", err)
			}
			r := g.request(0, ratelimit.PerHour(1000))
			r.Plan = name
			if _, err := g.limiter.Admit(t.Context(), r); !errors.Is(err, ratelimit.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), name) {
				t.Errorf("%s: Admit: %v, want ErrUnavailable that names the plan", damage, err)
			}
			if got := g.found(""); got.Limit != 1000 {
				t.Errorf("%s: without a plan: %+v", damage, got)
			}
			// As it is, under the precondition that fails.
			if again, _, err := plans.Set(t.Context(), limited(name, 5), ratelimit.IfAbsent); err != nil || again.Revision != stored.Revision {
				t.Errorf("%s: Set = %+v, %v; want revision %d", damage, again, err, stored.Revision)
			}
			if got := g.found(name); got.Limit != 5 {
				t.Errorf("%s: mended: %+v", damage, got)
			}
		}
	}, redistest.OrEmbedded())
}

// TestTooManyPlans fills a server of its own. What was deleted leaves room, and what is there can be changed.
func TestTooManyPlans(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { rdb.Close() })
	plans := newPlans(t, rdb)
	setPlan(t, plans, limited("first", 1))
	text, err := rdb.HGet(t.Context(), lua.PlansKey("00"), "first").Result()
	if err != nil {
		t.Fatalf("HGET: %v", err)
	}
	for i := 1; i < lua.MaxPlans; i++ {
		if err := rdb.HSet(t.Context(), lua.PlansKey("00"), fmt.Sprint(i), text).Err(); err != nil {
			t.Fatalf("HSET: %v", err)
		}
	}
	full := func(when string) {
		t.Helper()
		_, _, err := plans.Set(t.Context(), limited("more", 1), ratelimit.Always)
		if !errors.Is(err, ratelimit.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "there are 500 already") {
			t.Errorf("%s: Set of one more: %v, want ErrInvalid", when, err)
		}
	}
	full("full")
	setPlan(t, plans, limited("first", 2))
	if err := plans.Delete(t.Context(), "7", ratelimit.Always); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	setPlan(t, plans, limited("in-its-place", 1))
	full("full again")
}
