package legacy

import "sync/atomic"

// Outcome is what a look-up in an old table came to.
type Outcome string

// The outcomes.
const (
	// Upgraded: this process has moved the key to the new store.
	Upgraded Outcome = "upgraded"
	// Joined: the key is good, and was in the new store by the time this process came to write it.
	Joined Outcome = "joined"
	// Refused: no row, another secret, a row that has ended, or a key that the new store has and refuses.
	Refused Outcome = "refused"
	// Failed: nobody could tell, or the key could not be moved.
	Failed Outcome = "failed"
)

// Event is one look-up in an old table.
type Event struct {
	Scheme  string
	Outcome Outcome
	Source  string // of the row; "" where there is none, or the secret was another
	Org     string // as Source
	Project string // as Source
	// Err is what the caller was told; nil: an identity. With Upgraded too it may be there: a key can be moved that
	// is not valid yet.
	Err error
}

// Counts are how many look-ups of a scheme came to what, since the chain was made. No two processes count the same
// upgrade, so that the sum over all of them is how many keys have moved. How many are left only the old table knows;
// many of those may never be used again.
type Counts struct {
	Upgraded  uint64
	Joined    uint64
	Refused   uint64
	Failed    uint64
	Throttled uint64 // would have been look-ups or compares over WithRate
}

// Stats are counts since the chain was made, and what is under way now.
type Stats struct {
	Schemes    map[string]Counts // by the name of the scheme
	Remembered uint64            // refused by the negative cache, without a look-up
	Waiting    int               // keys that are being looked up or moved now
}

// Stats returns the chain's counts. Cheap; the numbers are not of one instant.
func (c *Chain) Stats() Stats {
	s := Stats{Schemes: make(map[string]Counts, len(c.counts)), Remembered: c.remembered.Load(), Waiting: int(c.waiting.Load())}
	for name, n := range c.counts {
		s.Schemes[name] = Counts{
			Upgraded: n.upgraded.Load(), Joined: n.joined.Load(), Refused: n.refused.Load(),
			Failed: n.failed.Load(), Throttled: n.throttled.Load(),
		}
	}
	return s
}

type counts struct{ upgraded, joined, refused, failed, throttled atomic.Uint64 }

// note counts an event and tells the observer.
func (c *Chain) note(e Event) {
	n := c.counts[e.Scheme]
	map[Outcome]*atomic.Uint64{Upgraded: &n.upgraded, Joined: &n.joined, Refused: &n.refused, Failed: &n.failed}[e.Outcome].Add(1)
	c.observe(e)
}
