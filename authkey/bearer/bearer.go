// Package bearer answers who is calling for callers with tokens: JWTs of issuers such as an OpenID provider, and opaque
// ones that an endpoint tells about. It yields the same authkey.Identity as a key does, and stands wherever a verifier
// of keys stands, alone or [Beside] one.
//
//	cache, err := jwks.New() // follows the issuers' keys
//	tokens, err := bearer.New([]bearer.Issuer{{
//		URL: "https://login.example.com/", Audiences: []string{"https://api.example.com"},
//		Keys: cache.Issuer("https://login.example.com/"),
//	}})
//	auth := middleware.Authenticate(tokens)
//
// golang-jwt does the signatures, behind a front of our own that is strict (authkey/internal/jose): a token is refused
// unless all readers read it alike, its alg is one of its issuer's and its key's, and its issuer is configured, before
// anybody is asked for a key. What a token is bound to is proved with each request, and revocations act on the next.
//
// It hands out no tokens and knows no logins: those are for an identity provider. Package authtest has an issuer for
// tests.
package bearer

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// Introspector tells what a token says that is no JWT; authkey/bearer/introspect asks an endpoint of RFC 7662.
// Implementations are safe for concurrent use.
type Introspector interface {
	// Introspect returns the claims of a token that is active. Errors: authkey.ErrUnknown for one that is not,
	// authkey.ErrMalformed for what can be none, authkey.ErrUnavailable where nobody can tell. What the claims come to
	// is judged on each call.
	Introspect(ctx context.Context, token string) (map[string]json.RawMessage, error)
}

// Proofs verifies that whoever shows a token has the key that it is bound to (RFC 9449); authkey/bearer/dpop has
// them. Implementations are safe for concurrent use.
type Proofs interface {
	// Check reports whether the proof in a presentation is for the token and by the key of the thumbprint, which
	// is the token's cnf.jkt. It takes nothing. Errors are *authkey.ProofError.
	Check(presentation *authkey.Presentation, token, thumbprint string) (Proof, error)
	// Use remembers a proof, so that it works once. Errors: *authkey.ProofError where it was used before,
	// authkey.ErrUnavailable where nobody can tell.
	Use(ctx context.Context, proof Proof) error
}

// Proof is a proof of possession that was checked.
type Proof struct {
	Thumbprint string    // of the key that made it (RFC 7638)
	ID         string    // jti
	IssuedAt   time.Time // iat
}

// Revocations tells which tokens were revoked before their end; authkey/bearer/revocation keeps them in Redis.
// Implementations are safe for concurrent use.
type Revocations interface {
	// Check reports whether a token of an org is revoked by one of its names. Errors: authkey.ErrRevoked, and
	// authkey.ErrUnavailable where nobody can tell.
	Check(ctx context.Context, org string, token *authkey.Token) error
	// Lifetime is for how long a revocation of a subject, a session or a client is remembered. No token may live
	// longer.
	Lifetime() time.Duration
}
