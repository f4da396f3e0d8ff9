package ratelimit

import (
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// effective is what a policy comes to for one request, and between which Redis times it does.
type effective struct {
	limit       int64
	window      time.Duration
	source      string
	from, until int64
}

// overrideSet is all overrides of an org, read under one stamp. Immutable.
type overrideSet struct {
	stamp     int64
	overrides map[selector]*Override
}

// resolve finds the effective limit of a policy at a Redis time. It looks from the most specific
// selector to the least; the first override that has not ended counts.
func (s *overrideSet) resolve(r *Request, p *Policy, now int64) effective {
	e := effective{limit: p.Limit, window: p.Window, source: SourcePolicy, until: lua.MaxTime}
	if s == nil || len(s.overrides) == 0 {
		return e
	}
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
				o.change(&e)
				return e
			}
		}
	}
	return e
}

func (o *Override) change(e *effective) {
	e.source = "override:" + o.ID
	if o.Limit != nil {
		e.limit = *o.Limit
	}
	if o.Window != 0 {
		e.window = o.Window
	}
}
