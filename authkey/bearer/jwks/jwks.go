// Package jwks has the keys that issuers publish: it finds their key sets (OpenID Connect Discovery 1.0, RFC 8414),
// fetches them (RFC 7517), keeps them in memory and follows their changes.
//
//	cache, err := jwks.New()
//	if err != nil { ... }
//	defer cache.Close()
//	verifier, err := bearer.New([]bearer.Issuer{{
//		URL:       "https://issuer.example",
//		Audiences: []string{"https://api.example.com"},
//		Keys:      cache.Issuer("https://issuer.example"),
//	}})
//	err = cache.Start(ctx) // or not: then the first request fetches
//	http.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) { answer(w, cache.Ready()) })
//
// A key that is in memory costs no lock and no allocation. A set is fetched again when 80 % of its life have passed,
// which is 10 minutes where the answer's Cache-Control names no max-age, and used for an hour more where that fails.
// A key that is not in the set is looked for at once, but no sooner than 30 s after the last attempt: so a new key is
// seen within that time whoever else asks for keys that do not exist, and those cost an issuer two fetches a minute, also
// where there are more issuers than WithIssuers has room for: what gives way to others comes back with the keys that it
// had while these are fresh.
// Nobody waits for a permit, and for a fetch that is under way no longer than 3 s. A key that was removed is trusted
// until the next refresh; Cache.Invalidate does not wait for that.
//
// Where nobody can tell which keys there are, the error is authkey.ErrUnavailable: there is no set, its time is over,
// or a key is not in it and the last attempt to look failed.
//
// URLs come from the caller, and from the discovery document of an issuer that the caller named; none comes from a
// token. Fetches use https, follow no redirect, use no proxy that they are not told of, take up to 256 KiB, and go to
// public addresses alone: WithPrivateNetworks is for issuers inside. SSL_CERT_FILE and SSL_CERT_DIR are honoured, as
// the transport leaves the roots to crypto/x509.
//
// For keys that never change a bearer.KeySet needs no cache. For secrets that are shared (HS256) there is none: what
// is fetched is public.
package jwks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// atOnce is how many fetches Start has under way at a time.
const atOnce = 16

var errClosed = errors.New("the cache is closed")

// Cache keeps the key sets of many issuers. Make it with New; the zero value is of no use. Safe for concurrent use.
// It has no goroutine but those of fetches under way: a timer of each issuer begins the next one.
type Cache struct {
	config
	ctx     context.Context // of all fetches
	cancel  context.CancelFunc
	fetches sync.WaitGroup
	permits chan struct{} // of Start

	// mu guards all that follows, and of entries what says so. Whoever finds a key in memory does not take it.
	mu      sync.Mutex
	closed  bool
	entries map[place]*entry
	gone    map[place]trace // of entries that gave way
}

// New returns a cache without issuers. It does not dial and starts nothing. Faults are authkey.ErrInvalid, all joined.
func New(opts ...Option) (*Cache, error) {
	c, err := configure(opts)
	if err != nil {
		return nil, err
	}
	cache := &Cache{config: c, entries: map[place]*entry{}, gone: map[place]trace{}, permits: make(chan struct{}, atOnce)}
	cache.ctx, cache.cancel = context.WithCancel(context.Background())
	return cache, nil
}

// Issuer returns the keys of an issuer by its URL, which is the iss of its tokens. Its discovery document has to name
// the same, byte for byte. Nothing is fetched before the first Keys, Start or Ready. The same URL and options give the
// keys from the same memory, so a resolver of tenants may call it again and again; that is a look-up under a lock. What
// is wrong with the URL or an option is told by Source.Err, Start and Ready, and Keys fails.
func (c *Cache) Issuer(url string, opts ...IssuerOption) *Source { return c.source(url, false, opts) }

// URL returns the keys of a set by the URL of the set itself, for issuers without discovery. Everything else is as
// with Issuer.
func (c *Cache) URL(url string, opts ...IssuerOption) *Source { return c.source(url, true, opts) }

func (c *Cache) source(url string, outright bool, opts []IssuerOption) *Source {
	p, fault := c.place(url, outright, opts)
	s := &Source{cache: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.entry.Store(c.enter(p, fault))
	return s
}

// all returns the entries in the order of their names.
func (c *Cache) all() []*entry {
	all := make([]*entry, 0, len(c.entries))
	for _, e := range c.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.name, b.name) })
	return all
}

// Start fetches the keys of all issuers that have none yet, 16 at a time, and waits until it is done or ctx ends; then
// it goes on in the background. The error joins those of all issuers that have no keys then, each
// authkey.ErrUnavailable, or authkey.ErrInvalid for a wrong URL or option. Those that failed are tried again in the
// background: a service may go on, or refuse to start.
func (c *Cache) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.all()
	done := c.launch(all)
	c.mu.Unlock()
	var ended error
	select {
	case <-done:
	case <-ctx.Done():
		ended = ctx.Err()
	}
	c.mu.Lock()
	var faults []error
	for _, e := range all {
		fault := e.readiness(c.closed)
		if fault != nil && ended != nil && e.fault == nil && (e.flight != nil || e.err == nil) {
			fault = e.unavailable(ended)
		}
		if !e.evicted {
			faults = append(faults, fault)
		}
	}
	return errors.Join(faults...)
}

// launch fetches first sets, and closes done when all have landed. c.mu is held.
func (c *Cache) launch(all []*entry) (done chan struct{}) {
	done = make(chan struct{})
	if c.closed {
		close(done)
		return done
	}
	c.fetches.Go(func() {
		defer close(done)
		var waiting sync.WaitGroup
		defer waiting.Wait()
		for _, e := range all {
			c.permits <- struct{}{}
			waiting.Go(func() {
				defer func() { <-c.permits }()
				c.first(e)
			})
		}
	})
	return done
}

// first fetches the set of an entry that has none, and waits until that has landed.
func (c *Cache) first(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for landed := false; !landed && e.fault == nil && !e.evicted && !c.closed && !e.usable(time.Now()); {
		f := e.flight
		if f == nil {
			f = c.begin(e, false)
		}
		c.mu.Unlock()
		<-f.done
		c.mu.Lock()
		landed = !f.void
	}
}

// Ready returns nil if all issuers have keys that can be used, for probes. Otherwise the error names each that has
// none, and why, and holds no secret: it is authkey.ErrUnavailable. It does not wait; but for those not tried yet it
// begins a fetch, so that a service that is probed before it is asked becomes ready. Issuers dropped as unused (see
// WithIssuers) do not count. Cost: a look at each issuer.
func (c *Cache) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var faults []error
	for _, e := range c.all() {
		if e.fault == nil && e.attempted.IsZero() && e.flight == nil && !c.closed {
			c.begin(e, false)
		}
		faults = append(faults, e.readiness(c.closed))
	}
	return errors.Join(faults...)
}

// Invalidate forgets the keys of an issuer, by the URL given to Issuer or URL, and begins to fetch them anew: for a
// key that must not be trusted for a moment more. It does not wait; until the fetch ends requests wait for it, and
// where it fails there are no keys. False: nothing is in memory for that URL.
func (c *Cache) Invalidate(url string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.gone, func(p place, _ trace) bool { return p.url == url })
	known := false
	for _, e := range c.entries {
		if e.url != url {
			continue
		}
		known = true
		e.drop()
		e.address, e.failures = "", 0
		if e.fault == nil && !c.closed {
			c.begin(e, true)
		}
	}
	return known
}

// Close ends all fetches and waits until they have: a RoundTripper of the caller's own has to heed its context.
// Sources go on with the keys they have until these expire. It may be called again. The error is nil.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	for _, e := range c.entries {
		e.stop()
	}
	c.mu.Unlock()
	c.cancel()
	c.fetches.Wait()
	return nil
}

// readiness is why an entry has no keys; nil: it has. c.mu is held.
func (e *entry) readiness(closed bool) error {
	switch {
	case e.fault != nil:
		return fmt.Errorf("%w: %w", authkey.ErrUnavailable, e.fault)
	case e.usable(time.Now()):
		return nil
	case e.err != nil:
		return e.unavailable(e.err)
	case closed:
		return e.unavailable(errClosed)
	}
	return e.unavailable(errors.New("its keys were not fetched yet"))
}
