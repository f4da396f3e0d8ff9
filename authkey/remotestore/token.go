package remotestore

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// Bounds of a token, in bytes, and of what is forgiven of its times.
const (
	maxToken      = 8 << 10
	maxLeeway     = 5 * time.Minute
	defaultLeeway = 30 * time.Second
)

// Tokens says which tokens of a service are to be trusted.
type Tokens struct {
	// Issuer is what the claim iss has to be, byte for byte. Needed.
	Issuer string
	// Audience is what the claim aud has to be, or has to list: the name of this service. Needed.
	Audience string
	// Keys are those that the service signs with, 1 to 16, with different IDs.
	Keys []Key
	// Type is what typ in the header has to be, as "project+jwt"; "application/" before it is left away, and
	// case does not matter. Empty, the default: "JWT", or none.
	Type string
	// Leeway is how far the clocks of the two may differ: up to 5 minutes. Zero is the default, 30 s.
	Leeway time.Duration
}

// WithTokens wants a signed JWT as the answer, and refuses an identity without one. Its claims are org, project,
// key, kind and the others that the package comment names, besides iss, aud and exp, which are needed, and nbf and
// iat, which are judged if they are there. exp and the leeway are the end of the identity.
//
// A token is refused unless it is a JWS in compact form (RFC 7515) of up to 8 KiB in canonical base64url, whose
// header and claims name nothing twice or in another case; whose kid names one of the keys (it may be missing where
// there is one key); whose alg is that key's own, so that no token chooses how it is verified; and whose header has
// no crit, b64, zip or enc, nor brings a key by jwk, jku, x5u or x5c (RFC 8725). A token that is refused is the
// service's fault and no failure of the caller: the error is an *Error of the class BadToken.
func WithTokens(t Tokens) Option {
	return optionFunc(func(c *config) error {
		v, err := newVerifier(t)
		c.tokens = v
		return err
	})
}

// verifier is Tokens in the form that is looked up.
type verifier struct {
	Tokens
	keys map[string]*jose.Key
}

func newVerifier(t Tokens) (*verifier, error) {
	v := &verifier{Tokens: t, keys: map[string]*jose.Key{}}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: WithTokens: "+format, append([]any{authkey.ErrInvalid}, args...)...))
	}
	if t.Issuer == "" || t.Audience == "" {
		fault("Issuer, Audience: want both")
	}
	if t.Leeway < 0 || t.Leeway > maxLeeway {
		fault("Leeway %v: want 0 to %v", t.Leeway, maxLeeway)
	}
	if t.Leeway == 0 {
		v.Leeway = defaultLeeway
	}
	if len(t.Keys) < 1 || len(t.Keys) > 16 {
		fault("Keys: %d of them, want 1 to 16", len(t.Keys))
	}
	for _, key := range t.Keys {
		if err := key.validate(); err != nil {
			fault("key %.40q: %w", key.ID, err)
		}
		if v.keys[key.ID] != nil {
			fault("key %.40q: the ID is there twice", key.ID)
		}
		given := jose.Key(key)
		kept := given.Clone()
		v.keys[key.ID] = &kept
	}
	return v, errors.Join(faults...)
}

// identity verifies a token and returns whom it names.
func (v *verifier) identity(token string, now time.Time) (*authkey.Identity, error) {
	if v == nil {
		return nil, failed(BadToken, errors.New("remotestore: the service sent a token, and WithTokens says none is to be trusted"))
	}
	claims, err := v.verify(token)
	if err != nil {
		return nil, failed(BadToken, err)
	}
	end, err := v.judge(claims, now)
	if err != nil {
		return nil, failed(BadToken, err)
	}
	identity, err := claims.identity()
	if err != nil {
		return nil, failed(Garbage, err)
	}
	if identity.ExpiresAt.IsZero() || end.Before(identity.ExpiresAt) {
		identity.ExpiresAt = end
	}
	return identity, nil
}

// verify returns the claims of a token with a good signature, and judges nothing of them.
func (v *verifier) verify(text string) (object, error) {
	token, err := jose.Parse(text, maxToken)
	if err != nil {
		return object{}, fmt.Errorf("remotestore: the token: %w", err)
	}
	key, err := v.keyOf(&token)
	if err != nil {
		return object{}, err
	}
	if err := key.Verify(token.Algorithm, token.Signed, token.Signature); err != nil {
		return object{}, fmt.Errorf("remotestore: the token: %w", err)
	}
	claims, err := jose.ReadObject(token.Payload)
	if err != nil {
		return object{}, fmt.Errorf("remotestore: the token's claims: %w", err)
	}
	return object{claims}, claims.Exact(slices.Concat([]string{"iss", "aud", "exp", "nbf", "iat"}, members)...)
}

// keyOf returns the key that a header names, if the header asks for nothing else.
func (v *verifier) keyOf(token *jose.Compact) (*jose.Key, error) {
	if err := token.BringsNoKey(); err != nil {
		return nil, fmt.Errorf("remotestore: the token: %w", err)
	}
	if !v.accepts(token.Type) {
		return nil, errors.New("remotestore: the token is of another type")
	}
	key := v.keys[token.KeyID]
	if !token.HasKeyID && len(v.Keys) == 1 {
		key = v.keys[v.Keys[0].ID]
	}
	if key == nil {
		return nil, errors.New("remotestore: the token names none of the keys")
	}
	if token.Algorithm != key.Algorithm {
		return nil, errors.New("remotestore: the token has another algorithm than its key")
	}
	return key, nil
}

func (v *verifier) accepts(typ string) bool {
	if v.Type == "" {
		return typ == "" || typ == "jwt"
	}
	return typ == jose.MediaType(v.Type)
}

// judge returns when claims end, if they are meant for us and now.
func (v *verifier) judge(claims object, now time.Time) (time.Time, error) {
	if iss, err := claims.text("iss", maxOrigin); err != nil || iss != v.Issuer {
		return time.Time{}, errors.New("remotestore: the token is of another issuer")
	}
	aud, err := claims.texts("aud", maxOrigin)
	if text, ok := jose.Unquote(claims.Object["aud"]); ok {
		aud, err = []string{text}, nil
	}
	meant := false
	for _, audience := range aud {
		meant = meant || audience == v.Audience
	}
	if err != nil || !meant {
		return time.Time{}, errors.New("remotestore: the token is for another audience")
	}
	end, ok, err := claims.Seconds("exp")
	if err != nil || !ok {
		return time.Time{}, errors.New("remotestore: the token has no end")
	}
	if end = end.Add(v.Leeway); !now.Before(end) {
		return time.Time{}, errors.New("remotestore: the token has ended")
	}
	for _, name := range []string{"nbf", "iat"} {
		if from, ok, err := claims.Seconds(name); err != nil || ok && from.After(now.Add(v.Leeway)) {
			return time.Time{}, fmt.Errorf("remotestore: the token's %s is in the future, or no time", name)
		}
	}
	return end, nil
}
