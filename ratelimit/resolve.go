package ratelimit

import (
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// Level tells how specific the source of a limit is. Of all sources that fit a request the most specific
// one counts; the levels stand here from the least to the most.
type Level string

// The levels.
const (
	LevelPolicy          Level = "policy" // as coded: no override counts
	LevelOrg             Level = "org"
	LevelOrgEndpoint     Level = "org+endpoint"
	LevelProject         Level = "project"
	LevelProjectEndpoint Level = "project+endpoint"
)

// effective is what a policy comes to for one request, and between which Redis times it does.
type effective struct {
	limit, burst int64
	window       time.Duration
	start        int64 // of a CalendarWindow
	source       string
	level        Level
	change       Change // of the override that counts
	unlimited    bool
	from, until  int64
}

// resolve finds the effective limit of a policy at a Redis time.
func (s *overrideSet) resolve(r *Request, p *Policy, now int64) effective {
	e := effective{limit: p.Limit, burst: p.Burst, window: p.Window, source: SourcePolicy, level: LevelPolicy, until: lua.MaxTime}
	if s != nil && len(s.overrides) > 0 {
		s.override(&e, r, p, now)
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

// override applies the one that counts. It looks from the most specific selector to the least; the first
// that has not ended counts.
func (s *overrideSet) override(e *effective, r *Request, p *Policy, now int64) {
	projects := []string{r.Project, ""}
	if p.partition() == ByOrg || r.Project == "" {
		projects = projects[1:]
	}
	for _, project := range projects {
		for _, endpoint := range [...]string{r.Endpoint, ""} {
			for _, policy := range [...]string{p.name(), ""} {
				o := s.overrides[selector{project, endpoint, policy}]
				if o == nil {
					continue
				}
				if !o.ExpiresAt.IsZero() {
					end := o.ExpiresAt.UnixMicro()
					if end <= now {
						e.from = max(e.from, end) // before its end it would have counted
						continue
					}
					e.until = end
				}
				o.change(e)
				return
			}
		}
	}
}

// capacity is the most units that fit at once.
func (e *effective) capacity(a Algorithm) int64 {
	if a == GCRA && e.limit > 0 {
		return e.burst
	}
	return e.limit
}

func (o *Override) change(e *effective) {
	e.source, e.level = "override:"+o.ID, o.selector().level()
	if o.Limit != nil {
		e.limit = *o.Limit
	}
	if o.Window != 0 {
		e.window = o.Window
	}
}
