package bearer

import (
	"context"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/tollgate-go/tollgate/authkey"
)

// Resolver returns the issuer of a URL that a token names and that is none of New's, for tenants that come and go. The
// URL is whatever a stranger wrote: look it up, and never call it or build another from it. Errors:
// authkey.ErrUnknown where there is no such issuer; anything else makes the answer 503. The issuer's URL has to be
// the one that was asked for, and it needs Org or Orgs. A Resolver is asked for each token of an issuer that is not
// remembered, so it should answer from memory; it has to be safe for concurrent use and to heed its context.
type Resolver func(ctx context.Context, url string) (Issuer, error)

const (
	resolvedLife = time.Minute // for how long an issuer is remembered that a Resolver told
	maxResolved  = 100_000
)

// WithResolver asks a function for issuers besides those of New, and remembers up to so many of them, 1 to 100,000,
// for a minute: for that long an issuer works after the function has ceased to tell it, and with WithCache a token
// for the life of that besides.
func WithResolver(resolve Resolver, issuers int) Option {
	return optionFunc(func(v *Verifier) error {
		if resolve == nil || issuers < 1 || issuers > maxResolved {
			return fmt.Errorf("%w: WithResolver: want a function, and 1 to %d issuers", authkey.ErrInvalid, maxResolved)
		}
		remembered, err := lru.New[string, *resolution](issuers)
		v.resolved = &resolved{resolve: resolve, issuers: remembered}
		return err
	})
}

// resolved are the issuers that a Resolver told.
type resolved struct {
	resolve Resolver
	issuers *lru.Cache[string, *resolution]
}

type resolution struct {
	issuer *issuer
	until  time.Time
}

// find returns the issuer of a URL, from memory or by the Resolver.
func (r *resolved) find(a *allowance, v *Verifier, url string) (*issuer, error) {
	now := v.now()
	if held, ok := r.issuers.Get(url); ok && now.Before(held.until) {
		return held.issuer, nil
	}
	told, err := r.resolve(a.ctx(), url)
	if errors.Is(err, authkey.ErrUnknown) {
		r.issuers.Remove(url)
		return nil, fmt.Errorf("%w: token: it is of another issuer", authkey.ErrUnknown)
	}
	if err == nil && (told.URL != url || told.Org == "" && len(told.Orgs) == 0) {
		err = fmt.Errorf("%w: the Resolver told issuer %.60q, which is another, or has neither Org nor Orgs", authkey.ErrInvalid, told.URL)
	}
	var compiled *issuer
	if err == nil {
		compiled, err = v.compile(told, false)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	r.issuers.Add(url, &resolution{issuer: compiled, until: now.Add(resolvedLife)})
	return compiled, nil
}
