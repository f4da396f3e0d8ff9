package telemetry

import (
	"errors"
	"fmt"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/middleware/meter/export"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Option changes a default of New.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

type config struct {
	maxEndpoints int
	verifiers    []stats[authkey.Stats]
	limiters     []stats[ratelimit.Stats]
	meters       []stats[meter.Stats]
	exporters    []stats[export.Stats]
	servers      []*servers
	breakers     []breakers
	issuers      *issuers
}

// stats is what tells counts of its own.
type stats[S any] interface{ Stats() S }

func newConfig(opts []Option) (config, error) {
	c := config{maxEndpoints: 500, issuers: &issuers{names: labels{most: maxIssuers}, sums: map[string]counts{}}}
	var faults []error
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(&c))
	}
	return c, errors.Join(faults...)
}

// WithVerifier adds the caches of a verifier. Several verifiers are added up.
func WithVerifier(v interface{ Stats() authkey.Stats }) Option {
	return source("WithVerifier", v == nil, func(c *config) { c.verifiers = append(c.verifiers, v) })
}

// WithLimiter adds the cache of a limiter. Several limiters are added up.
func WithLimiter(l interface{ Stats() ratelimit.Stats }) Option {
	return source("WithLimiter", l == nil, func(c *config) { c.limiters = append(c.limiters, l) })
}

// WithMeter adds what a meter recorded, flushed, dropped and has pending. Several meters are added up.
func WithMeter(m interface{ Stats() meter.Stats }) Option {
	return source("WithMeter", m == nil, func(c *config) { c.meters = append(c.meters, m) })
}

// WithMaxEndpoints bounds how many endpoints have a label of their own, in the order in which they are
// first called; all others share Other. 1 to 10,000, by default 500.
func WithMaxEndpoints(n int) Option {
	return optionFunc(func(c *config) error {
		if n < 1 || n > 10_000 {
			return fmt.Errorf("%w: WithMaxEndpoints(%d) must be 1 to 10000", ErrInvalid, n)
		}
		c.maxEndpoints = n
		return nil
	})
}

func source(option string, missing bool, add func(*config)) Option {
	return optionFunc(func(c *config) error {
		if missing {
			return fmt.Errorf("%w: %s(nil)", ErrInvalid, option)
		}
		add(c)
		return nil
	})
}
