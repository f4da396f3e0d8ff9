package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
)

// Keys returns an Authorizer for whoever sends an API key of authkey.KindAdmin as "Authorization: Bearer". Its org
// is the only one that he may touch, its scopes are what he may do, and the audit trail knows him as "key:" and
// the key's id. Keys of other kinds are invalid here, as admin keys are where the service itself is called; so the
// verifier must be one for admin keys. A key with Networks is good from these alone, which is 403 elsewhere; the trusted
// networks are those of your own proxies, as middleware.WithTrustedProxies has them. Each request costs a look-up, and
// two the first time, so that a key that is revoked is refused from then on. New tells that the verifier is nil. Safe
// for concurrent use.
func Keys(verifier middleware.Authenticator, trusted ...netip.Prefix) Authorizer {
	return &adminKeys{verifier, trusted}
}

type adminKeys struct {
	verifier middleware.Authenticator
	trusted  []netip.Prefix
}

var errKind = errors.New("admin: the key is none for the admin route")

// Authorize implements Authorizer.
func (k *adminKeys) Authorize(r *http.Request) (Actor, error) {
	secret, err := bearerOf(r)
	if err != nil {
		return Actor{}, err
	}
	presented := authkey.NewPresented(secret)
	identity, err := k.verifier.Authenticate(r.Context(), presented)
	if err == nil { // what is cached may be revoked by now
		identity, err = k.verifier.Refresh(r.Context(), presented, nil)
	}
	switch {
	case errors.Is(err, authkey.ErrUnavailable):
		return Actor{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case err != nil:
		return Actor{}, err
	case identity == nil || identity.Kind != authkey.KindAdmin || identity.Org == "":
		return Actor{}, errKind
	}
	if len(identity.Networks) > 0 {
		if addr, told := middleware.ClientAddr(r, k.trusted...); !told || !middleware.Within(addr, identity.Networks) {
			return Actor{}, ErrForbidden
		}
	}
	return Actor{Name: "key:" + identity.Key, Org: identity.Org, Scopes: append([]string{}, identity.Scopes...)}, nil
}

// Err tells New that there is no verifier, or which trusted network is none.
func (k *adminKeys) Err() error {
	if err := middleware.ValidateProxies(k.trusted); err != nil {
		return fmt.Errorf("%w authorizer: Keys: %w", ErrInvalid, err)
	}
	if k.verifier == nil {
		return fmt.Errorf("%w authorizer: Keys(nil)", ErrInvalid)
	}
	return nil
}
