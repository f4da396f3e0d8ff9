package ratelimit_test

import (
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// A moment before midnight, so that periods of the calendar begin among the times drawn.
var dawn = time.Date(2026, 11, 21, 0, 0, 0, -10_000, time.UTC).UnixMicro()

const lastTime = 24 // microseconds after dawn

// TestEffectiveHoldsInItsInterval compares what a policy comes to with what a plain reading of the
// overrides says of each microsecond of the interval.
func TestEffectiveHoldsInItsInterval(t *testing.T) {
	t.Parallel()
	levels, cut := map[ratelimit.Level]int{}, 0
	rapid.Check(t, func(rt *rapid.T) {
		overrides, rules, p := drawOverrides(rt), drawRules(rt), drawPolicy(rt)
		r := ratelimit.Request{Org: "acme", Project: pick(rt, "project", "", "shop", "shop"), Endpoint: pick(rt, "endpoint", "", endpoint, endpoint), Plan: "gold"}
		edges := []int64{0, lua.MaxTime}
		for _, o := range overrides {
			edges = append(edges, o.StartsAt.UnixMicro(), o.ExpiresAt.UnixMicro())
		}
		for now := dawn; now <= dawn+lastTime; now++ {
			for i := range overrides {
				begun, ended := during(&overrides[i], time.UnixMicro(now))
				if got := overrides[i].StateAt(time.UnixMicro(now)); (got == ratelimit.StateActive) != (begun && !ended) || (got == ratelimit.StateEnded) != ended {
					rt.Fatalf("%+v is %s at %d", overrides[i], got, now)
				}
			}
			got := ratelimit.Resolve(overrides, rules, r, p, now)
			if got.From > now || got.Until <= now {
				rt.Fatalf("%d does not lie in [%d, %d)", now, got.From, got.Until)
			}
			if p.Algorithm == ratelimit.CalendarWindow {
				edges = append(edges[:2+2*len(overrides)], got.Start, got.Start+got.Window.Microseconds())
			}
			if !slices.Contains(edges, got.From) || !slices.Contains(edges, got.Until) {
				rt.Fatalf("at %d: nothing begins or ends at %d or at %d", now, got.From, got.Until)
			}
			from, until := max(got.From, dawn), min(got.Until, dawn+lastTime+1)
			for at := from; at < until; at++ {
				want := effectiveAt(overrides, rules, r, p, at)
				want.From, want.Until = got.From, got.Until
				if got != want {
					rt.Fatalf("at %d, told at %d:\ngot  %+v\nwant %+v", at, now, got, want)
				}
			}
			levels[got.Level]++
			if until-from < lastTime {
				cut++
			}
		}
	})
	if len(levels) != 7 || cut == 0 {
		t.Errorf("levels %v, %d intervals cut; want all kinds", levels, cut)
	}
}

func pick[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

// drawTerms draws an override, valid or not, without times.
func drawTerms(t *rapid.T) ratelimit.Override {
	o := ratelimit.Override{
		Org: "acme", Project: pick(t, "project", "", "shop", "shop", "other"), Endpoint: pick(t, "endpoint", "", endpoint, endpoint, "GET /other"),
		Policy: pick(t, "policy", "", "p", "p", "q"), Access: pick(t, "access", "", "", ratelimit.Blocked, ratelimit.Unlimited),
	}
	if o.Access == ratelimit.Limited {
		o.Change = pick(t, "change", ratelimit.KeepUsed, ratelimit.Proportional, ratelimit.Additive, ratelimit.ResetUsed)
		if limit := pick[int64](t, "limit", -1, -1, -1, 0, 5, 1000, lua.MaxWindow+1, ratelimit.MaxLimit); limit >= 0 {
			o.Limit = &limit
		}
		o.Window = pick(t, "window", 0, time.Millisecond, time.Hour, 400*24*time.Hour)
		o.Burst = pick[int64](t, "burst", 0, 7, ratelimit.MaxLimit, ratelimit.MaxLimit)
	}
	return o
}

func drawOverrides(t *rapid.T) []ratelimit.Override {
	drawn := rapid.Custom(func(t *rapid.T) ratelimit.Override {
		o := drawTerms(t)
		o.ID = o.Project + "|" + o.Endpoint + "|" + o.Policy
		at := rapid.Int64Range(dawn, dawn+lastTime)
		if rapid.Bool().Draw(t, "starts") {
			o.StartsAt = time.UnixMicro(at.Draw(t, "start"))
		}
		if rapid.Bool().Draw(t, "ends") {
			o.ExpiresAt = time.UnixMicro(at.Draw(t, "end"))
		}
		return o
	})
	valid := drawn.Filter(func(o ratelimit.Override) bool { return o.Validate() == nil })
	return rapid.SliceOfNDistinct(valid, pick(t, "least", 0, 4, 8), 12, func(o ratelimit.Override) string { return o.ID }).Draw(t, "overrides")
}

func drawRules(t *rapid.T) []ratelimit.PlanRule {
	drawn := rapid.Custom(func(t *rapid.T) ratelimit.PlanRule {
		o := drawTerms(t)
		return ratelimit.PlanRule{o.Endpoint, o.Policy, o.Limit, o.Window, o.Burst, o.Access, o.Change}
	})
	valid := drawn.Filter(func(r ratelimit.PlanRule) bool {
		return (&ratelimit.Plan{Name: "gold", Rules: []ratelimit.PlanRule{r}}).Validate() == nil
	})
	return rapid.SliceOfNDistinct(valid, 0, 6, func(r ratelimit.PlanRule) string { return r.Endpoint + "|" + r.Policy }).Draw(t, "rules")
}

func drawPolicy(t *rapid.T) ratelimit.Policy {
	limit := pick[int64](t, "policy's limit", 0, 1, 50, lua.MaxWindow, lua.MaxWindow)
	p := ratelimit.Per(limit, pick(t, "policy's window", time.Millisecond, time.Hour))
	switch p.Algorithm = ratelimit.Algorithm(rapid.IntRange(0, int(ratelimit.Concurrency)).Draw(t, "algorithm")); p.Algorithm {
	case ratelimit.CalendarWindow:
		p = ratelimit.Quota(limit, ratelimit.Daily(nil))
	case ratelimit.GCRA:
		p.Burst = pick[int64](t, "policy's burst", 1, 9)
	case ratelimit.Concurrency:
		p = ratelimit.Concurrent(limit)
	}
	p.Name = "p"
	p.Shared = rapid.Bool().Draw(t, "shared")
	p.Partition = pick(t, "partition", "", ratelimit.ByProject, ratelimit.ByKey, ratelimit.ByOrg, "network")
	if err := p.Validate(); err != nil {
		t.Fatalf("drew %v", err)
	}
	return p
}

func during(o *ratelimit.Override, now time.Time) (begun, ended bool) {
	return o.StartsAt.IsZero() || !now.Before(o.StartsAt), !o.ExpiresAt.IsZero() && !now.Before(o.ExpiresAt)
}

// effectiveAt says what counts at one moment. A plan's rule is an override that every other goes before.
func effectiveAt(overrides []ratelimit.Override, rules []ratelimit.PlanRule, r ratelimit.Request, p ratelimit.Policy, at int64) ratelimit.Effective {
	now := time.UnixMicro(at)
	best, counts := -1, ratelimit.Override{}
	all := slices.Clone(overrides)
	for _, rule := range rules {
		all = append(all, ratelimit.Override{
			Endpoint: rule.Endpoint, Policy: rule.Policy, Limit: rule.Limit, Window: rule.Window, Burst: rule.Burst, Access: rule.Access, Change: rule.Change,
		})
	}
	for _, o := range all {
		begun, ended := during(&o, now)
		fits := (o.Project == "" || o.Project == r.Project && (p.Partition == "" || p.Partition == ratelimit.ByProject || p.Partition == ratelimit.ByKey)) &&
			(o.Endpoint == "" || o.Endpoint == r.Endpoint && !p.Shared) && (o.Policy == "" || o.Policy == p.Name)
		if !begun || ended || !fits {
			continue
		}
		rank := 0
		for i, part := range []string{o.Policy, o.Endpoint, o.Project} {
			if part != "" {
				rank += 1 << i
			}
		}
		if o.Org != "" {
			rank += 4 // behind those of a plan, which has no projects
		}
		if rank > best {
			best, counts = rank, o
		}
	}
	e := ratelimit.Effective{Limit: p.Limit, Burst: p.Burst, Window: p.Window, Source: "policy", Level: "policy"}
	if best >= 0 {
		e.Source, e.Change = "override:"+counts.ID, counts.Change
		e.Level = [...]ratelimit.Level{"plan", "plan+endpoint", "org", "org+endpoint", "project", "project+endpoint"}[best>>1]
		if counts.Org == "" {
			e.Source = "plan:gold"
		}
		terms(&e, counts, p.Algorithm)
	}
	switch p.Algorithm {
	case ratelimit.CalendarWindow:
		e.Start, e.Window = now.UTC().Truncate(24*time.Hour).UnixMicro(), 24*time.Hour
	case ratelimit.GCRA:
		leaky(&e)
	}
	return e
}

// terms applies what an override says of limit, burst and window.
func terms(e *ratelimit.Effective, o ratelimit.Override, a ratelimit.Algorithm) {
	if o.Limit != nil {
		e.Limit = *o.Limit
	}
	if o.Window != 0 && a != ratelimit.Concurrency {
		e.Window = o.Window
	}
	if a == ratelimit.GCRA {
		e.Burst += o.Burst
	} else if e.Limit != 0 {
		e.Limit += o.Burst
	}
	e.Limit, e.Burst = min(e.Limit, ratelimit.MaxLimit), min(e.Burst, ratelimit.MaxLimit)
	if o.Access == ratelimit.Blocked {
		e.Limit = 0
	}
	e.Unlimited = o.Access == ratelimit.Unlimited
}

// leaky bounds a GCRA as the script does: a full one leaks within the longest window.
func leaky(e *ratelimit.Effective) {
	if e.Limit = min(e.Limit, lua.MaxWindow); e.Limit == 0 {
		return
	}
	most := new(big.Int).Mul(big.NewInt(e.Limit), big.NewInt(lua.MaxWindow))
	if most.Quo(most, big.NewInt(e.Window.Microseconds())); most.IsInt64() {
		e.Burst = min(e.Burst, most.Int64())
	}
}
