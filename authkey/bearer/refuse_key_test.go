package bearer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// The numbers are those of the list in rows_test.go.

func TestRefusesAlgorithms(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	rsaKey := g.AddKey("RS256", "rsa")
	set := keySet(t, g.Key(), rsaKey)
	g.keys.become(set, nil)
	der, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	ec, err := g.Key().Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	confused := func(secret []byte) string {
		return g.MintWith(nil, nil, &authtest.Key{Alg: "HS256", ID: "rsa", Private: secret})
	}
	as := func(alg string, key *authtest.Key) string {
		return g.MintWith(nil, nil, &authtest.Key{Alg: alg, ID: key.ID, Private: key.Private})
	}
	none := &authtest.Key{Alg: "none", ID: g.Key().ID}
	g.run(t, []row{
		{"#01 alg none, without a signature", g.MintWith(nil, nil, none), authkey.ErrMalformed, 0},
		{"#01 alg none, with one", g.MintWith(map[string]any{"alg": "none"}, nil, nil), authkey.ErrMalformed, 0},
		{"#01 alg None", g.MintWith(map[string]any{"alg": "None"}, nil, none), authkey.ErrMalformed, 0},
		{"#01 alg NONE", g.MintWith(map[string]any{"alg": "NONE"}, nil, none), authkey.ErrMalformed, 0},
		{"#01 alg empty", g.MintWith(map[string]any{"alg": ""}, nil, none), authkey.ErrMalformed, 0},
		{"#01 alg absent", g.MintWith(map[string]any{"alg": authtest.Absent}, nil, none), authkey.ErrMalformed, 0},
		{"#01 alg of a good key, without a signature", with(g.Mint(nil), 2, ""), authkey.ErrUnknown, 1},
		{"#02 HS256 with a public key as the secret: DER", confused(der), authkey.ErrMalformed, 0},
		{"#02 HS256: PEM", confused(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), authkey.ErrMalformed, 0},
		{"#02 HS256: the modulus", confused(rsaKey.Public().(*rsa.PublicKey).N.Bytes()), authkey.ErrMalformed, 0},
		{"#02 HS256: the point", confused(ec), authkey.ErrMalformed, 0},
		{"#03 RS512, which is not in the issuer's list", as("RS512", rsaKey), authkey.ErrMalformed, 0},
		{"#03 alg in another case", g.MintWith(map[string]any{"alg": "es256"}, nil, nil), authkey.ErrMalformed, 0},
		{"#04 PS256, and the key's alg is RS256", as("PS256", rsaKey), authkey.ErrUnknown, 1},
		{"#04 RS256, and the key's alg is that", as("RS256", rsaKey), nil, 1},
	})
	t.Run("#03 RS256, where the issuer has ES256 alone", func(t *testing.T) {
		config := g.config
		config.Algorithms = []string{"ES256"}
		v := newVerifier(t, g.clock, []bearer.Issuer{config})
		judge(t, v, as("RS256", rsaKey), nil, authkey.ErrMalformed)
		judge(t, v, g.Mint(nil), nil, nil)
	})
}

func TestRefusesKeysThatATokenBrings(t *testing.T) {
	t.Parallel()
	g, evil := newGate(t, nil), authtest.NewIssuer(t)
	attacker := authtest.NewKey(t, "ES256", g.Key().ID)
	certificate := authtest.NewCertificate(t)
	brings := func(header map[string]any) string { return g.MintWith(header, nil, attacker) }
	g.run(t, []row{
		{"#05 jwk of the attacker", brings(map[string]any{"jwk": attacker.JWK()}), authkey.ErrMalformed, 0},
		{"#05 jwk of the issuer's own key", g.MintWith(map[string]any{"jwk": g.Key().JWK()}, nil, nil), authkey.ErrMalformed, 0},
		{"#06 jku", brings(map[string]any{"jku": evil.EndpointURL(authtest.EndpointKeys)}), authkey.ErrMalformed, 0},
		{"#06 x5u", brings(map[string]any{"x5u": evil.EndpointURL(authtest.EndpointKeys)}), authkey.ErrMalformed, 0},
		{"#06 jku null", brings(map[string]any{"jku": nil}), authkey.ErrMalformed, 0},
		{"#07 x5c", brings(map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(certificate.Leaf.Raw)}}), authkey.ErrMalformed, 0},
		{"#07 x5c in another case", brings(map[string]any{"X5C": []string{}}), authkey.ErrMalformed, 0},
	})
	if evil.Hits() != 0 || g.Hits() != 0 {
		t.Errorf("#06 %d requests to the attacker and %d to the issuer, want none", evil.Hits(), g.Hits())
	}
}

func TestRefusesKeyIDs(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	other := authtest.NewIssuer(t, authtest.WithClock(g.clock.Now))
	foreign := other.AddKey("ES256", "theirs")
	others := bearer.Issuer{URL: other.URL(), Audiences: []string{authtest.Audience}, Keys: keySet(t, other.Key(), foreign), Org: "other"}
	g.verifier = newVerifier(t, g.clock, []bearer.Issuer{g.config, others})
	id := func(kid any) string { return g.MintWith(map[string]any{"kid": kid}, nil, nil) }
	g.run(t, []row{
		{"#08 kid that is a path", id("../../../../dev/null"), authkey.ErrUnknown, 1},
		{"#08 kid that is SQL", id("x' UNION SELECT 'secret"), authkey.ErrUnknown, 1},
		{"#08 kid with NUL", id(g.Key().ID + "\x00"), authkey.ErrMalformed, 0},
		{"#08 kid with a line break", id("key\r\n"), authkey.ErrMalformed, 0},
		{"#08 kid of 257 bytes", id(strings.Repeat("k", 257)), authkey.ErrMalformed, 0},
		{"#08 kid of 10 KB", id(strings.Repeat("k", 10<<10)), authkey.ErrMalformed, 0},
		{"#09 kid and signature of another issuer's key", g.MintWith(nil, nil, foreign), authkey.ErrUnknown, 1},
		{"#09 kid that two issuers have, signed by the other", g.MintWith(nil, nil, other.Key()), authkey.ErrUnknown, 1},
		{"#10 kid a number", id(1), authkey.ErrMalformed, 0},
		{"#10 kid null", id(nil), authkey.ErrMalformed, 0},
		{"#10 kid a list", id([]string{g.Key().ID}), authkey.ErrMalformed, 0},
		{"#10 kid an object", id(map[string]any{}), authkey.ErrMalformed, 0},
		{"#10 kid true", id(true), authkey.ErrMalformed, 0},
		{"#10 kid empty", id(""), authkey.ErrMalformed, 0},
		{"#12 no kid, one key that fits", id(authtest.Absent), nil, 1},
	})
}

func TestRefusesWhatSetsHave(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	own, twin := g.Key(), authtest.NewKey(t, "ES256", g.Key().ID)
	second, rsaKey := authtest.NewKey(t, "ES256", "second"), authtest.NewKey(t, "RS256", "rsa")
	edited := func(key *authtest.Key, change map[string]any) map[string]any {
		jwk := key.JWK()
		for name, value := range change {
			if jwk[name] = value; value == nil {
				delete(jwk, name)
			}
		}
		return jwk
	}
	nameless := func(key *authtest.Key) *authtest.Key { return &authtest.Key{Alg: key.Alg, Private: key.Private} }
	secret := authtest.NewKey(t, "HS256", "secret")
	for name, r := range map[string]struct {
		set  *bearer.KeySet
		key  *authtest.Key
		want error
	}{
		"#11 no kid, two keys that fit":                 {keySet(t, own, second), nameless(own), authkey.ErrUnknown},
		"#11 no kid, two keys that fit, by the second":  {keySet(t, own, second), nameless(second), authkey.ErrUnknown},
		"#11 no kid, two keys that fit and have none":   {keySet(t, nameless(own), nameless(second)), nameless(own), authkey.ErrUnknown},
		"#12 no kid, one that fits beside another kind": {keySet(t, own, rsaKey), nameless(own), nil},
		"#13 kid that is there twice":                   {keySet(t, own, twin), own, authkey.ErrUnknown},
		"#13 kid that is there twice, the second":       {keySet(t, own, twin), twin, authkey.ErrUnknown},
		"#13 kid that is there twice, once without alg": {keySetOf(t, own.JWK(), edited(twin, map[string]any{"alg": nil})), own, authkey.ErrUnknown},
		"#14 use is enc":                               {keySetOf(t, second.JWK(), edited(own, map[string]any{"use": "enc"})), own, authkey.ErrUnknown},
		"#14 key_ops without verify":                   {keySetOf(t, second.JWK(), edited(own, map[string]any{"key_ops": []string{"sign"}})), own, authkey.ErrUnknown},
		"#14 key_ops with verify":                      {keySetOf(t, second.JWK(), edited(own, map[string]any{"key_ops": []string{"verify"}})), own, nil},
		"#15 a set of oct and RSA, and HS256":          {keySet(t, own, rsaKey, secret), secret, authkey.ErrMalformed},
		"#15 a set of oct and RSA, and RS256":          {keySet(t, own, rsaKey, secret), rsaKey, nil},
		"#73 a kind that is not known, and a good one": {keySetOf(t, map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, own.JWK()), own, nil},
		"#73 a damaged one, and a good one":            {keySetOf(t, edited(rsaKey, map[string]any{"n": nil}), own.JWK()), own, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g.keys.become(r.set, nil)
			judge(t, g.verifier, g.MintWith(nil, nil, r.key), nil, r.want)
		})
	}
}

// weak are keys that no set takes, each with something that signs as they do.
func weak(t *testing.T) map[string]*authtest.Key {
	t.Helper()
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	long := authtest.NewKey(t, "RS256", "").Private.(*rsa.PrivateKey)
	exponent := func(e int) *rsa.PrivateKey {
		odd := *long
		odd.PublicKey.E = e
		return &odd
	}
	return map[string]*authtest.Key{
		"#16 RSA of 1024 bits":  {Alg: "RS256", ID: "weak", Private: short},
		"#17 exponent of 1":     {Alg: "RS256", ID: "weak", Private: exponent(1)},
		"#17 exponent of 3":     {Alg: "RS256", ID: "weak", Private: exponent(3)},
		"#17 exponent of 65538": {Alg: "RS256", ID: "weak", Private: exponent(65538)},
	}
}

func TestRefusesWeakKeys(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	for name, key := range weak(t) {
		t.Run(name, func(t *testing.T) {
			token := g.Mint(nil) // whoever signs: the key is not looked up to the end
			if signed, ok := signAs(g, key); ok {
				token = signed
			}
			set := keySet(t, g.Key(), key)
			if set.Len() != 1 || set.Skipped() != 1 {
				t.Errorf("a set of %d keys without %d, want 1 and 1", set.Len(), set.Skipped())
			}
			g.keys.become(set, nil)
			judge(t, g.verifier, with(token, 0, base64url(g.head(map[string]any{"alg": "RS256", "kid": "weak"}))), nil, authkey.ErrUnknown)
			if _, err := bearer.NewKeySet(bearer.Key{ID: "weak", Public: key.Public()}); !errors.Is(err, authkey.ErrInvalid) {
				t.Errorf("NewKeySet: %v", err)
			}
			config := g.config
			config.Keys = bearer.Keyfunc(func(*jwt.Token) (any, error) { return key.Public(), nil })
			judge(t, newVerifier(t, g.clock, []bearer.Issuer{config}), token, nil, authkey.ErrUnknown)
		})
	}
}

// signAs signs by a key that crypto/rsa may refuse to use.
func signAs(g *gate, key *authtest.Key) (token string, ok bool) {
	private := key.Private.(*rsa.PrivateKey)
	header, payload := g.head(map[string]any{"alg": "RS256", "kid": "weak"}), []byte(g.payload(nil))
	signed := base64url(header) + "." + base64url(payload)
	padded := pkcs1(signed, private.Size())
	switch {
	case private.E == 1: // whoever can pad can sign
		return signed + "." + base64url(padded), true
	case private.N.BitLen() == 1024:
		return signed + "." + base64url(raw(private, padded)), true
	}
	return "", false
}

// raw is RSA without padding.
func raw(private *rsa.PrivateKey, message []byte) []byte {
	return new(big.Int).Exp(new(big.Int).SetBytes(message), private.D, private.N).FillBytes(make([]byte, private.Size()))
}

func TestRefusesCurves(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(i *bearer.Issuer) { i.Algorithms = []string{"ES256", "ES384", "ES512"} })
	for name, r := range map[string]struct {
		alg   string
		curve elliptic.Curve
	}{
		"#19 ES256 by a key on P-384": {"ES256", elliptic.P384()},
		"#19 ES512 by a key on P-256": {"ES512", elliptic.P256()},
	} {
		t.Run(name, func(t *testing.T) {
			private, err := ecdsa.GenerateKey(r.curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			key := &authtest.Key{Alg: r.alg, ID: "odd", Private: private}
			jwk := key.JWK()
			delete(jwk, "alg")
			g.keys.become(keySetOf(t, jwk), nil)
			judge(t, g.verifier, g.MintWith(nil, nil, key), nil, authkey.ErrUnknown)
		})
	}
	t.Run("#20 a point that is not on its curve", func(t *testing.T) {
		jwk := g.Key().JWK()
		jwk["y"] = base64url(make([]byte, 32))
		document := encoded(map[string]any{"keys": []any{jwk}})
		if set, err := bearer.ParseKeySet(document); !errors.Is(err, authkey.ErrInvalid) {
			t.Errorf("a set of it alone: %v, %v", set, err)
		}
		good := authtest.NewKey(t, "ES256", "good")
		g.keys.become(keySetOf(t, jwk, good.JWK()), nil)
		judge(t, g.verifier, g.Mint(nil), nil, authkey.ErrUnknown)
		judge(t, g.verifier, g.MintWith(nil, nil, good), nil, nil)
	})
}
