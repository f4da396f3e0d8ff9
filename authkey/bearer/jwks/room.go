package jwks

import (
	"cmp"
	"errors"
	"maps"
	"time"
)

// maxGone is how many entries that gave way are remembered for each that there is room for.
const maxGone = 16

var errRoom = errors.New("more issuers are asked for than WithIssuers has room for, and it was fetched within the cool-down, or no other can give way yet")

// trace is what is left of an entry that gave way, so that an issuer that comes back at once is asked no more often than
// one that stayed.
type trace struct {
	next     time.Time // after a failure, or for the cool-down of what gave way: not before
	failures int       // in a row
	err      error     // of the last attempt
	endpoint           // as the discovery document said
	kept     *held     // what it had
	began    time.Time // its last attempt
}

// enter returns the entry of a place, and makes one where there is none. One that must not be fetched yet or has no room
// stays outside: it is evicted from its beginning. c.mu is held.
func (c *Cache) enter(p place, fault error) *entry {
	if e := c.entries[p]; e != nil {
		return e
	}
	now := time.Now()
	e := &entry{place: p, name: nameOf(p.url), fault: fault, trace: c.gone[p]}
	back := e.kept != nil && now.Before(e.kept.stale)
	if now.Before(e.next) && !back || len(c.entries) >= c.issuers && !c.makeRoom(now) {
		e.evicted, e.err = true, cmp.Or(e.err, errRoom)
		return e
	}
	delete(c.gone, p)
	e.client = c.clientFor(p.settings)
	if back {
		c.restore(e, now)
	}
	c.entries[p] = e
	return e
}

// restore gives an entry that gave way the set that it had, which is fresh, as if it had stayed. c.mu is held.
func (c *Cache) restore(e *entry, now time.Time) {
	e.held.Store(e.kept)
	e.absent, e.attempted = map[uint64]bool{}, e.began
	if e.failures == 0 { // else the last attempt failed, whoever gave way
		e.next, e.err = time.Time{}, nil
	}
	if !c.closed {
		e.timer = time.AfterFunc(e.kept.stale.Sub(now), func() { c.refresh(e) })
	}
	e.kept = nil
}

// makeRoom has the entry give way that is unused longest, if it can: what tokens with made-up keys brought in goes before
// what is in use. c.mu is held.
func (c *Cache) makeRoom(now time.Time) bool {
	var first *entry
	for _, e := range c.entries {
		if first == nil || e.yields(first, now.Add(-c.wait)) {
			first = e
		}
	}
	if len(c.gone) >= maxGone*c.issuers {
		maps.DeleteFunc(c.gone, func(_ place, t trace) bool { return !now.Before(t.next) })
	}
	if first.awaited(now.Add(-c.wait)) || len(c.gone) >= maxGone*c.issuers {
		return false
	}
	first.evict()
	delete(c.entries, first.place)
	if !first.next.IsZero() {
		c.gone[first.place] = first.trace
	}
	return true
}

// evict makes an entry one that nobody asks any more: sources enter another. Cache.mu is held.
func (e *entry) evict() {
	e.evicted = true
	e.kept, e.began = e.held.Load(), e.attempted
	e.drop()
	if e.attempted.IsZero() {
		return
	}
	e.err = cmp.Or(e.err, errRoom)
	if again := e.attempted.Add(e.cooldown); e.next.Before(again) {
		e.next = again
	}
}

// awaited reports whether callers may still wait for the first set: those who saw the fetch begin after since.
func (e *entry) awaited(since time.Time) bool {
	return e.flight != nil && e.held.Load() == nil && e.attempted.After(since)
}

// yields reports whether an entry gives way before another. Cache.mu is held.
func (e *entry) yields(other *entry, since time.Time) bool {
	if order := cmp.Compare(e.used.Load(), other.used.Load()); order != 0 {
		return order < 0
	}
	if waited := e.awaited(since); waited != other.awaited(since) {
		return !waited
	}
	return e.attempted.Before(other.attempted)
}
