package authkey

import (
	"slices"
	"time"
)

// Record is what a store holds about one credential. It holds no secret, only a digest. Records are
// values: a store hands out copies, and their slices belong to whoever received them.
type Record struct {
	// ID is the credential's public id: two characters that name the bucket of the org, then twelve in
	// base62. It may be shown and logged.
	ID string
	// Key is the stable principal that limits and usage hang on. It equals the ID of the key's first
	// credential, and stays when a credential is replaced.
	Key string

	Org     string // tenancy, 1 to 128 bytes
	Project string // belongs to one org, 1 to 128 bytes
	Name    string // for people; up to 128 bytes, may be empty
	Plan    string // what the owner bought, for the host's use; up to 128 bytes, may be empty

	Kind     Kind
	Scopes   []string // what the key may do; see ScopeWrite
	Products []string // what the key may use; none when empty

	State     State
	NotBefore time.Time // refused before this time; zero: no such bound
	ExpiresAt time.Time // refused from this time on; zero: never expires

	Digest        Digest
	PepperVersion string // which pepper made Digest; "" is plain SHA-256
	Foreign       bool   // not minted here: found by Digest, not by ID

	CreatedAt time.Time // by the store's clock
	RevokedAt time.Time // by the store's clock; zero while not revoked
	Reason    string    // why the state is what it is, up to 256 bytes
	Revision  int64     // 1 when created, one more with each change

	// Epoch is the stamp of the last change to any key of the org, read before the record was. Zero:
	// the store has no epochs. It is not stored with the record.
	Epoch int64
}

// Identity says who was authenticated, by whatever method. It is immutable and shared by all requests
// of its credential: do not change it or its slices. Safe for concurrent use.
type Identity struct {
	Org        string
	Project    string
	Key        string // the stable principal
	Credential string // the public id of the credential that was shown
	Name       string // for people; may be empty
	Plan       string // may be empty

	Kind     Kind
	Scopes   []string
	Products []string

	// Method says how the caller was authenticated; "key" here.
	Method string
	// ExpiresAt is when the credential ends; zero: never.
	ExpiresAt time.Time
	// Epoch is the org's stamp that the identity is current for. A limiter compares it with the one in
	// Redis. Zero: whoever authenticated has no epochs, and nothing is compared.
	Epoch int64
}

// HasScope reports whether the identity carries the scope. False for a nil identity. No allocation.
func (i *Identity) HasScope(scope string) bool {
	return i != nil && slices.Contains(i.Scopes, scope)
}

// HasProduct reports whether the identity may use the product. An identity without products may use
// none. False for a nil identity. No allocation.
func (i *Identity) HasProduct(product string) bool {
	return i != nil && slices.Contains(i.Products, product)
}
