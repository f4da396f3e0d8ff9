package bearer

import (
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/cache"
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
		v.cache = cache.New[*entry](entries, life)
		return nil
	})
}

// entry is a token that was verified, when, and by which key. Immutable.
type entry struct {
	known  *known
	signer signer
	read   time.Time
}

// remembered returns a token that is still good: within its times, and by a key that its issuer still has. nil, without
// an error, is one that is not there.
func (v *Verifier) remembered(a *allowance, sum *cache.Sum) (*known, error) {
	e, age, ok := v.cache.Get(sum, v.since)
	if !ok {
		return nil, nil //nolint:nilnil // as documented
	}
	if err := e.known.at(e.read.Add(age)); err != nil {
		return nil, err
	}
	set, err := e.signer.issuer.keys(a, e.signer.header)
	if err != nil {
		return nil, err
	}
	if set != e.signer.set && !set.find(e.signer.header).Equal(e.signer.key) {
		v.cache.Drop(sum)
		return nil, nil //nolint:nilnil // as documented
	}
	return e.known, nil
}

// remember keeps a token that was just verified.
func (v *Verifier) remember(sum *cache.Sum, k *known, s signer) {
	now := v.now()
	k.identity.Notes = new(authkey.Notes)
	v.cache.Put(sum, &entry{known: k, signer: s, read: now}, now, v.since, nil)
}
