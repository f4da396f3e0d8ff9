package authkey

import (
	"net/netip"
	"slices"
	"time"
)

// Identity says who was authenticated, by whatever method. It is immutable and shared by all requests
// of its credential: do not change it or its slices. Safe for concurrent use.
type Identity struct {
	Org        string
	Project    string
	Key        string // the stable principal; of a token, what stands for its issuer and its subject or client
	Credential string // the public id of the credential that was shown
	Name       string // for people; may be empty
	Plan       string // may be empty
	Owner      string // whom the key was given to, for people; may be empty

	Kind     Kind
	Scopes   []string
	Products []string

	// Roles, Permissions and Features are what a token says besides; a key has none. Features are the flags that
	// are on.
	Roles, Permissions, Features []string

	// Networks are the ones that the key may be used from; any when empty.
	Networks []netip.Prefix
	// Origins are the rules of the pages that a publishable key may be used from; any when empty.
	Origins []string

	// Method says how the caller was authenticated: "key" here, MethodAnonymous where nobody was.
	Method string
	// ExpiresAt is when the credential ends; zero: never.
	ExpiresAt time.Time
	// SupersededAt is when a newer credential of the key took the place of this one, which then works until
	// ExpiresAt; zero: it is the key's newest.
	SupersededAt time.Time
	// Token is what the bearer token says besides; nil for a key.
	Token *Token
	// Epoch is the org's stamp that the identity is current for. A limiter compares it with the one in
	// Redis. Zero: whoever authenticated has no epochs, and nothing is compared.
	Epoch int64
	// Notes is where others keep work that is the same for all requests of the identity while it is cached. Nil: it is
	// made for one request, or nobody keeps anything.
	Notes *Notes `json:"-"`
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

// HasRole reports whether the identity has the role. False for a nil identity. No allocation.
func (i *Identity) HasRole(role string) bool {
	return i != nil && slices.Contains(i.Roles, role)
}

// HasPermission reports whether the identity has the permission. False for a nil identity. No allocation.
func (i *Identity) HasPermission(permission string) bool {
	return i != nil && slices.Contains(i.Permissions, permission)
}

// HasFeature reports whether the flag is on for the identity. False for a nil identity. No allocation.
func (i *Identity) HasFeature(feature string) bool {
	return i != nil && slices.Contains(i.Features, feature)
}
