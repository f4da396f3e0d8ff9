package bearer_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// signature takes the signature of a token, and returns that and what it is of.
func signature(t *testing.T, token string) (of string, value []byte) {
	t.Helper()
	cut := strings.LastIndexByte(token, '.')
	value, err := base64.RawURLEncoding.DecodeString(token[cut+1:])
	if err != nil {
		t.Fatal(err)
	}
	return token[:cut], value
}

func TestRefusesECDSAVariants(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	token := g.Mint(nil)
	of, value := signature(t, token)
	order := g.Key().Public().(*ecdsa.PublicKey).Params().N
	r, s := new(big.Int).SetBytes(value[:32]), new(big.Int).SetBytes(value[32:])
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	pair := func(r, s *big.Int) string {
		return of + "." + base64url(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
	zero, one, most := big.NewInt(0), big.NewInt(1), new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	signed := func(value []byte) string { return of + "." + base64url(value) }
	g.run(t, []row{
		{"#21 as it was signed", token, nil, 1},
		{"#21 r and s zero", pair(zero, zero), authkey.ErrUnknown, 1},
		{"#21 r zero", pair(zero, s), authkey.ErrUnknown, 1},
		{"#21 s zero", pair(r, zero), authkey.ErrUnknown, 1},
		{"#21 r and s one", pair(one, one), authkey.ErrUnknown, 1},
		{"#21 r the order", pair(order, s), authkey.ErrUnknown, 1},
		{"#21 s the order", pair(r, order), authkey.ErrUnknown, 1},
		{"#21 r and s all ones", pair(most, most), authkey.ErrUnknown, 1},
		{"#21 r and s changed for each other", pair(s, r), authkey.ErrUnknown, 1},
		{"#21 of DER", signed(der), authkey.ErrUnknown, 1},
		{"#21 a byte short", signed(value[:63]), authkey.ErrUnknown, 1},
		{"#21 a byte longer", signed(append(slices.Clone(value), 0)), authkey.ErrUnknown, 1},
		{"#21 with zeros before", signed(append([]byte{0, 0}, value...)), authkey.ErrUnknown, 1},
		{"#21 a zero before each", signed(slices.Concat([]byte{0}, value[:32], []byte{0}, value[32:])), authkey.ErrUnknown, 1},
		{"#21 of nothing", signed(nil), authkey.ErrUnknown, 1},
	})
}

func TestRefusesRSAVariants(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	rs, ps := g.AddKey("RS256", "rs"), g.AddKey("PS256", "ps")
	g.keys.become(keySet(t, g.Key(), rs, ps), nil)
	salted := func(salt int) string {
		return g.MintWith(nil, nil, &authtest.Key{Alg: "PS256", ID: "ps", Private: ps.Private, Salt: salt})
	}
	private := rs.Private.(*rsa.PrivateKey)
	token := g.MintWith(nil, nil, rs)
	of, value := signature(t, token)
	size := private.Size()
	padded := pkcs1(of, size)
	changed := func(change func(padded []byte) []byte) string {
		return of + "." + base64url(raw(private, change(slices.Clone(padded))))
	}
	at := func(n int, b byte) func([]byte) []byte {
		return func(padded []byte) []byte { padded[n] = b; return padded }
	}
	information := len(prefix) + sha256.Size
	sum := sha256.Sum256([]byte(of))
	moved := func(information []byte, after int) []byte { // with bytes after it, and less padding before
		short := slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, size-3-len(information)-after), []byte{0}, information)
		return append(short, make([]byte, after)...)
	}
	withoutNull := slices.Concat([]byte{0x30, 0x2f, 0x30, 0x0b}, prefix[4:15], []byte{0x04, 0x20}, sum[:])
	beyond := new(big.Int).Add(new(big.Int).SetBytes(value), private.N)
	g.run(t, []row{
		{"#22 PS256 with a salt of 32 bytes", salted(32), nil, 1},
		{"#22 PS256 with a salt of 10", salted(10), authkey.ErrUnknown, 1},
		{"#22 PS256 with a salt of 64", salted(64), authkey.ErrUnknown, 1},
		{"#23 as it was signed", token, nil, 1},
		{"#23 as it was signed, by hand", changed(func(padded []byte) []byte { return padded }), nil, 1},
		{"#23 another first byte", changed(at(0, 1)), authkey.ErrUnknown, 1},
		{"#23 of block type 2", changed(at(1, 2)), authkey.ErrUnknown, 1},
		{"#23 of block type 0", changed(at(1, 0)), authkey.ErrUnknown, 1},
		{"#23 padding of another byte", changed(at(9, 0xfe)), authkey.ErrUnknown, 1},
		{"#23 padding that ends early", changed(at(9, 0)), authkey.ErrUnknown, 1},
		{"#23 another end of the padding", changed(at(size-information-1, 0xff)), authkey.ErrUnknown, 1},
		{"#23 another hash by name", changed(at(size-information+14, 2)), authkey.ErrUnknown, 1},
		{"#23 bytes after the hash", changed(func([]byte) []byte { return moved(padded[size-information:], 16) }), authkey.ErrUnknown, 1},
		{"#23 without the NULL of the hash's name", changed(func([]byte) []byte { return moved(withoutNull, 0) }), authkey.ErrUnknown, 1},
		{"#23 the hash alone", changed(func([]byte) []byte { return moved(sum[:], 0) }), authkey.ErrUnknown, 1},
		{"#23 more than the modulus", of + "." + base64url(beyond.FillBytes(make([]byte, size+1))), authkey.ErrUnknown, 1},
		{"#23 a zero before", of + "." + base64url(append([]byte{0}, value...)), authkey.ErrUnknown, 1},
		{"#23 of PSS", g.MintWith(map[string]any{"alg": "RS256", "kid": "rs"}, nil, &authtest.Key{Alg: "PS256", Private: private}), authkey.ErrUnknown, 1},
		{"#23 zeros", of + "." + base64url(make([]byte, size)), authkey.ErrUnknown, 1},
		{"#23 one", of + "." + base64url(append(make([]byte, size-1), 1)), authkey.ErrUnknown, 1},
	})
}

// prefix is what comes before a SHA-256 in a signature of PKCS #1 (RFC 8017, section 9.2).
var prefix = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

// pkcs1 is what RS256 raises to the private exponent.
func pkcs1(signed string, size int) []byte {
	sum := sha256.Sum256([]byte(signed))
	information := append(slices.Clone(prefix), sum[:]...)
	return slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, size-3-len(information)), []byte{0}, information)
}

func TestTakesEachAlgorithm(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519", "RS384", "RS512", "PS384", "PS512", "ES512"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, func(i *bearer.Issuer) { i.Algorithms = []string{alg} })
			key := g.Rotate(alg)
			g.keys.become(keySet(t, key), nil)
			judge(t, g.verifier, g.Mint(nil), nil, nil)
			if g.keys.last != (bearer.Header{KeyID: key.ID, Algorithm: alg}) {
				t.Errorf("the source was asked for %+v", g.keys.last)
			}
			other := authtest.NewKey(t, alg, key.ID)
			judge(t, g.verifier, g.MintWith(nil, nil, other), nil, authkey.ErrUnknown)
		})
	}
	for _, alg := range []string{"HS256", "HS384", "HS512"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			key := authtest.NewKey(t, alg, "shared")
			set, err := bearer.NewKeySet(bearer.Key{ID: "shared", Algorithm: alg, Public: key.Public()})
			if err != nil {
				t.Fatal(err)
			}
			g := newGate(t, func(i *bearer.Issuer) { i.Algorithms, i.Keys = []string{alg}, set })
			judge(t, g.verifier, g.MintWith(nil, nil, key), nil, nil)
			judge(t, g.verifier, g.MintWith(nil, nil, authtest.NewKey(t, alg, "shared")), nil, authkey.ErrUnknown)
		})
	}
	t.Run("#85 alg Ed25519, and the key's alg is EdDSA", func(t *testing.T) {
		t.Parallel()
		g := newGate(t, nil)
		key := authtest.NewKey(t, "EdDSA", "ed")
		g.keys.become(keySet(t, key), nil)
		judge(t, g.verifier, g.MintWith(map[string]any{"alg": "Ed25519"}, nil, key), nil, nil)
		judge(t, g.verifier, g.MintWith(nil, nil, key), nil, nil)
	})
}
