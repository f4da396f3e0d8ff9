package ratelimit

import "time"

// Effective is what a policy comes to, and the Redis times between which it does.
type Effective struct {
	Limit, Burst int64
	Window       time.Duration
	Start        int64
	Source       string
	Level        Level
	Change       Change
	Unlimited    bool
	From, Until  int64
}

// Resolve finds what a policy comes to at a Redis time, under a plan with some rules.
func Resolve(overrides []Override, rules []PlanRule, r Request, p Policy, now int64) Effective {
	set := &overrideSet{overrides: map[selector]*Override{}}
	for i := range overrides {
		set.overrides[overrides[i].selector()] = &overrides[i]
	}
	plan := Plan{Name: r.Plan, Rules: rules}
	e := sources{set, plan.set(0)}.resolve(&r, &p, now)
	return Effective{e.limit, e.burst, e.window, e.start, e.source, e.level, e.change, e.unlimited, e.from, e.until}
}

// StateAt returns the state of an override at a Redis time.
func (o *Override) StateAt(now time.Time) State { return o.stateAt(now) }
