package clientcred

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/clientauth"
	"github.com/tollgate-go/tollgate/authkey/internal/outbound"
)

// Bounds of the options.
const (
	maxText     = 2048 // bytes of a URL, an audience or a resource
	maxItems    = 64
	maxTimeout  = time.Minute
	minLife     = time.Second
	maxLife     = 24 * time.Hour
	defaultLife = 5 * time.Minute
)

// Option sets up New.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

type config struct {
	scopes    []string
	audience  string
	resources []string
	transport http.RoundTripper
	timeout   time.Duration
	life      time.Duration
	loopback  bool
}

// configure applies options to the defaults, and finds all that is wrong.
func configure(tokenURL string, client Client, opts []Option) (config, error) {
	c := config{transport: http.DefaultTransport, timeout: 5 * time.Second, life: defaultLife}
	var faults []error
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, fmt.Errorf("%w: option %d: nil", authkey.ErrInvalid, n))
			continue
		}
		faults = append(faults, opt.apply(&c))
	}
	faults = append(faults, checkURL(tokenURL, c.loopback), client.check())
	return c, errors.Join(faults...)
}

// checkURL refuses an address that would send secrets in clear, or that is a secret itself. It repeats none.
func checkURL(address string, loopback bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || !clientauth.Printable(address, maxText):
		return fmt.Errorf("%w: token URL: want an absolute one with https, as https://login.example/token, of up to %d bytes", authkey.ErrInvalid, maxText)
	case u.User != nil || strings.Contains(address, "#"):
		return fmt.Errorf("%w: token URL: want none with a user name, a password or a fragment", authkey.ErrInvalid)
	case u.Scheme == "http" && !outbound.Loopback(u.Hostname()):
		return fmt.Errorf("%w: token URL: http would send secrets in clear; want https", authkey.ErrInvalid)
	case u.Scheme == "http" && !loopback:
		return fmt.Errorf("%w: token URL: http; want https, or WithLoopback for a test on this machine", authkey.ErrInvalid)
	}
	return nil
}

// WithScopes asks for these scopes (RFC 6749, section 3.3): 1 to 64 of them, each of printable ASCII without space,
// quote and backslash. Default: none, and the server decides.
func WithScopes(scopes ...string) Option {
	return optionFunc(func(c *config) error {
		c.scopes = slices.Clone(scopes)
		bad := func(scope string) bool {
			return !clientauth.Printable(scope, maxText) || strings.ContainsAny(scope, ` "\`)
		}
		if len(scopes) == 0 || len(scopes) > maxItems || slices.ContainsFunc(scopes, bad) {
			return fmt.Errorf("%w: WithScopes: want 1 to %d scopes of 1 to %d printable ASCII characters, without space, quote and backslash", authkey.ErrInvalid, maxItems, maxText)
		}
		return nil
	})
}

// WithAudience asks for a token for this audience, by a parameter that RFC 8693 has for another grant and several
// servers know for this one: 1 to 2048 printable ASCII characters. Default: none.
func WithAudience(audience string) Option {
	return optionFunc(func(c *config) error {
		c.audience = audience
		if !clientauth.Printable(audience, maxText) {
			return fmt.Errorf("%w: WithAudience: want 1 to %d printable ASCII characters", authkey.ErrInvalid, maxText)
		}
		return nil
	})
}

// WithResources asks for a token for these resources (RFC 8707): 1 to 64 absolute URIs without a fragment. Default:
// none.
func WithResources(uris ...string) Option {
	return optionFunc(func(c *config) error {
		c.resources = slices.Clone(uris)
		bad := func(uri string) bool {
			u, err := url.Parse(uri)
			return err != nil || !u.IsAbs() || strings.Contains(uri, "#") || !clientauth.Printable(uri, maxText)
		}
		if len(uris) == 0 || len(uris) > maxItems || slices.ContainsFunc(uris, bad) {
			return fmt.Errorf("%w: WithResources: want 1 to %d absolute URIs without a fragment, of up to %d bytes", authkey.ErrInvalid, maxItems, maxText)
		}
		return nil
	})
}

// WithTransport asks the endpoint through t, which decides on TLS, proxies and connections. It is that of an
// http.Client, which itself is not used: redirects are not followed, and cookies not kept. Default
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

// WithTimeout bounds a request to the endpoint, from dialling to the last byte: up to 1 minute. Default 5 s.
func WithTimeout(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.timeout = d
		if d <= 0 || d > maxTimeout {
			return fmt.Errorf("%w: WithTimeout(%v): want more than 0, up to %v", authkey.ErrInvalid, d, maxTimeout)
		}
		return nil
	})
}

// WithDefaultLife is how long a token lives whose answer does not say it (expires_in): 1 s to 24 h. Default 5
// minutes.
func WithDefaultLife(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.life = d
		if d < minLife || d > maxLife {
			return fmt.Errorf("%w: WithDefaultLife(%v): want %v to %v", authkey.ErrInvalid, d, minLife, maxLife)
		}
		return nil
	})
}

// WithLoopback allows a token URL with http, if it is on this machine: localhost, 127.0.0.0/8 or ::1. For tests and
// proxies beside the process.
func WithLoopback() Option {
	return optionFunc(func(c *config) error {
		c.loopback = true
		return nil
	})
}
