package lua

import (
	"context"
	_ "embed"
	"fmt"
)

//go:embed admit.lua
var admitSource string

var admitScript = newScript(admitSource)

// Bounds of what a check may ask; the script refuses what lies outside.
const (
	// MaxUnits is the largest limit and the largest cost: the largest integer that a structured header
	// field can hold (RFC 9651), far enough below 2^53 for sums to stay exact.
	MaxUnits = 999_999_999_999_999
	// MaxWindow is the longest window in microseconds, 400 days.
	MaxWindow = 400 * 24 * 3600 * 1_000_000
	// MaxPolicies is the most policies that one check may have.
	MaxPolicies = 64
	// MaxTime is the end of all times, in microseconds; as Check.Until it means "for ever".
	MaxTime = 1<<53 - 1
)

// Algorithm names how a policy counts, as admit.lua knows it.
type Algorithm string

// The algorithms.
const (
	Fixed    Algorithm = "f" // window from the first hit
	Sliding  Algorithm = "s" // two counters, aligned to the clock
	Calendar Algorithm = "c" // window of the clock or the calendar
	GCRA     Algorithm = "g" // generic cell rate algorithm: a bucket that leaks
	// Concurrency counts only what is held now.
	Concurrency Algorithm = "h"
)

// Charge is one policy of a check.
type Charge struct {
	Key       string // of its state: LimitKey or AnonymousLimitKey
	Algorithm Algorithm
	Limit     int64 // units in a window, 0 to MaxUnits; 0 refuses everything
	Window    int64 // microseconds, 1 to MaxWindow
	Cost      int64 // units, 0 to MaxUnits; 0 asks without taking
	Enforced  bool  // false: reported, never refuses, takes only what fits
	Start     int64 // Calendar: when the window began, Redis time in microseconds; 0: aligned to the clock
	Burst     int64 // GCRA: the units that the bucket holds; they leak within MaxWindow
}

// extra returns the argument that only some algorithms have.
func (c *Charge) extra() any {
	switch {
	case c.Algorithm == Calendar && c.Start > 0:
		return c.Start
	case c.Algorithm == GCRA:
		return c.Burst
	}
	return "-"
}

// Check is what is decided as a whole: all charges are taken or none.
type Check struct {
	// EpochKey is the key of the org's epoch. Empty: nothing is compared.
	EpochKey string
	// Keys and Limits are the stamps that the caller's records and overrides were read under. Zero is
	// not compared.
	Keys, Limits int64
	// From and Until bound the Redis time in which Charges holds the effective limits; outside, the
	// check is stale. The zero Until is MaxTime.
	From, Until int64
	// Peek decides and takes nothing.
	Peek    bool
	Charges []Charge
}

// Status is the outcome of a check.
type Status int64

// The outcomes.
const (
	Refused Status = iota // an enforced charge does not fit; nothing was taken
	Allowed               // all enforced charges fit, and were taken unless this was a peek
	Stale                 // a stamp differs, or the time is not within From and Until; nothing was taken
	Invalid               // a number of the check is out of its bounds; nothing was taken
)

// State is a policy's count after the check.
type State struct {
	Fits     bool  // whether the charge fits by itself
	Start    int64 // Redis time when the running window began
	Window   int64 // its length; both in microseconds
	Current  int64 // units taken in it, those of this check included
	Previous int64 // units taken in the window before; 0 for a fixed window
}

// Answer is the outcome of one check.
type Answer struct {
	Status Status
	Now    int64 // Redis time, microseconds
	Keys   int64 // the stamps as stored; 0 where missing or not compared
	Limits int64
	States []State // one for each charge; empty unless Status is Allowed or Refused
}

// Admit decides checks in one script call and returns an answer for each, in order. On a cluster all
// keys of the call must lie in one slot, which those of one bucket do.
//
// An error means that the caller does not know what was charged. The call is never repeated by the
// client. Cost: one command, and in Redis one read and at most one write for each charge.
func (c *Conn) Admit(ctx context.Context, checks []Check) ([]Answer, error) {
	keys := make([]string, 0, 4*len(checks))
	args := make([]any, 0, 16*len(checks))
	for i := range checks {
		keys, args = appendCheck(keys, args, &checks[i])
	}
	reply, err := c.run(ctx, admitScript, keys, args)
	if err != nil {
		return nil, err
	}
	numbers, err := integers(reply)
	if err != nil {
		return nil, err
	}
	return decodeAnswers(numbers, checks)
}

func appendCheck(keys []string, args []any, check *Check) ([]string, []any) {
	if check.EpochKey != "" && (check.Keys != 0 || check.Limits != 0) {
		keys = append(keys, check.EpochKey)
		args = append(args, stamp(check.Keys), stamp(check.Limits))
	} else {
		args = append(args, "-", "-")
	}
	until, mode := check.Until, "charge"
	if until == 0 {
		until = MaxTime
	}
	if check.Peek {
		mode = "peek"
	}
	args = append(args, check.From, until, mode, len(check.Charges))
	for i := range check.Charges {
		charge := &check.Charges[i]
		keys = append(keys, charge.Key)
		args = append(args, string(charge.Algorithm), charge.Limit, charge.Window, charge.Cost, charge.Enforced, charge.extra())
	}
	return keys, args
}

func stamp(v int64) any {
	if v == 0 {
		return "-"
	}
	return v
}

const (
	headLen  = 3 // status, keys, limits
	stateLen = 5 // fits, start, window, current, previous
)

func decodeAnswers(n []int64, checks []Check) ([]Answer, error) {
	if len(n) == 0 {
		return nil, fmt.Errorf("%w: admit answered nothing", ErrReply)
	}
	now, n := n[0], n[1:]
	answers := make([]Answer, len(checks))
	for i := range checks {
		if len(n) < headLen {
			return nil, fmt.Errorf("%w: admit answered %d of %d checks", ErrReply, i, len(checks))
		}
		a := &answers[i]
		a.Status, a.Now, a.Keys, a.Limits = Status(n[0]), now, n[1], n[2]
		n = n[headLen:]
		switch a.Status {
		case Allowed, Refused:
			charges := len(checks[i].Charges)
			if len(n) < charges*stateLen {
				return nil, fmt.Errorf("%w: admit answered too few states for check %d", ErrReply, i)
			}
			var ok bool
			if a.States, ok = decodeStates(n[:charges*stateLen]); !ok {
				return nil, fmt.Errorf("%w: admit answered a state out of its bounds for check %d", ErrReply, i)
			}
			n = n[charges*stateLen:]
		case Stale, Invalid:
		default:
			return nil, fmt.Errorf("%w: admit answered status %d", ErrReply, a.Status)
		}
	}
	if len(n) != 0 {
		return nil, fmt.Errorf("%w: admit answered %d numbers too many", ErrReply, len(n))
	}
	return answers, nil
}

// decodeStates reads states, and reports whether all of them lie within the bounds that callers count on.
func decodeStates(n []int64) (_ []State, ok bool) {
	states := make([]State, len(n)/stateLen)
	for i := range states {
		v := n[i*stateLen:]
		if v[0]&^1 != 0 || v[1] < 0 || v[1] > MaxTime || v[2] < 1 || v[2] > MaxWindow ||
			min(v[3], v[4]) < 0 || max(v[3], v[4]) > 4*MaxUnits {
			return nil, false
		}
		states[i] = State{Fits: v[0] == 1, Start: v[1], Window: v[2], Current: v[3], Previous: v[4]}
	}
	return states, true
}
