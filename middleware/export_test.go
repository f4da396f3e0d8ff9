package middleware

import "github.com/tollgate-go/tollgate/ratelimit"

// WithRandom replaces what jitter is made of: a number from 0 to less than 1.
func WithRandom(random func() float64) Option {
	return optionFunc(func(c *config) error {
		c.random = random
		return nil
	})
}

// Prepared is what a Limiter prepares.
type Prepared = prepared

// PreparedBy returns a stage whose requests are prepared by a function in place of its limiter's Prepare.
func PreparedBy(s *Limited, prepare func(ratelimit.Request) (Prepared, error)) *Limited {
	return &Limited{s.change(func(l *limit) error {
		l.prepare = prepare
		return nil
	})}
}
