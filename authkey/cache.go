package authkey

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"
)

// sum is the SHA-256 of a presented key: what caches go by, so that none of them holds a key, and a wrong
// secret for a known id never meets the entry of the right one.
type sum = [sha256.Size]byte

// cache is a bounded map whose entries end. A plain map behind a RWMutex costs a hit less than a list of
// recent use, which every hit would have to write to.
type cache[V any] struct {
	mu      sync.RWMutex
	entries map[sum]cached[V]
	most    int
	life    time.Duration
}

type cached[V any] struct {
	value V
	until time.Time
}

func newCache[V any](most int, life time.Duration) *cache[V] {
	return &cache[V]{entries: map[sum]cached[V]{}, most: most, life: life}
}

// get returns what is held under key, while it lasts.
func (c *cache[V]) get(key sum, now time.Time) (V, bool) {
	c.mu.RLock()
	e, ok := c.entries[key]
	c.mu.RUnlock()
	if !ok || !now.Before(e.until) {
		var none V
		return none, false
	}
	return e.value, true
}

// put holds value under key for the life of the cache from the time that it was true, unless an entry
// that is held there still, and that stays prefers, is better. It returns what is held then.
func (c *cache[V]) put(key sum, value V, from, now time.Time, stays func(old, fresh V) bool) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.entries[key]
	if ok && now.Before(old.until) && stays(old.value, value) {
		return old.value
	}
	if !ok && len(c.entries) >= c.most {
		c.evict()
	}
	c.entries[key] = cached[V]{value: value, until: from.Add(c.life)}
	return value
}

// evict drops the entry that ends first among a few. A map is ranged over from a random place, so these
// few differ each time.
func (c *cache[V]) evict() {
	const few = 8
	var victim sum
	var until time.Time
	seen := 0
	for key, e := range c.entries {
		if seen == 0 || e.until.Before(until) {
			victim, until = key, e.until
		}
		if seen++; seen == few {
			break
		}
	}
	delete(c.entries, victim)
}

func (c *cache[V]) drop(key sum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
}

func (c *cache[V]) len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.entries)
}

// entry is a credential of a record as the verifier needs it, with the identity made once. Immutable, but for what used
// points to.
type entry struct {
	identity  Identity
	state     State // of the key, or StateRevoked where the credential is
	suspended bool  // the project is
	notBefore time.Time
	revision  int64
	used      *useCell // nil: nobody wants to know
}

func newEntry(r *Record, c *Credential) *entry {
	own := r.clone()
	e := &entry{
		identity: Identity{
			Org: own.Org, Project: own.Project, Key: own.ID, Credential: c.ID, Name: own.Name, Owner: own.Owner,
			Plan: cmp.Or(own.Plan, own.Within.Plan), Kind: own.Kind, Scopes: own.Scopes, Products: own.Products,
			Networks: own.Networks, Origins: own.Origins, Method: methodKey,
			ExpiresAt: earlier(own.ExpiresAt, c.ExpiresAt), SupersededAt: c.SupersededAt, Epoch: own.Epoch,
			Notes: new(Notes),
		},
		state: own.State, suspended: own.Within.State == StateSuspended, notBefore: own.NotBefore, revision: own.Revision,
	}
	if !c.RevokedAt.IsZero() {
		e.state = StateRevoked
	}
	return e
}

// earlier returns the earlier of two ends, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// admit decides by state and time; it runs on every request, so that an end is seen while the entry
// is cached.
func (e *entry) admit(now time.Time) (*Identity, error) {
	var cause error
	switch expires := e.identity.ExpiresAt; {
	case e.state == StateRevoked:
		cause = ErrRevoked
	case e.state != StateActive:
		cause = ErrDisabled
	case now.Before(e.notBefore):
		cause = ErrNotYetValid
	case !expires.IsZero() && !now.Before(expires):
		cause = ErrExpired
	case e.suspended:
		cause = ErrSuspended
	default:
		e.used.note(now)
		return &e.identity, nil
	}
	return nil, fmt.Errorf("%w: credential %s", cause, e.identity.Credential)
}

// outlasts reports whether old stays although fresh was read: revoked stays revoked, and what a later
// epoch or revision says is not undone by a slow or lagging read.
func (e *entry) outlasts(fresh *entry) bool {
	if revoked := e.state == StateRevoked; revoked != (fresh.state == StateRevoked) {
		return revoked
	}
	if e.identity.Epoch != fresh.identity.Epoch {
		return e.identity.Epoch > fresh.identity.Epoch
	}
	return e.revision > fresh.revision
}
