package remotestore

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// Bounds of a token, in bytes, and of what is forgiven of its times.
const (
	maxToken      = 8 << 10
	maxHeader     = 2 << 10
	maxKeyID      = 256
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
	keys map[string]*Key
}

func newVerifier(t Tokens) (*verifier, error) {
	v := &verifier{Tokens: t, keys: map[string]*Key{}}
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
		v.keys[key.ID] = &key
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
func (v *verifier) verify(token string) (object, error) {
	if len(token) > maxToken {
		return nil, fmt.Errorf("remotestore: the token has more than %d bytes", maxToken)
	}
	signed, signature, ok := cutLast(token)
	header, payload, dot := strings.Cut(signed, ".")
	if !ok || !dot || strings.Contains(payload, ".") || len(header) > maxHeader {
		return nil, errors.New("remotestore: the token does not have three parts, or too long a header")
	}
	var parts [3][]byte
	for i, part := range []string{header, payload, signature} {
		var err error
		if parts[i], err = decodePart(part); err != nil {
			return nil, err
		}
	}
	key, err := v.keyOf(parts[0])
	if err != nil {
		return nil, err
	}
	if err := key.verify(signed, parts[2]); err != nil {
		return nil, errors.New("remotestore: the signature of the token is wrong")
	}
	claims, err := readObject(parts[1])
	if err != nil {
		return nil, err
	}
	return claims, claims.exact(append([]string{"iss", "aud", "exp", "nbf", "iat"}, members...)...)
}

// keyOf returns the key that a header names, if the header asks for nothing else.
func (v *verifier) keyOf(document []byte) (*Key, error) {
	header, err := readObject(document)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c"} {
		if header[name] != nil {
			return nil, fmt.Errorf("remotestore: the token's header has %q", name)
		}
	}
	if err := header.exact("alg", "kid", "typ", "crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c"); err != nil {
		return nil, err
	}
	typ, err := header.text("typ", maxText)
	if typ = strings.TrimPrefix(strings.ToLower(typ), "application/"); err != nil || !v.accepts(typ) {
		return nil, errors.New("remotestore: the token is of another type")
	}
	kid, err := header.text("kid", maxKeyID)
	if err != nil {
		return nil, err
	}
	key := v.keys[kid]
	if header["kid"] == nil && len(v.Keys) == 1 {
		key = &v.Keys[0]
	}
	if key == nil {
		return nil, errors.New("remotestore: the token names none of the keys")
	}
	if alg, err := header.text("alg", maxWord); err != nil || alg != key.Algorithm {
		return nil, errors.New("remotestore: the token has another algorithm than its key")
	}
	return key, nil
}

func (v *verifier) accepts(typ string) bool {
	if v.Type == "" {
		return typ == "" || typ == "jwt"
	}
	return typ == strings.TrimPrefix(strings.ToLower(v.Type), "application/")
}

// judge returns when claims end, if they are meant for us and now.
func (v *verifier) judge(claims object, now time.Time) (time.Time, error) {
	if iss, err := claims.text("iss", maxOrigin); err != nil || iss != v.Issuer {
		return time.Time{}, errors.New("remotestore: the token is of another issuer")
	}
	aud, err := claims.texts("aud", maxOrigin)
	if claims["aud"].Kind() == '"' {
		var one string
		one, err = claims.text("aud", maxOrigin)
		aud = []string{one}
	}
	meant := false
	for _, audience := range aud {
		meant = meant || audience == v.Audience
	}
	if err != nil || !meant {
		return time.Time{}, errors.New("remotestore: the token is for another audience")
	}
	end, ok, err := claims.seconds("exp")
	if err != nil || !ok {
		return time.Time{}, errors.New("remotestore: the token has no end")
	}
	if end = end.Add(v.Leeway); !now.Before(end) {
		return time.Time{}, errors.New("remotestore: the token has ended")
	}
	for _, name := range []string{"nbf", "iat"} {
		if from, ok, err := claims.seconds(name); err != nil || ok && from.After(now.Add(v.Leeway)) {
			return time.Time{}, fmt.Errorf("remotestore: the token's %s is in the future, or no time", name)
		}
	}
	return end, nil
}

// exact refuses names that differ from one of these in case alone, by the folding of Unicode: some readers take
// one for the other.
func (o object) exact(names ...string) error {
	for name := range o {
		for _, known := range names {
			if name != known && strings.EqualFold(name, known) {
				return fmt.Errorf("remotestore: %q is written in another case", known)
			}
		}
	}
	return nil
}

// cutLast cuts a text around its last dot.
func cutLast(text string) (before, after string, ok bool) {
	at := strings.LastIndexByte(text, '.')
	if at < 0 {
		return "", "", false
	}
	return text[:at], text[at+1:], true
}

// decodePart decodes canonical base64url. The package base64 skips line breaks, also where it is strict.
func decodePart(part string) ([]byte, error) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil || strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("remotestore: a part of the token is not canonical base64url")
	}
	return text, nil
}
