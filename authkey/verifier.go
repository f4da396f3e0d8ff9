package authkey

import (
	"context"
	"time"
)

// Defaults of New.
const (
	defaultEntries         = 10_000
	defaultLife            = 5 * time.Second
	defaultNegativeEntries = 1_024
	defaultNegativeLife    = 2 * time.Second
	defaultTimeout         = 50 * time.Millisecond
)

// Verifier tells who a presented key belongs to. Make it with New. Safe for concurrent use.
type Verifier struct {
	store Store
}

// Option sets up New.
type Option interface{ apply(*Verifier) error }

// New makes a verifier over a store. It does not touch the store's storage.
func New(store Store, opts ...Option) (*Verifier, error) { return &Verifier{store: store}, nil }

// Authenticate returns the identity that a key belongs to.
func (v *Verifier) Authenticate(ctx context.Context, presented Presented) (*Identity, error) {
	return nil, ErrUnavailable
}

// Refresh is Authenticate for a caller who was told that held, an identity from this verifier, is stale.
func (v *Verifier) Refresh(ctx context.Context, presented Presented, held *Identity) (*Identity, error) {
	return nil, ErrUnavailable
}

// Stats are counts since the verifier was made, and sizes now.
type Stats struct {
	Hits            uint64 // answered by a cached record
	NegativeHits    uint64 // answered by a cached "unknown"
	Misses          uint64 // had to ask the store, alone or with others
	StoreErrors     uint64 // lookups that the store could not answer
	Entries         int    // records cached now
	NegativeEntries int    // unknown keys remembered now
}

// Stats returns the verifier's counts. Cheap.
func (v *Verifier) Stats() Stats { return Stats{} }
