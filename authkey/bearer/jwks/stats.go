package jwks

import "time"

// Fetch is what came of a fetch of an issuer's keys, for WithObserver.
type Fetch struct {
	// Issuer is the URL given to Cache.Issuer or Cache.URL, without its query.
	Issuer string
	// Took is from its beginning to its end, discovery included.
	Took time.Duration
	// Keys are those that can be used, Skipped those of the document that cannot.
	Keys, Skipped int
	// Err is why it failed; nil: it did not. It is not authkey.ErrUnavailable, for there may be older keys.
	Err error
	// Discovery is why a look at the discovery document failed without which the fetch could do: the address known
	// before was used. nil: it did not fail.
	Discovery error
}

func (got *catch) report(name string, took time.Duration) Fetch {
	f := Fetch{Issuer: name, Took: took, Err: got.err, Discovery: got.discovery}
	if got.err == nil {
		f.Keys, f.Skipped = got.set.Len(), got.set.Skipped()
	}
	return f
}

// Stats is what is known of one issuer. Counts are since its first use in this cache, or its first after it was
// dropped as unused.
type Stats struct {
	// Issuer is the URL given to Cache.Issuer or Cache.URL, without its query.
	Issuer string
	// Usable says that there are keys. Stale says that they should be newer.
	Usable, Stale bool
	// Keys are those in memory, Skipped those of the document that cannot be used. Age is how long ago they were
	// asked for.
	Keys, Skipped int
	Age           time.Duration
	// Fetches are those that ended, Failures those of them that failed. Spent is how long they took together.
	Fetches, Failures uint64
	Spent             time.Duration
	// Misses are calls of Keys for a key that was not in a set that could be used. CooledDown are those of them that
	// began no fetch and waited for none.
	Misses, CooledDown uint64
	// ServedStale are calls of Keys for a key that was found in a stale set.
	ServedStale uint64
	// Err is why the last fetch failed; nil: it did not.
	Err error
}

// counts are under Cache.mu.
type counts struct {
	fetched, failed    uint64
	spent              time.Duration
	misses, cooledDown uint64
}

// Stats returns what is known of each issuer in memory, in the order of their names. Cost: a look at each.
func (c *Cache) Stats() []Stats {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Stats, 0, len(c.entries))
	for _, e := range c.all() {
		s := Stats{
			Issuer: e.name, Fetches: e.fetched, Failures: e.failed, Spent: e.spent,
			Misses: e.misses, CooledDown: e.cooledDown, ServedStale: e.stales.Load(), Err: e.err,
		}
		if h := e.held.Load(); h != nil {
			s.Usable, s.Stale = now.Before(h.expires), !now.Before(h.stale)
			s.Keys, s.Skipped, s.Age = h.set.Len(), h.set.Skipped(), now.Sub(h.began)
		}
		all = append(all, s)
	}
	return all
}
