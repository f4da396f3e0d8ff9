package clientcred

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/clientauth"
)

const (
	assertionLife = time.Minute
	minRSA        = 2048 // RFC 7518, section 3.3
)

// curves are those of RFC 7518, section 3.4.
var curves = map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}

// Assertion says what the assertions of a client are like (RFC 7523).
type Assertion struct {
	// Algorithm is RS256, PS256, ES256, ES384, ES512 or EdDSA (RFC 7518, RFC 8037).
	Algorithm string
	// KeyID is what the server calls the key, kid: up to 256 printable ASCII characters. Empty: it knows one key.
	KeyID string
	// Audience is whom they are for, aud. Empty: the URL of the token endpoint (RFC 7523, section 3). Servers that
	// follow its revision want their issuer identifier.
	Audience string
}

// PrivateKeyJWT is a client that signs an assertion for each request, which is good for one minute: private_key_jwt
// (RFC 7523, section 2.2; OpenID Connect Core, section 9). The server holds no secret, only the public key. The ID has
// 1 to 256 printable ASCII characters; the key is an *rsa.PrivateKey of 2048 bits or more, an *ecdsa.PrivateKey on the
// algorithm's curve or an ed25519.PrivateKey.
func PrivateKeyJWT(id string, key crypto.Signer, a Assertion) Client {
	return Client{
		method: "private_key_jwt",
		fault:  errors.Join(invalid("PrivateKeyJWT", clientauth.CheckID(id)), a.check(key)),
		prove: func(address string, form url.Values, _ http.Header) error {
			assertion, err := a.sign(key, id, address, time.Now())
			clientauth.Assert(form, id, assertion)
			return err
		},
	}
}

func (a Assertion) check(key crypto.Signer) error {
	if a.KeyID != "" && !clientauth.Printable(a.KeyID, clientauth.MaxID) || a.Audience != "" && !clientauth.Printable(a.Audience, maxText) {
		return fmt.Errorf("%w: PrivateKeyJWT: KeyID, Audience: want up to %d and %d printable ASCII characters", authkey.ErrInvalid, clientauth.MaxID, maxText)
	}
	fits := false
	switch private := key.(type) {
	case *rsa.PrivateKey:
		fits = private != nil && private.N != nil && private.N.BitLen() >= minRSA && (a.Algorithm == "RS256" || a.Algorithm == "PS256")
	case *ecdsa.PrivateKey:
		fits = private != nil && private.Curve != nil && private.Curve == curves[a.Algorithm]
	case ed25519.PrivateKey:
		fits = len(private) == ed25519.PrivateKeySize && a.Algorithm == "EdDSA"
	}
	if !fits {
		return fmt.Errorf("%w: PrivateKeyJWT: a %T for %.16q: want a private key that fits one of RS256, PS256, ES256, ES384, ES512 and EdDSA, RSA of %d bits or more",
			authkey.ErrInvalid, key, a.Algorithm, minRSA)
	}
	return nil
}

// sign returns an assertion about the client.
func (a Assertion) sign(key crypto.Signer, id, address string, now time.Time) (string, error) {
	audience := address
	if a.Audience != "" {
		audience = a.Audience
	}
	token := jwt.NewWithClaims(jwt.GetSigningMethod(a.Algorithm), jwt.MapClaims{
		"iss": id, "sub": id, "aud": audience, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if a.KeyID != "" {
		token.Header["kid"] = a.KeyID
	}
	return token.SignedString(key)
}
