package share

import "github.com/tollgate-go/tollgate/lua"

// policy is a charge of a check with what is stored of it, as it is now.
type policy struct {
	*lua.Charge
	state

	entry         *entry // perhaps not yet in the table
	used, counted int64
	held, done    int64
}

// state is what algorithms.lua makes of a policy.
type state struct {
	at, window, capacity     int64
	change                   lua.Change
	start, current, previous int64
	ends                     int64
}

// capacity is the most units that fit at once.
func capacity(c *lua.Charge) int64 {
	if c.Algorithm == lua.GCRA && c.Limit > 0 {
		return c.Burst
	}
	return c.Limit
}

func (p *policy) capacity() int64 { return capacity(p.Charge) }

// counts reports whether the policy has holds, and takesHold whether the charge becomes one.
func (p *policy) counts() bool    { return p.Holds || p.Algorithm == lua.Concurrency }
func (p *policy) takesHold() bool { return p.counts() && p.Lease > 0 }

// open is load of state.lua.
func (t *Table) open(now int64, c *lua.Charge) policy {
	p := policy{Charge: c, entry: t.entries[c.Key]}
	if p.entry == nil {
		p.entry = new(entry)
	}
	if !p.read(now, &p.entry.stored) {
		p.state = state{at: now, window: c.Window, capacity: p.capacity(), start: now, ends: now}
		begin(&p, now)
	}
	p.counted = p.count(now)
	p.used = p.carried(p.counted)
	if p.counts() {
		p.held = p.entry.holds.sum(now)
	}
	return p
}

// read brings what is stored to the present, and returns false where nothing of it counts.
func (p *policy) read(now int64, s *stored) bool {
	if s.capacity == 0 || s.algorithm != p.Algorithm {
		return false
	}
	p.state = state{at: s.at, window: s.window, capacity: s.capacity, change: s.change, start: s.at, ends: s.at}
	switch {
	case s.capacity == p.capacity() && s.window == p.Window && (s.algorithm != lua.GCRA || s.x == p.Limit):
		p.change = lua.KeepUsed
	case p.Change != lua.NoChange:
		p.change = p.Change
	}
	return p.bring(now, s)
}

// carried returns what the units in use come to after the capacity or the rate was changed.
func (p *policy) carried(used int64) int64 {
	switch is := p.capacity(); p.change {
	case lua.Proportional:
		return min(part(used, is, p.state.capacity), 2*lua.MaxUnits)
	case lua.Additive:
		return max(min(used, p.state.capacity)-max(p.state.capacity-is, 0), 0)
	case lua.ResetUsed:
		return 0
	}
	return used
}

// add is add of state.lua: it takes units, or gives back some that were taken at a time.
func (t *Table) add(now int64, p *policy, units, taken int64) {
	if p.used != p.counted {
		p.fill(now, p.used)
	}
	x, y, z := p.take(now, units, taken)
	p.used = p.count(now)
	p.counted, p.state.capacity, p.change = p.used, p.capacity(), lua.KeepUsed
	p.entry.stored = stored{}
	if p.used > 0 {
		p.entry.stored = stored{p.Algorithm, p.at, p.Window, p.capacity(), max(p.Change, lua.KeepUsed), x, y, z, p.ends}
	}
	t.put(p)
}

// put has the table hold what is left of a policy.
func (t *Table) put(p *policy) {
	t.entries[p.Key] = p.entry
	t.keep(p.Key, p.entry)
}

// told is what the script answers of a policy.
func (p *policy) told() lua.State {
	return lua.State{
		Done: p.done, Held: p.held, Start: p.start, Window: p.window, Current: p.current, Previous: p.previous, Ends: p.ends,
		Was: p.state.capacity, Change: p.change,
	}
}
