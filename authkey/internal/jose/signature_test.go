package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"math/big"
	"slices"
	"sync"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

const message = "eyJhbGciOiJ4In0.e30"

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func ownRSA(t *testing.T) (*rsa.PrivateKey, jose.Key) {
	t.Helper()
	private, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	return private, jose.Key{Public: &private.PublicKey}
}

// refuses tries signatures that look like good ones.
func refuses(t *testing.T, key jose.Key, alg string, signatures map[string][]byte) {
	t.Helper()
	for name, signature := range signatures {
		if key.Verify(alg, message, signature) == nil {
			t.Errorf("%s: %s verifies", alg, name)
		}
	}
}

// RFC 7518, section 3.5: the salt is as long as the hash.
func TestPSSSalt(t *testing.T) {
	t.Parallel()
	private, key := ownRSA(t)
	for alg, hash := range map[string]crypto.Hash{"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512} {
		h := hash.New()
		h.Write([]byte(message))
		for _, salt := range []int{1, 10, 20, 32, 48, 64, 100, private.Size() - hash.Size() - 2} {
			signature, err := rsa.SignPSS(rand.Reader, private, hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
			if err != nil {
				t.Fatal(err)
			}
			if err := key.Verify(alg, message, signature); (err == nil) != (salt == hash.Size()) {
				t.Errorf("%s with a salt of %d bytes: %v", alg, salt, err)
			}
			if key.Verify("RS"+alg[2:], message, signature) == nil {
				t.Errorf("%s verifies as RS", alg)
			}
		}
	}
}

// The DigestInfo of SHA-256 (RFC 8017, section 9.2).
var digestInfo = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

// Whoever reads the padding of PKCS #1 instead of making it anew and comparing takes some of these.
func TestPKCS1Padding(t *testing.T) {
	t.Parallel()
	private, key := ownRSA(t)
	sum := sha256.Sum256([]byte(message))
	// raw signs an encoded message as it is.
	raw := func(encoded []byte) []byte {
		m := new(big.Int).SetBytes(encoded)
		return m.Exp(m, private.D, private.N).FillBytes(make([]byte, private.Size()))
	}
	pad := func(first, second, fill byte, parts ...[]byte) []byte {
		tail := slices.Concat(parts...)
		return slices.Concat([]byte{first, second}, slices.Repeat([]byte{fill}, private.Size()-3-len(tail)), []byte{0}, tail)
	}
	good := raw(pad(0, 1, 0xff, digestInfo, sum[:]))
	if err := key.Verify("RS256", message, good); err != nil {
		t.Fatal(err)
	}
	changed := func(at int, to ...byte) []byte {
		return slices.Replace(slices.Clone(digestInfo), at, at+len(to), to...)
	}
	without := slices.Concat([]byte{0x30, 0x2f, 0x30, 0x0b}, digestInfo[4:15], digestInfo[17:]) // no NULL
	long := slices.Concat([]byte{0x30, 0x81, 0x31}, digestInfo[2:])                             // a length in two bytes
	garbage := slices.Concat([]byte{0, 1}, slices.Repeat([]byte{0xff}, 8), []byte{0}, digestInfo, sum[:])
	sha512Sum := sha512.Sum512([]byte(message))
	signature, err := rsa.SignPKCS1v15(nil, private, crypto.SHA512, sha512Sum[:])
	if err != nil {
		t.Fatal(err)
	}
	n := private.N.FillBytes(make([]byte, private.Size()))
	refuses(t, key, "RS256", map[string][]byte{
		"nothing": nil, "zero": make([]byte, private.Size()), "one": append(make([]byte, private.Size()-1), 1), "the modulus": n,
		"one less than the modulus":          new(big.Int).Sub(private.N, big.NewInt(1)).FillBytes(make([]byte, private.Size())),
		"one more byte before":               append([]byte{0}, good...),
		"one more byte after":                append(slices.Clone(good), 0),
		"one byte less":                      good[1:],
		"the sum with the modulus":           new(big.Int).Add(new(big.Int).SetBytes(good), private.N).Bytes(),
		"the hash alone":                     raw(sum[:]),
		"padding and a hash":                 raw(pad(0, 1, 0xff, sum[:])),
		"block type 0":                       raw(pad(0, 0, 0, digestInfo, sum[:])),
		"block type 2":                       raw(pad(0, 2, 0xff, digestInfo, sum[:])),
		"padding of zeros":                   raw(pad(0, 1, 0, digestInfo, sum[:])),
		"padding of 0xfe":                    raw(pad(0, 1, 0xfe, digestInfo, sum[:])),
		"8 bytes of padding, garbage behind": raw(append(garbage, slices.Repeat([]byte{7}, private.Size()-len(garbage))...)),
		"no separator":                       raw(slices.Concat([]byte{0, 1}, slices.Repeat([]byte{0xff}, private.Size()-2-len(digestInfo)-32), digestInfo, sum[:])),
		"no NULL":                            raw(pad(0, 1, 0xff, without, sum[:])),
		"a length in two bytes":              raw(pad(0, 1, 0xff, long, sum[:])),
		"SHA-384 for the name":               raw(pad(0, 1, 0xff, changed(14, 2), sum[:])),
		"another tag":                        raw(pad(0, 1, 0xff, changed(15, 0x04), sum[:])),
		"a short hash":                       raw(pad(0, 1, 0xff, digestInfo, sum[:31])),
		"a byte behind the hash":             raw(pad(0, 1, 0xff, digestInfo, sum[:], []byte{0})),
		"another hash":                       signature,
	})
	if err := key.Verify("RS512", message, signature); err != nil {
		t.Errorf("which is good for RS512: %v", err)
	}
	refuses(t, key, "PS256", map[string][]byte{"PKCS #1": good, "nothing": nil})
}

func TestECDSASignature(t *testing.T) {
	t.Parallel()
	sum256, sum384, sum512 := sha256.Sum256([]byte(message)), sha512.Sum384([]byte(message)), sha512.Sum512([]byte(message))
	for _, tt := range []struct {
		alg    string
		curve  elliptic.Curve
		digest []byte
	}{{"ES256", elliptic.P256(), sum256[:]}, {"ES384", elliptic.P384(), sum384[:]}, {"ES512", elliptic.P521(), sum512[:]}} {
		t.Run(tt.alg, func(t *testing.T) {
			t.Parallel()
			private, err := ecdsa.GenerateKey(tt.curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			r, s, err := ecdsa.Sign(rand.Reader, private, tt.digest)
			if err != nil {
				t.Fatal(err)
			}
			key, n, size := jose.Key{Public: &private.PublicKey}, tt.curve.Params().N, (tt.curve.Params().BitSize+7)/8
			half := func(x *big.Int) []byte { return x.FillBytes(make([]byte, size)) }
			whole := func(r, s *big.Int) []byte { return append(half(r), half(s)...) }
			if err := key.Verify(tt.alg, message, whole(r, s)); err != nil {
				t.Fatal(err)
			}
			der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
			if err != nil {
				t.Fatal(err)
			}
			zero, one, most := new(big.Int), big.NewInt(1), new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(8*size)), big.NewInt(1))
			refused := map[string][]byte{
				"nothing": nil, "DER": der, "zeros": whole(zero, zero), "r zero": whole(zero, s), "s zero": whole(r, zero), "ones": whole(one, one),
				"r as great as the order": whole(n, s), "s as great as the order": whole(r, n), "both": whole(n, n), "all bits": whole(most, most), "swapped": whole(s, r),
				"a byte less": whole(r, s)[:2*size-1], "a byte more": append(whole(r, s), 0), "a byte more before": append([]byte{0}, whole(r, s)...), "r alone": half(r),
				"a byte more in each": slices.Concat([]byte{0}, half(r), []byte{0}, half(s)), "a byte less in each": slices.Concat(half(r)[1:], half(s)[1:]),
				"r less the order": whole(new(big.Int).Sub(n, r), s),
			}
			if sum := new(big.Int).Add(s, n); sum.BitLen() <= 8*size { // as always for P-521
				refused["s and the order"] = whole(r, sum)
			}
			if sum := new(big.Int).Add(r, n); sum.BitLen() <= 8*size {
				refused["r and the order"] = whole(sum, s)
			}
			refuses(t, key, tt.alg, refused)
			for _, other := range []string{"ES256", "ES384", "ES512", "EdDSA", "HS256"} {
				if other != tt.alg && key.Verify(other, message, whole(r, s)) == nil {
					t.Errorf("it verifies as %s", other)
				}
			}
		})
	}
}

func TestEdDSASignature(t *testing.T) {
	t.Parallel()
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	key, good := jose.Key{Public: private.Public()}, ed25519.Sign(private, []byte(message))
	for _, alg := range []string{"EdDSA", "Ed25519"} {
		for _, only := range []string{"", "EdDSA", "Ed25519"} {
			bound := jose.Key{Algorithm: only, Public: key.Public}
			if err := bound.Verify(alg, message, good); err != nil {
				t.Errorf("%s by a key for %q: %v", alg, only, err)
			}
		}
		// S and the order of the group, little-endian: the same point, as another number.
		order, ok := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
		if !ok {
			t.Fatal("the order")
		}
		s := slices.Clone(good[32:])
		slices.Reverse(s)
		s = order.Add(order, new(big.Int).SetBytes(s)).FillBytes(make([]byte, 32))
		slices.Reverse(s)
		prehashed, err := private.Sign(nil, make([]byte, 64), crypto.SHA512)
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, key, alg, map[string][]byte{
			"nothing": nil, "zeros": make([]byte, 64), "R alone": good[:32], "a byte less": good[:63], "a byte more": append(slices.Clone(good), 0), "swapped": slices.Concat(good[32:], good[:32]),
			"S and the order": slices.Concat(good[:32], s), "another message": ed25519.Sign(private, []byte(message+"x")), "Ed25519ph": prehashed,
			"another key": ed25519.Sign(ed25519.NewKeyFromSeed(append(make([]byte, 31), 1)), []byte(message)),
		})
	}
}

func TestHMACSignature(t *testing.T) {
	t.Parallel()
	secret := slices.Repeat([]byte("0123456789abcdef"), 4)
	for alg, hash := range map[string]crypto.Hash{"HS256": crypto.SHA256, "HS384": crypto.SHA384, "HS512": crypto.SHA512} {
		sign := func(secret []byte) []byte {
			h := hmac.New(hash.New, secret)
			h.Write([]byte(message))
			return h.Sum(nil)
		}
		key, good := jose.Key{Public: secret}, sign(secret)
		if err := key.Verify(alg, message, good); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		refuses(t, key, alg, map[string][]byte{
			"nothing": nil, "zeros": make([]byte, hash.Size()), "half": good[:hash.Size()/2], "a byte less": good[:hash.Size()-1], "a byte more": append(slices.Clone(good), 0),
			"no secret": sign(nil), "another secret": sign(secret[:63]),
		})
		if key := (jose.Key{Public: secret[:hash.Size()-1]}); key.Verify(alg, message, sign(secret[:hash.Size()-1])) == nil {
			t.Errorf("%s: a secret that is too short verifies", alg)
		}
	}
}
