package bearer_test

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
)

// endpoint is an Introspector that counts who asks, and says what a test gives it.
type endpoint struct {
	claims map[string]json.RawMessage
	err    error
	asked  []string
}

func (e *endpoint) Introspect(_ context.Context, token string) (map[string]json.RawMessage, error) {
	e.asked = append(e.asked, token)
	return e.claims, e.err
}

// proofs are Proofs that hold any proof of the right key for good, and each for good once.
type proofs struct {
	checked []string // tokens
	used    map[string]bool
	checks  error
	uses    error
}

func (p *proofs) Check(presentation *authkey.Presentation, token, thumbprint string) (bearer.Proof, error) {
	p.checked = append(p.checked, token)
	if p.checks != nil {
		return bearer.Proof{}, p.checks
	}
	if len(presentation.Proofs) != 1 {
		return bearer.Proof{}, &authkey.ProofError{Code: "invalid_dpop_proof"}
	}
	return bearer.Proof{Thumbprint: thumbprint, ID: presentation.Proofs[0]}, nil
}

func (p *proofs) Use(_ context.Context, proof bearer.Proof) error {
	if p.uses != nil {
		return p.uses
	}
	if p.used[proof.Thumbprint+proof.ID] {
		return &authkey.ProofError{Code: "invalid_dpop_proof"}
	}
	if p.used == nil {
		p.used = map[string]bool{}
	}
	p.used[proof.Thumbprint+proof.ID] = true
	return nil
}

// revocations are Revocations of names: those of tokens, subjects, sessions and clients.
type revocations struct {
	mu    sync.Mutex
	names map[string]bool
	err   error
	asked []string // orgs
}

func (r *revocations) Check(_ context.Context, org string, token *authkey.Token) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, org)
	for _, name := range []string{token.ID, token.Subject, token.Session, token.Client} {
		if name != "" && r.names[name] {
			return authkey.ErrRevoked
		}
	}
	return r.err
}

func (*revocations) Lifetime() time.Duration { return time.Hour }

// hour makes an issuer's tokens short enough for revocations.
func hour(i *bearer.Issuer) { i.MaxLifetime = time.Hour }
