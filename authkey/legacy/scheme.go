package legacy

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

// Row is what an old table has of one key.
type Row struct {
	// Hash is the stored hash, as the scheme's system writes it.
	Hash Hash
	// Key is what the imported key is to be. Source is required: the name of the table and the row's primary key are
	// right. A row is imported once under one Source, so give Issuer.ImportAll the same. Org must not change while
	// both stores are in use.
	Key authkey.NewKey
}

// Lookup asks an old table for the row that a reference names: what that is, each scheme says. It runs within the
// chain's timeout. Errors: authkey.ErrUnknown where there is no such row, and for one that must not be accepted, such
// as one that is revoked (authkey.ErrRevoked, ErrDisabled, ErrExpired do as well; a client is told the same). Any other
// error is an outage, sql.ErrNoRows too: turn that into ErrUnknown.
type Lookup func(ctx context.Context, reference string) (Row, error)

// Hash is the hash of a key as an old table has it. It opens nothing, and prints as "[redacted]" all the same.
type Hash string

const redacted = "[redacted]"

// String returns "[redacted]".
func (Hash) String() string { return redacted }

// Format writes "[redacted]" for every verb.
func (Hash) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns "[redacted]".
func (Hash) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Hash) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Scheme is one form of keys that a service has handed out, and the table that knows them. It is an Option of New; a
// key that has the form of several is tried with each, in their order. Make it with SHA256, Sanctum, DRFAPIKey, Unkey
// or Custom. Immutable, safe for concurrent use.
type Scheme struct {
	name      string
	shape     func(key string) bool   // cheap, on every unknown key
	reference func(key string) string // of a key of that shape
	compare   func(ctx context.Context, key authkey.Presented, hash Hash) (bool, error)
	slow      bool // compare is the host's
	lookup    Lookup
}

// Named returns the same scheme under another name, of 1 to 64 visible ASCII characters. No two of a chain may have the
// same.
func (s *Scheme) Named(name string) *Scheme {
	if s == nil {
		return nil
	}
	named := *s
	named.name = name
	return &named
}

func (s *Scheme) apply(c *Chain) error {
	const maxNameLen = 64
	switch {
	case s == nil:
		return invalid("scheme: nil")
	case s.name == "" || len(s.name) > maxNameLen || !onlyVisible(s.name):
		return invalid("scheme %.20q: want a name of 1 to %d visible ASCII characters", s.name, maxNameLen)
	case c.counts[s.name] != nil:
		return invalid("scheme %q: there twice: give one another name by Named", s.name)
	case s.lookup == nil:
		return invalid("scheme %q: lookup: nil", s.name)
	case s.shape == nil || s.reference == nil:
		return invalid("scheme %q: shape: nil", s.name)
	case s.compare == nil:
		return invalid("scheme %q: compare, or encode: nil", s.name)
	}
	c.schemes = append(c.schemes, s)
	c.counts[s.name] = &counts{}
	return nil
}

// Custom returns a scheme of one's own. shape says, quickly and without I/O, whether a key has the form, and what the
// Lookup needs to know to find its row, such as an id that the key shows. compare tells whether a hash is that of the
// key, in constant time; an error is an outage.
//
// It is the way to hashes that are slow by design (bcrypt, scrypt, Argon2, PBKDF2), which nobody needs for random keys.
// Such a compare runs once for a key that is accepted, which is found by its digest from then on; for others as often
// as WithRate lets it, behind the negative cache. It gets no more of the key than the chain accepts, 256 bytes; bcrypt
// sees 72 of them.
func Custom(name string, shape func(key string) (reference string, ok bool), compare func(ctx context.Context, key authkey.Presented, hash Hash) (bool, error), lookup Lookup) *Scheme {
	s := &Scheme{name: name, compare: compare, slow: true, lookup: lookup}
	if shape != nil {
		s.shape = func(key string) bool { _, ok := shape(key); return ok }
		s.reference = func(key string) string { reference, _ := shape(key); return reference }
	}
	return s
}

// errForm: the table has something else than the scheme's system writes.
var errForm = errors.New("the stored hash is not in the form of the scheme: use a Custom one for it")

// by compares a stored hash with what its system would store for a key, in constant time.
func by(hash func(key string) string) func(context.Context, authkey.Presented, Hash) (bool, error) {
	return func(_ context.Context, key authkey.Presented, stored Hash) (bool, error) {
		want := hash(key.Reveal())
		if len(stored) != len(want) {
			return false, errForm
		}
		same := subtle.ConstantTimeCompare([]byte(stored), []byte(want)) == 1
		if !same && strings.EqualFold(string(stored), want) {
			return false, errForm
		}
		return same, nil
	}
}
