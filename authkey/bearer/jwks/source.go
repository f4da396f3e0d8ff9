package jwks

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
)

// maxAbsent is how many keys that an issuer does not have are remembered.
const maxAbsent = 256

// seed makes sums of what tokens say that nobody outside can foresee.
var seed = maphash.MakeSeed()

// Source has the keys of one issuer: a bearer.KeySource. Cache.Issuer and Cache.URL make it. Safe for concurrent use.
type Source struct {
	cache *Cache
	entry atomic.Pointer[entry]
}

// Err returns what is wrong with the URL or the options that the source was made with, all joined: each
// authkey.ErrInvalid. nil: nothing. It tells nothing of fetches.
func (s *Source) Err() error { return s.entry.Load().fault }

// Keys returns the set of the issuer: from memory, without a lock or an allocation, if it has a key for the header.
// Otherwise it waits for a fetch that is under way, or begins one if the last attempt is older than the cool-down,
// for as long as ctx and WithWait allow; else it returns at once the set that there is. The fetch is for all who
// wait, and goes on when ctx ends.
//
// The error is authkey.ErrUnavailable: there is no set, or one that cannot be used any more, or it lacks the key and
// the last attempt to fetch a newer one failed or takes too long. Where Err is not nil it is authkey.ErrInvalid too.
func (s *Source) Keys(ctx context.Context, header bearer.Header) (*bearer.KeySet, error) {
	if set := s.Held(header); set != nil {
		return set, nil
	}
	return s.look(ctx, header)
}

// Held returns the set of the issuer from memory, without a lock or an allocation, if it has a key for the header, and
// nil else: then Keys waits.
func (s *Source) Held(header bearer.Header) *bearer.KeySet {
	e := s.entry.Load()
	h := e.held.Load()
	if h == nil || !h.set.Has(header) {
		return nil
	}
	now := h.began.Add(time.Since(h.began)) // half of what time.Now costs
	if !now.Before(h.expires) {
		return nil
	}
	e.use(h, now)
	return h.set
}

// look is Keys for what is not in memory.
func (s *Source) look(ctx context.Context, header bearer.Header) (*bearer.KeySet, error) {
	set, f, err := s.decide(header, false)
	if f == nil {
		return set, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cache.wait)
	defer cancel()
	for f != nil {
		if ended := f.wait(ctx); ended != nil {
			return nil, s.entry.Load().unavailable(ended)
		}
		set, f, err = s.decide(header, !f.void)
	}
	return set, err
}

// decide tells the answer, or the flight to wait for. After a flight has landed there is always an answer.
func (s *Source) decide(header bearer.Header, landed bool) (*bearer.KeySet, *flight, error) {
	c := s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	e := s.entry.Load()
	if e.evicted {
		e = c.enter(e.place, e.fault)
		s.entry.Store(e)
	}
	if e.fault != nil || e.evicted {
		return nil, nil, e.readiness(c.closed)
	}
	now := time.Now()
	h := e.held.Load()
	if h == nil || !now.Before(h.expires) {
		switch {
		case landed || c.closed || e.flight == nil && now.Before(e.next):
			return nil, nil, e.readiness(c.closed)
		case e.flight != nil:
			return nil, e.flight, nil
		}
		return nil, c.begin(e, false), nil
	}
	if h.set.Has(header) {
		e.use(h, now)
		return h.set, nil, nil
	}
	return c.miss(e, h, header, landed, now)
}

// miss decides about a key that is not in a set that can be used. c.mu is held.
func (c *Cache) miss(e *entry, h *held, header bearer.Header, landed bool, now time.Time) (*bearer.KeySet, *flight, error) {
	sum := maphash.Comparable(seed, header)
	if !landed {
		e.misses++
		cooling := now.Sub(e.attempted) < e.cooldown
		switch {
		case e.absent[sum] && now.Sub(h.began) < e.cooldown: // a set this young says that there is none
			e.cooledDown++
			return h.set, nil, nil
		case e.flight != nil:
			return nil, e.flight, nil
		case !cooling && !c.closed:
			return nil, c.begin(e, true), nil
		}
		e.cooledDown++
	}
	if e.err != nil { // nobody could tell
		return nil, nil, e.unavailable(e.err)
	}
	if len(e.absent) < maxAbsent {
		e.absent[sum] = true
	}
	return h.set, nil, nil
}

// entry is what is known of an issuer, and how it is asked.
type entry struct {
	place
	name   string // for texts
	fault  error  // of the URL or an option
	client *http.Client

	held   atomic.Pointer[held]
	used   atomic.Int64 // when a source last found a key, in seconds; 0: never
	stales atomic.Uint64

	// Under Cache.mu.
	evicted   bool
	flight    *flight     // nil: none is under way
	timer     *time.Timer // that begins the next
	attempted time.Time   // when the last began
	absent    map[uint64]bool
	trace
	counts
}

// held is a set in memory. Immutable.
type held struct {
	set     *bearer.KeySet
	sum     [sha256.Size]byte // of the document
	began   time.Time         // the request that brought it
	stale   time.Time         // from when it should be newer
	expires time.Time         // from when it cannot be used
}

// use notes that somebody found a key in a set. Recency is to the second, so that few of many readers write.
func (e *entry) use(h *held, now time.Time) {
	if second := now.Unix(); e.used.Load() != second {
		e.used.Store(second)
	}
	if !now.Before(h.stale) {
		e.stales.Add(1)
	}
}

func (e *entry) usable(now time.Time) bool {
	h := e.held.Load()
	return h != nil && now.Before(h.expires)
}

// drop forgets the set, and what a flight under way will bring. Cache.mu is held.
func (e *entry) drop() {
	e.held.Store(nil)
	e.stop()
	if e.flight != nil {
		e.flight.cancel()
		e.flight.void, e.flight = true, nil
	}
}

func (e *entry) stop() {
	if e.timer != nil {
		e.timer.Stop()
	}
}

func (e *entry) unavailable(cause error) error {
	return fmt.Errorf("%w: jwks: %s: %w", authkey.ErrUnavailable, e.name, cause)
}
