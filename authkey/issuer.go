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

// WithMinForeignLength lets Import take keys of n bytes or more, 1 to 256. Default 16, about 128 bits if
// they are random. With shorter keys a pepper is needed, since a reader of the store could guess them.
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
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return i, nil
}

// Issue makes a key and stores its record. The key is returned this once and kept nowhere. ErrInvalid
// joins every fault of the NewKey; otherwise errors are the store's, and the key is then void. Cost: one
// Store.Create.
func (i *Issuer) Issue(ctx context.Context, key NewKey) (Record, Presented, error) {
	presented, id := i.format.Mint(key.Org)
	digest, version := i.hasher.Digest(presented)
	record, err := i.create(ctx, key, Credential{ID: id, Digest: digest, PepperVersion: version})
	if err != nil {
		return Record{}, Presented{}, err
	}
	return record, presented, nil
}

// Import stores a record for a key that some other system handed out: 16 bytes (see WithMinForeignLength)
// to 256 visible ASCII characters. A verifier finds it by digest, if made WithForeignKeys. ErrExists when
// the key is there already; ErrInvalid for a key of the form that Mint gives, which is found by its id.
// Cost: one Store.Create.
func (i *Issuer) Import(ctx context.Context, presented Presented, key NewKey) (Record, error) {
	text := presented.Reveal()
	if len(text) < i.minForeignLen || len(text) > maxKeyLen || !onlyVisible(text) {
		return Record{}, fmt.Errorf("%w: foreign key: want %d to %d visible ASCII characters", ErrInvalid, i.minForeignLen, maxKeyLen)
	}
	if _, err := Parse(text); err == nil {
		return Record{}, fmt.Errorf("%w: foreign key: it has the form of a key minted here; create its record with its own id", ErrInvalid)
	}
	digest, version := i.hasher.Digest(presented)
	return i.create(ctx, key, Credential{ID: newID(key.Org), Digest: digest, PepperVersion: version, Foreign: true})
}

// ImportDigest is Import for a key of which only the plain SHA-256 is known, as other systems keep it. How long the key
// is nobody can tell: import only what was drawn from 128 random bits or more. A hasher with peppers has to list the
// zero Pepper too, or no verifier would accept the key; else ErrInvalid.
func (i *Issuer) ImportDigest(ctx context.Context, digest Digest, key NewKey) (Record, error) {
	if _, ok := i.hasher.digestWith("", Presented{}); !ok {
		return Record{}, fmt.Errorf("%w: ImportDigest: a digest without pepper needs the zero Pepper in NewHasher", ErrInvalid)
	}
	return i.create(ctx, key, Credential{ID: newID(key.Org), Digest: digest, Foreign: true})
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
