package clientcred_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func edKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAssertion(t *testing.T) {
	t.Parallel()
	small := rsaKey(t, 2048)
	for name, row := range map[string]struct {
		as       clientcred.Assertion
		key      crypto.Signer
		audience string
	}{
		"RS256":          {as: clientcred.Assertion{KeyID: "k1", Algorithm: "RS256"}, key: small},
		"PS256":          {as: clientcred.Assertion{KeyID: "k1", Algorithm: "PS256"}, key: small},
		"ES256":          {as: clientcred.Assertion{KeyID: "k1", Algorithm: "ES256"}, key: ecKey(t, elliptic.P256())},
		"ES384":          {as: clientcred.Assertion{Algorithm: "ES384"}, key: ecKey(t, elliptic.P384())},
		"ES512":          {as: clientcred.Assertion{KeyID: "k1", Algorithm: "ES512"}, key: ecKey(t, elliptic.P521())},
		"EdDSA":          {as: clientcred.Assertion{KeyID: "k1", Algorithm: "EdDSA"}, key: edKey(t)},
		"for the issuer": {as: clientcred.Assertion{KeyID: "k1", Algorithm: "EdDSA", Audience: "https://login.example"}, key: edKey(t), audience: "https://login.example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			seen := map[string]bool{}
			source := serve(t, clientcred.PrivateKeyJWT(clientID, row.key, row.as), func(w http.ResponseWriter, r *http.Request) {
				if r.FormValue("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" ||
					r.FormValue("client_id") != clientID || r.PostForm.Has("client_secret") || r.Header.Get("Authorization") != "" {
					t.Errorf("form %v", r.PostForm)
				}
				audience := "http://" + r.Host + "/token?tenant=7"
				if row.audience != "" {
					audience = row.audience
				}
				id := judge(t, r.FormValue("client_assertion"), row.key, row.as, audience)
				mu.Lock()
				defer mu.Unlock()
				if seen[id] {
					t.Errorf("the assertion %q is there twice", id)
				}
				seen[id] = true
				writes(w, http.StatusOK, "application/json", `{"access_token":"token-1","token_type":"Bearer","expires_in":0}`)
			})
			wants(t, source, "token-1")
			wants(t, source, "token-1")
			mu.Lock()
			defer mu.Unlock()
			if len(seen) != 2 {
				t.Errorf("%d assertions, want one for each question", len(seen))
			}
		})
	}
}

// judge verifies an assertion as a server would and returns its jti.
func judge(t *testing.T, assertion string, key crypto.Signer, as clientcred.Assertion, audience string) string {
	t.Helper()
	claims := jwt.MapClaims{}
	token, err := jwt.NewParser(jwt.WithValidMethods([]string{as.Algorithm}), jwt.WithAudience(audience), jwt.WithIssuer(clientID),
		jwt.WithSubject(clientID), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(2*time.Second)).
		ParseWithClaims(assertion, claims, func(*jwt.Token) (any, error) { return key.Public(), nil })
	if err != nil {
		t.Errorf("the assertion is refused: %v", err)
		return ""
	}
	if kid, _ := token.Header["kid"].(string); kid != as.KeyID {
		t.Errorf("kid %q, want %q", kid, as.KeyID)
	}
	from, to := claims["iat"].(float64), claims["exp"].(float64)
	if to-from != 60 {
		t.Errorf("the assertion lives for %v s, want 60", to-from)
	}
	if _, one := claims["aud"].(string); !one {
		t.Errorf("aud %v, want one string", claims["aud"])
	}
	id, _ := claims["jti"].(string)
	if len(id) < 20 {
		t.Errorf("jti %q, want 128 random bits", id)
	}
	return id
}

func TestKeysThatDoNotFit(t *testing.T) {
	t.Parallel()
	small := rsaKey(t, 1024)
	for name, row := range map[string]struct {
		as  clientcred.Assertion
		key crypto.Signer
	}{
		"none":                        {as: clientcred.Assertion{Algorithm: "RS256"}},
		"nil RSA":                     {as: clientcred.Assertion{Algorithm: "RS256"}, key: (*rsa.PrivateKey)(nil)},
		"empty RSA":                   {as: clientcred.Assertion{Algorithm: "RS256"}, key: &rsa.PrivateKey{}},
		"RSA of 1024 bits":            {as: clientcred.Assertion{Algorithm: "RS256"}, key: small},
		"nil ECDSA":                   {as: clientcred.Assertion{Algorithm: "ES256"}, key: (*ecdsa.PrivateKey)(nil)},
		"empty ECDSA":                 {as: clientcred.Assertion{Algorithm: "ES256"}, key: &ecdsa.PrivateKey{}},
		"P-384 for ES256":             {as: clientcred.Assertion{Algorithm: "ES256"}, key: ecKey(t, elliptic.P384())},
		"P-224":                       {as: clientcred.Assertion{Algorithm: "ES224"}, key: ecKey(t, elliptic.P224())},
		"P-224 without an algorithm":  {as: clientcred.Assertion{}, key: ecKey(t, elliptic.P224())},
		"half an Ed25519 key":         {as: clientcred.Assertion{Algorithm: "EdDSA"}, key: edKey(t)[:32]},
		"an Ed25519 key for RS256":    {as: clientcred.Assertion{Algorithm: "RS256"}, key: edKey(t)},
		"an algorithm with a secret":  {as: clientcred.Assertion{Algorithm: "HS256"}, key: edKey(t)},
		"no algorithm":                {as: clientcred.Assertion{Algorithm: "none"}, key: edKey(t)},
		"a key of some other library": {as: clientcred.Assertion{Algorithm: "EdDSA"}, key: struct{ crypto.Signer }{edKey(t)}},
		"an ID with a line break":     {as: clientcred.Assertion{Algorithm: "EdDSA", KeyID: "a\nb"}, key: edKey(t)},
		"an audience of another kind": {as: clientcred.Assertion{Algorithm: "EdDSA", Audience: "ä"}, key: edKey(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			isInvalid(t, clientcred.PrivateKeyJWT(clientID, row.key, row.as), tokenURL, "PrivateKeyJWT")
		})
	}
}
