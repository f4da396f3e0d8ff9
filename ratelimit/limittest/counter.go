package limittest

import (
	"math/big"

	"github.com/tollgate-go/tollgate/lua"
)

// counter is a window as the model sees it: units in numbered stretches of time. A fixed window is number 0
// and begins at its first charge; sliding windows are numbered from the start of the clock.
type counter struct {
	policy     lua.Charge
	at, length int64
	number     int64
	units      map[int64]*big.Int
	ends       int64
}

// newCounter is also the account of a policy that counts only what is held.
func newCounter(now int64, c lua.Charge) *counter {
	s := &counter{policy: c, at: now, length: c.Window, units: map[int64]*big.Int{}, ends: now}
	if c.Algorithm == lua.Sliding {
		s.number = now / c.Window
	}
	return s
}

func openCounter(now int64, c lua.Charge, stored *state) account {
	s := &counter{policy: c, at: stored.at, length: stored.window}
	var counts bool
	if c.Algorithm == lua.Sliding {
		s.number = s.at / s.length
		s.units = map[int64]*big.Int{s.number: big.NewInt(stored.x), s.number - 1: big.NewInt(stored.y)}
		counts = s.slide(now)
	} else {
		s.length = min(s.length, c.Window)
		s.units = map[int64]*big.Int{0: big.NewInt(stored.x)}
		s.ends = s.at + s.length
		counts = s.at <= now && now < s.ends || s.at > now && s.at-now < s.length
	}
	if !counts {
		return nil
	}
	return s
}

// slide reports whether anything of a sliding window counts at now.
func (s *counter) slide(now int64) bool {
	s.ends = s.last()
	if s.ends <= now {
		return false
	}
	if s.length != s.policy.Window { // all that counted at the last charge moves to that moment
		all := s.counted(s.at)
		s.length, s.number = s.policy.Window, s.at/s.policy.Window
		s.units = map[int64]*big.Int{s.number: all}
	}
	newest := s.number
	s.number = max(newest, now/s.length)
	s.ends = min(s.ends, (s.number+2)*s.length)
	return s.number-newest < 2 && newest*s.length-now < s.length
}

// last returns when the last stretch that holds units does not weigh any more.
func (s *counter) last() int64 {
	if s.in(s.number).Sign() > 0 {
		return (s.number + 2) * s.length
	}
	return (s.number + 1) * s.length
}

// in returns the units of a stretch; those of the one before the running one weigh less with time.
func (s *counter) in(number int64) *big.Int {
	if n := s.units[number]; n != nil {
		return n
	}
	return new(big.Int)
}

func (s *counter) counted(now int64) *big.Int {
	if s.policy.Algorithm != lua.Sliding {
		return new(big.Int).Set(s.in(0))
	}
	left := min((s.number+1)*s.length-now, s.length)
	weighed := new(big.Int).Mul(s.in(s.number-1), big.NewInt(left))
	weighed.Add(weighed, big.NewInt(s.length-1)) // rounds up
	weighed.Div(weighed, big.NewInt(s.length))
	return weighed.Add(weighed, s.in(s.number))
}

func (s *counter) fill(_, units int64) {
	s.units = map[int64]*big.Int{s.number: big.NewInt(units)}
}

func (s *counter) add(now, units, taken int64) (at, x, y, z int64) {
	switch {
	case s.policy.Algorithm != lua.Sliding:
		if units > 0 || taken >= s.at {
			s.units[0] = bounded(s.in(0), units)
		}
		s.length = s.policy.Window
		s.ends = s.at + s.length
		return s.at, s.in(0).Int64(), 0, 0
	case units > 0 || taken >= s.number*s.length:
		s.units[s.number] = bounded(s.in(s.number), units)
	case taken >= (s.number-1)*s.length:
		s.units[s.number-1] = bounded(s.in(s.number-1), units)
	}
	s.at, s.ends = max(s.at, now), s.last()
	return s.at, s.in(s.number).Int64(), s.in(s.number - 1).Int64(), 0
}

// bounded returns a sum, not below zero nor beyond what is ever counted.
func bounded(count *big.Int, units int64) *big.Int {
	sum := new(big.Int).Add(count, big.NewInt(units))
	return most(least(sum, big.NewInt(2*lua.MaxUnits)), new(big.Int))
}

func (s *counter) state() lua.State {
	st := lua.State{Start: s.at, Window: s.length, Current: s.in(s.number).Int64(), Ends: s.ends}
	if s.policy.Algorithm == lua.Sliding {
		st.Start, st.Previous = s.number*s.length, s.in(s.number-1).Int64()
	}
	return st
}
