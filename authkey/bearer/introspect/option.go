package introspect

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/outbound"
)

// Bounds of the options.
const (
	maxURL       = 2048 // bytes
	maxEntries   = 10_000_000
	maxLife      = 5 * time.Minute
	maxShortLife = 10 * time.Second
	maxTimeout   = 10 * time.Second
	maxTrips     = 1_000_000
)

// Option sets up New.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

type config struct {
	prove       proof // nil: the transport does it
	transport   http.RoundTripper
	timeout     time.Duration
	entries     int
	life, short time.Duration
	trips       uint32
	pause       time.Duration
	loopback    bool
	now         func() time.Time
}

// configure applies options to the defaults, and finds all that is wrong.
func configure(endpoint string, opts []Option) (config, error) {
	c := config{
		transport: http.DefaultTransport, timeout: 2 * time.Second,
		entries: 10_000, life: 30 * time.Second, short: 5 * time.Second,
		trips: 5, pause: time.Second, now: time.Now,
	}
	var faults []error
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, fmt.Errorf("%w: introspect: option %d: nil", authkey.ErrInvalid, n))
			continue
		}
		faults = append(faults, opt.apply(&c))
	}
	faults = append(faults, checkURL(endpoint, c.loopback))
	return c, errors.Join(faults...)
}

// checkURL refuses an address that would send tokens in clear, or that is a secret itself. It repeats none.
func checkURL(address string, loopback bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || len(address) > maxURL:
		return fmt.Errorf("%w: introspect: endpoint: want an absolute URL with https, as https://login.example.com/introspect, of up to %d bytes", authkey.ErrInvalid, maxURL)
	case u.User != nil || strings.Contains(address, "#"):
		return fmt.Errorf("%w: introspect: endpoint: want a URL without a user name, a password or a fragment", authkey.ErrInvalid)
	case u.Scheme == "http" && !outbound.Loopback(u.Hostname()):
		return fmt.Errorf("%w: introspect: endpoint: http would send tokens in clear; want https", authkey.ErrInvalid)
	case u.Scheme == "http" && !loopback:
		return fmt.Errorf("%w: introspect: endpoint: http; want https, or WithLoopback for one on this machine", authkey.ErrInvalid)
	}
	return nil
}

// WithTransport asks the endpoint through t, which decides on TLS, proxies and connections and, if it has a certificate
// or adds fields, how we prove who we are. It is that of an http.Client, which itself is not used: redirects are not
// followed, and cookies not kept. Default http.DefaultTransport.
func WithTransport(t http.RoundTripper) Option {
	return optionFunc(func(c *config) error {
		if t == nil {
			return fmt.Errorf("%w: introspect: WithTransport(nil): want an http.RoundTripper", authkey.ErrInvalid)
		}
		c.transport = t
		return nil
	})
}

// WithLoopback allows an endpoint with http, if it is on this machine: localhost, 127.0.0.0/8 or ::1. For tests and
// proxies beside the process.
func WithLoopback() Option {
	return optionFunc(func(c *config) error {
		c.loopback = true
		return nil
	})
}

// WithTimeout bounds a request to the endpoint from dialling to the last byte, and how long a call waits for it: up to
// 10 s. Default 2 s. The time-out of a bearer.Verifier bounds it as well.
func WithTimeout(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.timeout = d
		if d <= 0 || d > maxTimeout {
			return fmt.Errorf("%w: introspect: WithTimeout(%v): want more than 0, up to %v", authkey.ErrInvalid, d, maxTimeout)
		}
		return nil
	})
}

// WithCache keeps what is said of up to entries active tokens (1 to 10,000,000), each for life (up to 5 minutes) at the
// most, and as many others. Life is how long a revoked token may go on. Default: 10,000 for 30 s.
func WithCache(entries int, life time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.entries, c.life = entries, life
		if entries < 1 || entries > maxEntries || life <= 0 || life > maxLife {
			return fmt.Errorf("%w: introspect: WithCache(%d, %v): want 1 to %d entries, for more than 0, up to %v", authkey.ErrInvalid, entries, life, maxEntries, maxLife)
		}
		return nil
	})
}

// WithShortLife is how long is kept, at the most, that a token is not active, and what is said of one without exp: up to
// 10 s. WithCache bounds it as well. Default 5 s.
func WithShortLife(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.short = d
		if d <= 0 || d > maxShortLife {
			return fmt.Errorf("%w: introspect: WithShortLife(%v): want more than 0, up to %v", authkey.ErrInvalid, d, maxShortLife)
		}
		return nil
	})
}

// WithBreaker asks nobody for a pause (up to 5 minutes) after so many requests (1 to 1,000,000) in a row that the endpoint
// did not answer, or with 401, 403, 408, 429 or 5xx; calls fail at once meanwhile, unless the cache knows. Then one request
// tries. Every other answer ends the row, also one that cannot be read, so that nobody stops the questions about other
// tokens by sending odd ones. Default: 5, for 1 s.
func WithBreaker(failures int, pause time.Duration) Option {
	return optionFunc(func(c *config) error {
		if failures < 1 || failures > maxTrips || pause <= 0 || pause > maxLife {
			return fmt.Errorf("%w: introspect: WithBreaker(%d, %v): want 1 to %d failures, and a pause of more than 0, up to %v", authkey.ErrInvalid, failures, pause, maxTrips, maxLife)
		}
		c.trips, c.pause = uint32(failures), pause
		return nil
	})
}

// WithClock takes the time from now instead of time.Now, but for the breaker. For tests.
func WithClock(now func() time.Time) Option {
	return optionFunc(func(c *config) error {
		if now == nil {
			return fmt.Errorf("%w: introspect: WithClock(nil): want a function", authkey.ErrInvalid)
		}
		c.now = now
		return nil
	})
}
