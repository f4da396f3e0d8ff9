package legacy

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Defaults and bounds of the options.
const (
	defaultTimeout  = time.Second
	maxTimeout      = time.Minute
	defaultLookups  = 100
	defaultCompares = 5
	maxRate         = 100_000
	defaultEntries  = 4_096
	maxEntries      = 10_000_000
	defaultLife     = 2 * time.Second
	maxLife         = time.Minute
)

// Option sets up New. A *Scheme is one.
type Option interface{ apply(*Chain) error }

type option func(*Chain) error

func (o option) apply(c *Chain) error { return o(c) }

// WithTimeout bounds how long a call waits for an old table and the import together: more than 0, up to a minute.
// Default 1 s.
func WithTimeout(d time.Duration) Option {
	return option(func(c *Chain) error {
		if d <= 0 || d > maxTimeout {
			return invalid("WithTimeout(%v): want more than 0, up to %v", d, maxTimeout)
		}
		c.timeout = d
		return nil
	})
}

// WithRate bounds how often a second this process asks old tables, all schemes together, and how often it compares a
// key with a hash by the function of a Custom scheme, which may be slow by design. Both 1 to 100,000; as many may come
// at once. What is over is answered authkey.ErrUnavailable. Junk of the right form costs no more than that, and a
// budget of failures (see package middleware) stops who sends it. Default 100 and 5.
func WithRate(lookups, compares int) Option {
	return option(func(c *Chain) error {
		if lookups < 1 || lookups > maxRate || compares < 1 || compares > maxRate {
			return invalid("WithRate(%d, %d): want 1 to %d for both", lookups, compares, maxRate)
		}
		c.lookups = rate.NewLimiter(rate.Limit(lookups), lookups)
		c.compares = rate.NewLimiter(rate.Limit(compares), compares)
		return nil
	})
}

// WithNegativeCache remembers up to entries keys (1 to 10,000,000) that the old tables refused, each for life (up to a
// minute): that long a row written meanwhile may stay unknown. Default 4,096 for 2 s.
func WithNegativeCache(entries int, life time.Duration) Option {
	return option(func(c *Chain) error {
		if entries < 1 || entries > maxEntries || life <= 0 || life > maxLife {
			return invalid("WithNegativeCache(%d, %v): want 1 to %d entries, for more than 0, up to %v", entries, life, maxEntries, maxLife)
		}
		refused, err := lru.New[sum, refusal](entries)
		if err != nil {
			return invalid("WithNegativeCache(%d, %v): %w", entries, life, err)
		}
		c.refused, c.life = refused, life
		return nil
	})
}

// WithObserver has f called after each look-up in an old table, on the goroutine that the client waits for: be quick.
// It may mark the row as moved. What was not asked for lack of rate is only counted. Default: nothing.
func WithObserver(f func(Event)) Option {
	return option(func(c *Chain) error {
		if f == nil {
			return invalid("WithObserver(nil): want a function")
		}
		c.observe = f
		return nil
	})
}

// WithClock takes the time from now instead of time.Now. For tests.
func WithClock(now func() time.Time) Option {
	return option(func(c *Chain) error {
		if now == nil {
			return invalid("WithClock(nil): want a function")
		}
		c.now = now
		return nil
	})
}
