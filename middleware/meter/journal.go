package meter

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware/meter/journal"
)

// piece is how many names go to the journal at a time, since whoever records waits for the shard.
const piece = 250

// keepJournal writes what is pending to the journal at each interval, until ctx ends.
func (m *Meter) keepJournal(ctx context.Context) {
	tick := time.NewTicker(m.journal.Interval())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.writeJournal(ctx)
		}
	}
}

// writeJournal writes what is pending. What fails is in the Stats.
func (m *Meter) writeJournal(ctx context.Context) {
	if m.journal == nil {
		return
	}
	began, whole := m.now(), true
	for i := range m.shards {
		whole = m.shards[i].tell(m.journal, began.Unix()) && whole
	}
	switch err := m.journal.Commit(ctx); {
	case err == nil && !whole: // next time
	case err == nil:
		m.journaled.Store(began.UnixNano())
	case ctx.Err() == nil:
		m.journaled.Store(0) // what is pending is bounded by Redis alone
	}
}

// tell appends the cells that changed since the journal was told of them, and reports whether it could of all: not of
// those that are freezing, since names may come twice then.
func (s *shard) tell(to *journal.Journal, at int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole := true
	for _, a := range s.accounts {
		whole = s.tellOf(a, to, at) && whole
	}
	return whole
}

// tellOf lets others have the shard now and then. If a pass froze the cells meanwhile, those that are left are empty.
func (s *shard) tellOf(a *account, to *journal.Journal, at int64) bool {
	if a.freezing != nil {
		return false
	}
	hours := make(map[int64][]lua.UsageEntry, 1)
	hand := func() {
		for hour, entries := range hours {
			to.Append(journal.Record{Kind: journal.Pending, Org: a.org, Number: a.last, At: at, Hour: hour, Entries: entries})
		}
		clear(hours)
	}
	seen := 0
	for n, c := range a.units {
		if seen++; seen%piece == 0 {
			hand()
			s.mu.Unlock()
			s.mu.Lock()
			if a.freezing != nil {
				break
			}
		}
		if units := c.units.Load(); units != 0 && units != c.journaled {
			hours[n.hour] = append(hours[n.hour], c.journal(n.UsageName))
		}
	}
	hand()
	return a.freezing == nil
}

// journalStats adds what is known of journals, and of what a crash would lose.
func (m *Meter) journalStats(stats *Stats) {
	stats.LossBound = max(m.interval, stats.OldestPending)
	if m.journal == nil {
		return
	}
	stats.Journaled = min(m.journal.Units(), stats.Pending)
	stats.JournalErrors, stats.JournalFault = m.journal.Faults()
	m.replays.addTo(stats)
	since := m.now().Sub(time.Unix(0, m.journaled.Load()))
	stats.LossBound = min(stats.LossBound, max(m.journal.Interval(), since))
}

const (
	// look is how often a Meter looks for journals of processes that died.
	look = time.Minute
	// doubt is how much earlier than Redis a Meter forgets what was the last batch of a process, since their clocks
	// differ.
	doubt = time.Hour
)

// replays is what became of journals that others left.
type replays struct {
	mu              sync.Mutex
	replayed, doubt uint64 // units
	faults          uint64
	fault           error
}

func (r *replays) note(units, unsure, faults uint64, fault error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replayed += units
	r.doubt += unsure
	r.faults += faults
	if fault != nil {
		r.fault = fault
	}
}

func (r *replays) fail(err error) {
	if err != nil {
		r.note(0, 0, 1, err)
	}
}

func (r *replays) addTo(s *Stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Replayed, s.Unsure = r.replayed, r.doubt
	s.JournalErrors += r.faults
	if r.fault != nil {
		s.JournalFault = r.fault
	}
}

// orphan is the Meter of a process that died, as its journal has it. It only flushes: under the process's name, so that
// Redis drops what it has, and with the journal as its own, so that whoever comes next can go on. What it has to give up
// is Unsure in its Stats, and stays in the journal.
type orphan struct{ *Meter }

// replay writes to Redis what processes that died have left, until ctx ends.
func (m *Meter) replay(ctx context.Context) {
	var (
		orphans []*orphan
		next    time.Time
	)
	defer func() {
		for _, o := range orphans {
			m.replays.fail(o.journal.Close())
		}
	}()
	tick := time.NewTicker(min(m.interval, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := m.now(); !now.Before(next) {
			next = now.Add(look)
			journals, err := m.journals.TakeOver()
			m.replays.fail(err)
			for _, j := range journals {
				orphans = append(orphans, m.revive(j))
			}
		}
		orphans = slices.DeleteFunc(orphans, func(o *orphan) bool { return m.settle(ctx, o) })
	}
}

// revive makes of a journal the Meter that wrote it.
func (m *Meter) revive(j *journal.Journal) *orphan {
	o := &orphan{Meter: build(m.Reader, m.ledger, m.config, j.Process())}
	o.journal, o.failures = j, m.failures
	for _, rec := range j.Records() {
		s := o.shardOf(rec.Org)
		a := s.accounts[rec.Org]
		if a == nil {
			a = &account{org: rec.Org, units: make(map[name]*cell), unproved: true}
			s.accounts[rec.Org] = a
		}
		a.last = rec.Number
		o.entries.Add(int64(len(rec.Entries)))
		at := time.Unix(rec.At, 0)
		if rec.Kind == journal.Frozen {
			a.dueSince = earliest(a.dueSince, at)
			a.due = append(a.due, o.batch(a, rec.Number, rec.Hour, rec.Entries))
			s.frozen += unitsOf(rec.Entries)
			continue
		}
		a.since = earliest(a.since, at)
		for _, e := range rec.Entries {
			c := newCell(rec.Hour, e.Units)
			c.journaled = e.Units
			a.units[name{rec.Hour, e.UsageName}] = c
		}
	}
	return o
}

// prove asks Redis whether a process that died sent batches of an org that its journal does not know, as it does while
// the disk is full. Then what was pending may be counted, and is left; and so is a batch that Redis refuses, whose units
// may have gone with a later one. Until it is known the org waits: what is sent for it would be taken for what the
// process sent.
func (m *Meter) prove(ctx context.Context, s *shard, a *account) error {
	ctx, cancel := context.WithTimeout(ctx, m.config.timeout)
	defer cancel()
	last, err := m.ledger.UsageMark(ctx, a.org, m.process)
	if err != nil {
		m.failures.add(classify(err))
		return fmt.Errorf("mark of org %.128q: %w", a.org, err)
	}
	a.unproved, a.overtaken = false, last > a.last
	if a.overtaken {
		m.leavePending(s, a)
	}
	return nil
}

// leaveOld gives up what Redis may have counted and forgotten since.
func (o *orphan) leaveOld() {
	now := o.now()
	old := func(at time.Time) bool {
		age := now.Sub(at)
		return !at.IsZero() && (age > lua.UsageMarkTime-doubt || age < -doubt)
	}
	for i := range o.shards {
		s := &o.shards[i]
		for _, a := range s.waiting() {
			pending := old(a.since)
			for (pending || old(a.dueSince)) && len(a.due) > 0 {
				o.leaveBatch(s, a)
			}
			if pending {
				o.leavePending(s, a)
			}
		}
	}
}

// settle makes one attempt to write all that an orphan has, and reports whether it is done with it.
func (m *Meter) settle(ctx context.Context, o *orphan) bool {
	before := o.Stats()
	o.leaveOld()
	_ = o.pass(ctx) // what fails is in the Stats, and is sent again next time
	after := o.Stats()
	m.replays.note(after.Flushed-before.Flushed, after.Unsure-before.Unsure, after.JournalErrors-before.JournalErrors, after.JournalFault)
	switch {
	case after.Pending > 0:
		return false
	case after.Unsure > 0:
		m.replays.fail(o.journal.Commit(ctx)) // so that the file has nothing but what is unsure
		m.replays.fail(o.journal.SetAside())
	default:
		m.replays.fail(o.journal.Remove())
	}
	return true
}
