package ratelimit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// overrideSet is all overrides of an org, or the rules of a plan as such, read under one stamp. Immutable.
type overrideSet struct {
	stamp     int64
	ofPlan    bool
	overrides map[selector]*Override
}

// current is the set that an org, or a plan, has as far as is known here. Whoever asks often keeps it.
type current struct{ atomic.Pointer[overrideSet] }

// overrideCache holds the sets of the orgs, or of the plans, that were asked for last. Safe for concurrent use.
type overrideCache struct {
	*lru.Cache[string, *current]

	// Apart from the cache, so that whoever counts what ends keeps no request waiting.
	mu     sync.Mutex
	ending map[string][]*Override // of the orgs in the cache, those that end
}

func newOverrideCache(orgs int) (*overrideCache, error) {
	c := &overrideCache{ending: make(map[string][]*Override)}
	var err error
	// Nothing but Add evicts, and Add holds the lock.
	c.Cache, err = lru.NewWithEvict(orgs, func(org string, gone *current) {
		gone.Store(nil) // whoever keeps it asks again
		delete(c.ending, org)
	})
	if err != nil {
		return nil, fmt.Errorf("%w option: %w", ErrInvalid, err)
	}
	return c, nil
}

// Add puts the set of an org in place of the one that was there, or of the org that has not asked for the
// longest time. It returns where the org's set is from now on.
func (c *overrideCache) Add(org string, set *overrideSet) *current {
	var ending []*Override
	for _, o := range set.overrides {
		if !o.ExpiresAt.IsZero() {
			ending = append(ending, o)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.Get(org)
	if !ok {
		held = new(current)
		c.Cache.Add(org, held)
	}
	held.Store(set)
	if len(ending) > 0 {
		c.ending[org] = ending
	} else {
		delete(c.ending, org)
	}
	return held
}

// stats tells what is in the cache, at a Redis time. The lock is held while lists are gathered, not while
// they are looked through.
func (c *overrideCache) stats(s *Stats, now time.Time) {
	c.mu.Lock()
	s.Orgs = c.Len()
	lists := make([][]*Override, 0, len(c.ending))
	for _, ending := range c.ending {
		lists = append(lists, ending)
	}
	c.mu.Unlock()
	for _, ending := range lists {
		for _, o := range ending {
			if o.stateAt(now) != StateActive {
				continue
			}
			for _, within := range []struct {
				time  time.Duration
				count *int
			}{{time.Hour, &s.EndingHour}, {24 * time.Hour, &s.EndingDay}, {7 * 24 * time.Hour, &s.EndingWeek}} {
				if o.ExpiresAt.Sub(now) <= within.time {
					*within.count++
				}
			}
		}
	}
}

// Stats counts what a Limiter did since it was made, and what it has in memory.
type Stats struct {
	Hits, Misses uint64 // how often the overrides of an org, or a plan, were in memory, or had to be read
	Stale        uint64 // answers that a change had made old
	Orgs         int    // orgs in memory
	Refused      uint64 // requests that were refused from memory
	Monitored    bool   // SetMonitor is on
	Off          bool   // SetOff is on
	OpenBreakers int    // Redis servers that are left alone now, for they failed again and again
	Replicas     int    // as Limiter.Replicas
	// Requests that AdmitLocal let pass and refused, and the counts and holds that it keeps.
	LocalAllowed, LocalRefused uint64
	LocalCounts                int
	// Overrides of these orgs, as they were last read, that are active and end within an hour, a day and a
	// week; each number holds those before it.
	EndingHour, EndingDay, EndingWeek int
}

// Stats returns the counts. It looks at each override in memory that ends; no request waits for that whose
// org is in memory. Safe for concurrent use.
func (l *Limiter) Stats() Stats {
	s := Stats{Stale: l.stale.Load(), Refused: l.refused.Load(), Monitored: l.monitor.Load(), Replicas: l.Replicas()}
	s.LocalAllowed, s.LocalRefused, s.LocalCounts = l.local.allowed.Load(), l.local.refused.Load(), l.local.table.Len()
	s.Off, s.OpenBreakers = l.off.Load(), l.conn.OpenBreakers()
	for _, from := range [...]*store{l.orgs, l.plans} {
		s.Hits, s.Misses = s.Hits+from.hits.Load(), s.Misses+from.misses.Load()
	}
	now, _ := l.clock.now() // known if anything is in memory
	l.orgs.stats(&s, time.UnixMicro(now))
	return s
}
