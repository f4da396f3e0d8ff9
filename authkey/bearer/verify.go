package bearer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// signer says by which key a token was verified.
type signer struct {
	issuer *issuer
	header Header
	set    *KeySet
	key    *jose.Key
}

// verify reads a token and verifies its signature.
func (v *Verifier) verify(a *allowance, text string) (*known, signer, error) {
	token, err := jose.Parse(text, maxToken)
	if err != nil {
		return nil, signer{}, fmt.Errorf("%w: token: %w", authkey.ErrMalformed, err)
	}
	if err := token.BringsNoKey(); err != nil {
		return nil, signer{}, fmt.Errorf("%w: token: %w", authkey.ErrMalformed, err)
	}
	claims, err := jose.ReadObject(token.Payload)
	if err != nil {
		return nil, signer{}, fmt.Errorf("%w: token: %w", authkey.ErrMalformed, err)
	}
	s := signer{header: Header{KeyID: token.KeyID, Algorithm: token.Algorithm}}
	if s.issuer, err = v.issuerOf(a, claims); err != nil {
		return nil, s, err
	}
	if !s.issuer.signsWith(token.Algorithm) || !s.issuer.typed(token.Type) {
		return nil, s, fmt.Errorf("%w: token: its alg or typ is not one of its issuer's", authkey.ErrMalformed)
	}
	if token.HasKeyID && token.KeyID == "" {
		return nil, s, fmt.Errorf("%w: token: its kid is empty", authkey.ErrMalformed)
	}
	k, err := s.issuer.judge(claims, v.now())
	if err != nil {
		return nil, s, err
	}
	if s.set, err = s.issuer.keys(a, s.header); err != nil {
		return nil, s, err
	}
	if s.key = s.set.find(s.header); s.key == nil {
		return nil, s, fmt.Errorf("%w: token: no key of its issuer is the one it names", authkey.ErrUnknown)
	}
	if err := s.key.Verify(token.Algorithm, token.Signed, token.Signature); err != nil {
		return nil, s, fmt.Errorf("%w: token: %w", authkey.ErrUnknown, err)
	}
	if err := s.issuer.identify(k); err != nil {
		return nil, s, err
	}
	return k, s, nil
}

// introspect asks whom a token stands for that says nothing by itself.
func (v *Verifier) introspect(a *allowance, text string) (*known, error) {
	if v.opaque == nil || text == "" {
		return nil, fmt.Errorf("%w: token: it is no JWT", authkey.ErrMalformed)
	}
	answer, err := v.introspector.Introspect(a.ctx(), text)
	switch {
	case errors.Is(err, authkey.ErrUnknown) || errors.Is(err, authkey.ErrMalformed):
		return nil, err
	case err != nil:
		return nil, unavailable(err)
	}
	claims := jose.Object(answer)
	if iss, ok := jose.Unquote(claims["iss"]); claims["iss"] != nil && (!ok || iss != v.opaque.URL) {
		return nil, fmt.Errorf("%w: token: it is of another issuer", authkey.ErrUnknown)
	}
	k, err := v.opaque.judge(claims, v.now())
	if err != nil {
		return nil, err
	}
	if err := v.opaque.identify(k); err != nil {
		return nil, err
	}
	return k, nil
}

// identify gives a token that is good by itself its identity.
func (i *issuer) identify(k *known) (err error) {
	if k.identity, err = i.identity(&k.token); err == nil {
		k.identity.ExpiresAt = k.expires
	}
	return err
}

// issuerOf returns the issuer that claims name, if it is one of those that are configured.
func (v *Verifier) issuerOf(a *allowance, claims jose.Object) (*issuer, error) {
	url, ok := plainText(claims["iss"], maxURL)
	if !ok {
		return nil, fmt.Errorf("%w: token: claim %q: want the URL of its issuer", authkey.ErrMalformed, "iss")
	}
	if i := v.issuers[url]; i != nil {
		return i, nil
	}
	if v.resolved == nil {
		return nil, fmt.Errorf("%w: token: it is of another issuer", authkey.ErrUnknown)
	}
	return v.resolved.find(a, v, url)
}

// keys asks the issuer's source for its keys.
func (i *issuer) keys(a *allowance, header Header) (*KeySet, error) {
	if i.held != nil {
		if set := i.held.Held(header); set != nil {
			return set, nil
		}
	}
	set, err := i.Keys.Keys(a.ctx(), header)
	if err == nil && set == nil {
		err = errors.New("its source has neither keys nor an error")
	}
	if err != nil {
		return nil, unavailable(fmt.Errorf("the keys of issuer %.60q: %w", i.URL, err))
	}
	return set, nil
}

func (i *issuer) signsWith(algorithm string) bool {
	return slices.Contains(i.Algorithms, algorithm)
}
