package remotestore

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/outbound"
)

// Bounds of the options.
const (
	maxEntries = 10_000_000
	maxLife    = 5 * time.Minute
	maxTimeout = 10 * time.Second
	maxTrips   = 1_000_000
)

// Option sets up New.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

type config struct {
	transport       http.RoundTripper
	timeout         time.Duration
	entries         int
	life            time.Duration
	negativeEntries int
	negativeLife    time.Duration
	trips           uint32
	pause           time.Duration
	tokens          *verifier // nil: the service sends none
	request         RequestFunc
	decode          DecodeFunc
	plaintext       bool
	now             func() time.Time
	since           func(time.Time) time.Duration
}

// configure applies options to the defaults, and finds all that is wrong.
func configure(address string, opts []Option) (config, error) {
	c := config{
		transport: http.DefaultTransport, timeout: 250 * time.Millisecond,
		entries: 10_000, life: 10 * time.Second, negativeEntries: 1024, negativeLife: 2 * time.Second,
		trips: 5, pause: time.Second, request: post(address), now: time.Now, since: time.Since,
	}
	var faults []error
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, fmt.Errorf("%w: option %d: nil", authkey.ErrInvalid, n))
			continue
		}
		faults = append(faults, opt.apply(&c))
	}
	faults = append(faults, checkURL(address, c.plaintext))
	if c.decode == nil {
		own := c
		c.decode = own.decodeAnswer
	} else if c.tokens != nil {
		faults = append(faults, fmt.Errorf("%w: WithTokens and WithDecoder: want one of them, for the decoder reads all", authkey.ErrInvalid))
	}
	return c, errors.Join(faults...)
}

// checkURL refuses an address that would send keys in clear, or that is a secret itself. It repeats none.
func checkURL(address string, plaintext bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%w: URL: want an absolute one with https, as https://auth.internal/validate", authkey.ErrInvalid)
	case u.User != nil || u.Fragment != "":
		return fmt.Errorf("%w: URL: want none with a user name, a password or a fragment; a transport may add credentials", authkey.ErrInvalid)
	case u.Scheme == "http" && !plaintext && !outbound.Loopback(u.Hostname()):
		return fmt.Errorf("%w: URL: http would send keys in clear to %s; want https, or WithPlaintext", authkey.ErrInvalid, net.JoinHostPort(u.Hostname(), u.Port()))
	}
	return nil
}

// WithTransport asks the service through t, which decides on TLS, proxies, connections and, if it adds fields, how
// we prove who we are. It is that of an http.Client, which itself is not used: redirects are not followed, and
// cookies not kept. A transport of one's own bounds a response's header by MaxResponseHeaderBytes. Default
// http.DefaultTransport.
func WithTransport(t http.RoundTripper) Option {
	return optionFunc(func(c *config) error {
		if t == nil {
			return fmt.Errorf("%w: WithTransport(nil): want an http.RoundTripper", authkey.ErrInvalid)
		}
		c.transport = t
		return nil
	})
}

// WithPlaintext allows an http URL of another machine, for networks that encrypt by themselves. Keys are secrets,
// and everybody on the way could read them.
func WithPlaintext() Option {
	return optionFunc(func(c *config) error {
		c.plaintext = true
		return nil
	})
}

// WithTimeout bounds a request to the service from dialling to the last byte, and how long a call waits for it: up
// to 10 s. Default 250 ms, which leaves time to set up a connection with TLS; most calls are answered by the cache.
func WithTimeout(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.timeout = d
		if d <= 0 || d > maxTimeout {
			return fmt.Errorf("%w: WithTimeout(%v): want more than 0, up to %v", authkey.ErrInvalid, d, maxTimeout)
		}
		return nil
	})
}

// WithCache keeps up to entries identities (1 to 10,000,000), each for life (up to 5 minutes), counted from before
// the service was asked. Life is how long a revoked key may go on. Default: 10,000 for 10 s.
func WithCache(entries int, life time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.entries, c.life = entries, life
		return checkCache("WithCache", entries, life)
	})
}

// WithNegativeCache remembers up to entries refused keys (1 to 10,000,000), each for life (up to 5 minutes): that
// long a key that was created or enabled meanwhile may stay out. They never displace good ones. Default: 1,024 for
// 2 s.
func WithNegativeCache(entries int, life time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.negativeEntries, c.negativeLife = entries, life
		return checkCache("WithNegativeCache", entries, life)
	})
}

func checkCache(name string, entries int, life time.Duration) error {
	if entries < 1 || entries > maxEntries || life <= 0 || life > maxLife {
		return fmt.Errorf("%w: %s(%d, %v): want 1 to %d entries, for more than 0, up to %v", authkey.ErrInvalid, name, entries, life, maxEntries, maxLife)
	}
	return nil
}

// WithBreaker asks nobody for a pause (up to 5 minutes) after so many requests (1 to 1,000,000) in a row that the
// service did not answer, or with 408, 429 or 5xx; calls fail at once meanwhile, unless the cache knows. Then one
// request tries. Every other answer ends the row, also one that cannot be read, so that nobody stops the questions
// about other keys by sending odd ones. Default: 5, for 1 s.
func WithBreaker(failures int, pause time.Duration) Option {
	return optionFunc(func(c *config) error {
		if failures < 1 || failures > maxTrips || pause <= 0 || pause > maxLife {
			return fmt.Errorf("%w: WithBreaker(%d, %v): want 1 to %d failures, and a pause of more than 0, up to %v", authkey.ErrInvalid, failures, pause, maxTrips, maxLife)
		}
		c.trips, c.pause = uint32(failures), pause
		return nil
	})
}

// WithRequest makes requests by f, in place of the question that the package comment shows.
func WithRequest(f RequestFunc) Option {
	return optionFunc(func(c *config) error {
		if f == nil {
			return fmt.Errorf("%w: WithRequest(nil): want a function", authkey.ErrInvalid)
		}
		c.request = f
		return nil
	})
}

// WithDecoder reads answers by f, in place of those that the package comment shows.
func WithDecoder(f DecodeFunc) Option {
	return optionFunc(func(c *config) error {
		if f == nil {
			return fmt.Errorf("%w: WithDecoder(nil): want a function", authkey.ErrInvalid)
		}
		c.decode = f
		return nil
	})
}

// WithClock takes the time from now instead of time.Now, but for the breaker. For tests.
func WithClock(now func() time.Time) Option {
	return optionFunc(func(c *config) error {
		if now == nil {
			return fmt.Errorf("%w: WithClock(nil): want a function", authkey.ErrInvalid)
		}
		c.now, c.since = now, func(t time.Time) time.Duration { return now().Sub(t) }
		return nil
	})
}
