package ratelimit

import (
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// SourcePolicy is the Source of a limit that no override and no plan changed.
const SourcePolicy = "policy"

// Never is a RetryAfter that no waiting ends: the cost is above the limit.
const Never time.Duration = -1

// Decision is what a Limiter found. The zero Decision is refused, by no policy.
type Decision struct {
	// Allowed tells whether the request may pass. All enforced policies were then charged; if it is
	// false, none was.
	Allowed bool
	// At is the Redis time of the decision.
	At time.Time
	// TokenChecked tells that the Request's Token was looked up in the same call, and that nothing revokes it.
	TokenChecked bool
	// Hold names what the request holds, for Settle and Renew: the Request's own Hold or, if that was empty, a
	// new one. Nothing is held under it if the request was refused, or nothing limits it. Empty if it asked to hold
	// nothing.
	Hold string
	// Results has one element for each charge of the request, in its order.
	Results []Result
}

// Result is what one policy found. Its numbers are those after the decision.
type Result struct {
	// Policy, Algorithm, Partition, Unit, Monitor, Payment and Candidate are those of the policy that was asked.
	Policy    string
	Algorithm Algorithm
	Partition Partition
	Unit      string
	Monitor   bool
	Payment   bool
	Candidate string
	// Limit and Window are the effective ones, after overrides; Burst is that of a GCRA, else zero. The
	// Window of a CalendarWindow is the length of its running period.
	Limit  int64
	Window time.Duration
	Burst  int64
	// Source tells where Limit and Window come from: SourcePolicy, "plan:" and the plan's name, or "override:" and
	// the override's id.
	Source string
	// Reason is why the override was set, as its author wrote; it is for the people who run the service.
	Reason string
	// Unlimited tells that an override lets everything pass. Nothing is counted then.
	Unlimited bool
	// Level tells how specific the source is, as LevelProject.
	Level Level
	// Cost is what the request asked for.
	Cost int64
	// Exceeded tells that Cost did not fit. Unless Monitor or Candidate is set, the request was then refused.
	// It is set, too, of a candidate whose partition the request has no value for.
	Exceeded bool
	// Used is what counts against the limit now, what is held included. After a limit was lowered it may
	// exceed Limit.
	Used int64
	// Held is the part of it that is held, and may be given back.
	Held int64
	// Remaining is what could be taken now, never below zero. If a limit is 10 a second and 6 are used,
	// it is 4.
	Remaining int64
	// NextAfter is how long until Remaining is larger than now; zero if nothing is used, Never if Limit
	// is zero.
	NextAfter time.Duration
	// ResetAfter is how long until nothing is used, if nothing more is taken.
	ResetAfter time.Duration
	// RetryAfter is how long until Cost would fit; zero unless Exceeded, and Never where no waiting
	// helps. The three are exact to the microsecond. What is held may be given back at any moment: where
	// that has to be, they take it as given back.
	RetryAfter time.Duration
}

// RetryAfter returns how long until every policy that refused the request would let it pass: zero if
// it is allowed or may be at any moment, Never if one of them never will.
func (d *Decision) RetryAfter() time.Duration {
	var longest time.Duration
	if d.Allowed {
		return 0
	}
	for i := range d.Results {
		r := &d.Results[i]
		switch {
		case !r.Exceeded || r.Monitor || r.Candidate != "":
		case r.RetryAfter == Never:
			return Never
		default:
			longest = max(longest, r.RetryAfter)
		}
	}
	return longest
}

// resultOf explains the state that the script left of a charge that was asked for a cost.
func resultOf(c *Charge, cost int64, e *effective, s *lua.State, now int64) Result {
	r := Result{
		Policy: c.Policy.name(), Partition: c.Policy.partition(), Unit: c.Policy.unit(), Algorithm: c.Policy.Algorithm,
		Monitor: c.Policy.Monitor, Payment: c.Policy.Payment, Candidate: c.Policy.Candidate,
		Limit: e.limit, Window: e.window, Burst: e.burst, Source: e.source, Reason: e.reason, Level: e.level, Unlimited: e.unlimited,
		Cost: cost, Exceeded: s.Done == 0,
	}
	if e.uncounted {
		if r.Exceeded {
			r.RetryAfter = Never
		}
		return r
	}
	capacity := e.capacity(c.Policy.Algorithm)
	w := window{State: s, algorithm: c.Policy.Algorithm, capacity: capacity}
	r.Used, r.Held = w.used(now)+s.Held, s.Held
	r.Remaining, r.ResetAfter = max(capacity-r.Used, 0), micros(w.after(now, 0))
	if r.Used > 0 {
		r.NextAfter = micros(w.after(now, min(r.Used, capacity)-1))
	}
	if r.Exceeded {
		r.RetryAfter = micros(w.after(now, capacity-cost))
		if capacity == 0 {
			r.RetryAfter = Never
		}
	}
	return r
}

// micros converts microseconds of the script, where never is Never already.
func micros(us int64) time.Duration {
	if us == never {
		return Never
	}
	return time.Duration(us) * time.Microsecond
}
