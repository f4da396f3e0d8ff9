package authkey

import (
	"errors"
	"fmt"
	"time"
)

const maxGrace = 24 * time.Hour

// WithGrace lets a key pass while the store cannot answer, if this verifier had it verified at most so long ago, 0 to 24
// hours. Its state and times are judged as they were then known. Default 0: only the life of WithCache, and after that
// ErrUnavailable.
//
// It is the price of an outage that customers do not notice: as long as the store cannot be asked, and no longer than d, a
// key passes that was meanwhile revoked, disabled or changed. Limits that share the store's Redis cannot tell either, and
// count nothing then: consider what their stages do OnFailure. A key that a limiter found changed since (Refresh) has no
// grace, nor has one that was last seen revoked, nor has anybody whom this process has not verified. What is remembered are
// the entries of WithCache, and those that ended make room first: give it room for all keys that are to have grace.
//
// Where the store fails at once, as redisstore does while it leaves a Redis alone, a passage by grace costs nothing; else
// each waits for the look-up, up to WithTimeout. Stats.Graces counts them.
func WithGrace(d time.Duration) Option {
	return option(func(v *Verifier) error {
		if d < 0 || d > maxGrace {
			return fmt.Errorf("%w: WithGrace(%v): want 0 to %v", ErrInvalid, d, maxGrace)
		}
		v.grace = d
		return nil
	})
}

// excused is what a look-up that failed comes to: what was verified before, if grace lasts, or else the failure.
func (v *Verifier) excused(sum *sum, failure error) (*Identity, error) {
	if v.grace == 0 || !errors.Is(failure, ErrUnavailable) {
		return nil, failure
	}
	e, age, ok := v.good.Last(sum, v.since)
	if !ok || age >= v.grace || e.distrusted.Load() {
		return nil, failure
	}
	v.graces.Add(1)
	return e.judge(v.now())
}

// distrust ends the grace of what is known to be stale.
func (v *Verifier) distrust(sum *sum, stale int64) {
	if e, _, ok := v.good.Last(sum, v.since); ok && e.identity.Epoch <= stale {
		e.distrusted.Store(true)
	}
}
