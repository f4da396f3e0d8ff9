package ratelimit

import (
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// overrideSet is all overrides of an org, or the rules of a plan as such, read under one stamp. Immutable.
type overrideSet struct {
	stamp     int64
	ofPlan    bool
	overrides map[selector]*Override
}

// overrideCache holds the sets of the orgs, or of the plans, that were asked for last. Safe for concurrent use.
type overrideCache struct {
	*lru.Cache[string, *overrideSet]

	// Apart from the cache, so that whoever counts what ends keeps no request waiting.
	mu     sync.Mutex
	ending map[string][]*Override // of the orgs in the cache, those that end
}

func newOverrideCache(orgs int) (*overrideCache, error) {
	c := &overrideCache{ending: make(map[string][]*Override)}
	var err error
	// Nothing but Add evicts, and Add holds the lock.
	c.Cache, err = lru.NewWithEvict(orgs, func(org string, _ *overrideSet) { delete(c.ending, org) })
	if err != nil {
		return nil, fmt.Errorf("%w option: %w", ErrInvalid, err)
	}
	return c, nil
}

// Add puts the set of an org in place of the one that was there, or of the org that has not asked for the
// longest time.
func (c *overrideCache) Add(org string, set *overrideSet) {
	var ending []*Override
	for _, o := range set.overrides {
		if !o.ExpiresAt.IsZero() {
			ending = append(ending, o)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Cache.Add(org, set)
	if len(ending) > 0 {
		c.ending[org] = ending
	} else {
		delete(c.ending, org)
	}
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
