package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// Key is what signatures are verified with.
type Key struct {
	// ID is what the header of a token calls it, kid: up to 256 bytes, maybe none.
	ID string
	// Algorithm is the only one that the key is for; "" where it is for any that fits it.
	Algorithm string
	// Public is an *rsa.PublicKey, an *ecdsa.PublicKey, an ed25519.PublicKey, or the []byte of a secret.
	Public any
}

// algorithms tells how to verify, and which keys fit: cheap, for that is asked of each token. golang-jwt takes any
// length of salt for PS256 and its kin; RFC 7518, section 3.5, that of the hash. RFC 9864 calls EdDSA with its curve
// Ed25519.
var algorithms = map[string]struct {
	method jwt.SigningMethod
	fits   func(key any) bool
}{
	"RS256":   {jwt.SigningMethodRS256, goodRSA},
	"RS384":   {jwt.SigningMethodRS384, goodRSA},
	"RS512":   {jwt.SigningMethodRS512, goodRSA},
	"PS256":   {pss(jwt.SigningMethodPS256), goodRSA},
	"PS384":   {pss(jwt.SigningMethodPS384), goodRSA},
	"PS512":   {pss(jwt.SigningMethodPS512), goodRSA},
	"ES256":   {jwt.SigningMethodES256, onCurve(elliptic.P256())},
	"ES384":   {jwt.SigningMethodES384, onCurve(elliptic.P384())},
	"ES512":   {jwt.SigningMethodES512, onCurve(elliptic.P521())},
	"EdDSA":   {jwt.SigningMethodEdDSA, goodEd25519},
	"Ed25519": {jwt.SigningMethodEdDSA, goodEd25519},
	"HS256":   {jwt.SigningMethodHS256, secretOf(crypto.SHA256)},
	"HS384":   {jwt.SigningMethodHS384, secretOf(crypto.SHA384)},
	"HS512":   {jwt.SigningMethodHS512, secretOf(crypto.SHA512)},
}

// Known reports whether there is an algorithm of that name; symmetric, whether its key is a secret.
func Known(algorithm string) (known, symmetric bool) {
	a, known := algorithms[algorithm]
	if !known {
		return false, false
	}
	_, symmetric = a.method.(*jwt.SigningMethodHMAC)
	return known, symmetric
}

func pss(m *jwt.SigningMethodRSAPSS) *jwt.SigningMethodRSAPSS {
	strict := *m
	strict.VerifyOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	return &strict
}

func goodRSA(key any) bool {
	public, ok := key.(*rsa.PublicKey)
	return ok && public != nil && public.N != nil && public.N.Sign() > 0 && public.N.Bit(0) == 1 &&
		public.N.BitLen() >= 2048 && public.N.BitLen() <= 8192 && public.E >= 65537 && public.E <= math.MaxInt32 && public.E%2 == 1
}

func goodEd25519(key any) bool {
	public, ok := key.(ed25519.PublicKey)
	return ok && len(public) == ed25519.PublicKeySize
}

func onCurve(curve elliptic.Curve) func(any) bool {
	return func(key any) bool {
		public, ok := key.(*ecdsa.PublicKey)
		return ok && public != nil && public.Curve == curve
	}
}

func secretOf(hash crypto.Hash) func(any) bool {
	return func(key any) bool {
		secret, ok := key.([]byte)
		return ok && len(secret) >= hash.Size()
	}
}

// Validate reports what is wrong with a key: an algorithm that is not known, or does not fit it; one that is not
// strong: RSA needs 2048 to 8192 bits and an odd exponent of 65537 or more, below 2^31 as crypto/rsa has it, a secret as
// many bytes as the hash has (RFC 7518, sections 3.2 and 3.3).
func (k *Key) Validate() error {
	if k.Algorithm != "" {
		if known, _ := Known(k.Algorithm); !known {
			return fmt.Errorf("algorithm %.20q: want RS256, PS256, ES256, EdDSA, Ed25519 or HS256, or with 384 or 512", k.Algorithm)
		}
	}
	if len(k.ID) > maxKeyID {
		return fmt.Errorf("the ID has more than %d bytes", maxKeyID)
	}
	for name := range algorithms {
		if (k.Algorithm == "" || k.Algorithm == name) && algorithms[name].fits(k.Public) && onItsCurve(k.Public) {
			return nil
		}
	}
	return errors.New("Public: not a key of the algorithm, or not a strong one") //nolint:staticcheck // begins with the field's name
}

func onItsCurve(key any) bool {
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return true
	}
	if public.X == nil || public.Y == nil { //nolint:staticcheck // would panic below
		return false
	}
	_, err := public.ECDH()
	return err == nil
}

// Fits reports whether a key that is valid may verify the algorithm. EdDSA and Ed25519 are one. No allocation.
func (k *Key) Fits(algorithm string) bool {
	a, ok := algorithms[algorithm]
	if !ok || k.Algorithm != "" && canonical(k.Algorithm) != canonical(algorithm) {
		return false
	}
	return a.fits(k.Public)
}

func canonical(algorithm string) string {
	if algorithm == "Ed25519" {
		return "EdDSA"
	}
	return algorithm
}

// Overlaps reports whether there is an algorithm that both keys may verify.
func (k *Key) Overlaps(other *Key) bool {
	for name := range algorithms {
		if k.Fits(name) && other.Fits(name) {
			return true
		}
	}
	return false
}

// Clone returns a key that shares no bytes with this one which somebody might wipe: a secret of zeros is one that
// everybody knows.
func (k *Key) Clone() Key {
	c := *k
	switch public := k.Public.(type) {
	case []byte:
		c.Public = slices.Clone(public)
	case ed25519.PublicKey:
		c.Public = slices.Clone(public)
	}
	return c
}

// Equal reports whether two keys verify the same.
func (k *Key) Equal(other *Key) bool {
	if k == other {
		return true
	}
	if k == nil || other == nil || k.ID != other.ID || k.Algorithm != other.Algorithm {
		return false
	}
	switch public := k.Public.(type) {
	case interface{ Equal(crypto.PublicKey) bool }:
		return public.Equal(other.Public)
	case []byte:
		secret, ok := other.Public.([]byte)
		return ok && string(public) == string(secret) // both are ours
	}
	return false
}

// Verify verifies a signature by the key; the algorithm has to fit it.
func (k *Key) Verify(algorithm, signed string, signature []byte) error {
	if !k.Fits(algorithm) {
		return errors.New("jose: the key is for another algorithm")
	}
	if algorithms[algorithm].method.Verify(signed, signature, k.Public) != nil {
		return errors.New("jose: the signature is wrong")
	}
	return nil
}
