package ratelimit

import (
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// A policy that refused a cost refuses it, and any higher one, until what counts against it has fallen far enough: nothing
// that others take changes that. Until then, or for a moment if that is shorter, the request is refused from memory: there goes
// the traffic of an attack, and of clients that do not wait. What could change it in the meantime ends it as soon
// as this process hears of it: another epoch, other overrides or another plan, units that are given back.

// refusal is one that was told. Immutable.
type refusal struct {
	w       *worked
	epoch   int64
	told    int64 // Redis times
	until   int64
	policy  int   // the one that refused
	cost    int64 // what it refused
	results []Result
}

// refuse keeps a refusal, if one of the policies that refused does so for a known time.
func (p *Prepared) refuse(ask *question, w *worked, d *Decision, now int64) {
	if p.limiter.refusals == 0 || ask.check.Mode != lua.Take {
		return
	}
	kept := &refusal{w: w, epoch: ask.Epoch, told: now}
	for i := range d.Results {
		r := &d.Results[i]
		if r.Candidate != "" { // which counts, and is compared, each time
			return
		}
		if !r.Exceeded || r.Monitor || r.Held > 0 || r.Algorithm == Concurrency {
			continue
		}
		wait := p.limiter.refusals
		if r.RetryAfter >= 0 {
			wait = min(wait, r.RetryAfter)
		}
		if until := min(now+wait.Microseconds(), w.until); until > kept.until {
			kept.until, kept.policy, kept.cost = until, i, r.Cost
		}
	}
	if kept.until > now {
		kept.results = slices.Clone(d.Results)
		p.refused.Store(kept)
	}
}

// gave remembers that units were given back at a Redis time: what had been refused by then may fit.
func (p *Prepared) gave(now int64) {
	last := &p.limiter.given[p.bucket]
	for at := last.Load(); now > at && !last.CompareAndSwap(at, now); at = last.Load() {
	}
}

// refuses reports whether a question is one that the refusal answers, and then puts it into d.
func (f *refusal) refuses(p *Prepared, ask *question, d *Decision) bool {
	l := p.limiter
	now, _ := l.clock.now()
	if p.cost(ask, f.policy) < f.cost || ask.Epoch != f.epoch || ask.Token != nil || ask.check.Mode != lua.Take || now < f.told || now >= f.until ||
		f.told <= l.given[p.bucket].Load() || !p.current(f.w) || f.w.monitor != l.monitor.Load() {
		return false
	}
	l.refused.Add(1)
	d.At = time.UnixMicro(now).UTC()
	d.Results = append(d.Results, f.results...)
	passed := time.Duration(now-f.told) * time.Microsecond
	for i := range d.Results {
		r := &d.Results[i]
		r.NextAfter, r.ResetAfter, r.RetryAfter = less(r.NextAfter, passed), less(r.ResetAfter, passed), less(r.RetryAfter, passed)
		r.costs(p.cost(ask, i))
	}
	return true
}

// costs has a result tell of another cost, as far as the numbers do: a higher one may have to wait for longer than that.
func (r *Result) costs(cost int64) {
	if cost == r.Cost {
		return
	}
	r.Cost = cost
	capacity := r.Limit
	if r.Algorithm == GCRA {
		capacity = r.Burst
	}
	switch {
	case r.Unlimited || r.Limit == 0: // whatever it costs
	case cost <= r.Remaining:
		r.Exceeded, r.RetryAfter = false, 0
	case cost > capacity:
		r.Exceeded, r.RetryAfter = true, Never
	case !r.Exceeded:
		r.Exceeded, r.RetryAfter = true, r.NextAfter
	}
}

// less returns what is left of a time.
func less(d, passed time.Duration) time.Duration {
	if d == Never {
		return Never
	}
	return max(d-passed, 0)
}
