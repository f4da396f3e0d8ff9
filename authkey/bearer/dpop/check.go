package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
)

// Bounds of a proof, in bytes.
const (
	maxProof  = 4 << 10 // one by an RSA key of 4096 bits has 2 KiB
	maxID     = 128
	maxMethod = 64
	maxURI    = 2 << 10
	maxText   = 256
)

// What is wrong with a proof, for logs. None of them repeats a byte of it.
var (
	errNone      = errors.New("dpop: there is no proof: want one DPoP field")
	errMany      = errors.New("dpop: there are several DPoP fields: want one")
	errShape     = errors.New("dpop: the proof is no JWS in compact form of up to 4 KiB, or its claims are no JSON object with each name once")
	errType      = errors.New("dpop: the proof's typ is not dpop+jwt")
	errAlgorithm = errors.New("dpop: the proof's alg is not one that is taken")
	errKey       = errors.New("dpop: the proof's jwk is not a public key that its alg can use")
	errBinding   = errors.New("dpop: the proof is by another key than the one that the token is bound to")
	errSignature = errors.New("dpop: the proof's signature is wrong")
	errToken     = errors.New("dpop: the proof's ath is not the hash of the token")
	errMethod    = errors.New("dpop: the proof's htm is not the request's method")
	errURI       = errors.New("dpop: the proof's htu is not one of the origins with the request's path")
	errTime      = errors.New("dpop: the proof's iat, exp or nbf does not allow for it now")
	errID        = errors.New("dpop: the proof's jti is not 1 to 128 bytes of text")
	errNonce     = errors.New("dpop: the proof lacks a nonce of ours that is new enough")
	errUsed      = errors.New("dpop: the proof was used before")
)

// Check reports whether a presentation has one good proof for the token, by the key of the thumbprint (RFC 7638),
// which is the token's cnf.jkt (RFC 9449, sections 4.3 and 7.1). It takes nothing and does no I/O. The signature is looked
// at when all else is right, so only who has a good token, and knows the key that it is bound to, can make it cost more
// than to read a key and a few hashes.
//
// A proof is a strict JWS of up to 4 KiB: typ is dpop+jwt, alg one of WithAlgorithms, jwk a public key that fits it and
// signed it, without a private member. htm is the method; htu is one of the origins with the path, compared without
// query and fragment in the normal form of RFC 3986, sections 6.2.2 and 6.2.3, where a request's path with "." or ".."
// for a segment fits none; iat lies in the window; exp and nbf are judged if they are there; jti has 1 to 128 bytes; ath
// is the SHA-256 of the token as base64url.
//
// A nil presentation has no proof. All errors are *authkey.ProofError with a fixed text: use_dpop_nonce, with a nonce,
// for a proof that lacks nothing else, invalid_dpop_proof for all others.
func (v *Verifier) Check(presentation *authkey.Presentation, token, thumbprint string) (bearer.Proof, error) {
	proof, err := v.check(presentation, token, thumbprint)
	switch {
	case errors.Is(err, errNonce):
		return bearer.Proof{}, &authkey.ProofError{Code: codeUseNonce, Nonce: v.nonces.current(v.now()), Err: err}
	case err != nil:
		return bearer.Proof{}, &authkey.ProofError{Code: codeInvalid, Err: err}
	}
	return proof, nil
}

func (v *Verifier) check(p *authkey.Presentation, token, thumbprint string) (bearer.Proof, error) {
	switch {
	case p == nil || len(p.Proofs) == 0:
		return bearer.Proof{}, errNone
	case len(p.Proofs) > 1:
		return bearer.Proof{}, errMany
	}
	jws, err := jose.Parse(p.Proofs[0], maxProof)
	if err != nil {
		return bearer.Proof{}, errShape
	}
	claims, err := jose.ReadObject(jws.Payload)
	if err != nil || claims.Exact("jti", "htm", "htu", "iat", "exp", "nbf", "ath", "nonce") != nil {
		return bearer.Proof{}, errShape
	}
	key, err := v.keyOf(&jws, thumbprint)
	if err != nil {
		return bearer.Proof{}, err
	}
	if err := v.fits(claims, p, token); err != nil {
		return bearer.Proof{}, err
	}
	proof := bearer.Proof{Thumbprint: thumbprint}
	if proof.ID, err = claims.Text("jti", maxID); err != nil || proof.ID == "" {
		return bearer.Proof{}, errID
	}
	if proof.IssuedAt, err = v.timely(claims); err != nil {
		return bearer.Proof{}, err
	}
	if key.Verify(jws.Algorithm, jws.Signed, jws.Signature) != nil {
		return bearer.Proof{}, errSignature
	}
	return proof, v.fresh(claims)
}

// keyOf returns the key that a proof brings, if it is the one that the token is bound to.
func (v *Verifier) keyOf(jws *jose.Compact, thumbprint string) (*jose.Key, error) {
	if jws.Type != "dpop+jwt" {
		return nil, errType
	}
	if !slices.Contains(v.algorithms, jws.Algorithm) {
		return nil, errAlgorithm
	}
	key, err := jose.ParseJWK(jws.Header["jwk"])
	if err != nil || !key.Fits(jws.Algorithm) {
		return nil, errKey
	}
	if key.Thumbprint() != thumbprint {
		return nil, errBinding
	}
	return &key, nil
}

// fits reports whether a proof is for this token in this request.
func (v *Verifier) fits(claims jose.Object, p *authkey.Presentation, token string) error {
	sum := sha256.Sum256([]byte(token))
	if ath, err := claims.Text("ath", maxText); err != nil || ath != base64.RawURLEncoding.EncodeToString(sum[:]) {
		return errToken
	}
	if htm, err := claims.Text("htm", maxMethod); err != nil || htm == "" || htm != p.Method {
		return errMethod
	}
	htu, err := claims.Text("htu", maxURI)
	if err != nil {
		return errURI
	}
	origin, path, ok := splitURI(htu)
	wanted, known := normalPath(p.Path)
	if !ok || !known || !v.origins[origin] || path != wanted {
		return errURI
	}
	return nil
}

// timely returns when a proof was made, if that is not long ago.
func (v *Verifier) timely(claims jose.Object) (time.Time, error) {
	now := v.now()
	at, ok, err := claims.Seconds("iat")
	if err != nil || !ok || at.Before(now.Add(-v.back)) || at.After(now.Add(v.ahead)) {
		return time.Time{}, errTime
	}
	end, ok, err := claims.Seconds("exp")
	if err != nil || ok && !now.Before(end.Add(v.ahead)) {
		return time.Time{}, errTime
	}
	if from, ok, err := claims.Seconds("nbf"); err != nil || ok && from.After(now.Add(v.ahead)) {
		return time.Time{}, errTime
	}
	return at, nil
}

// fresh reports whether a proof has a nonce that is not old, where one is wanted.
func (v *Verifier) fresh(claims jose.Object) error {
	if v.nonces == nil {
		return nil
	}
	if nonce, err := claims.Text("nonce", maxText); err != nil || !v.nonces.good(nonce, v.now()) {
		return errNonce
	}
	return nil
}
