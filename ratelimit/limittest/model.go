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

// Model decides checks as Redis should, with arithmetic without bounds. It takes the time as an argument and
// compares no epoch. Make it with NewModel. Not safe for concurrent use.
type Model struct {
	// States are the states by their keys.
	States map[string]Entry
	// Holds are by their keys the holds, "<units>:<id>", and the time when each ends.
	Holds map[string]map[string]int64
	// Written are the keys that were written or removed; the caller may clear it.
	Written map[string]bool
}

// NewModel returns an empty model.
func NewModel() *Model {
	return &Model{States: map[string]Entry{}, Holds: map[string]map[string]int64{}, Written: map[string]bool{}}
}

// account is what a policy counts, brought to the present.
type account interface {
	counted(now int64) *big.Int
	fill(now, units int64)
	// add takes units, or gives back some that were taken at a time, and returns the numbers to store.
	add(now, units, taken int64) (at, x, y, z int64)
	// state returns Start, Window, Current, Previous and Ends.
	state() lua.State
}

// policy is a charge of a check with what is stored of it.
type policy struct {
	lua.Charge
	account
	holds    map[string]int64
	capacity int64
	was      int64
	change   lua.Change
}

// Admit does a check at a Redis time in microseconds.
func (m *Model) Admit(now int64, check lua.Check) lua.Answer {
	answer := lua.Answer{Status: lua.Allowed, Now: now}
	if !valid(&check) {
		answer.Status = lua.Invalid
		return answer
	}
	if now < check.From || check.Until != 0 && now >= check.Until {
		answer.Status = lua.Stale
		return answer
	}
	if check.Mode == lua.Reset {
		for _, c := range check.Charges {
			delete(m.States, c.Key)
			m.Written[c.Key] = true
			if c.Holds || c.Algorithm == lua.Concurrency {
				delete(m.Holds, holdsKey(&c))
				m.Written[holdsKey(&c)] = true
			}
		}
	}
	policies := make([]*policy, len(check.Charges))
	done := make([]int64, len(check.Charges))
	for i, c := range check.Charges {
		policies[i] = m.open(now, c)
	}
	switch check.Mode {
	case "", lua.Take, lua.Peek:
		answer.Status = m.decide(now, &check, policies, done)
	default:
		for i, p := range policies {
			done[i] = m.do(now, &check, p)
		}
	}
	for i, p := range policies {
		s := p.state()
		s.Done, s.Held, s.Was, s.Change = done[i], p.held(now), p.was, p.change
		answer.States = append(answer.States, s)
	}
	answer.Fits = int64(answer.Status)
	return answer
}

func (m *Model) decide(now int64, check *lua.Check, policies []*policy, fits []int64) lua.Status {
	status := lua.Allowed
	for i, p := range policies {
		room := new(big.Int).Sub(big.NewInt(p.capacity), p.used(now))
		room.Sub(room, big.NewInt(p.held(now)))
		if p.capacity > 0 && (p.Units == 0 || room.Cmp(big.NewInt(p.Units)) >= 0) {
			fits[i] = 1
		} else if p.Role == lua.Enforced {
			status = lua.Refused
		}
	}
	for i, p := range policies {
		holds := p.Lease > 0 && (p.Holds || p.Algorithm == lua.Concurrency)
		takes := status == lua.Allowed || p.Role == lua.Candidate && !holds
		switch {
		case !takes || fits[i] == 0 || p.Units == 0 || check.Mode == lua.Peek:
		case holds:
			m.hold(now, p, p.Units, check.ID)
		default:
			m.add(now, p, p.Units, now)
		}
	}
	return status
}

// do does one charge of a mode that decides nothing.
func (m *Model) do(now int64, check *lua.Check, p *policy) int64 {
	member := fmt.Sprintf("%d:%s", p.Held, check.ID)
	switch check.Mode {
	case lua.Reset:
		return 1
	case lua.Refund:
		before := p.used(now).Int64()
		taken := check.At
		if taken == 0 {
			taken = now
		}
		if before > 0 && p.Units > 0 && p.capacity > 0 {
			m.add(now, p, -p.Units, taken)
		}
		return min(before-p.used(now).Int64(), p.Units)
	}
	if gone(now, p.holds[member]) || check.Mode == lua.Renew && p.Lease == 0 {
		return 0
	}
	if check.Mode == lua.Renew {
		m.hold(now, p, p.Held, check.ID)
		return 1
	}
	p.sweep(now)
	delete(p.holds, member)
	m.keep(p)
	if p.Units > 0 && p.capacity > 0 && p.Algorithm != lua.Concurrency {
		m.add(now, p, p.Units, now)
	}
	return 1
}

// Used returns the units that count against a charge at a Redis time in microseconds, held ones included.
func (m *Model) Used(now int64, c lua.Charge) int64 {
	p := m.open(now, c)
	return p.used(now).Int64() + p.held(now)
}

func (m *Model) open(now int64, c lua.Charge) *policy {
	p := &policy{Charge: c, capacity: c.Limit}
	if c.Algorithm == lua.GCRA && c.Limit > 0 {
		p.capacity = c.Burst
	}
	p.was = p.capacity
	if c.Holds || c.Algorithm == lua.Concurrency {
		p.holds = m.Holds[holdsKey(&c)]
	}
	if s, ok := parse(m.States[c.Key].Value, c.Algorithm); ok {
		if p.account = s.open(now, c); p.account != nil {
			p.was = s.capacity
			if s.capacity != p.capacity || s.window != c.Window || c.Algorithm == lua.GCRA && s.x != c.Limit {
				if p.change = c.Change; c.Change == lua.NoChange {
					p.change = s.change
				}
			}
			return p
		}
	}
	p.account = begin(now, c)
	return p
}

// used returns what counts of what was counted, after a change of the capacity.
func (p *policy) used(now int64) *big.Int {
	units, was, is := p.counted(now), big.NewInt(p.was), big.NewInt(p.capacity)
	switch p.change {
	case lua.Proportional:
		units.Mul(units, is)
		units.Add(units, new(big.Int).Sub(was, big.NewInt(1))).Div(units, was)
		return least(units, big.NewInt(2*lua.MaxUnits))
	case lua.Additive: // what is available is what was, and what is new
		available := most(new(big.Int).Sub(was, units), new(big.Int))
		available = least(available, is)
		available.Add(available, most(new(big.Int).Sub(is, was), new(big.Int)))
		return available.Sub(is, available)
	case lua.ResetUsed:
		return new(big.Int)
	}
	return units
}

func least(a, b *big.Int) *big.Int {
	if a.Cmp(b) < 0 {
		return new(big.Int).Set(a)
	}
	return new(big.Int).Set(b)
}

func most(a, b *big.Int) *big.Int {
	if a.Cmp(b) > 0 {
		return new(big.Int).Set(a)
	}
	return new(big.Int).Set(b)
}

func (m *Model) add(now int64, p *policy, units, taken int64) {
	if used := p.used(now); used.Cmp(p.counted(now)) != 0 {
		p.fill(now, used.Int64())
	}
	at, x, y, z := p.account.add(now, units, taken)
	m.Written[p.Key] = true
	p.was, p.change = p.capacity, lua.KeepUsed
	if p.counted(now).Sign() == 0 {
		delete(m.States, p.Key)
		return
	}
	change := max(p.Change, lua.KeepUsed)
	m.States[p.Key] = Entry{
		Value: fmt.Sprintf("%s:%d:%d:%d:%d:%d:%d:%d", p.Algorithm, at, p.Window, p.capacity, change, x, y, z),
		End:   p.state().Ends,
	}
}

func valid(check *lua.Check) bool {
	within := func(v, low, high int64) bool { return v >= low && v <= high }
	ok := within(check.From, 0, lua.MaxTime) && within(check.Until, 0, lua.MaxTime) && within(check.At, 0, lua.MaxTime) &&
		len(check.Charges) <= lua.MaxPolicies
	for _, c := range check.Charges {
		ok = ok && within(c.Limit, 0, lua.MaxUnits) && within(c.Window, 1, lua.MaxWindow) && within(c.Units, 0, lua.MaxUnits) &&
			within(int64(c.Change), int64(lua.NoChange), int64(lua.ResetUsed)) && within(c.Held, 0, lua.MaxUnits)
		if c.Holds || c.Algorithm == lua.Concurrency {
			ok = ok && within(c.Lease, 0, lua.MaxLease)
		}
		switch c.Algorithm {
		case lua.Fixed, lua.Sliding:
		case lua.Concurrency:
			ok = ok && c.Lease > 0
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

// state is a stored text.
type state struct {
	algorithm            lua.Algorithm
	at, window, capacity int64
	change               lua.Change
	x, y, z              int64
}

// parse reads a stored text; ok is false for everything that the algorithm would not have stored.
func parse(text string, a lua.Algorithm) (s state, ok bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 8 || parts[0] != string(a) || a == lua.Concurrency || len(parts[4]) != 1 {
		return s, false
	}
	var n [7]int64
	for i, most := range [...]int64{lua.MaxTime, lua.MaxWindow, lua.MaxUnits, 3, 2 * lua.MaxUnits, 2 * lua.MaxUnits, lua.MaxWindow} {
		if parts[i+1] == "" || strings.Trim(parts[i+1], "0123456789") != "" {
			return s, false
		}
		v, _ := new(big.Int).SetString(parts[i+1], 10)
		if v.Cmp(big.NewInt(most)) > 0 {
			return s, false
		}
		n[i] = v.Int64()
	}
	return state{a, n[0], n[1], n[2], lua.Change(n[3]), n[4], n[5], n[6]}, n[1] > 0 && n[2] > 0
}

// open brings a stored state to the present, under the policy of c; nil where nothing of it counts.
func (s *state) open(now int64, c lua.Charge) account {
	switch c.Algorithm {
	case lua.Calendar:
		return openPage(now, c, s)
	case lua.GCRA:
		return openBucket(now, c, s)
	}
	return openCounter(now, c, s)
}

// begin returns an account in which nothing counts.
func begin(now int64, c lua.Charge) account {
	switch c.Algorithm {
	case lua.Calendar:
		return newPage(now, c)
	case lua.GCRA:
		return newBucket(now, c)
	}
	return newCounter(now, c)
}
