package clientcred

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey"
)

const (
	assertionLife = time.Minute
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	minRSA        = 2048 // RFC 7518, section 3.3
)

// SigningKey is what a client signs assertions with. It prints as its ID and algorithm.
type SigningKey struct {
	// ID is what the server calls the key, kid: up to 256 printable ASCII characters. Empty: it knows one key.
	ID string
	// Algorithm is RS256, PS256, ES256, ES384, ES512 or EdDSA (RFC 7518, RFC 8037).
	Algorithm string
	// Private is an *rsa.PrivateKey of 2048 bits or more, an *ecdsa.PrivateKey on the algorithm's curve or an
	// ed25519.PrivateKey.
	Private crypto.Signer
	// Audience is whom assertions are for, aud. Empty: the URL of the token endpoint (RFC 7523, section 3). Servers
	// that follow its revision want their issuer identifier.
	Audience string
}

// Format writes the ID and the algorithm, for every verb.
func (k SigningKey) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "key %q %s", k.ID, k.Algorithm) // fmt.State has nobody to tell
}

// PrivateKeyJWT is a client that signs an assertion for each request, which is good for one minute: private_key_jwt
// (RFC 7523, section 2.2; OpenID Connect Core, section 9). The server holds no secret, only the public key. The ID has
// 1 to 256 printable ASCII characters.
func PrivateKeyJWT(id string, key SigningKey) Client {
	fault := checkID("PrivateKeyJWT", id)
	if fault == nil {
		fault = key.check()
	}
	return Client{
		method: "private_key_jwt",
		fault:  fault,
		prove: func(address string, form url.Values, _ http.Header) error {
			assertion, err := key.assert(id, address, time.Now())
			form.Set("client_id", id)
			form.Set("client_assertion_type", assertionType)
			form.Set("client_assertion", assertion)
			return err
		},
	}
}

func (k SigningKey) check() error {
	if k.ID != "" && !printable(k.ID, maxID) || k.Audience != "" && !printable(k.Audience, maxText) {
		return fmt.Errorf("%w: PrivateKeyJWT: ID, Audience: want up to %d and %d printable ASCII characters", authkey.ErrInvalid, maxID, maxText)
	}
	fits := false
	switch private := k.Private.(type) {
	case *rsa.PrivateKey:
		fits = private != nil && private.N != nil && private.N.BitLen() >= minRSA && (k.Algorithm == "RS256" || k.Algorithm == "PS256")
	case *ecdsa.PrivateKey:
		fits = private != nil && private.Curve != nil && k.Algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[private.Params().BitSize]
	case ed25519.PrivateKey:
		fits = len(private) == ed25519.PrivateKeySize && k.Algorithm == "EdDSA"
	}
	if !fits {
		return fmt.Errorf("%w: PrivateKeyJWT: a %T for %.16q: want a private key that fits one of RS256, PS256, ES256, ES384, ES512 and EdDSA, RSA of %d bits or more",
			authkey.ErrInvalid, k.Private, k.Algorithm, minRSA)
	}
	return nil
}

// assert returns a signed assertion about the client.
func (k SigningKey) assert(id, address string, now time.Time) (string, error) {
	audience := address
	if k.Audience != "" {
		audience = k.Audience
	}
	token := jwt.NewWithClaims(jwt.GetSigningMethod(k.Algorithm), jwt.MapClaims{
		"iss": id, "sub": id, "aud": audience, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if k.ID != "" {
		token.Header["kid"] = k.ID
	}
	return token.SignedString(k.Private)
}
