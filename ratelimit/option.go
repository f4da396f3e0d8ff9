package ratelimit

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/seal"
)

// Option changes a default of New, NewOverrides or NewPlans.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

// config is what the options make of the defaults, and the client. Limiter, Overrides and Plans keep it.
type config struct {
	conn       *lua.Conn
	timeout    time.Duration
	cachedOrgs int
	prepared   int
	inFlight   int
	queued     int
	refusals   time.Duration
	sealer     *seal.Sealer
	logger     *slog.Logger // nil: nothing is logged
	group      string       // of processes that share limits; "": nobody told
	assume     int
	heartbeat  time.Duration
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
		c.cachedOrgs = n
		return nil
	})
}

// WithPrepared sets how many prepared requests a Limiter keeps in memory, 1 to 10,000,000, by default 16,384; each takes
// about a kilobyte. A request beyond that is worked out anew, and costs some microseconds more.
func WithPrepared(n int) Option {
	return optionFunc(func(c *config) error {
		if n < 1 || n > 10_000_000 {
			return fmt.Errorf("%w option: WithPrepared(%d) must be 1 to 10000000", ErrInvalid, n)
		}
		c.prepared = n
		return nil
	})
}

// WithRefusals sets for how long a Limiter refuses from memory what Redis refused, and all that costs as much or more:
// until the RetryAfter that it told, and no longer than this, 0 to 1 minute. There the traffic of an attack goes, and
// costs Redis nothing. The price: so long may a raise, a refund or a reset at another process, of the count that is used
// up, go unnoticed by who is refused; those of this process, and a change of which it hears by any request of the org,
// act at once. A request with a Token is not refused from memory, nor is one whose units are held, or that has a
// candidate. 100 ms serve well, since clients are told whole seconds. 0, the default, asks Redis each time.
func WithRefusals(most time.Duration) Option {
	return optionFunc(func(c *config) error {
		if most < 0 || most > time.Minute {
			return fmt.Errorf("%w option: WithRefusals(%v) must be 0 to 1m", ErrInvalid, most)
		}
		c.refusals = most
		return nil
	})
}

// WithInFlight sets how many calls a Limiter has under way at a time to one Redis server, 1 to 64, by default 2. What comes
// meanwhile waits for the next, and shares it. More may help where Redis is far away; less never does.
func WithInFlight(n int) Option {
	return optionFunc(func(c *config) error {
		if n < 1 || n > 64 {
			return fmt.Errorf("%w option: WithInFlight(%d) must be 1 to 64", ErrInvalid, n)
		}
		c.inFlight = n
		return nil
	})
}

// WithQueue sets how many requests may wait for one Redis server, 1 to 1,000,000, by default 16,384. Where
// there is no room, the tenant that has the most waiting gets ErrUnavailable at once: a loud one does not keep others
// out, nor waiting, for orgs take turns.
func WithQueue(n int) Option {
	return optionFunc(func(c *config) error {
		if n < 1 || n > 1_000_000 {
			return fmt.Errorf("%w option: WithQueue(%d) must be 1 to 1000000", ErrInvalid, n)
		}
		c.queued = n
		return nil
	})
}

// WithLogger has a Limiter write a line when it leaves a Redis server alone that fails again and again, and one when that
// answers again: no line for each request, whatever happens. By default nothing is written. Nil is an error. Overrides and
// Plans, which ask each time, have nothing to log.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(c *config) error {
		if logger == nil {
			return fmt.Errorf("%w option: WithLogger(nil) must be a logger, as slog.Default()", ErrInvalid)
		}
		c.logger = logger
		return nil
	})
}

// WithSealer has overrides, plans and the entries of audit trails sealed, so that whoever can write to Redis, but
// does not know the secret, can make no limit of his own. Overrides and Plans seal what they write; they and a
// Limiter refuse what has no seal or a broken one, as they do what is damaged: with ErrUnavailable, which wraps
// seal.ErrBroken. To set it again mends that, and so does to delete it. By default nothing is sealed, and seals are
// not looked at. Nil is an error.
//
// An override is sealed for its org and id with all that it says, when it starts and ends too, and a plan for its
// name with its rules. No seal tells that one was removed, or that an older one, with its seal, was put back, be it a
// plan for some orgs alone; nor does it hold counts. The audit trail tells what should be there.
//
// Where there are overrides and plans already, give it to NewOverrides and NewPlans first and set all of them again,
// as a List without a sealer tells them; then give it to the limiters. To replace its secret see seal.New.
func WithSealer(s *seal.Sealer) Option {
	return optionFunc(func(c *config) error {
		if s == nil {
			return fmt.Errorf("%w option: WithSealer(nil) must be a sealer that seal.New returned", ErrInvalid)
		}
		c.sealer = s
		return nil
	})
}

// administer is configure with the defaults of Overrides and Plans.
func administer(rdb redis.UniversalClient, opts []Option) (config, error) {
	return configure(rdb, config{timeout: 2 * time.Second}, opts)
}

// configure applies options to defaults and opens the client, and joins all that is wrong with either.
func configure(rdb redis.UniversalClient, c config, opts []Option) (config, error) {
	conn, err := lua.NewConn(rdb)
	c.conn = conn
	faults := []error{err}
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("%w option: number %d is nil", ErrInvalid, i+1))
			continue
		}
		faults = append(faults, o.apply(&c))
	}
	return c, errors.Join(faults...)
}
