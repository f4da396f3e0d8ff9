package ratelimit

import (
	"errors"
	"fmt"
)

// ErrOff is beside ErrUnavailable while SetOff is on: nobody was asked.
var ErrOff = errors.New("ratelimit: off")

var errOff = fmt.Errorf("%w: %w", ErrUnavailable, ErrOff)

// SetOff is the kill switch of a Limiter: from the next request on it decides nothing and asks Redis nothing for requests,
// until it is turned off again. That is for the moment in which the limiter itself, or its Redis, does harm. It is off
// when a Limiter is made. Safe for concurrent use; it is of this process alone, so turn it on at each replica.
//
// Every decision ends with ErrOff and ErrUnavailable at once, also one that could be made from memory; what is held ends
// by itself. Stages of package middleware let the request pass whatever they were told to do OnFailure, without RateLimit
// fields, and tell their observers OutcomeOpened. Nothing is counted meanwhile, so what was left of a limit before is left
// afterwards, as far as its window has not ended. Whether a token was revoked is looked up nevertheless, by its
// authenticator. Stats tells that it is on: alert on one that was left on. To find out what limits would do while nobody is
// refused, use SetMonitor instead.
func (l *Limiter) SetOff(off bool) { l.off.Store(off) }

// Off reports whether SetOff is on.
func (l *Limiter) Off() bool { return l.off.Load() }
