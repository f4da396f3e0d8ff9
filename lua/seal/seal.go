// Package seal authenticates what is kept in Redis, with a secret that is not kept there: whoever can write to
// Redis, but does not know the secret, can remove what was sealed or put back an older form of it, and can make
// nothing that passes for sealed.
//
//	sealer, err := seal.New(seal.NewKey("2026-11", secret)) // 32 random bytes or more, from a secret manager
//	mac := sealer.Seal("override", org, id, text)
//	err = sealer.Verify(mac, "override", org, id, text) // nil, or seal.ErrBroken
//
// It is a leaf package, so that package authkey does not link a Redis client.
package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Errors of the package.
var (
	// ErrBroken: what was read is not what was sealed, or was sealed with a key that is not given.
	ErrBroken = errors.New("seal: broken or missing seal")
	// ErrInvalid: a key is out of its bounds.
	ErrInvalid = errors.New("seal: invalid")
)

const (
	minSecret  = 32
	maxVersion = 32
)

// Key is one secret of a Sealer, with the version that seals name it by. It never prints its secret. Immutable.
type Key struct {
	version string
	secret  *string // a pointer, so that fmt has no text to print
}

// NewKey returns a key of 32 random bytes or more. The version is 1 to 32 letters, digits or ". _ -". New checks both.
func NewKey(version string, secret []byte) Key {
	text := string(secret)
	return Key{version: version, secret: &text}
}

// Format writes the version only, for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "seal key %q [redacted]", k.version) }

// Sealer makes and checks seals: HMAC-SHA-256 (RFC 2104). A nil Sealer seals nothing and accepts everything.
// Immutable, safe for concurrent use.
type Sealer struct {
	keys []Key // the first is current
}

// New returns a sealer whose first key makes new seals, while all of them verify. To replace a key, list the new
// one first, and drop the old one when everything was written again; what is not, such as an audit trail, needs it for as
// long as it is kept. The error joins all faults, each ErrInvalid.
func New(keys ...Key) (*Sealer, error) {
	var faults []error
	if len(keys) == 0 {
		faults = append(faults, fmt.Errorf("%w: New needs at least one key", ErrInvalid))
	}
	seen := map[string]bool{}
	for i, k := range keys {
		const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
		if k.version == "" || len(k.version) > maxVersion || strings.Trim(k.version, allowed) != "" {
			faults = append(faults, fmt.Errorf("%w: key %d: the version must be 1 to %d letters, digits or \". _ -\"", ErrInvalid, i, maxVersion))
		}
		if seen[k.version] {
			faults = append(faults, fmt.Errorf("%w: key %d: version %.40q is there twice", ErrInvalid, i, k.version))
		}
		if k.secret == nil || len(*k.secret) < minSecret {
			faults = append(faults, fmt.Errorf("%w: key %d: the secret must be %d bytes or more", ErrInvalid, i, minSecret))
		}
		seen[k.version] = true
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Sealer{keys: append([]Key{}, keys...)}, nil
}

// Format writes no secret for any verb.
func (s *Sealer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "seal.Sealer[redacted]") }

// Seal returns the seal of parts in a domain: <version>:<base64url>. Different lists of parts have different
// seals, however they would read when joined, and so have different domains. "" for a nil Sealer.
func (s *Sealer) Seal(domain string, parts ...string) string {
	if s == nil {
		return ""
	}
	k := s.keys[0]
	return k.version + ":" + base64.RawURLEncoding.EncodeToString(k.mac(domain, parts))
}

// Verify reports ErrBroken unless mac is a seal of these parts in this domain under one of the keys; it compares in
// constant time. nil for a nil Sealer.
func (s *Sealer) Verify(mac, domain string, parts ...string) error {
	if s == nil {
		return nil
	}
	version, text, _ := strings.Cut(mac, ":")
	sum, err := base64.RawURLEncoding.Strict().DecodeString(text)
	for _, k := range s.keys {
		if err == nil && k.version == version && hmac.Equal(sum, k.mac(domain, parts)) {
			return nil
		}
	}
	return ErrBroken
}

// mac covers the length of each part before it, so that no two lists meet.
func (k Key) mac(domain string, parts []string) []byte {
	h := hmac.New(sha256.New, []byte(*k.secret))
	write := func(part string) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		io.WriteString(h, part) //nolint:errcheck // a hash takes everything
	}
	write(domain)
	for _, part := range parts {
		write(part)
	}
	return h.Sum(nil)
}
