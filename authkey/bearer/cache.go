package bearer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/tollgate-go/tollgate/authkey"
)

const (
	maxCacheEntries = 1_000_000
	maxCacheLife    = time.Minute
)

// WithCache remembers up to so many tokens that were verified, 1 to 1,000,000, for a time of up to a minute. Then a
// token costs no signature, but everything else is judged on each call: its times, its binding, revocation, and
// whether its issuer still has the key: a key that is removed or replaced takes its tokens along. There is no
// cache by default.
func WithCache(entries int, life time.Duration) Option {
	return optionFunc(func(v *Verifier) error {
		if entries < 1 || entries > maxCacheEntries || life <= 0 || life > maxCacheLife {
			return fmt.Errorf("%w: WithCache(%d, %v): want 1 to %d entries, and a life of more than 0, up to %v", authkey.ErrInvalid, entries, life, maxCacheEntries, maxCacheLife)
		}
		entriesOf, err := lru.New[[sha256.Size]byte, *entry](entries)
		v.cache = &cache{entries: entriesOf, life: life}
		return err
	})
}

// cache holds tokens that were verified, by their SHA-256.
type cache struct {
	entries *lru.Cache[[sha256.Size]byte, *entry]
	life    time.Duration
}

// entry is a token that was verified, and by which key. Immutable.
type entry struct {
	known  *known
	signer signer
	until  time.Time
}

// get returns a token that is still good: within its times, and by a key that its issuer still has.
func (c *cache) get(ctx context.Context, sum [sha256.Size]byte, now time.Time) (*known, error) {
	e, ok := c.entries.Get(sum)
	if !ok {
		return nil, nil //nolint:nilnil // neither a token nor a fault: it is not there
	}
	if !now.Before(e.until) {
		c.entries.Remove(sum)
		return nil, nil //nolint:nilnil // the same
	}
	if err := e.known.at(now); err != nil {
		return nil, err
	}
	set, err := e.signer.issuer.keys(ctx, e.signer.header)
	if err != nil {
		return nil, err
	}
	if set != e.signer.set && !set.find(e.signer.header).Equal(e.signer.key) {
		c.entries.Remove(sum)
		return nil, nil //nolint:nilnil // the same
	}
	return e.known, nil
}

func (c *cache) put(sum [sha256.Size]byte, k *known, s signer, now time.Time) {
	c.entries.Add(sum, &entry{known: k, signer: s, until: now.Add(c.life)})
}
