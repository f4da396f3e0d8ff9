package authkey

import (
	"errors"
	"fmt"
	"maps"
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
	maxNetworks  = 64
	maxOrigins   = 64
	maxMeta      = 16
	maxMetaKey   = 64
	maxMetaValue = 256
)

// MaxCredentials is how many credentials a record holds at most, dead ones included.
const MaxCredentials = 8

// What microseconds since 1970 can say below 2^53, which is what Lua keeps exact.
var (
	minTime = time.UnixMicro(1)
	maxTime = time.UnixMicro(1<<53 - 1)
)

// Record is what a store holds about one key, with its credentials. The key is the stable principal: limits, usage
// and the audit trail hang on it, and stay when a credential is replaced. Records hold no secret, only digests. They
// are values: a store hands out copies, and their slices and maps belong to whoever received them.
type Record struct {
	// ID is the key's public id, which is that of its first credential: two characters that name the bucket of the
	// org, then twelve in base62. It may be shown and logged.
	ID string

	Org     string // tenancy, 1 to 128 bytes
	Project string // belongs to one org, 1 to 128 bytes
	Name    string // for people; up to 128 bytes, may be empty
	Owner   string // whom it was given to, for people; up to 128 bytes, may be empty
	Plan    string // a plan of package ratelimit, or a name for the host alone; up to 128 bytes; "" is the project's

	Kind     Kind
	Scopes   []string          // what the key may do; see ScopeWrite
	Products []string          // what the key may use; none when empty
	Networks []netip.Prefix    // where it may be used from, up to 64; anywhere when empty
	Origins  []string          // of which pages, up to 64; any when empty. For publishable keys; see ParseOrigin
	Meta     map[string]string // for the host: up to 16, with names of up to 64 bytes and values of up to 256

	State     State
	Reason    string    // why the state is what it is, up to 256 bytes
	NotBefore time.Time // refused before this time; zero: no such bound
	ExpiresAt time.Time // refused from this time on; zero: never expires

	CreatedAt time.Time // by the clock of the issuer
	RevokedAt time.Time // by the clock of the issuer; zero while not revoked
	Revision  int64     // 1 when created, one more with each change

	// Credentials are the secrets of the key, the newest first: 1 to MaxCredentials.
	Credentials []Credential

	// Within is what the project is set to; the zero Project where nothing is. It is not stored with the record.
	Within Project
	// Epoch is the stamp of the last change to any key of the org, read before the record was. Zero:
	// the store has no epochs. It is not stored with the record.
	Epoch int64
}

// Credential is one secret of a key.
type Credential struct {
	ID            string // its public id, in the bucket of the org
	Digest        Digest
	PepperVersion string // which pepper made Digest; "" is plain SHA-256
	Foreign       bool   // not minted here: found by Digest, not by ID

	CreatedAt    time.Time
	SupersededAt time.Time // when a newer one took its place; zero: it is the newest, or was made beside another
	ExpiresAt    time.Time // refused from this time on, as from the key's own; zero: no such bound
	RevokedAt    time.Time // zero while not revoked
	Reason       string    // why it was superseded or revoked, up to 256 bytes

	// LastUsedAt is when it was last found good, as far as anybody noted that; zero: not known. It changes without a
	// new revision.
	LastUsedAt time.Time
}

// Live reports whether the credential may still open the gate at a time, if its key may.
func (c *Credential) Live(at time.Time) bool {
	return c.RevokedAt.IsZero() && (c.ExpiresAt.IsZero() || at.Before(c.ExpiresAt))
}

// Credential returns the credential of the key with an id; nil where it has none. It points into the record.
func (r *Record) Credential(id string) *Credential {
	for i := range r.Credentials {
		if r.Credentials[i].ID == id {
			return &r.Credentials[i]
		}
	}
	return nil
}

// credentialOf returns the credential of a foreign key with a digest; nil where there is none.
func (r *Record) credentialOf(digest Digest) *Credential {
	for i := range r.Credentials {
		if c := &r.Credentials[i]; c.Foreign && c.Digest.Equal(digest) {
			return c
		}
	}
	return nil
}

// Validate joins every fault of a record that is about to be stored; each is ErrInvalid. For
// implementations of Store.
func (r *Record) Validate() error {
	var f faults
	if !validID(r.ID) || r.ID[:bucket.Len] != bucket.Of(r.Org) {
		f.add("ID: want the two digits of the org's bucket, then %d letters or digits", idRandomLen)
	}
	for _, field := range []struct {
		name, value string
		least, most int
	}{
		{"Org", r.Org, 1, maxNameLen},
		{"Project", r.Project, 1, maxNameLen},
		{"Name", r.Name, 0, maxNameLen},
		{"Owner", r.Owner, 0, maxNameLen},
		{"Plan", r.Plan, 0, maxNameLen},
		{"Reason", r.Reason, 0, maxReasonLen},
	} {
		f.text(field.name, field.value, field.least, field.most)
	}
	if r.Kind != KindSecret && r.Kind != KindPublishable && r.Kind != KindAdmin {
		f.add("Kind: want %q, %q or %q", KindSecret, KindPublishable, KindAdmin)
	}
	if r.State != StateActive && r.State != StateDisabled && r.State != StateRevoked {
		f.add("State: want %q, %q or %q", StateActive, StateDisabled, StateRevoked)
	}
	if !validTokens(r.Scopes) {
		f.add("Scopes: want up to %d different words of 1 to %d visible ASCII characters without quote or backslash", maxTokens, maxTokenLen)
	}
	if !validTokens(r.Products) {
		f.add("Products: want up to %d different words of 1 to %d visible ASCII characters without quote or backslash", maxTokens, maxTokenLen)
	}
	r.validateRestrictions(&f)
	if !validTime(r.NotBefore) || !validTime(r.ExpiresAt) {
		f.add("NotBefore, ExpiresAt: want a time from 1970 to 2255")
	}
	if !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(r.NotBefore) {
		f.add("ExpiresAt: want a time after NotBefore")
	}
	r.validateCredentials(&f)
	return errors.Join(f...)
}

func (r *Record) validateRestrictions(f *faults) {
	if len(r.Networks) > maxNetworks || slices.ContainsFunc(r.Networks, func(n netip.Prefix) bool { return !n.IsValid() }) {
		f.add("Networks: want up to %d networks such as 192.0.2.0/24 or 2001:db8::/32", maxNetworks)
	}
	if len(r.Origins) > maxOrigins {
		f.add("Origins: want up to %d rules", maxOrigins)
	}
	for _, rule := range r.Origins[:min(len(r.Origins), maxOrigins)] {
		if _, err := ParseOrigin(rule); err != nil {
			f.add("Origins: %w", err)
		}
	}
	if len(r.Origins) > 0 && r.Kind != KindPublishable {
		f.add("Origins: only a publishable key may have them, for others can send what they like")
	}
	if len(r.Meta) > maxMeta {
		f.add("Meta: want up to %d entries", maxMeta)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Meta)) {
		if name == "" || !validText(name, maxMetaKey) || !validText(r.Meta[name], maxMetaValue) {
			f.add("Meta: want names of 1 to %d bytes and values of up to %d, of UTF-8 without control characters", maxMetaKey, maxMetaValue)
		}
	}
}

func (r *Record) validateCredentials(f *faults) {
	if n := len(r.Credentials); n < 1 || n > MaxCredentials {
		f.add("Credentials: %d of them, want 1 to %d", n, MaxCredentials)
	}
	seen := map[string]bool{}
	for i := range r.Credentials {
		c := &r.Credentials[i]
		if !validID(c.ID) || c.ID[:bucket.Len] != bucket.Of(r.Org) || seen[c.ID] {
			f.add("Credentials: ID: want different ones, each the two digits of the org's bucket, then %d letters or digits", idRandomLen)
		}
		seen[c.ID] = true
		if c.Digest.IsZero() || len(c.PepperVersion) > maxPepperVersion {
			f.add("Credentials: Digest, PepperVersion: want what Hasher.Digest returns")
		}
		if !validTime(c.ExpiresAt) || !validTime(c.SupersededAt) || !validTime(c.RevokedAt) {
			f.add("Credentials: want times from 1970 to 2255")
		}
		f.text("Credentials: Reason", c.Reason, 0, maxReasonLen)
	}
}

// faults are what is wrong with a record or a project.
type faults []error

func (f *faults) add(format string, args ...any) {
	*f = append(*f, fmt.Errorf("%w: record: "+format, append([]any{ErrInvalid}, args...)...))
}

func (f *faults) text(name, value string, least, most int) {
	if len(value) < least || !validText(value, most) {
		f.add("%s: want %d to %d bytes of UTF-8 without control characters", name, least, most)
	}
}

// clone returns a copy that shares nothing with r.
func (r *Record) clone() Record {
	c := *r
	c.Scopes, c.Products = slices.Clone(r.Scopes), slices.Clone(r.Products)
	c.Networks, c.Origins = slices.Clone(r.Networks), slices.Clone(r.Origins)
	c.Meta, c.Credentials = maps.Clone(r.Meta), slices.Clone(r.Credentials)
	return c
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
