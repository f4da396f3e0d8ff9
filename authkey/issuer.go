package authkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

const (
	defaultMinForeignLen = 16
	defaultMaxLive       = 2
)

// NewKey says what an issued or imported key is to be. All of it comes from the host, never from the one
// who will hold the key. Bounds are those of Record.
type NewKey struct {
	Org       string // required
	Project   string // required
	Name      string
	Owner     string
	Plan      string
	Kind      Kind // KindSecret when empty
	Scopes    []string
	Products  []string
	Networks  []netip.Prefix
	Origins   []string
	Meta      map[string]string
	NotBefore time.Time // zero: valid at once
	ExpiresAt time.Time // zero: never; else in the future

	// Source names an imported key in the system that it comes from, such as "api_keys 17", in up to 128 bytes; it
	// is not stored. The id is made of it and of Org, so that one source is imported once, whatever the pepper is
	// by then, and an import that broke off goes on where it was. Empty: a random id. Only for imports.
	Source string
}

// Issuer makes keys and changes them. Make it with NewIssuer. Safe for concurrent use. Who does it is told by the
// context, for the audit trail of a store that keeps one: see package lua/audit.
type Issuer struct {
	basis
	store         Store
	format        Format
	minForeignLen int
	maxLive       int
}

// IssuerOption sets up NewIssuer.
type IssuerOption interface{ applyIssuer(*Issuer) error }

type issuerOption func(*Issuer) error

func (o issuerOption) applyIssuer(i *Issuer) error { return o(i) }

// WithMinForeignLength lets Import take keys of n bytes or more, 1 to 256. Default 16, about 128 bits if they are
// random. Below that NewIssuer wants a hasher whose first pepper is a secret (see WithHasher), since a reader of the
// store could guess the keys.
func WithMinForeignLength(n int) IssuerOption {
	return issuerOption(func(i *Issuer) error {
		if n < 1 || n > maxKeyLen {
			return fmt.Errorf("%w: WithMinForeignLength(%d): want 1 to %d", ErrInvalid, n, maxKeyLen)
		}
		i.minForeignLen = n
		return nil
	})
}

// WithMaxLive lets a key have up to n live credentials, 1 to MaxCredentials. Default 2: what takes over, and what it
// takes over from.
func WithMaxLive(n int) IssuerOption {
	return issuerOption(func(i *Issuer) error {
		if n < 1 || n > MaxCredentials {
			return fmt.Errorf("%w: WithMaxLive(%d): want 1 to %d", ErrInvalid, n, MaxCredentials)
		}
		i.maxLive = n
		return nil
	})
}

// NewIssuer returns an issuer of keys of one format into one store. It uses plain SHA-256 unless
// WithHasher is given; that hasher must be the verifier's too. Faults are ErrInvalid, all joined.
func NewIssuer(store Store, format Format, opts ...IssuerOption) (*Issuer, error) {
	i := &Issuer{basis: basis{now: time.Now}, store: store, format: format, minForeignLen: defaultMinForeignLen, maxLive: defaultMaxLive}
	faults := []error{checkStore(store)}
	if format == (Format{}) {
		faults = append(faults, fmt.Errorf("%w: format: want one from NewFormat", ErrInvalid))
	}
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, nilOption(n))
			continue
		}
		faults = append(faults, opt.applyIssuer(i))
	}
	if i.minForeignLen < defaultMinForeignLen && i.hasher.all()[0].secret == nil {
		faults = append(faults, fmt.Errorf("%w: WithMinForeignLength(%d): below %d, want WithHasher with a pepper first", ErrInvalid, i.minForeignLen, defaultMinForeignLen))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return i, nil
}

// Issue makes a key and stores its record. The key is returned this once and kept nowhere. ErrInvalid
// joins every fault of the NewKey; otherwise errors are the store's, and the key is then void. Cost: one
// Store.Create.
func (i *Issuer) Issue(ctx context.Context, key NewKey) (Record, Presented, error) {
	if key.Source != "" {
		return Record{}, Presented{}, fmt.Errorf("%w: Source: a key that is issued has none", ErrInvalid)
	}
	presented, id := i.format.Mint(key.Org)
	digest, version := i.hasher.Digest(presented)
	record, err := i.create(ctx, key, Credential{ID: id, Digest: digest, PepperVersion: version})
	if err != nil {
		return Record{}, Presented{}, err
	}
	return record, presented, nil
}

// create completes a record and stores it.
func (i *Issuer) create(ctx context.Context, key NewKey, credential Credential) (Record, error) {
	at := stored(i.now())
	credential.CreatedAt = at
	record := Record{
		ID: credential.ID, Org: key.Org, Project: key.Project, Name: key.Name, Owner: key.Owner, Plan: key.Plan,
		Kind: cmp.Or(key.Kind, KindSecret), Scopes: key.Scopes, Products: key.Products,
		Networks: key.Networks, Origins: key.Origins, Meta: key.Meta,
		State: StateActive, NotBefore: stored(key.NotBefore), ExpiresAt: stored(key.ExpiresAt),
		CreatedAt: at, Credentials: []Credential{credential},
	}
	fault := record.Validate()
	if !record.ExpiresAt.IsZero() && !record.ExpiresAt.After(at) {
		fault = errors.Join(fault, fmt.Errorf("%w: record: ExpiresAt: want a time in the future", ErrInvalid))
	}
	if fault != nil {
		return Record{}, fault
	}
	return i.store.Create(ctx, record)
}

// stored is a time as every store can keep it.
func stored(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// onlyVisible allows the ASCII characters from ! to ~, which a header can carry and a log cannot be
// broken with.
func onlyVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
