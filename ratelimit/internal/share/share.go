// Package share decides checks from memory as the script of package lua does in Redis, with the same arithmetic, for as
// long as Redis is away: a process gives each policy its share of the limit. It is told the time, knows no epoch and no
// token, and asks nobody.
//
//	table := share.NewTable(1 << 16)
//	charge.Limit, charge.Burst = share.Of(charge.Limit, charge.Burst, charge.Window, 3)
//	answer, err := table.Do(now, &lua.Check{Mode: lua.Take, Charges: []lua.Charge{charge}})
//
// It is no place for what is to survive the process, nor for what several processes have to agree on.
package share

import (
	"errors"
	"sync"

	"github.com/tollgate-go/tollgate/lua"
)

// ErrFull says that there is no room for one more count or hold. Nothing was changed.
var ErrFull = errors.New("too many counts in memory")

// Table holds counts by the keys of their policies. Safe for concurrent use.
type Table struct {
	most int

	mu      sync.Mutex
	entries map[string]*entry
	holds   int   // of all entries
	swept   int64 // the time when it was last swept for want of room
}

// entry is what is kept of a policy: as the script stores it, and what is held.
type entry struct {
	stored
	holds holds
}

// stored is a state as state.lua writes it. Its capacity is zero where nothing is counted.
type stored struct {
	algorithm            lua.Algorithm
	at, window, capacity int64
	change               lua.Change
	x, y, z              int64
	ends                 int64
}

// NewTable returns an empty table with room for so many counts and holds together, each of which takes up to about 300
// bytes, besides its key.
func NewTable(most int) *Table { return &Table{most: most, entries: make(map[string]*entry)} }

// sweepEvery bounds how often a full table is looked through, in microseconds.
const sweepEvery = 1_000_000

// Len returns how many counts and holds there are.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.entries) + t.holds
}

// Clear forgets all.
func (t *Table) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.entries)
	t.holds = 0
}

// Sweep forgets what does not matter any more at a time in microseconds.
func (t *Table) Sweep(now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
}

func (t *Table) sweep(now int64) {
	for key, e := range t.entries {
		t.holds -= e.holds.sweep(now)
		if e.ends <= now {
			e.stored = stored{}
		}
		t.keep(key, e)
	}
}

// keep forgets an entry of which nothing is left.
func (t *Table) keep(key string, e *entry) {
	if e.capacity == 0 && len(e.holds.ends) == 0 {
		delete(t.entries, key)
	}
}

// Do does a check at a time in microseconds, of any mode but Reset. The check's charges are within their bounds and have
// different keys; epochs, tokens and times are not compared. Where a hold or a count finds no room, that is ErrFull, and
// nothing was changed.
func (t *Table) Do(now int64, check *lua.Check) (lua.Answer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	policies := make([]policy, len(check.Charges))
	for i := range policies {
		policies[i] = t.open(now, &check.Charges[i])
	}
	answer := lua.Answer{Status: lua.Allowed, Now: now, States: make([]lua.State, len(policies))}
	var err error
	switch check.Mode {
	case "", lua.Take, lua.Peek:
		answer.Status, err = t.decide(now, check, policies)
	default:
		for i := range policies {
			policies[i].done = t.end(now, check, &policies[i])
		}
	}
	if err != nil {
		return lua.Answer{}, err
	}
	for i := range policies {
		answer.States[i] = policies[i].told()
	}
	answer.Fits = int64(answer.Status)
	return answer, nil
}

// decide is modes.charge and modes.peek of admit.lua.
func (t *Table) decide(now int64, check *lua.Check, policies []policy) (lua.Status, error) {
	status := lua.Allowed
	for i := range policies {
		p := &policies[i]
		if p.capacity() > 0 && p.Units <= max(p.capacity()-p.used-p.held, 0) {
			p.done = 1
		} else if p.Role == lua.Enforced {
			status = lua.Refused
		}
	}
	if check.Mode == lua.Peek {
		return status, nil
	}
	takes := func(p *policy) bool {
		return p.done == 1 && p.Units > 0 && (status == lua.Allowed || p.Role == lua.Candidate && !p.takesHold())
	}
	need := func() (n int) {
		for i := range policies {
			if p := &policies[i]; takes(p) {
				n += t.needs(p, check.ID)
			}
		}
		return n
	}
	if !t.hasRoom(now, need) {
		return lua.Refused, ErrFull
	}
	for i := range policies {
		p := &policies[i]
		switch {
		case !takes(p):
		case p.takesHold():
			t.hold(now, p, hold{p.Units, check.ID})
		default:
			t.add(now, p, p.Units, now)
		}
	}
	return status, nil
}

// hasRoom reports whether so much more finds room. A full table is swept first, now and then.
func (t *Table) hasRoom(now int64, need func() int) bool {
	if len(t.entries)+t.holds+need() <= t.most {
		return true
	}
	if now >= t.swept && now < t.swept+sweepEvery {
		return false
	}
	t.swept = now
	t.sweep(now)
	return len(t.entries)+t.holds+need() <= t.most
}

// needs returns how much room the charge of a policy takes that is not taken yet.
func (t *Table) needs(p *policy, id string) (n int) {
	if t.entries[p.Key] == nil {
		n++
	}
	if p.takesHold() && !p.entry.holds.known(hold{p.Units, id}) {
		n++
	}
	return n
}

// end is modes.settle, modes.renew and modes.refund of admit.lua. It needs no room: what it adds to is there, or what it
// ended made place.
func (t *Table) end(now int64, check *lua.Check, p *policy) (done int64) {
	switch check.Mode {
	case lua.Refund:
		used := p.used
		if used > 0 && p.Units > 0 && p.capacity() > 0 {
			t.add(now, p, -p.Units, check.At)
		}
		return min(used-p.used, p.Units)
	case lua.Settle:
		if !p.counts() || !p.entry.holds.has(now, hold{p.Held, check.ID}) {
			return 0
		}
		t.release(now, p, hold{p.Held, check.ID})
		if p.Units > 0 && p.capacity() > 0 && p.Algorithm != lua.Concurrency {
			t.add(now, p, p.Units, now)
		}
		return 1
	case lua.Renew:
		if !p.counts() || p.Lease == 0 || !p.entry.holds.has(now, hold{p.Held, check.ID}) {
			return 0
		}
		t.hold(now, p, hold{p.Held, check.ID})
		return 1
	}
	return 0
}
