package authkey

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// MethodAnonymous is the Method of the identity that stands for callers who show no credential.
const MethodAnonymous = "anonymous"

// Token is what a bearer token says besides the Identity that it stands for. It is immutable and may be shared by
// requests: do not change it, its slices or its map. Safe for concurrent use.
type Token struct {
	// Issuer is who made it: iss, byte for byte.
	Issuer string
	// ID, Subject, Session and Client are the names that it can be revoked under: jti, sub, sid, and client_id or
	// azp. Each may be empty.
	ID, Subject, Session, Client string
	// Audience is whom it is for: aud.
	Audience []string
	// IssuedAt is iat, AuthTime is auth_time: when the person behind it was last authenticated. Zero: not said.
	IssuedAt, AuthTime time.Time
	// ACR is how well that was, AMR by which means (OpenID Connect Core, section 2).
	ACR string
	AMR []string
	// Claims are all claims as they were written, by their exact names.
	Claims map[string]json.RawMessage
	// Pending is what whoever asked for the identity still has to check.
	Pending Pending
}

// Claim returns a claim as JSON; nil where it is absent, and for a nil token. A path with dots, as in
// "realm_access.roles", goes into objects where no claim has the whole name; a name may have dots itself, as that of
// "https://hasura.io/jwt/claims.x-hasura-role" has, and then the longest that is there is the one. Names are exact. A
// path with dots is decoded on each call.
func (t *Token) Claim(path string) json.RawMessage {
	value, err := t.Find(path)
	if err != nil {
		return nil
	}
	return value
}

// Find is Claim, and tells a claim that is absent from one that cannot be there: ErrMalformed where something on the
// path is no object.
func (t *Token) Find(path string) (json.RawMessage, error) {
	if t == nil {
		return nil, nil //nolint:nilnil // absent, as documented
	}
	return find(t.Claims, path)
}

func find(claims map[string]json.RawMessage, path string) (json.RawMessage, error) {
	if value, ok := claims[path]; ok {
		return value, nil
	}
	for dot := strings.LastIndexByte(path, '.'); dot >= 0; dot = strings.LastIndexByte(path[:dot], '.') {
		value, ok := claims[path[:dot]]
		if !ok {
			continue
		}
		var inner map[string]json.RawMessage
		if json.Unmarshal(value, &inner) != nil || inner == nil {
			return nil, fmt.Errorf("%w: token: claim %q: want an object", ErrMalformed, path[:dot])
		}
		return find(inner, path[dot+1:])
	}
	return nil, nil //nolint:nilnil // absent, as documented
}

// Pending is a check of a token that was left to the caller, because Presentation.DeferRevocation said so.
type Pending uint8

// The checks that can be pending.
const (
	NothingPending Pending = iota
	// RevocationPending: refuse the caller where nobody can tell whether the token is revoked.
	RevocationPending
	// RevocationPendingOpen: let the caller pass where nobody can tell.
	RevocationPendingOpen
)

// Presentation is what came with a credential in the same request. Whoever reads it from a request fills it; a
// token that is bound to a key or to a certificate is refused without it.
type Presentation struct {
	// Scheme is that of the Authorization field, "Bearer" or "DPoP"; "" where the credential came otherwise.
	Scheme string
	// Method is the request's method, Path its path as the client sent it, escaped, without the query.
	Method, Path string
	// Proofs are the values of the DPoP field (RFC 9449).
	Proofs []string
	// Certificate is the client's, as TLS verified it or a trusted proxy told it (RFC 9440); nil: there is none.
	Certificate *x509.Certificate
	// DeferRevocation says that the caller looks itself, in a call that it makes anyway, whether the Token of the
	// identity is revoked. Then Token.Pending says that it has to.
	DeferRevocation bool
}

// In returns the credential together with what came with it, which must not be changed afterwards. No allocation.
func (p Presented) In(presentation *Presentation) Presented {
	p.presentation = presentation
	return p
}

// Presentation returns what came with the credential; nil where nothing is known.
func (p Presented) Presentation() *Presentation { return p.presentation }

// ProofError refuses a token whose proof of possession is bad, or lacks a nonce (RFC 9449). It is none of the others: a
// proof that is bad is no guess.
type ProofError struct {
	// Code is what the client is told: "invalid_dpop_proof" or "use_dpop_nonce".
	Code string
	// Nonce is what the client has to put into its next proof; may be empty.
	Nonce string
	// Err is why, for logs.
	Err error
}

// Error returns the code and the cause, for logs.
func (e *ProofError) Error() string {
	text := "authkey: " + e.Code
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *ProofError) Unwrap() error { return e.Err }
