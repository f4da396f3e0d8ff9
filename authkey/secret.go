package authkey

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Presented is a key as a caller shows it: a secret. Whatever prints, logs or encodes it writes
// "[redacted]"; Reveal is the one way out. The zero value is an absent key. It cannot be compared with
// == (use Equal), and a Digest cannot be turned into one. Safe for concurrent use.
type Presented struct {
	_ [0]func() // not comparable
	// A pointer, so that fmt shows an address and no text where it meets a Presented in an unexported
	// field and may not call its methods.
	key *string
}

// NewPresented takes what a caller showed, as it is. Nothing is checked here. One small allocation.
func NewPresented(key string) Presented {
	if key == "" {
		return Presented{}
	}
	return Presented{key: &key}
}

// Reveal returns the secret text. Show it once, to its owner, and keep it nowhere.
func (p Presented) Reveal() string {
	if p.key == nil {
		return ""
	}
	return *p.key
}

// IsZero reports whether there is no key.
func (p Presented) IsZero() bool { return p.key == nil }

// Equal compares two keys in a time that does not depend on where they differ.
func (p Presented) Equal(other Presented) bool {
	return subtle.ConstantTimeCompare([]byte(p.Reveal()), []byte(other.Reveal())) == 1
}

// String returns "[redacted]".
func (Presented) String() string { return redacted }

// GoString returns "[redacted]".
func (Presented) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (Presented) Format(f fmt.State, _ rune) { writeRedacted(f) }

// LogValue returns "[redacted]".
func (Presented) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Presented) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Presented) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Digest is what a store holds instead of a key. It prints as "[redacted]" too, and nothing accepts it
// where a key is expected. The zero value is no digest and equals none. Comparable, so that it can be
// the key of a map; use Equal to decide about a caller. Safe for concurrent use.
type Digest struct{ sum [sha256.Size]byte }

// NewDigest takes the 32 bytes that a store kept. For implementations of Store.
func NewDigest(sum [sha256.Size]byte) Digest { return Digest{sum: sum} }

// Sum returns the 32 bytes. For implementations of Store; show them to nobody.
func (d Digest) Sum() [sha256.Size]byte { return d.sum }

// IsZero reports whether there is no digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// Equal compares in constant time. The zero Digest equals nothing, itself included.
func (d Digest) Equal(other Digest) bool {
	same := subtle.ConstantTimeCompare(d.sum[:], other.sum[:])
	return same == 1 && !d.IsZero()
}

// String returns "[redacted]".
func (Digest) String() string { return redacted }

// GoString returns "[redacted]".
func (Digest) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (Digest) Format(f fmt.State, _ rune) { writeRedacted(f) }

// LogValue returns "[redacted]".
func (Digest) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Digest) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Digest) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

func writeRedacted(f fmt.State) {
	_, _ = f.Write([]byte(redacted)) // fmt.State has nobody to tell
}
