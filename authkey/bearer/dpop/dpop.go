// Package dpop verifies that whoever shows an access token has the key that the token is bound to, by the proofs of
// RFC 9449. It is the resource server's side: it mints no tokens, and makes no proofs.
//
//	proofs, err := dpop.New(rdb, []string{"https://api.example.com"})
//	if err != nil { ... }
//	verifier, err := bearer.New(issuers, bearer.WithProofs(proofs))
//
// The origins are those that clients write into their proofs (htu): scheme, host and port as seen from outside, before
// any proxy. They come from here alone, for the Host field of a request is whatever its sender likes.
//
// A proof works once: Redis remembers that it was used, for twice as long as it could be used again. Replicas have to
// share that Redis, and it must not drop keys when its memory is full, nor lose them: a proof whose mark is gone works
// again until its iat is too old. A client keeps one mark alive for each request of the last two minutes, of some 150
// bytes; only those who show a good token leave marks.
//
// Where Redis does not answer, the error is authkey.ErrUnavailable, though the mark may have been made. A client that
// tries again then has to make a new proof, as RFC 9449 wants of it for each request anyway.
//
// Do not use it for tokens that are bound to no key, nor for those bound to a certificate (RFC 8705).
package dpop

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/breaker"
)

// What a client is told (RFC 9449, sections 7.1 and 9).
const (
	codeInvalid  = "invalid_dpop_proof"
	codeUseNonce = "use_dpop_nonce"
)

// Verifier checks proofs, and remembers those that were used. Make it with New. Safe for concurrent use; the client
// stays the caller's to close.
type Verifier struct {
	config
	conn    *lua.Conn
	origins map[string]bool
}

var _ bearer.Proofs = (*Verifier)(nil)

// New returns a Verifier for requests to the origins, as "https://api.example.com" or "https://api.example.com:8443":
// at least one, each with https, or http on this machine, and without a path. It does not dial. Faults are
// authkey.ErrInvalid, all joined.
func New(rdb redis.UniversalClient, origins []string, opts ...Option) (*Verifier, error) {
	c, err := configure(opts)
	faults := []error{err}
	v := &Verifier{config: c, origins: make(map[string]bool, len(origins))}
	conn, err := lua.NewConn(rdb)
	if err != nil {
		faults = append(faults, fmt.Errorf("%w: dpop: %w", authkey.ErrInvalid, err))
	}
	if len(origins) == 0 {
		faults = append(faults, fmt.Errorf("%w: dpop: no origin: want at least one, as https://api.example.com", authkey.ErrInvalid))
	}
	for _, text := range origins {
		origin, err := originOf(text)
		if err != nil {
			faults = append(faults, err)
		}
		v.origins[origin] = true
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	v.conn = conn.Guarded(breaker.Log(v.logger, "proofs"))
	return v, nil
}

// OpenBreakers returns how many Redis servers Use leaves alone now: after several failures in a row it asks them nothing,
// but for a probe five times a second, and whoever asks gets authkey.ErrUnavailable at once.
func (v *Verifier) OpenBreakers() int { return v.conn.OpenBreakers() }

// Algorithms returns the algorithms that a proof may be signed with, in the order of their preference, for the algs
// of a challenge. The slice is the caller's.
func (v *Verifier) Algorithms() []string { return slices.Clone(v.algorithms) }

// Use remembers a proof that Check returned, so that it works once: ask for it when nothing else is left to refuse the
// request for, since what is refused later has used up its proof. One round trip.
//
// Errors: *authkey.ProofError where the proof was used before; authkey.ErrUnavailable where Redis does not answer in
// time, and then the proof may be used up; authkey.ErrInvalid for a Proof that Check did not return.
func (v *Verifier) Use(ctx context.Context, proof bearer.Proof) error {
	if proof.Thumbprint == "" || proof.ID == "" {
		return fmt.Errorf("%w: dpop: a Proof without a thumbprint or an ID: want one that Check returned", authkey.ErrInvalid)
	}
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	switch err := v.conn.UseProof(ctx, proof.Thumbprint, proof.ID, v.memory()); {
	case errors.Is(err, lua.ErrProofUsed):
		return &authkey.ProofError{Code: codeInvalid, Err: errUsed}
	case err != nil:
		return fmt.Errorf("%w: dpop: %w", authkey.ErrUnavailable, err)
	}
	return nil
}
