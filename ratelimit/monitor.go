package ratelimit

import "errors"

// ErrMonitored is beside ErrUnavailable while SetMonitor is on: had Redis answered, nobody were refused.
var ErrMonitored = errors.New("ratelimit: monitored")

// SetMonitor makes a Limiter treat every policy as one with Monitor set, from the next request on, until it is
// turned off again: it decides and counts, and refuses nobody. That is for the first days of new limits, and
// for the moment in which a limit is found to be wrong. It is off when a Limiter is made. Safe for concurrent
// use; it is of this process alone, so turn it on at each replica.
//
// It lifts everything: quotas that are paid for, limits of zero, and what overrides block. What has to stay
// out is for its key to be disabled or revoked, which this does not touch. A monitored policy is told to no
// client, so responses have no RateLimit fields meanwhile; results, and the events of package middleware, tell
// what would have been refused. Stages of package middleware let requests pass then, too, when Redis does not
// answer, except where OnFailure was called. Stats tells that it is on: alert on one that was left on.
func (l *Limiter) SetMonitor(on bool) { l.monitor.Store(on) }
