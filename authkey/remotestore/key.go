package remotestore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// Key is what a service's signatures are verified with: a key with its one algorithm.
type Key struct {
	// ID is what the header of a token calls it, kid: up to 256 bytes. It may be empty where there is one key.
	ID string
	// Algorithm is the name of RFC 7518 or RFC 8037: RS256, PS256, ES256, EdDSA, HS256, or with 384 or 512 for 256.
	Algorithm string
	// Public is an *rsa.PublicKey of 2048 to 8192 bits, an *ecdsa.PublicKey on the algorithm's curve or an
	// ed25519.PublicKey; for HS256 and its kin it is a secret of []byte, at least as long as the hash.
	Public any
}

// Format writes the ID and the algorithm, for every verb: a key may be a secret.
func (k Key) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "key %q %s", k.ID, k.Algorithm) // fmt.State has nobody to tell
}

// algorithms tells how to verify, and which keys are good enough. golang-jwt takes any length of salt for PS256 and
// its kin; RFC 7518, section 3.5, that of the hash.
var algorithms = map[string]struct {
	method jwt.SigningMethod
	good   func(key any) bool
}{
	"RS256": {jwt.SigningMethodRS256, goodRSA},
	"RS384": {jwt.SigningMethodRS384, goodRSA},
	"RS512": {jwt.SigningMethodRS512, goodRSA},
	"PS256": {pss(jwt.SigningMethodPS256), goodRSA},
	"PS384": {pss(jwt.SigningMethodPS384), goodRSA},
	"PS512": {pss(jwt.SigningMethodPS512), goodRSA},
	"ES256": {jwt.SigningMethodES256, onCurve(elliptic.P256())},
	"ES384": {jwt.SigningMethodES384, onCurve(elliptic.P384())},
	"ES512": {jwt.SigningMethodES512, onCurve(elliptic.P521())},
	"EdDSA": {jwt.SigningMethodEdDSA, goodEd25519},
	"HS256": {jwt.SigningMethodHS256, secretOf(crypto.SHA256)},
	"HS384": {jwt.SigningMethodHS384, secretOf(crypto.SHA384)},
	"HS512": {jwt.SigningMethodHS512, secretOf(crypto.SHA512)},
}

func pss(m *jwt.SigningMethodRSAPSS) *jwt.SigningMethodRSAPSS {
	strict := *m
	strict.VerifyOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	return &strict
}

func goodRSA(key any) bool {
	public, ok := key.(*rsa.PublicKey)
	return ok && public != nil && public.N != nil && public.N.BitLen() >= 2048 && public.N.BitLen() <= 8192 && public.E >= 65537 && public.E%2 == 1
}

func goodEd25519(key any) bool {
	public, ok := key.(ed25519.PublicKey)
	return ok && len(public) == ed25519.PublicKeySize
}

func onCurve(curve elliptic.Curve) func(any) bool {
	return func(key any) bool {
		public, ok := key.(*ecdsa.PublicKey)
		if !ok || public == nil || public.Curve != curve {
			return false
		}
		_, err := public.ECDH() // which refuses a point off the curve
		return err == nil
	}
}

func secretOf(hash crypto.Hash) func(any) bool {
	return func(key any) bool {
		secret, ok := key.([]byte)
		return ok && len(secret) >= hash.Size()
	}
}

func (k *Key) validate() error {
	algorithm, ok := algorithms[k.Algorithm]
	switch {
	case !ok:
		return fmt.Errorf("algorithm %.20q: want RS256, PS256, ES256, EdDSA or HS256, or with 384 or 512", k.Algorithm)
	case len(k.ID) > maxKeyID:
		return fmt.Errorf("the ID has more than %d bytes", maxKeyID)
	case !algorithm.good(k.Public):
		return errors.New("Public: not a key of the algorithm, or not a strong one") //nolint:staticcheck // begins with the field's name
	}
	return nil
}

func (k *Key) verify(signed string, signature []byte) error {
	return algorithms[k.Algorithm].method.Verify(signed, signature, k.Public)
}
