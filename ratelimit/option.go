package ratelimit

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
)

// Option changes a default of New, NewOverrides or NewPlans.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

type config struct {
	timeout time.Duration
	orgs    int
}

// WithTimeout bounds all that one call does, whatever state Redis is in: 1 ms to 1 minute. The default
// is 50 ms for a Limiter and 2 s for Overrides and Plans.
func WithTimeout(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		if d < time.Millisecond || d > time.Minute {
			return fmt.Errorf("%w option: WithTimeout(%v) must be 1ms to 1m", ErrInvalid, d)
		}
		c.timeout = d
		return nil
	})
}

// WithCachedOrgs sets for how many orgs a Limiter keeps the overrides in memory: 1 to 1,000,000, by
// default 10,000. An org beyond that costs one more read when it comes back.
func WithCachedOrgs(n int) Option {
	return optionFunc(func(c *config) error {
		if n < 1 || n > 1_000_000 {
			return fmt.Errorf("%w option: WithCachedOrgs(%d) must be 1 to 1000000", ErrInvalid, n)
		}
		c.orgs = n
		return nil
	})
}

// configure applies options to defaults and opens the client, and joins all that is wrong with either.
func configure(rdb redis.UniversalClient, c config, opts []Option) (*lua.Conn, config, error) {
	conn, err := lua.NewConn(rdb)
	faults := []error{err}
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(&c))
	}
	return conn, c, errors.Join(faults...)
}
