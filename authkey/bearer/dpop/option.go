package dpop

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// Bounds of the options.
const (
	minBack    = time.Second
	maxBack    = 10 * time.Minute
	maxAhead   = 5 * time.Minute
	maxTimeout = 10 * time.Second
	minSecret  = 32
	minLife    = 10 * time.Second
	maxLife    = time.Hour
)

// Option sets up New.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

type config struct {
	algorithms  []string
	back, ahead time.Duration
	timeout     time.Duration
	nonces      *nonces      // nil: none are wanted
	logger      *slog.Logger // nil: nothing is logged
	now         func() time.Time
}

func configure(opts []Option) (config, error) {
	c := config{
		algorithms: []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "RS256"},
		back:       time.Minute, ahead: 5 * time.Second, timeout: 50 * time.Millisecond, now: time.Now,
	}
	var faults []error
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, fmt.Errorf("%w: dpop: option %d: nil", authkey.ErrInvalid, n))
			continue
		}
		faults = append(faults, opt.apply(&c))
	}
	return c, errors.Join(faults...)
}

// memory is how long the use of a proof is remembered. A proof that comes early is good for back and ahead together;
// the other half is for clocks of replicas that differ.
func (c *config) memory() time.Duration { return 2 * (c.back + c.ahead) }

// WithLogger writes a line when Use leaves a Redis server alone that fails again and again, and one when that answers again:
// no line for each request, whatever happens. Default: nothing is written.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(c *config) error {
		if logger == nil {
			return fmt.Errorf("%w: dpop: WithLogger(nil): want a logger, as slog.Default()", authkey.ErrInvalid)
		}
		c.logger = logger
		return nil
	})
}

// WithAlgorithms takes proofs that are signed with one of these, and no others: of RS256, PS256 and ES256, or with 384
// or 512, EdDSA and Ed25519, which are two names of one. Default: ES256, ES384, ES512, EdDSA, Ed25519, PS256, RS256.
func WithAlgorithms(names ...string) Option {
	return optionFunc(func(c *config) error {
		c.algorithms = slices.Clone(names)
		if len(names) == 0 {
			return fmt.Errorf("%w: dpop: WithAlgorithms(): want at least one", authkey.ErrInvalid)
		}
		for _, name := range names {
			if known, symmetric := jose.Known(name); !known || symmetric {
				return fmt.Errorf("%w: dpop: WithAlgorithms: %.20q: want RS256, PS256, ES256, or with 384 or 512, EdDSA or Ed25519", authkey.ErrInvalid, name)
			}
		}
		return nil
	})
}

// WithWindow takes proofs whose iat is up to back before now (1 s to 10 minutes) and up to ahead after it (up to 5
// minutes). Default: 1 minute back, since a proof travels with its request alone, and 5 s ahead, since clocks differ.
// With WithNonces, which then bounds the age of a proof, a wider one serves clients whose clocks are wrong.
func WithWindow(back, ahead time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.back, c.ahead = back, ahead
		if back < minBack || back > maxBack || ahead < 0 || ahead > maxAhead {
			return fmt.Errorf("%w: dpop: WithWindow(%v, %v): want %v to %v back, and 0 to %v ahead", authkey.ErrInvalid, back, ahead, minBack, maxBack, maxAhead)
		}
		return nil
	})
}

// WithNonces wants a nonce of ours in each proof (RFC 9449, section 9), so that none can be made long before it is
// used. A client without a good one is refused with *authkey.ProofError, which has the nonce to try again with; that
// one is good for life (10 s to 1 hour) at least, and for twice as long at most.
//
// Nonces are kept nowhere: they are made of the time and the secret, of 32 bytes or more, which replicas have to share.
// A new secret costs each client one more attempt. Default: none are wanted, and those of others are ignored.
func WithNonces(secret []byte, life time.Duration) Option {
	return optionFunc(func(c *config) error {
		if len(secret) < minSecret || life < minLife || life > maxLife {
			return fmt.Errorf("%w: dpop: WithNonces(%d bytes, %v): want a secret of %d bytes or more, and a life of %v to %v", authkey.ErrInvalid, len(secret), life, minSecret, minLife, maxLife)
		}
		c.nonces = newNonces(secret, life)
		return nil
	})
}

// WithTimeout bounds what Use waits for Redis, within the bound of its context: more than 0, up to 10 s. Default
// 50 ms.
func WithTimeout(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.timeout = d
		if d <= 0 || d > maxTimeout {
			return fmt.Errorf("%w: dpop: WithTimeout(%v): want more than 0, up to %v", authkey.ErrInvalid, d, maxTimeout)
		}
		return nil
	})
}

// WithClock takes the time from now instead of time.Now, but for what Redis forgets by itself. For tests.
func WithClock(now func() time.Time) Option {
	return optionFunc(func(c *config) error {
		if now == nil {
			return fmt.Errorf("%w: dpop: WithClock(nil): want a function", authkey.ErrInvalid)
		}
		c.now = now
		return nil
	})
}
