package lua

import (
	"fmt"
	"slices"
)

// Status is the outcome of a check.
type Status int64

// The outcomes.
const (
	Refused Status = iota // an enforced charge does not fit; nothing was taken
	Allowed               // all enforced charges fit, and were taken unless this was a peek
	Stale                 // a stamp differs, or the time is not within From and Until; nothing was done
	Invalid               // a number of the check is out of its bounds; nothing was done
	Revoked               // the token is revoked; nothing was done, and nobody looked whether the check is stale
)

// State is a policy's count after the check.
type State struct {
	Done     int64  // Take, Peek: 1 if the charge fits by itself. Settle, Renew: 1 if it was held. Refund: units given back
	Held     int64  // units that are held; they count besides those below
	Start    int64  // Redis time when the running window began. GCRA: when the bucket is empty
	Window   int64  // its length; both in microseconds. GCRA: of the rate that it leaks at
	Current  int64  // units taken in it, those of this check included. GCRA: parts of 1/Previous us to add to Start
	Previous int64  // units taken in the window before; 0 for a fixed window. GCRA: the limit of the rate
	Ends     int64  // when nothing of it matters any more, at the latest
	Was      int64  // the capacity that the units were taken under
	Change   Change // what becomes of them
}

// Stamps is an epoch as it is stored; 0 where missing.
type Stamps struct{ Keys, Limits int64 }

// Answer is the outcome of one check.
type Answer struct {
	Status Status
	Now    int64    // Redis time, microseconds
	Epochs []Stamps // one for each that was compared
	States []State  // one for each charge; empty unless Status is Allowed or Refused
}

const stateLen = 9 // the numbers of a State

func decodeAnswers(n []int64, checks []Check) ([]Answer, error) {
	if len(n) == 0 {
		return nil, fmt.Errorf("%w: admit answered nothing", ErrReply)
	}
	now, n := n[0], n[1:]
	answers := make([]Answer, len(checks))
	for i := range checks {
		epochs := len(checks[i].Epochs)
		if len(n) < 1+2*epochs {
			return nil, fmt.Errorf("%w: admit answered %d of %d checks", ErrReply, i, len(checks))
		}
		a := &answers[i]
		a.Status, a.Now = Status(n[0]), now
		n = n[1:]
		for range epochs {
			a.Epochs, n = append(a.Epochs, Stamps{n[0], n[1]}), n[2:]
		}
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
		case Revoked:
			if checks[i].Token == nil {
				return nil, fmt.Errorf("%w: admit calls the token revoked of check %d, which has none", ErrReply, i)
			}
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
		v := n[i*stateLen:][:stateLen]
		s := State{v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], Change(v[8])}
		if slices.Min(v) < 0 || max(s.Done, s.Held, s.Was) > MaxUnits || max(s.Start, s.Ends) > MaxTime ||
			s.Window < 1 || s.Window > MaxWindow || max(s.Current, s.Previous) > 4*MaxUnits || s.Change > ResetUsed {
			return nil, false
		}
		states[i] = s
	}
	return states, true
}
