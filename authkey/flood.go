package authkey

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults and the bound of WithUnknownRate.
const (
	defaultUnknownRate  = 200
	defaultUnknownBurst = 400
	maxUnknownRate      = 1_000_000
)

// WithUnknownRate bounds how often keys that nobody knows reach the store: perSecond look-ups, and burst of them
// after a pause, each 1 to 1,000,000. A look-up that is one too many is not made; the call fails with
// ErrUnavailable. Default 200 a second, burst 400.
//
// A key that the cache holds is asked for freely, also when its entry has ended, so a flood does not touch the
// callers whom this process has seen lately. Any other key needs room in the burst while it is looked up, and gives
// it back if it is found: in a flood of unknown keys, one that is seen for the first time is looked up as often
// as one of the flood, and passes freely from then on. So burst is also how many of these look-ups are under way
// at most. One that the store does not answer counts like an unknown key.
func WithUnknownRate(perSecond, burst int) Option {
	return option(func(v *Verifier) error {
		if perSecond < 1 || perSecond > maxUnknownRate || burst < 1 || burst > maxUnknownRate {
			return fmt.Errorf("%w: WithUnknownRate(%d, %d): want 1 to %d of both", ErrInvalid, perSecond, burst, maxUnknownRate)
		}
		v.flood = newFlood(perSecond, burst)
		return nil
	})
}

// errFlood says that a look-up was not made.
var errFlood = fmt.Errorf("%w: more look-ups of unknown keys than WithUnknownRate allows", ErrUnavailable)

// flood is a bucket of tokens for look-ups of keys that may be unknown. golang.org/x/time/rate has no way to give
// one back that was there at once. Safe for concurrent use.
type flood struct {
	perSecond, burst float64
	refused          atomic.Uint64

	mu     sync.Mutex
	tokens float64
	at     time.Time // when tokens was true
}

func newFlood(perSecond, burst int) *flood {
	return &flood{perSecond: float64(perSecond), burst: float64(burst), tokens: float64(burst)}
}

// take takes a token, if there is one. The clock is read in the order of the callers.
func (f *flood) take(clock func() time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := clock()
	if past := now.Sub(f.at); past > 0 { // a clock that was set back adds nothing
		f.tokens = min(f.burst, f.tokens+f.perSecond*past.Seconds())
	}
	f.at = now
	if f.tokens < 1 {
		f.refused.Add(1)
		return false
	}
	f.tokens--
	return true
}

// giveBack returns a token for a key that was known.
func (f *flood) giveBack() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens = min(f.burst, f.tokens+1)
}
