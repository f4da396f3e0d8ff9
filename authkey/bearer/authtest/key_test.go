package authtest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func TestJWK(t *testing.T) {
	t.Parallel()
	members := map[string]string{"RS": "alg e kid kty n use", "PS": "alg e kid kty n use", "ES": "alg crv kid kty use x y", "Ed": "alg crv kid kty use x", "HS": "alg k kid kty use"}
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			issuer := authtest.NewIssuer(t)
			key := issuer.AddKey(alg, "k")
			jwk := keySet(t, issuer)["k"]
			if got := strings.Join(slices.Sorted(maps.Keys(jwk)), " "); got != members[alg[:2]] {
				t.Errorf("members %q, want %q", got, members[alg[:2]])
			}
			if jwk["alg"] != alg || jwk["kid"] != "k" || jwk["use"] != "sig" {
				t.Errorf("jwk %v", jwk)
			}
			if !reflect.DeepEqual(publicKey(t, jwk), key.Public()) {
				t.Errorf("the published key is %v, want %v", publicKey(t, jwk), key.Public())
			}
		})
	}
}

// The keys and what comes of them are those of the RFCs.
func TestVectors(t *testing.T) {
	t.Parallel()
	ed := ed25519.NewKeyFromSeed(decode(t, "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))
	n := "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	ec := publicKey(t, map[string]any{"kty": "EC", "crv": "P-256", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}).(*ecdsa.PublicKey)
	for _, c := range []struct {
		name    string
		private any
		want    string
	}{
		{"RFC 7638, section 3.1", &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).SetBytes(decode(t, n)), E: 65537}}, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{"RFC 8037, appendix A.3", ed, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
		{"RFC 9449, section 6.1", &ecdsa.PrivateKey{PublicKey: *ec}, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (&authtest.Key{Alg: "any", ID: "any", Private: c.private}).Thumbprint(); got != c.want {
				t.Errorf("thumbprint %q, want %q", got, c.want)
			}
		})
	}
	t.Run("RFC 8037, appendix A.4", func(t *testing.T) {
		token := authtest.NewIssuer(t).Sign([]byte(`{"alg":"EdDSA"}`), []byte("Example of Ed25519 signing"), &authtest.Key{Alg: "EdDSA", Private: ed})
		want := "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
		if token != want {
			t.Errorf("token %q, want %q", token, want)
		}
	})
}

func TestSaltIsAsLongAsTheHash(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	for alg, hash := range map[string]crypto.Hash{"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512} {
		key := authtest.NewKey(t, alg, "")
		for salt, strict := range map[int]bool{0: true, hash.Size(): true, 10: false} {
			key.Salt = salt
			token := issuer.Sign(nil, nil, key)
			_, encoded, _ := strings.Cut(token[1:], ".")
			signature, h := decode(t, encoded), hash.New()
			h.Write([]byte("."))
			public := key.Public().(*rsa.PublicKey)
			if err := rsa.VerifyPSS(public, hash, h.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); (err == nil) != strict {
				t.Errorf("%s, salt %d, as RFC 7518 asks: %v", alg, salt, err)
			}
			if err := rsa.VerifyPSS(public, hash, h.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}); err != nil {
				t.Errorf("%s, salt %d, of any length: %v", alg, salt, err)
			}
		}
	}
}

func TestOddKeysSign(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	verifies := func(method jwt.SigningMethod, key *authtest.Key) {
		t.Helper()
		token := issuer.MintWith(nil, nil, key)
		dot := strings.LastIndexByte(token, '.')
		if err := method.Verify(token[:dot], decode(t, token[dot+1:]), key.Public()); err != nil {
			t.Errorf("%s with a %T: %v", key.Alg, key.Private, err)
		}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	verifies(jwt.SigningMethodRS256, &authtest.Key{Alg: "RS256", Private: small})

	der, err := x509.MarshalPKIXPublicKey(&small.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	verifies(jwt.SigningMethodHS256, &authtest.Key{Alg: "HS256", Private: secret})
	verifies(jwt.SigningMethodHS256, &authtest.Key{Alg: "HS256", Private: []byte{}})

	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	odd := &authtest.Key{Alg: "ES256", Private: curve}
	token := issuer.Sign(nil, nil, odd)
	signature, sum := decode(t, token[2:]), sha256.Sum256([]byte("."))
	r, s := new(big.Int).SetBytes(signature[:48]), new(big.Int).SetBytes(signature[48:])
	if len(signature) != 96 || !ecdsa.Verify(&curve.PublicKey, sum[:], r, s) {
		t.Errorf("ES256 with P-384: a signature of %d bytes that does not verify", len(signature))
	}
	if crv := odd.JWK()["crv"]; crv != "P-384" {
		t.Errorf("its curve is %v", crv)
	}
}

func TestNewKeyOfNoAlgorithm(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"", "rs256", "RS128", "ES256K"} {
		ends(t, `NewKey: "`+alg+`": no such algorithm`, func(t testing.TB) { authtest.NewKey(t, alg, "") })
	}
}

// Tests that run at the same time must not find that each other's keys verify their tokens; but RSA keys are slow to
// make, so the next test takes what one has left.
func TestRSAKeysAreNobodyElses(t *testing.T) {
	seen := map[*rsa.PrivateKey]string{}
	take := func(t testing.TB, name string) *rsa.PrivateKey {
		t.Helper()
		key := authtest.NewKey(t, "RS256", "").Private.(*rsa.PrivateKey)
		if holder, ok := seen[key]; ok {
			t.Fatalf("%s was given the key of %s", name, holder)
		}
		seen[key] = name
		return key
	}
	take(t, "the test")
	take(t, "the test, again")
	var left *rsa.PrivateKey
	t.Run("within", func(t *testing.T) { left = take(t, "a test within") })
	delete(seen, left)
	if again := take(t, "the test, later"); again != left {
		t.Error("a key that was left was not taken")
	}
	take(t, "the test, last")
}

func TestKeySet(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	has := func(what string, want ...string) {
		t.Helper()
		if got := kids(t, issuer); !slices.Equal(got, want) {
			t.Errorf("%s: keys %q, want %q", what, got, want)
		}
	}
	first := issuer.Key()
	has("at first", "key-1")
	if first.Alg != "ES256" {
		t.Errorf("the first key is for %s", first.Alg)
	}
	issuer.AddKey("EdDSA", "added")
	has("after AddKey", "added", "key-1")
	if issuer.Key() != first {
		t.Error("AddKey has Mint sign with another key")
	}
	second, old := issuer.Rotate("RS256"), issuer.MintWith(nil, nil, first)
	has("after Rotate", "added", "key-1", "key-2")
	if issuer.Key() != second || second.Alg != "RS256" || second.ID != "key-2" {
		t.Errorf("Mint signs with %q for %s", issuer.Key().ID, issuer.Key().Alg)
	}
	if _, err := verify(t, issuer, old); err != nil {
		t.Errorf("a token of the former key: %v", err)
	}
	issuer.Remove("key-1")
	has("after Remove", "added", "key-2")
	if _, err := verify(t, issuer, issuer.MintWith(nil, nil, first)); err == nil {
		t.Error("a token of a removed key verifies")
	}
	issuer.Publish(first)
	has("after Publish", "added", "key-1", "key-2")
	issuer.PublishJWK(`{"kty":"odd","kid":"odd"}`)
	has("after PublishJWK", "added", "key-1", "key-2", "odd")
	issuer.Remove("odd")
	has("after all", "added", "key-1", "key-2")
}

func TestKeySetTakesWhatIsOdd(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	twin := authtest.NewKey(t, "ES256", "key-1")
	issuer.Publish(twin)
	keys := get(t.Context(), issuer, issuer.EndpointURL(authtest.EndpointKeys)).object(t, 200)["keys"].([]any)
	if len(keys) != 2 || keys[0].(map[string]any)["kid"] != "key-1" || keys[1].(map[string]any)["kid"] != "key-1" {
		t.Errorf("keys %v, want two of one name", keys)
	}
	issuer.Remove("key-1")
	if left := kids(t, issuer); len(left) != 0 {
		t.Errorf("after Remove: %q", left)
	}
	issuer.PublishJWK("no JSON")
	if body := string(get(t.Context(), issuer, issuer.EndpointURL(authtest.EndpointKeys)).body); body != `{"keys":[no JSON]}` {
		t.Errorf("body %q", body)
	}
	ends(t, `Remove: no key "key-9" is published`, func(t testing.TB) { authtest.NewIssuer(t).Remove("key-9") })
}
