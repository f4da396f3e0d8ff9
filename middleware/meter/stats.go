package meter

import (
	"maps"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// Stats counts what a Meter did since it was made, and tells what is pending.
type Stats struct {
	Recorded uint64 // units that Record took in
	Flushed  uint64 // units that Redis has
	Pending  uint64 // units that are to be written: what a crash would lose now, but for those that are Journaled
	Dropped  uint64 // units that had no room, or came after Close
	Invalid  uint64 // calls of Record that were out of bounds
	Entries  int    // distinct names pending
	Orgs     int    // orgs with something pending, or a moment ago
	// OldestPending is how long the oldest pending units have been waiting; zero if none are.
	OldestPending time.Duration
	// Failures counts the calls to Redis that failed. Under lua.ClassConfig are also batches that Redis
	// refused, because what it holds for their hour is no usage.
	Failures map[lua.Class]uint64

	// LossBound is how far back a crash now would reach: what was recorded before is in Redis or in the journal.
	// Without a journal that is WithInterval, or OldestPending where that is more, since Redis does not answer then.
	// With one it is the journal's interval, or the time since the last write to it where that is more. One
	// that cannot be written bounds nothing.
	LossBound time.Duration
	Journaled uint64 // units that are in the journal, and would be written to Redis after a crash
	// Replayed are units that processes which died left in their journals, and that this one wrote to Redis.
	Replayed uint64
	// Unsure are units that others left and that nobody can tell of whether Redis has them: they are too old, or the
	// journal was behind. They were not written; once the rest is, their file is set aside, as <process>.unsure.
	Unsure uint64
	// JournalErrors counts what went wrong with files of journals, and JournalFault is the last of it, nil if nothing
	// did.
	JournalErrors uint64
	JournalFault  error
}

// Stats returns the counts. Safe for concurrent use; it takes time with the number of names pending, and
// the numbers are not of one instant.
func (m *Meter) Stats() Stats {
	stats := Stats{Invalid: m.invalid.Load(), Entries: int(m.entries.Load())}
	var oldest time.Time
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		pending := s.frozen
		for _, a := range s.accounts {
			oldest = earliest(oldest, earliest(a.since, a.dueSince))
			pending += sum(a.units) + sum(a.freezing)
		}
		stats.Recorded += s.flushed + pending + s.spoiled
		stats.Flushed += s.flushed
		stats.Pending += pending
		stats.Dropped += s.dropped
		stats.Orgs += len(s.accounts)
		s.mu.Unlock()
	}
	if !oldest.IsZero() {
		stats.OldestPending = max(m.now().Sub(oldest), 0)
	}
	m.failures.mu.Lock()
	stats.Failures = maps.Clone(m.failures.class)
	m.failures.mu.Unlock()
	m.journalStats(&stats)
	return stats
}

// earliest returns the earlier of two times, where the zero time is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
