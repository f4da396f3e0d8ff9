package ratelimit

import (
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// Level tells how specific the source of a limit is. Of all sources that fit a request the most specific
// one counts; the levels stand here from the least to the most.
type Level string

// The levels.
const (
	LevelPolicy          Level = "policy" // as coded: nothing else counts
	LevelPlan            Level = "plan"
	LevelPlanEndpoint    Level = "plan+endpoint"
	LevelOrg             Level = "org"
	LevelOrgEndpoint     Level = "org+endpoint"
	LevelProject         Level = "project"
	LevelProjectEndpoint Level = "project+endpoint"
)

// selector is what makes two overrides of an org the same.
type selector struct{ project, endpoint, policy string }

func (s selector) id() string {
	sum := sha256.Sum256([]byte(lua.Escape(s.project) + ":" + lua.Escape(s.endpoint) + ":" + lua.Escape(s.policy)))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// level tells how specific a selector is, whatever policies it selects.
func (s selector) level(ofPlan bool) Level {
	switch {
	case ofPlan && s.endpoint != "":
		return LevelPlanEndpoint
	case ofPlan:
		return LevelPlan
	case s.project != "" && s.endpoint != "":
		return LevelProjectEndpoint
	case s.project != "":
		return LevelProject
	case s.endpoint != "":
		return LevelOrgEndpoint
	}
	return LevelOrg
}

func (o *Override) selector() selector { return selector{o.Project, o.Endpoint, o.Policy} }

// effective is what a policy comes to for one request, and between which Redis times it does.
type effective struct {
	limit, burst int64
	window       time.Duration
	start        int64 // of a CalendarWindow
	source       string
	reason       string
	level        Level
	change       Change // of the override that counts
	unlimited    bool
	uncounted    bool // not a part of the check
	from, until  int64
}

// resolve finds the effective limit of a policy at a Redis time.
func (s sources) resolve(r *Request, p *Policy, now int64) effective {
	e := effective{limit: p.Limit, burst: p.Burst, window: p.Window, source: SourcePolicy, level: LevelPolicy, until: lua.MaxTime}
	if !s.overrides.override(&e, r, p, now) {
		s.plan.override(&e, r, p, now)
	}
	switch p.Algorithm {
	case CalendarWindow:
		start, end := p.Period.around(time.UnixMicro(now))
		e.start, e.window = start.UnixMicro(), end.Sub(start)
		e.from, e.until = max(e.from, e.start), min(e.until, end.UnixMicro())
	case GCRA: // an override may leave a rate that the burst does not leak at in time
		e.limit = min(e.limit, lua.MaxWindow)
		if e.limit > 0 && !leaks(e.burst, e.window, e.limit) {
			e.burst = mulDiv(e.limit, lua.MaxWindow, e.window.Microseconds())
		}
	}
	return e
}

// override applies the one that counts, and reports whether there is one. It looks from the most specific
// selector to the least; the first that is active counts.
func (s *overrideSet) override(e *effective, r *Request, p *Policy, now int64) bool {
	if s == nil || len(s.overrides) == 0 {
		return false
	}
	projects, endpoints := []string{r.Project, ""}, []string{r.Endpoint, ""}
	if p.partition() != ByProject && p.partition() != ByKey || r.Project == "" {
		projects = projects[1:]
	}
	if p.Shared || r.Endpoint == "" {
		endpoints = endpoints[1:]
	}
	for _, project := range projects {
		for _, endpoint := range endpoints {
			for _, policy := range [...]string{p.name(), ""} {
				o := s.overrides[selector{project, endpoint, policy}]
				if o != nil && o.active(e, now) {
					o.change(e, p.Algorithm)
					e.level, e.source = o.selector().level(s.ofPlan), "override:"+o.ID
					if s.ofPlan {
						e.source = "plan:" + o.ID
					}
					return true
				}
			}
		}
	}
	return false
}

// active reports whether the override is active at a Redis time, and cuts the times of e to those at which
// the answer is the same.
func (o *Override) active(e *effective, now int64) bool {
	if !o.StartsAt.IsZero() {
		start := o.StartsAt.UnixMicro()
		if now < start {
			e.until = min(e.until, start)
			return false
		}
		e.from = max(e.from, start)
	}
	if !o.ExpiresAt.IsZero() {
		end := o.ExpiresAt.UnixMicro()
		if end <= now {
			e.from = max(e.from, end)
			return false
		}
		e.until = min(e.until, end)
	}
	return true
}

// capacity is the most units that fit at once.
func (e *effective) capacity(a Algorithm) int64 {
	if a == GCRA && e.limit > 0 {
		return e.burst
	}
	return e.limit
}

// change makes of a policy what the override says.
func (o *Override) change(e *effective, a Algorithm) {
	e.reason, e.change = o.Reason, o.Change
	switch o.Access {
	case Blocked:
		e.limit = 0
	case Unlimited:
		e.unlimited = true
	}
	if o.Limit != nil {
		e.limit = *o.Limit
	}
	if o.Window != 0 && a != Concurrency {
		e.window = o.Window
	}
	switch {
	case a == GCRA:
		e.burst = min(e.burst+o.Burst, MaxLimit)
	case e.limit > 0:
		e.limit = min(e.limit+o.Burst, MaxLimit)
	}
}
