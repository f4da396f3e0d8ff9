package inprocess

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
)

// Names of the steps of Credentials.
const (
	NameDigest = "sha256 of the key"
	NameKey    = "tollgate: key, cached"
	NameHS256  = "golang-jwt HS256"
	NameRS256  = "golang-jwt RS256"
	NameToken  = "tollgate: token, cached" //nolint:gosec // the name of a row
)

// url is the issuer of the tokens, whom nobody calls.
const url = "https://login.example.com/"

// same looks at a digest, so that it has to be made.
func same(digest, known [sha256.Size]byte) error {
	if digest != known {
		return errors.New("another digest")
	}
	return nil
}

// Credentials are the ways to tell a caller by a credential: by a key that a verifier knows, which is to be in its cache
// for as long as they are measured, and by tokens.
func Credentials(ctx context.Context, verifier *authkey.Verifier, key authkey.Presented) ([]Step, error) {
	text := []byte(key.Reveal())
	known := sha256.Sum256(text)
	steps := []Step{
		{NameDigest, func() error { return same(sha256.Sum256(text), known) }},
		{NameKey, func() error { _, err := verifier.Authenticate(ctx, key); return err }},
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	hs, _, err := tokens("HS256", secret, secret)
	if err != nil {
		return nil, err
	}
	rs, signed, err := tokens("RS256", pair, &pair.PublicKey)
	if err != nil {
		return nil, err
	}
	cached, err := cached(ctx, "RS256", &pair.PublicKey, signed)
	if err != nil {
		return nil, err
	}
	return append(steps, Step{NameHS256, hs}, Step{NameRS256, rs}, Step{NameToken, cached}), nil
}

// tokens signs a token as an identity provider does, and returns how golang-jwt verifies it.
func tokens(alg string, private, public any) (verify func() error, signed string, err error) {
	now := time.Now()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(alg), jwt.MapClaims{
		"iss": url, "sub": "kp_5f0c2d7e9b1a", "aud": []string{"https://api.example.com"},
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "org_id": "org_71c05d9e2f", "scope": "read:stores",
	})
	token.Header["kid"] = "2030-01"
	if signed, err = token.SignedString(private); err != nil {
		return nil, "", fmt.Errorf("a token of %s: %w", alg, err)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(url), jwt.WithAudience("https://api.example.com"),
		jwt.WithExpirationRequired())
	return func() error {
		_, err := parser.Parse(signed, func(*jwt.Token) (any, error) { return public, nil })
		return err
	}, signed, nil
}

// cached is how our verifier tells a caller by a token that it has seen.
func cached(ctx context.Context, alg string, public any, signed string) (func() error, error) {
	keys, err := bearer.NewKeySet(bearer.Key{ID: "2030-01", Algorithm: alg, Public: public})
	if err != nil {
		return nil, err
	}
	verifier, err := bearer.New([]bearer.Issuer{{
		URL: url, Audiences: []string{"https://api.example.com"}, Keys: keys, Algorithms: []string{alg},
	}}, bearer.WithCache(100, time.Minute))
	if err != nil {
		return nil, err
	}
	presented := authkey.NewPresented(signed)
	identity, err := verifier.Authenticate(ctx, presented)
	if err != nil {
		return nil, err
	}
	if identity.Org != "org_71c05d9e2f" {
		return nil, errors.New("the token stands for somebody else")
	}
	return func() error { _, err := verifier.Authenticate(ctx, presented); return err }, nil
}
