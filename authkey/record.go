package authkey

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tollgate-go/tollgate/lua/bucket"
)

// Bounds of what a record holds, in bytes and items.
const (
	maxNameLen   = 128
	maxReasonLen = 256
	maxTokenLen  = 64
	maxTokens    = 64
)

// What microseconds since 1970 can say below 2^53, which is what Lua keeps exact.
var (
	minTime = time.UnixMicro(1)
	maxTime = time.UnixMicro(1<<53 - 1)
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
	Plan    string // a plan of package ratelimit, or a name for the host alone; up to 128 bytes, may be empty

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

// Validate joins every fault of a record that is about to be stored; each is ErrInvalid. For
// implementations of Store.
func (r Record) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: record: "+format, append([]any{ErrInvalid}, args...)...))
	}
	if !validID(r.ID) || r.ID[:bucket.Len] != bucket.Of(r.Org) {
		fault("ID: want the two digits of the org's bucket, then %d letters or digits", idRandomLen)
	}
	if !validID(r.Key) {
		fault("Key: want the ID of the key's first credential")
	}
	for _, field := range []struct {
		name, value string
		least, most int
	}{
		{"Org", r.Org, 1, maxNameLen},
		{"Project", r.Project, 1, maxNameLen},
		{"Name", r.Name, 0, maxNameLen},
		{"Plan", r.Plan, 0, maxNameLen},
		{"Reason", r.Reason, 0, maxReasonLen},
	} {
		if len(field.value) < field.least || !validText(field.value, field.most) {
			fault("%s: want %d to %d bytes of UTF-8 without control characters", field.name, field.least, field.most)
		}
	}
	if r.Kind != KindSecret && r.Kind != KindPublishable {
		fault("Kind: want %q or %q", KindSecret, KindPublishable)
	}
	if r.State != StateActive && r.State != StateDisabled {
		fault("State: want %q or %q to begin with", StateActive, StateDisabled)
	}
	if !validTokens(r.Scopes) || !validTokens(r.Products) {
		fault("Scopes, Products: want up to %d different words of 1 to %d visible ASCII characters without quote or backslash", maxTokens, maxTokenLen)
	}
	if !validTime(r.NotBefore) || !validTime(r.ExpiresAt) {
		fault("NotBefore, ExpiresAt: want a time from 1970 to 2255")
	}
	if !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(r.NotBefore) {
		fault("ExpiresAt: want a time after NotBefore")
	}
	if r.Digest.IsZero() || len(r.PepperVersion) > maxPepperVersion {
		fault("Digest, PepperVersion: want what Hasher.Digest returns")
	}
	return errors.Join(faults...)
}

// clone returns a copy that shares nothing with r.
func (r Record) clone() Record {
	r.Scopes, r.Products = slices.Clone(r.Scopes), slices.Clone(r.Products)
	return r
}

func validText(s string, most int) bool {
	if len(s) > most || !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if unicode.IsControl(c) {
			return false
		}
	}
	return true
}

// validTokens allows what RFC 6749, section 3.3, allows in a scope.
func validTokens(tokens []string) bool {
	if len(tokens) > maxTokens {
		return false
	}
	for i, token := range tokens {
		if token == "" || len(token) > maxTokenLen || slices.Contains(tokens[:i], token) {
			return false
		}
		for j := range len(token) {
			if c := token[j]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
				return false
			}
		}
	}
	return true
}

func validTime(t time.Time) bool {
	return t.IsZero() || !t.Before(minTime) && !t.After(maxTime)
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
	Owner      string // whom the key was given to, for people; may be empty

	Kind     Kind
	Scopes   []string
	Products []string

	// Networks are the ones that the key may be used from; any when empty.
	Networks []netip.Prefix
	// Origins are the rules of the pages that a publishable key may be used from; any when empty.
	Origins []string

	// Method says how the caller was authenticated; "key" here.
	Method string
	// ExpiresAt is when the credential ends; zero: never.
	ExpiresAt time.Time
	// SupersededAt is when a newer credential of the key took the place of this one, which then works until
	// ExpiresAt; zero: it is the key's newest.
	SupersededAt time.Time
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
