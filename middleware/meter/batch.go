package meter

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware/meter/journal"
)

// freeze makes batches of what was added up for an org: each of one hour, numbered in their order, which is that of
// their names too (journal.Journal.Commit says why). What comes from now on is added up anew.
func (m *Meter) freeze(s *shard, a *account) {
	s.mu.Lock()
	units := a.units
	if len(units) > 0 {
		a.dueSince = a.since
	}
	a.units, a.freezing, a.since = nil, units, time.Time{}
	s.mu.Unlock()
	names := slices.SortedFunc(maps.Keys(units), compare)
	for len(names) > 0 {
		hour, n := names[0].hour, 0
		for n < min(len(names), lua.MaxUsageEntries) && names[n].hour == hour {
			n++
		}
		a.due = append(a.due, m.take(s, a, units, names[:n]))
		names = names[n:]
	}
	s.mu.Lock()
	a.freezing = nil
	s.mu.Unlock()
}

func compare(x, y name) int {
	return cmp.Or(
		cmp.Compare(x.hour, y.hour), cmp.Compare(x.Project, y.Project), cmp.Compare(x.Product, y.Product),
		cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Source, y.Source),
	)
}

// take empties some of the cells that are freezing into a batch. Few at a time, since whoever records waits for the
// shard.
func (m *Meter) take(s *shard, a *account, units map[name]*cell, names []name) lua.UsageBatch {
	entries := make([]lua.UsageEntry, len(names))
	at := m.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, n := range names {
		entries[i] = lua.UsageEntry{UsageName: n.UsageName, Units: units[n].empty()}
		s.frozen += uint64(entries[i].Units)
	}
	a.last++
	m.raise(a.last)
	m.journal.Append(journal.Record{
		Kind: journal.Frozen, Org: a.org, Number: a.last, At: at, Hour: names[0].hour, Entries: entries,
	})
	return m.batch(a, a.last, names[0].hour, entries)
}

func (m *Meter) batch(a *account, number, hour int64, entries []lua.UsageEntry) lua.UsageBatch {
	return lua.UsageBatch{Org: a.org, Hour: hour, Process: m.process, Number: number, Entries: entries, Keep: m.retention}
}

// raise notes the number of a batch. An org whose account was forgotten goes on from the highest.
func (m *Meter) raise(number int64) {
	for {
		high := m.batches.Load()
		if number <= high || m.batches.CompareAndSwap(high, number) {
			return
		}
	}
}

// flushed takes off the first batch of an org, which Redis has.
func (m *Meter) flushed(s *shard, a *account) {
	at := m.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	units := unitsOf(a.due[0].Entries)
	s.flushed += units
	s.frozen -= units
	m.entries.Add(-int64(len(a.due[0].Entries)))
	m.journal.Append(settled(a, at))
	a.shift()
}

// putBack returns the first batch of an org, which Redis refused, to what is being added up: its units
// travel under another number next time.
func (m *Meter) putBack(s *shard, a *account) {
	at := m.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.units == nil {
		a.units = make(map[name]*cell)
	}
	back := journal.Record{Kind: journal.Pending, Org: a.org, Number: a.last, At: at, Hour: a.due[0].Hour}
	for _, e := range a.due[0].Entries {
		n := name{a.due[0].Hour, e.UsageName}
		s.frozen -= uint64(e.Units)
		held := a.units[n]
		if held == nil {
			a.units[n] = newCell(n.hour, e.Units)
		} else {
			m.entries.Add(-1)
			if !held.add(e.Units) {
				s.dropped += uint64(e.Units)
				s.spoiled += uint64(e.Units)
			}
		}
		back.Entries = append(back.Entries, a.units[n].journal(e.UsageName))
	}
	m.journal.Append(settled(a, at), back)
	a.since = earliest(a.since, a.dueSince)
	a.shift()
}

// leaveBatch gives up the first batch of an org, of which nobody can tell whether Redis has its units. The journal keeps
// it.
func (m *Meter) leaveBatch(s *shard, a *account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	units := unitsOf(a.due[0].Entries)
	s.frozen -= units
	m.entries.Add(-int64(len(a.due[0].Entries)))
	m.replays.note(0, units, 0, nil)
	a.shift()
}

// leavePending is leaveBatch for what is being added up.
func (m *Meter) leavePending(s *shard, a *account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.entries.Add(-int64(len(a.units)))
	m.replays.note(0, sum(a.units), 0, nil)
	a.units, a.since = nil, time.Time{}
}

func unitsOf(entries []lua.UsageEntry) (all uint64) {
	for i := range entries {
		all += uint64(entries[i].Units)
	}
	return all
}

// settled tells that the first batch of an org is decided.
func settled(a *account, at int64) journal.Record {
	return journal.Record{Kind: journal.Settled, Org: a.org, Number: a.due[0].Number, At: at}
}

// shift forgets the first batch. The caller holds the shard.
func (a *account) shift() {
	a.due = a.due[1:]
	if len(a.due) == 0 {
		a.due, a.dueSince = nil, time.Time{}
	}
}
