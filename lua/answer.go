package lua

import "fmt"

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
	Done     int64  // Take, Peek: 1 if the charge fits by itself, or how often, of a merged check. Settle, Renew: 1 if it was held. Refund: units given back
	Held     int64  // units that are held; they count besides those below
	Start    int64  // Redis time when the running window began. GCRA: when the bucket is empty
	Window   int64  // its length; both in microseconds. GCRA: of the rate that it leaks at
	Current  int64  // units taken in it, those of this check included. GCRA: parts of 1/Previous us to add to Start
	Previous int64  // units taken in the window before; 0 for a fixed window. GCRA: the limit of the rate
	Ends     int64  // when nothing of it matters any more, at the latest
	Was      int64  // the capacity that the units were taken under
	Change   Change // what becomes of them
	// Frame is the one that counts it by now. Its Generation is 0 if there is none.
	Frame Frame
}

// Stamps is an epoch as it is stored; 0 where missing.
type Stamps struct{ Keys, Limits int64 }

// Answer is the outcome of one check.
type Answer struct {
	Status Status
	Now    int64    // Redis time, microseconds
	Epochs []Stamps // one for each that was compared; empty where it is known that they are those that the caller holds
	States []State  // one for each charge; empty unless Status is Allowed or Refused
	// Fits is how many of the checks that are merged in one are allowed: the first ones.
	Fits int64
	// Err is what is wrong with the answer, an ErrReply: nobody knows what was charged.
	Err error
}

// stateLen is how many numbers a State is told by.
const stateLen = 9

// The statuses of plain checks that only the wire knows.
const (
	fitting Status = 5 // allowed, by frames
	partly  Status = 6 // by frames; not all of the times
	later   Status = 7
)

// replied is a reply that is being read.
type replied struct {
	now   int64
	rest  []int64
	short bool // there were not as many numbers as are needed
}

// take returns the next numbers, or zeros where there are too few.
func (r *replied) take(n int) []int64 {
	if len(r.rest) < n {
		r.short, r.rest = true, nil
		return make([]int64, n)
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// begin empties an answer, and reads its status.
func (r *replied) begin(a *Answer) {
	*a = Answer{Status: Status(r.take(1)[0]), Now: r.now, Epochs: a.Epochs[:0], States: a.States[:0]}
}

func (r *replied) epochs(a *Answer, check *Check) {
	for range check.Epochs {
		v := r.take(2)
		a.Epochs = append(a.Epochs, Stamps{v[0], v[1]})
	}
}

// plain reads the answer of a plain check: what stands of it among the first, or behind those.
func (r *replied) plain(ask *asked, first bool) {
	a := ask.answer
	r.begin(a)
	switch a.Status {
	case Stale:
		r.epochs(a, ask.check)
	case fitting:
		a.Fits = ask.times
		for i := range ask.check.Charges {
			a.States = append(a.States, r.framed(&ask.check.Charges[i], a.Fits, r.take(1)[0]))
		}
	case partly:
		a.Fits = r.take(1)[0]
		for i := range ask.check.Charges {
			v := r.take(2)
			a.States = append(a.States, r.framed(&ask.check.Charges[i], v[0], v[1]))
		}
	case Invalid:
		return
	case later:
		if !first {
			r.long(ask)
		}
		return
	default:
		a.Err = fmt.Errorf("%w: admit answered status %d to a plain check", ErrReply, a.Status)
		return
	}
	if a.Status != Stale {
		a.decided(ask.times)
	}
}

// framed returns the state of a charge that has a frame and whose count is told.
func (r *replied) framed(c *Charge, done, current int64) State {
	if !c.shows() {
		return State{} // which decided finds out of its bounds
	}
	s := State{Done: done, Start: c.Frame.Before, Window: c.Window, Current: current, Was: c.Limit, Change: KeepUsed, Frame: *c.Frame}
	switch c.Algorithm {
	case Sliding:
		s.Start, s.Previous = r.now-r.now%max(c.Window, 1), c.Frame.Before
		s.Ends = s.Start + 2*c.Window
	case GCRA:
		empty := s.Start + current
		s.Start, s.Current, s.Previous, s.Was = max(empty, r.now), 0, c.Limit, c.Burst
		s.Ends = max(empty+1, r.now)
	default:
		s.Ends = s.Start + s.Window
	}
	return s
}

// long reads the answer of a plain check that was decided by what is stored.
func (r *replied) long(ask *asked) {
	a := ask.answer
	a.Fits = r.take(1)[0]
	for range ask.check.Charges {
		v := r.take(stateLen + 1)
		a.States = append(a.States, State{
			Done: v[0], Start: v[1], Window: v[2], Current: v[3], Previous: v[4], Ends: v[5], Was: v[6], Change: Change(v[7]), Frame: Frame{v[8], v[9]},
		})
	}
	a.decided(ask.times)
}

// decided ends the answer of a plain check that was decided.
func (a *Answer) decided(times int64) {
	a.Status = Refused
	if a.Fits > 0 {
		a.Status = Allowed
	}
	a.check(times)
}

// check finds what is out of the bounds that callers count on.
func (a *Answer) check(times int64) {
	if a.Fits < 0 || a.Fits > times {
		a.Err = fmt.Errorf("%w: admit answered that %d of %d checks fit", ErrReply, a.Fits, times)
	}
	for i := range a.States {
		if !a.States[i].valid() {
			a.Err = fmt.Errorf("%w: admit answered a state out of its bounds", ErrReply)
		}
	}
}

// other reads the answer of a check that is not plain.
func (r *replied) other(ask *asked) {
	a := ask.answer
	r.begin(a)
	r.epochs(a, ask.check)
	switch a.Status {
	case Allowed, Refused:
		a.Fits = int64(a.Status)
		for range ask.check.Charges {
			v := r.take(stateLen)
			a.States = append(a.States, State{
				Done: v[0], Held: v[1], Start: v[2], Window: v[3], Current: v[4], Previous: v[5], Ends: v[6], Was: v[7], Change: Change(v[8]),
			})
		}
		a.check(1)
	case Stale, Invalid:
	case Revoked:
		if ask.check.Token == nil {
			a.Err = fmt.Errorf("%w: admit calls the token revoked of a check that has none", ErrReply)
		}
	default:
		a.Err = fmt.Errorf("%w: admit answered status %d", ErrReply, a.Status)
	}
}

// valid reports whether a state lies within the bounds that callers count on.
func (s *State) valid() bool {
	return min(s.Done, s.Held, s.Start, s.Current, s.Previous, s.Ends, s.Was, s.Frame.Generation, s.Frame.Before, int64(s.Change)) >= 0 &&
		max(s.Done, s.Held, s.Was) <= MaxUnits && max(s.Start, s.Ends) <= MaxTime && s.Window >= 1 && s.Window <= MaxWindow &&
		max(s.Current, s.Previous) <= 4*MaxUnits && s.Change <= ResetUsed
}

// Nth puts into d what the nth of the checks that are merged in the answer came to, from 0: as if they had been asked one
// after the other at its time. charges are those of the check. d may be a itself.
func (a *Answer) Nth(n int64, charges []Charge, d *Answer) {
	status, fits := a.Status, a.Fits
	*d = Answer{Status: Refused, Now: a.Now, Epochs: append(d.Epochs[:0], a.Epochs...), States: append(d.States[:0], a.States...), Err: a.Err}
	if status != Allowed && status != Refused {
		d.Status = status
		return
	}
	behind := int64(0) // how many were taken after it
	if n < fits {
		d.Status, d.Fits, behind = Allowed, 1, fits-1-n
	}
	for i := range d.States {
		s := &d.States[i]
		s.Done = min(max(s.Done-min(n, fits), 0), 1) // of those before it, the ones that do not fit took nothing
		s.Current -= behind * charges[i].Units
	}
}
