// Package cache holds for a short time what was found out about secrets. It goes by their SHA-256, so that it holds none
// of them, and what is asked for with another secret never meets what is held for the right one.
//
//	known, sum := cache.New[*entry](10_000, 5*time.Second), cache.SumOf(secret)
//	if e, age, ok := known.Get(&sum, time.Since); ok { ... }
//
// A hit takes no lock, writes nothing that another core reads, and costs some ten nanoseconds: one of a general cache
// costs as much as the SHA-256. It has no place for what is not bounded in number, or goes by something longer.
package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Sum is the SHA-256 of a secret.
type Sum = [sha256.Size]byte

// SumOf returns the sum of a secret. No allocation.
func SumOf(secret string) Sum {
	// Its own bytes, which nobody writes to: to copy those of a token costs a tenth of the sum.
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(secret), len(secret))) //nolint:gosec // as long as the string is
}

// Since tells how long ago something was, as time.Since does by the monotonic clock alone: half of what time.Now costs.
type Since func(time.Time) time.Duration

// Cache holds up to so many values, each for the same time. Make it with New. Safe for concurrent use.
type Cache[V any] struct {
	life time.Duration
	most int
	// lists are a power of two, at least most. Whoever reads a list meets each of its nodes that is there all the while,
	// also while others change it. Which list a sum is in goes by multiply-shift (Dietzfelbinger and others, 1997) with
	// a factor that is random: whoever can choose sums cannot choose their list.
	lists  []link[V]
	factor uint64
	shift  int

	mu    sync.Mutex // held by who changes a list
	count int
}

type link[V any] struct{ atomic.Pointer[node[V]] }

// node is one value. What is not atomic never changes.
type node[V any] struct {
	sum   Sum
	value V
	from  time.Time
	asked atomic.Bool // since evict last came by
	next  link[V]
}

// New returns a cache of up to most values, at least 1, each held for life. It takes 8 to 16 bytes for each at once, and
// some 100 for each that is there, besides the value.
func New[V any](most int, life time.Duration) *Cache[V] {
	log := bits.Len(uint(max(most, 1) - 1))
	factor := rand.Uint64() | 1 //nolint:gosec // seeded at random, and shown to nobody
	return &Cache[V]{life: life, most: most, lists: make([]link[V], 1<<log), factor: factor, shift: 64 - log}
}

// Get returns what is held under a sum, while it lasts, and how long ago it was true. No allocation.
func (c *Cache[V]) Get(sum *Sum, since Since) (value V, age time.Duration, ok bool) {
	n := c.find(sum)
	if n == nil {
		return value, 0, false
	}
	if age = since(n.from); age >= c.life {
		return value, 0, false
	}
	if !n.asked.Load() { // once, and not with each hit
		n.asked.Store(true)
	}
	return n.value, age, true
}

// Last returns what is held under a sum, ended or not, and how long ago it was true. What ended is the first to make room.
// No allocation.
func (c *Cache[V]) Last(sum *Sum, since Since) (value V, age time.Duration, ok bool) {
	n := c.find(sum)
	if n == nil {
		return value, 0, false
	}
	return n.value, since(n.from), true
}

// Holds reports whether something is held under a sum, ended or not.
func (c *Cache[V]) Holds(sum *Sum) bool { return c.find(sum) != nil }

// Put holds a value for the life of the cache from the time that it was true, unless what is held there still is better,
// which stays tells; nil is never. It returns what is held then.
func (c *Cache[V]) Put(sum *Sum, value V, from time.Time, since Since, stays func(held, fresh V) bool) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.find(sum)
	switch {
	case held == nil && c.count >= c.most:
		c.evict(since)
	case held != nil && stays != nil && since(held.from) < c.life && stays(held.value, value):
		return held.value
	}
	fresh := &node[V]{sum: *sum, value: value, from: from}
	if held == nil {
		first := c.list(sum)
		fresh.next.Store(first.Load())
		first.Store(fresh)
		c.count++
		return value
	}
	fresh.next.Store(held.next.Load()) // in the place of the other, so that nobody who is on the way misses both
	c.before(held).Store(fresh)
	return value
}

// Drop forgets what is held under a sum.
func (c *Cache[V]) Drop(sum *Sum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.find(sum))
}

// Len returns how many values are held, ended ones included.
func (c *Cache[V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

func (c *Cache[V]) list(sum *Sum) *link[V] {
	return &c.lists[binary.LittleEndian.Uint64(sum[:])*c.factor>>c.shift]
}

func (c *Cache[V]) find(sum *Sum) *node[V] {
	for n := c.list(sum).Load(); n != nil; n = n.next.Load() {
		if n.sum == *sum {
			return n
		}
	}
	return nil
}

// before returns the link that leads to a node of a list. The caller holds mu.
func (c *Cache[V]) before(n *node[V]) *link[V] {
	at := c.list(&n.sum)
	for at.Load() != n {
		at = &at.Load().next
	}
	return at
}

// remove takes a node off its list; whoever stands on it still finds what came after. nil is none. The caller holds mu.
func (c *Cache[V]) remove(n *node[V]) {
	if n != nil {
		c.before(n).Store(n.next.Load())
		c.count--
	}
}

// evict makes room among a few neighbours at a random place: by one that ended or, if none did, that nobody asked for
// since evict last came by, and of several by the one that ends first. The caller holds mu.
func (c *Cache[V]) evict(since Since) {
	const few = 8
	var victim *node[V]
	wanted, seen := false, 0
	from := rand.IntN(len(c.lists)) //nolint:gosec // no secret
	for i := range c.lists {
		for n := c.lists[(from+i)&(len(c.lists)-1)].Load(); n != nil; n = n.next.Load() {
			asked := n.asked.Swap(false) && since(n.from) < c.life
			if victim == nil || wanted && !asked || wanted == asked && n.from.Before(victim.from) {
				victim, wanted = n, asked
			}
			seen++
		}
		if seen >= few {
			break
		}
	}
	c.remove(victim)
}
