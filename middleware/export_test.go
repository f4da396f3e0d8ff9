package middleware

// WithRandom replaces what jitter is made of: a number from 0 to less than 1.
func WithRandom(random func() float64) Option {
	return optionFunc(func(c *config) error {
		c.random = random
		return nil
	})
}
