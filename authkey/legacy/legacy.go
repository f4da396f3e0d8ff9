// Package legacy lets a service adopt Tollgate without handing out new keys: it accepts the keys that the service's old
// table knows, and moves each to the new store when it is first used.
//
// A presented key goes to the verifier first. Only when nobody knows it there, and it has the form of a [Scheme], the
// old table is asked. If the hash in the table is that of the key, the key is imported, as a digest under the current
// pepper, and from then on the old table is not asked for it again: what the new store says stands, so that a key that
// is revoked there stays revoked, whatever the old table says. When all keys in use have been seen, or issuer.ImportAll
// has moved the rest, take the chain out.
//
// While a chain is in use, revoke in both places: in the old table for a key that has not been seen yet, or might be
// read anew should the new store lose its data; in the new store for one that has.
//
// Do not use it where the whole table can be moved at once by [authkey.Issuer.ImportAll], which leaves nothing to do
// while a client waits.
//
//	verifier, err := authkey.New(store, authkey.WithForeignKeys(), authkey.WithHasher(hasher))
//	issuer, err := authkey.NewIssuer(store, format, authkey.WithHasher(hasher))
//	chain, err := legacy.New(verifier, issuer, legacy.Sanctum(func(ctx context.Context, id string) (legacy.Row, error) {
//		token, err := tokens.Find(ctx, id)
//		if errors.Is(err, sql.ErrNoRows) {
//			return legacy.Row{}, authkey.ErrUnknown
//		}
//		return legacy.Row{Hash: legacy.Hash(token.Hash), Key: authkey.NewKey{Org: token.Org, Project: token.App, Source: "tokens " + id}}, err
//	}))
//	auth := middleware.Authenticate(chain)
package legacy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/tollgate-go/tollgate/authkey"
)

const maxKeyLen = 256 // as for every key; longer ones are refused before any work

// Verifier knows the keys of the new store. *authkey.Verifier is one; it has to be made authkey.WithForeignKeys.
type Verifier interface {
	Authenticate(ctx context.Context, presented authkey.Presented) (*authkey.Identity, error)
	Refresh(ctx context.Context, presented authkey.Presented, held *authkey.Identity) (*authkey.Identity, error)
}

// Chain is a verifier that falls back on old tables. Make it with New. Safe for concurrent use; it has nothing to close.
type Chain struct {
	verifier Verifier
	issuer   *authkey.Issuer
	schemes  []*Scheme

	now      func() time.Time
	timeout  time.Duration
	observe  func(Event)
	lookups  *rate.Limiter
	compares *rate.Limiter
	refused  *lru.Cache[sum, refusal]
	life     time.Duration // of what is in refused
	flights  singleflight.Group

	counts     map[string]*counts // by the name of the scheme
	remembered atomic.Uint64
	waiting    atomic.Int64
}

var _ Verifier = (*Chain)(nil)

type sum = [sha256.Size]byte

// refusal is what an old table was found to say.
type refusal struct {
	cause error
	until time.Time
}

// New returns a chain of a verifier and one or more schemes, which are options. The issuer has to write to the
// verifier's store, with its hasher. New does no I/O. Faults are authkey.ErrInvalid, all joined.
func New(verifier Verifier, issuer *authkey.Issuer, opts ...Option) (*Chain, error) {
	c := &Chain{
		verifier: verifier, issuer: issuer, now: time.Now, timeout: defaultTimeout, observe: func(Event) {},
		counts: map[string]*counts{},
	}
	defaults := []Option{WithRate(defaultLookups, defaultCompares), WithNegativeCache(defaultEntries, defaultLife)}
	var faults []error
	if verifier == nil {
		faults = append(faults, invalid("verifier: nil"))
	} else if v, ok := verifier.(interface{ AcceptsForeignKeys() bool }); ok && !v.AcceptsForeignKeys() {
		faults = append(faults, invalid("verifier: want one made authkey.WithForeignKeys, or it would not accept what is moved"))
	}
	if issuer == nil {
		faults = append(faults, invalid("issuer: nil"))
	}
	for n, opt := range append(defaults, opts...) {
		if opt == nil {
			faults = append(faults, invalid("option %d: nil", n-len(defaults)))
			continue
		}
		faults = append(faults, opt.apply(c))
	}
	if len(c.schemes) == 0 {
		faults = append(faults, invalid("want at least one Scheme, such as Sanctum(lookup)"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return c, nil
}

// Authenticate returns the identity of a key. For one that the verifier knows it is the verifier's Authenticate, and
// costs nothing more. For one that it does not know, and that has the form of a scheme, it costs a look-up in the old
// table, which all callers with the same key share, and, once in the life of a key, an import.
//
// Errors are those of authkey.Verifier, and the verifier's own for what has no scheme's form. ErrUnavailable says that
// nobody knows: the old table did not answer in time, or with what the scheme does not understand, or the rate of
// look-ups is used up, or the import failed.
func (c *Chain) Authenticate(ctx context.Context, presented authkey.Presented) (*authkey.Identity, error) {
	identity, err := c.verifier.Authenticate(ctx, presented)
	if !isUnknown(err) {
		return identity, err
	}
	return c.fallBack(ctx, presented, err)
}

// Refresh is the verifier's, and Authenticate's fallback where the verifier does not know the key any more.
func (c *Chain) Refresh(ctx context.Context, presented authkey.Presented, held *authkey.Identity) (*authkey.Identity, error) {
	identity, err := c.verifier.Refresh(ctx, presented, held)
	if !isUnknown(err) {
		return identity, err
	}
	return c.fallBack(ctx, presented, err)
}

// fallBack asks the old tables for a key that the verifier does not know, or joins who is asking. cause is what the
// verifier said.
func (c *Chain) fallBack(ctx context.Context, presented authkey.Presented, cause error) (*authkey.Identity, error) {
	text := presented.Reveal()
	if !c.shaped(text) {
		return nil, cause
	}
	key := sha256.Sum256([]byte(text))
	if r, ok := c.refused.Get(key); ok && c.now().Before(r.until) {
		c.remembered.Add(1)
		return nil, r.cause
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	landing := c.flights.DoChan(string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
		defer cancel()
		c.waiting.Add(1)
		defer c.waiting.Add(-1)
		return c.ask(ctx, presented, key)
	})
	select {
	case landed := <-landing:
		return landed.Val.(*authkey.Identity), landed.Err
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
}

// shaped reports whether a key is in any scheme's form, and in none that is minted here: those are found by their id,
// and cannot be imported.
func (c *Chain) shaped(text string) bool {
	if len(text) > maxKeyLen || !onlyVisible(text) {
		return false
	}
	if _, err := authkey.Parse(text); err == nil {
		return false
	}
	for _, s := range c.schemes {
		if s.shape(text) {
			return true
		}
	}
	return false
}

// onlyVisible allows the ASCII characters from ! to ~.
func onlyVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isUnknown reports whether a verifier found that nobody has a key.
func isUnknown(err error) bool {
	return errors.Is(err, authkey.ErrUnknown) && !errors.Is(err, authkey.ErrUnavailable)
}

func unavailable(cause error) error {
	if errors.Is(cause, authkey.ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: legacy: %w", authkey.ErrUnavailable, cause)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: legacy: "+format, append([]any{authkey.ErrInvalid}, args...)...)
}
