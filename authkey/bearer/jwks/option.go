package jwks

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// Bounds of the options.
const (
	maxStale    = 24 * time.Hour
	minCooldown = time.Second
	maxCooldown = 10 * time.Minute
	maxTimeout  = 30 * time.Second
	maxIssuers  = 100_000
)

// Option sets up New.
type Option interface{ apply(*config) error }

// IssuerOption sets up Cache.Issuer and Cache.URL; given to New, it is the default of all issuers.
type IssuerOption interface {
	Option
	applyIssuer(*settings) error
}

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

type issuerOption func(*settings) error

func (f issuerOption) apply(c *config) error         { return f(&c.settings) }
func (f issuerOption) applyIssuer(s *settings) error { return f(s) }

type config struct {
	settings
	client    *http.Client
	proxy     func(*http.Request) (*url.URL, error)
	userAgent string
	timeout   time.Duration
	wait      time.Duration
	issuers   int
	observe   func(Fetch)
}

// settings are those of one issuer. They tell places apart, so they can be compared.
type settings struct {
	ttl, stale, cooldown time.Duration
	form                 Form
	networks             string // sorted, separated by blanks
	loopback             bool
}

// place tells entries apart: an issuer with other settings is another.
type place struct {
	url      string
	outright bool // url is that of the key set
	fault    string
	settings
}

// configure applies options to the defaults, and finds all that is wrong.
func configure(opts []Option) (config, error) {
	c := config{
		settings: settings{ttl: 10 * time.Minute, stale: time.Hour, cooldown: 30 * time.Second},
		client:   &http.Client{}, userAgent: "tollgate-jwks", timeout: 5 * time.Second, wait: 3 * time.Second, issuers: 1000,
	}
	var faults []error
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, invalid("option %d: nil", n))
			continue
		}
		faults = append(faults, opt.apply(&c))
	}
	return c, errors.Join(faults...)
}

// place applies the options of an issuer to those of all, and finds all that is wrong.
func (c *config) place(url string, outright bool, opts []IssuerOption) (place, error) {
	p := place{url: url, outright: outright, settings: c.settings}
	var faults []error
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, invalid("%s: option %d: nil", nameOf(url), n))
			continue
		}
		faults = append(faults, opt.applyIssuer(&p.settings))
	}
	fault := errors.Join(append(faults, p.check())...)
	if fault != nil {
		p.fault = fault.Error()
	}
	return p, fault
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: jwks: "+format, append([]any{authkey.ErrInvalid}, args...)...)
}

// duration is an option that is a time within bounds.
func duration(name string, d, least, most time.Duration) error {
	if d < least || d > most {
		return invalid("%s(%v): want %v to %v", name, d, least, most)
	}
	return nil
}

// WithTTL sets how long a set is fresh whose answer has no Cache-Control with max-age: 1 minute to 24 h, to which also
// an answer's own is bound. It is fetched anew when 80 % of that have passed, give or take 5 %; a key that its issuer
// removed is trusted until then. Default 10 minutes.
func WithTTL(d time.Duration) IssuerOption {
	return issuerOption(func(s *settings) error {
		s.ttl = d
		return duration("WithTTL", d, minLife, maxLife)
	})
}

// WithStale sets how long a set is used that is not fresh any more, when it cannot be fetched: 0 to 24 h. Then there
// are no keys, and the answer is 503. Fetches are tried after 1 s to 1 minute, doubling. Default 1 h.
func WithStale(d time.Duration) IssuerOption {
	return issuerOption(func(s *settings) error {
		s.stale = d
		return duration("WithStale", d, 0, maxStale)
	})
}

// WithCooldown sets how long after the beginning of a fetch no other is begun because a key is unknown: 1 s to 10
// minutes. It is how long a new key may stay unknown, and bounds what tokens with made-up keys cost an issuer.
// Default 30 s.
func WithCooldown(d time.Duration) IssuerOption {
	return issuerOption(func(s *settings) error {
		s.cooldown = d
		return duration("WithCooldown", d, minCooldown, maxCooldown)
	})
}

// WithForm looks for the discovery document in one place only: OIDC or OAuth. Default: in both, in this order.
func WithForm(f Form) IssuerOption {
	return issuerOption(func(s *settings) error {
		s.form = f
		if f != OIDC && f != OAuth {
			return invalid("WithForm(%.40q): want OIDC or OAuth", string(f))
		}
		return nil
	})
}

// WithPrivateNetworks allows addresses that are not public, for issuers inside: 10.1.2.0/24, or 64:ff9b::/96 where
// names are translated to it (RFC 6147). Name as few as can be. Each use adds to those before, an issuer's own to
// those of all. Default: none. Refused are those of this machine, private, shared, link-local, multicast and reserved,
// and IPv6 ones that hold an IPv4 one; they are looked at after names are resolved, when they are dialled.
func WithPrivateNetworks(networks ...netip.Prefix) IssuerOption {
	return issuerOption(func(s *settings) error {
		if len(networks) == 0 {
			return invalid("WithPrivateNetworks(): want a network")
		}
		texts := strings.Fields(s.networks)
		for _, network := range networks {
			if !network.IsValid() || network.Addr().Is4In6() {
				return invalid("WithPrivateNetworks(%v): want networks as 10.1.2.0/24 or fd00::/8, IPv4 ones not as IPv6", network)
			}
			texts = append(texts, network.Masked().String())
		}
		slices.Sort(texts)
		s.networks = strings.Join(slices.Compact(texts), " ")
		return nil
	})
}

// WithLoopback allows issuers on this machine, and http for them where the URL names localhost, 127.0.0.1 or ::1: for
// development and tests.
func WithLoopback() IssuerOption {
	return issuerOption(func(s *settings) error {
		s.loopback = true
		return nil
	})
}

// WithHTTPClient asks through the transport of client, and within its Timeout if that is shorter. What this package
// promises stays: it follows no redirect, keeps no cookie, and bounds time and size. An *http.Transport is cloned; its
// dial functions, TLS configuration and protocols are kept, its Proxy is not (see WithProxy), and what its dial
// functions connect to is looked at before a byte is sent, but that DialTLSContext shakes hands first. A connection
// that has no IP address is refused. Any other RoundTripper has to heed contexts, dials wherever it likes, and must
// not follow redirects: none of that can be seen from outside. Default: a transport of its own. A nil Transport is
// that too.
func WithHTTPClient(client *http.Client) Option {
	return optionFunc(func(c *config) error {
		if client == nil {
			return invalid("WithHTTPClient(nil): want a client")
		}
		if t, ok := client.Transport.(*http.Transport); ok && t == nil {
			return invalid("WithHTTPClient: the transport is a nil *http.Transport")
		}
		c.client = client
		return nil
	})
}

// WithProxy asks through a proxy: http.ProxyFromEnvironment, or http.ProxyURL of one. The proxy resolves names and
// dials, so it is the proxy's address that is looked at, which WithPrivateNetworks may have to allow, and no more the
// issuer's. It is for an *http.Transport; another RoundTripper has proxies of its own. Default: none, whatever the
// environment says.
func WithProxy(proxy func(*http.Request) (*url.URL, error)) Option {
	return optionFunc(func(c *config) error {
		if proxy == nil {
			return invalid("WithProxy(nil): want a function, as http.ProxyFromEnvironment")
		}
		c.proxy = proxy
		return nil
	})
}

// WithUserAgent sets what fetches call themselves: 1 to 256 printable characters of ASCII. Default "tollgate-jwks".
func WithUserAgent(name string) Option {
	return optionFunc(func(c *config) error {
		c.userAgent = name
		if name == "" || len(name) > 256 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
			return invalid("WithUserAgent: want 1 to 256 printable characters of ASCII")
		}
		return nil
	})
}

// WithTimeout bounds one request to an issuer, from dialling to the last byte: up to 30 s. A fetch with discovery has
// up to four. Default 5 s.
func WithTimeout(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.timeout = d
		return duration("WithTimeout", d, time.Millisecond, maxTimeout)
	})
}

// WithWait bounds how long a call of Keys waits for a fetch, which goes on without it: up to 30 s. Default 3 s.
func WithWait(d time.Duration) Option {
	return optionFunc(func(c *config) error {
		c.wait = d
		return duration("WithWait", d, time.Millisecond, maxTimeout)
	})
}

// WithIssuers bounds how many issuers are followed: 1 to 100,000. The one whose keys were found by nobody, or longest
// ago, gives way to another. When it is asked for, it comes back with the keys that it had while these are fresh; else
// it is fetched again, but no sooner than the cool-down after its last fetch began: until then, and where 16 times as
// many gave way within one cool-down, whose keys are remembered besides, the error is authkey.ErrUnavailable. Anybody can
// have an issuer followed by a token that names it. So have room for all that are in use at a time. Default 1,000.
func WithIssuers(n int) Option {
	return optionFunc(func(c *config) error {
		c.issuers = n
		if n < 1 || n > maxIssuers {
			return invalid("WithIssuers(%d): want 1 to %d", n, maxIssuers)
		}
		return nil
	})
}

// WithObserver calls observe after each fetch, for logs and metrics: from several goroutines, so it has to be safe for
// concurrent use, and must not call Cache.Close, which waits for it. Cache.Stats has counts. Default: nobody is told.
func WithObserver(observe func(Fetch)) Option {
	return optionFunc(func(c *config) error {
		if observe == nil {
			return invalid("WithObserver(nil): want a function")
		}
		c.observe = observe
		return nil
	})
}
