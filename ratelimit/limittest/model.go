package limittest

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/tollgate-go/tollgate/lua"
)

// Entry is what is stored under one key: a text, and the Redis time in microseconds from which it does
// not matter any more. The End of an entry that did not come from a charge is zero.
type Entry struct {
	Value string
	End   int64
}

// Model decides checks as Redis should: the states by their keys, and arithmetic without bounds. It
// takes the time as an argument and compares no epoch. A nil Model is empty and takes only checks that
// charge nothing. Not safe for concurrent use.
type Model map[string]Entry

// account is what a policy counts, brought to the present.
type account interface {
	used(now int64) *big.Int
	take(now int64, c lua.Charge) Entry
	state(fits bool) lua.State
}

// counter is a state as the model sees it: units in numbered stretches of time. A fixed window is
// number 0 and begins at its first charge; sliding windows are numbered from the start of the clock.
type counter struct {
	algorithm  lua.Algorithm
	at, length int64
	number     int64
	units      map[int64]*big.Int
}

// Admit decides a check at a Redis time in microseconds.
func (m Model) Admit(now int64, check lua.Check) lua.Answer {
	answer := lua.Answer{Status: lua.Allowed, Now: now}
	if !valid(&check) {
		answer.Status = lua.Invalid
		return answer
	}
	if now < check.From || check.Until != 0 && now >= check.Until {
		answer.Status = lua.Stale
		return answer
	}
	accounts := make([]account, len(check.Charges))
	fits := make([]bool, len(check.Charges))
	for i, c := range check.Charges {
		accounts[i] = m.open(now, c)
		most := c.Limit
		if c.Algorithm == lua.GCRA && c.Limit > 0 {
			most = c.Burst
		}
		room := new(big.Int).Sub(big.NewInt(most), accounts[i].used(now))
		fits[i] = most > 0 && (c.Cost == 0 || room.Cmp(big.NewInt(c.Cost)) >= 0)
		if c.Enforced && !fits[i] {
			answer.Status = lua.Refused
		}
	}
	for i, c := range check.Charges {
		if answer.Status == lua.Allowed && !check.Peek && fits[i] && c.Cost > 0 {
			m[c.Key] = accounts[i].take(now, c)
		}
		answer.States = append(answer.States, accounts[i].state(fits[i]))
	}
	return answer
}

// Used returns the units that count against a charge at a Redis time in microseconds.
func (m Model) Used(now int64, c lua.Charge) int64 {
	return m.open(now, c).used(now).Int64()
}

func valid(check *lua.Check) bool {
	within := func(v, low, high int64) bool { return v >= low && v <= high }
	ok := within(check.From, 0, lua.MaxTime) && within(check.Until, 0, lua.MaxTime) &&
		len(check.Charges) <= lua.MaxPolicies
	for _, c := range check.Charges {
		ok = ok && within(c.Limit, 0, lua.MaxUnits) && within(c.Window, 1, lua.MaxWindow) && within(c.Cost, 0, lua.MaxUnits)
		switch c.Algorithm {
		case lua.Fixed, lua.Sliding:
		case lua.Calendar:
			ok = ok && within(c.Start, 0, lua.MaxTime)
		case lua.GCRA:
			ok = ok && validBucket(c)
		default:
			ok = false
		}
	}
	return ok
}

// open reads the state of a charge and brings it to the present; where nothing counts, it is a new one.
func (m Model) open(now int64, c lua.Charge) account {
	n, stored := parse(m[c.Key].Value, c.Algorithm)
	switch c.Algorithm {
	case lua.Calendar:
		return openPage(now, c, n, stored)
	case lua.GCRA:
		return openBucket(now, c, n, stored)
	}
	s := &counter{algorithm: c.Algorithm, at: n[0], length: n[1], units: map[int64]*big.Int{0: big.NewInt(n[2])}}
	if stored && c.Algorithm == lua.Sliding {
		s.number = s.at / s.length
		s.units = map[int64]*big.Int{s.number: big.NewInt(n[2]), s.number - 1: big.NewInt(n[3])}
	}
	if stored && s.bring(now, c) {
		return s
	}
	s = &counter{algorithm: c.Algorithm, at: now, length: c.Window, units: map[int64]*big.Int{}}
	if c.Algorithm == lua.Sliding {
		s.number = now / c.Window
	}
	return s
}

// bring reports whether anything of a state counts at now, under the window of c.
func (s *counter) bring(now int64, c lua.Charge) bool {
	if c.Algorithm == lua.Fixed {
		s.length = min(s.length, c.Window)
		return s.at <= now && now < s.at+s.length || s.at > now && s.at-now < s.length
	}
	if (s.number+2)*s.length <= now {
		return false
	}
	if s.length != c.Window { // all that counted at the last charge moves to that moment
		all := s.used(s.at)
		s.length, s.number = c.Window, s.at/c.Window
		s.units = map[int64]*big.Int{s.number: all}
	}
	newest := s.number
	s.number = max(newest, now/s.length)
	return s.number-newest < 2 && newest*s.length-now < s.length
}

// in returns the units of a stretch; those of the one before the running one weigh less with time.
func (s *counter) in(number int64) *big.Int {
	if n := s.units[number]; n != nil {
		return n
	}
	return new(big.Int)
}

// used returns what counts at now.
func (s *counter) used(now int64) *big.Int {
	if s.algorithm == lua.Fixed {
		return s.in(0)
	}
	left := min((s.number+1)*s.length-now, s.length)
	weighed := new(big.Int).Mul(s.in(s.number-1), big.NewInt(left))
	weighed.Add(weighed, big.NewInt(s.length-1)) // rounds up
	weighed.Div(weighed, big.NewInt(s.length))
	return weighed.Add(weighed, s.in(s.number))
}

// take adds the cost of a charge and returns what is stored then.
func (s *counter) take(now int64, c lua.Charge) Entry {
	s.units[s.number] = new(big.Int).Add(s.in(s.number), big.NewInt(c.Cost))
	end := s.at + c.Window
	if c.Algorithm == lua.Fixed {
		s.length = c.Window
	} else {
		s.at, end = max(s.at, now), (s.number+2)*s.length
	}
	st := s.state(true)
	return Entry{
		Value: fmt.Sprintf("%s:%d:%d:%d:%d", c.Algorithm, s.at, s.length, st.Current, st.Previous),
		End:   end,
	}
}

func (s *counter) state(fits bool) lua.State {
	st := lua.State{Fits: fits, Start: s.at, Window: s.length, Current: s.in(s.number).Int64()}
	if s.algorithm == lua.Sliding {
		st.Start, st.Previous = s.number*s.length, s.in(s.number-1).Int64()
	}
	return st
}

// parse reads the numbers of a stored text; ok is false for everything that the algorithm would not have
// stored.
func parse(text string, a lua.Algorithm) (n [4]int64, ok bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 5 || parts[0] != string(a) {
		return n, false
	}
	last := int64(2 * lua.MaxUnits)
	if a == lua.Calendar || a == lua.GCRA {
		last = lua.MaxTime
	}
	for i, most := range [...]int64{lua.MaxTime, lua.MaxWindow, 2 * lua.MaxUnits, last} {
		if parts[i+1] == "" || strings.Trim(parts[i+1], "0123456789") != "" {
			return n, false
		}
		v, _ := new(big.Int).SetString(parts[i+1], 10)
		if v.Cmp(big.NewInt(most)) > 0 {
			return n, false
		}
		n[i] = v.Int64()
	}
	return n, n[1] > 0
}
