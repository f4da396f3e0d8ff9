package middleware

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// Option changes a default of Authenticate or LimitBy.
type Option interface{ apply(*config) error }

type optionFunc func(*config) error

func (f optionFunc) apply(c *config) error { return f(c) }

type config struct {
	sources   []Source
	realm     string
	render    Renderer
	observers []Observer
	fields    Fields
	secret    []byte // of partition keys; nil: none
	proxies   []netip.Prefix
	cors      *cors // nil: none
	jitter    time.Duration
	random    func() float64 // 0 to less than 1
	failures  *failures      // nil: without bounds

	algorithms   string            // of proofs; "": nobody said
	metadata     string            // the URL of the resource's; "": none
	certificates []netip.Prefix    // whose Client-Cert is believed
	anonymous    *authkey.Identity // nil: who shows no credential is refused
}

func newConfig() *config {
	return &config{
		sources: []Source{Header("X-API-Key"), Bearer()}, realm: "api", render: WriteProblem,
		fields: FieldsDraft10, jitter: time.Minute, random: rand.Float64,
	}
}

// with returns a copy of the config with options applied, and all that is wrong with them.
func (c config) with(opts []Option) (*config, error) {
	var faults []error
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("middleware: option number %d is nil", i+1))
			continue
		}
		faults = append(faults, o.apply(&c))
	}
	return &c, errors.Join(faults...)
}

// WithSources replaces where a credential is read from. The default is Header("X-API-Key") and Bearer().
func WithSources(sources ...Source) Option {
	return optionFunc(func(c *config) error {
		var faults []error
		for i, s := range sources {
			if s.err != nil {
				faults = append(faults, s.err)
			} else if s.read == nil {
				faults = append(faults, fmt.Errorf("middleware: WithSources: number %d is the zero Source", i+1))
			}
		}
		if len(sources) == 0 {
			faults = append(faults, errors.New("middleware: WithSources needs at least one source"))
		}
		c.sources = sources
		return errors.Join(faults...)
	})
}

// WithRealm sets the realm of the challenge that comes with a 401: 1 to 64 of letters, digits, spaces and
// ". _ - /". Default "api".
func WithRealm(realm string) Option {
	return optionFunc(func(c *config) error {
		const also = " ._-/"
		if realm == "" || len(realm) > 64 || strings.ContainsFunc(realm, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune(also, r)
		}) {
			return fmt.Errorf("middleware: WithRealm(%q) must be 1 to 64 letters, digits or any of %q", realm, also)
		}
		c.realm = realm
		return nil
	})
}

// WithRenderer replaces how a refusal is written. The default is WriteProblem.
func WithRenderer(render Renderer) Option {
	return optionFunc(func(c *config) error {
		if render == nil {
			return errors.New("middleware: WithRenderer(nil)")
		}
		c.render = render
		return nil
	})
}

// WithObserver adds an observer. There is none by default.
func WithObserver(o Observer) Option {
	return optionFunc(func(c *config) error {
		if missing(o) {
			return errors.New("middleware: WithObserver(nil)")
		}
		c.observers = append(c.observers[:len(c.observers):len(c.observers)], o)
		return nil
	})
}

// missing reports whether an interface holds nothing, or a nil pointer or function of some type.
func missing(v any) bool {
	if v == nil {
		return true
	}
	switch value := reflect.ValueOf(v); value.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Interface, reflect.Chan, reflect.Slice:
		return value.IsNil()
	default:
		return false
	}
}
