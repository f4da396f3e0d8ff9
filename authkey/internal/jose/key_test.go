package jose_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// point is a key that nobody checks.
func point(curve elliptic.Curve, x, y *big.Int) *ecdsa.PublicKey {
	return &ecdsa.PublicKey{Curve: curve, X: x, Y: y} //nolint:staticcheck // to make keys that no parser makes
}

// keys are one of each kind, of vectors, with the algorithms that fit them.
func keys(t *testing.T) map[string]struct {
	key  jose.Key
	fits []string
} {
	t.Helper()
	type fitting = struct {
		key  jose.Key
		fits []string
	}
	secret := func(size int) jose.Key { return jose.Key{Public: make([]byte, size)} }
	p384 := elliptic.P384().Params()
	return map[string]fitting{
		"RSA":     {keyOf(t, keyRFC7638[:strings.Index(keyRFC7638, `,"alg"`)]+"}"), []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}},
		"P-256":   {keyOf(t, keyRFC7515A3), []string{"ES256"}},
		"P-384":   {jose.Key{Public: point(elliptic.P384(), p384.Gx, p384.Gy)}, []string{"ES384"}},
		"P-521":   {keyOf(t, keyRFC7515A4), []string{"ES512"}},
		"Ed25519": {keyOf(t, keyRFC8037), []string{"EdDSA", "Ed25519"}},
		"32":      {secret(32), []string{"HS256"}},
		"47":      {secret(47), []string{"HS256"}},
		"48":      {secret(48), []string{"HS256", "HS384"}},
		"63":      {secret(63), []string{"HS256", "HS384"}},
		"64":      {secret(64), []string{"HS256", "HS384", "HS512"}},
	}
}

var allAlgorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256", "HS384", "HS512",
	"none", "None", "", "rs256", "RS1", "ES256K", "Ed448", "eddsa", "HS1", "A128KW",
}

func TestKeyFits(t *testing.T) {
	t.Parallel()
	for name, k := range keys(t) {
		if err := k.key.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, alg := range allAlgorithms {
			fits := slices.Contains(k.fits, alg)
			if known, symmetric := jose.Known(alg); k.key.Fits(alg) != fits || fits && (!known || symmetric != strings.HasPrefix(alg, "HS")) {
				t.Errorf("%s and %q: fits %v, known %v, symmetric %v", name, alg, k.key.Fits(alg), known, symmetric)
			}
			for _, only := range allAlgorithms {
				bound := jose.Key{Algorithm: only, Public: k.key.Public}
				same := alg == only || strings.HasPrefix(alg, "Ed") && strings.HasPrefix(only, "Ed")
				if valid := bound.Validate() == nil; valid != (only == "" || slices.Contains(k.fits, only)) {
					t.Errorf("%s for %q alone: valid %v", name, only, valid)
				} else if valid && bound.Fits(alg) != (fits && (only == "" || same)) {
					t.Errorf("%s for %q alone, and %q: fits %v", name, only, alg, bound.Fits(alg))
				}
			}
		}
	}
}

func TestFitsDoesNotAllocate(t *testing.T) {
	for name, k := range keys(t) {
		if n := testing.AllocsPerRun(100, func() {
			for _, alg := range allAlgorithms {
				k.key.Fits(alg)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestKeyIsNotValid(t *testing.T) {
	t.Parallel()
	good := func(bits uint) *big.Int { return new(big.Int).SetBit(big.NewInt(1), int(bits-1), 1) }
	p256 := elliptic.P256()
	g := p256.Params()
	for name, key := range map[string]jose.Key{
		"nothing": {}, "a string": {Public: strings.Repeat("x", 64)}, "an RSA that is no pointer": {Public: rsa.PublicKey{N: good(2048), E: 65537}}, "a nil RSA": {Public: (*rsa.PublicKey)(nil)},
		"RSA without N": {Public: &rsa.PublicKey{E: 65537}}, "RSA of 2047 bits": {Public: &rsa.PublicKey{N: good(2047), E: 65537}}, "RSA of 8193 bits": {Public: &rsa.PublicKey{N: good(8193), E: 65537}},
		"a negative N": {Public: &rsa.PublicKey{N: new(big.Int).Neg(good(2048)), E: 65537}}, "an even N": {Public: &rsa.PublicKey{N: new(big.Int).SetBit(new(big.Int), 2047, 1), E: 65537}},
		"an exponent of 3": {Public: &rsa.PublicKey{N: good(2048), E: 3}}, "an even exponent": {Public: &rsa.PublicKey{N: good(2048), E: 65538}}, "a negative exponent": {Public: &rsa.PublicKey{N: good(2048), E: -65537}},
		"an exponent of 2^31": {Public: &rsa.PublicKey{N: good(2048), E: 1<<31 + 1}}, "a private RSA": {Public: &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: good(2048), E: 65537}}},
		"a nil EC": {Public: (*ecdsa.PublicKey)(nil)}, "EC without a point": {Public: &ecdsa.PublicKey{Curve: p256}}, "EC without Y": {Public: point(p256, g.Gx, nil)}, "EC without a curve": {Public: point(nil, g.Gx, g.Gy)},
		"off the curve": {Public: point(p256, g.Gy, g.Gx)}, "at infinity": {Public: point(p256, new(big.Int), new(big.Int))}, "a negative X": {Public: point(p256, new(big.Int).Neg(g.Gx), g.Gy)},
		"X beyond the field": {Public: point(p256, new(big.Int).Add(g.Gx, g.P), g.Gy)}, "P-224": {Public: point(elliptic.P224(), elliptic.P224().Params().Gx, elliptic.P224().Params().Gy)},
		"Ed25519 of 31 bytes": {Public: make(ed25519.PublicKey, 31)}, "Ed25519 of 33 bytes": {Public: make(ed25519.PublicKey, 33)}, "no Ed25519": {Public: ed25519.PublicKey(nil)}, "a private Ed25519": {Public: ed25519.NewKeyFromSeed(make([]byte, 32))},
		"a secret of 31 bytes": {Public: make([]byte, 31)}, "no secret": {Public: []byte{}}, "a secret too short for its algorithm": {Algorithm: "HS512", Public: make([]byte, 63)},
		"a secret for another algorithm": {Algorithm: "RS256", Public: make([]byte, 64)}, "an algorithm that is not known": {Algorithm: "none", Public: make([]byte, 64)}, "a long ID": {ID: strings.Repeat("x", 257), Public: make([]byte, 64)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := key.Validate(); err == nil {
				t.Error("it is valid")
			}
		})
	}
}

func TestKeyEqual(t *testing.T) {
	t.Parallel()
	all := keys(t)
	for name, k := range all {
		for other, o := range all {
			if k.key.Equal(&o.key) != (name == other) {
				t.Errorf("%s and %s: %v", name, other, k.key.Equal(&o.key))
			}
		}
		for what, o := range map[string]jose.Key{"ID": {ID: "x", Public: k.key.Public}, "algorithm": {Algorithm: k.fits[0], Public: k.key.Public}, "material": {}} {
			if o.ID == "" {
				o.ID = k.key.ID
			}
			if k.key.Equal(&o) || o.Equal(&k.key) {
				t.Errorf("%s equals one with another %s", name, what)
			}
		}
		if same := k.key; !k.key.Equal(&same) || k.key.Equal(nil) || (*jose.Key)(nil).Equal(&k.key) {
			t.Errorf("%s: a copy, or nil", name)
		}
	}
	if one, other := (jose.Key{Public: make([]byte, 32)}), (jose.Key{Public: append(make([]byte, 31), 1)}); one.Equal(&other) {
		t.Error("secrets of one length are equal")
	}
	if !(*jose.Key)(nil).Equal(nil) || (&jose.Key{}).Equal(&jose.Key{}) {
		t.Error("nil equals nil; keys of nothing are no keys")
	}
}
