package middleware

import (
	"strconv"
	"time"
)

// setFields writes RateLimit-Policy and RateLimit as draft-ietf-httpapi-ratelimit-headers-10 has them:
// lists of RFC 9651, a member for each policy, with the effective limit and window. They are for
// authenticated callers only, and are left out where nothing was counted. Policy names need no escaping:
// ratelimit.Policy allows none that would.
func (a *Admission) setFields(l *limit) {
	if l.anonymous || a.identity == nil || len(a.results) == 0 {
		return
	}
	policies, limits := make([]byte, 0, 96), make([]byte, 0, 96)
	for i := range a.results {
		r := &a.results[i]
		if i > 0 {
			policies, limits = append(policies, ", "...), append(limits, ", "...)
		}
		policies = appendMember(policies, r.Policy, ";q=", r.Limit)
		if r.Window%time.Second == 0 { // the draft knows whole seconds only
			policies = appendMember(policies, "", ";w=", int64(r.Window/time.Second))
		}
		limits = appendMember(limits, r.Policy, ";r=", r.Remaining)
		if r.NextAfter > 0 {
			limits = appendMember(limits, "", ";t=", seconds(r.NextAfter))
		}
	}
	a.header["Ratelimit-Policy"] = []string{string(policies)}
	a.header["Ratelimit"] = []string{string(limits)}
}

func appendMember(b []byte, name, parameter string, value int64) []byte {
	if name != "" {
		b = append(append(append(b, '"'), name...), '"')
	}
	return strconv.AppendInt(append(b, parameter...), value, 10)
}
