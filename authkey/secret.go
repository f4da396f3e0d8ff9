package authkey

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

const redacted = "[redacted]"

// Presented is a key as a caller shows it: a secret. Whatever prints, logs or encodes it writes
// "[redacted]"; Reveal is the one way out. The zero value is an absent key. It cannot be compared with
// == (use Equal), and a Digest cannot be turned into one. Safe for concurrent use.
type Presented struct {
	_ [0]func() // not comparable
	// A pointer, so that fmt shows an address and no text where it meets a Presented in an unexported
	// field and may not call its methods.
	key          *string
	presentation *Presentation
}

// NewPresented takes what a caller showed, as it is. Nothing is checked here. One small allocation.
func NewPresented(key string) Presented {
	if key == "" {
		return Presented{}
	}
	return Presented{key: &key}
}

// PresentedAt is NewPresented for a text that the caller keeps, and never changes from then on: a look-up may still read
// it when the call that it was made for has returned. nil and an empty text are an absent key. No allocation.
func PresentedAt(key *string) Presented {
	if key == nil || *key == "" {
		return Presented{}
	}
	return Presented{key: key}
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
// where a key is expected. The zero value is no digest and equals none. Not comparable with ==. Safe for
// concurrent use.
type Digest struct {
	_   [0]func()
	sum *string // 32 bytes, out of fmt's reach as in Presented
}

// NewDigest takes the 32 bytes that a store kept; 32 zeros are no digest. For implementations of Store.
func NewDigest(sum [sha256.Size]byte) Digest {
	if sum == [sha256.Size]byte{} {
		return Digest{}
	}
	text := string(sum[:])
	return Digest{sum: &text}
}

// Sum returns the 32 bytes, zeros for no digest. For implementations of Store; show them to nobody.
func (d Digest) Sum() (sum [sha256.Size]byte) {
	if d.sum != nil {
		copy(sum[:], *d.sum)
	}
	return sum
}

// IsZero reports whether there is no digest.
func (d Digest) IsZero() bool { return d.sum == nil }

// Equal compares in constant time. The zero Digest equals nothing, itself included.
func (d Digest) Equal(other Digest) bool {
	mine, theirs := d.Sum(), other.Sum()
	same := subtle.ConstantTimeCompare(mine[:], theirs[:])
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

const (
	minPepperLen     = 32
	maxPepperVersion = 32
)

// Pepper is a secret that digests are made with and that is kept apart from the store: who can write the
// store cannot plant a working key without it. Make it with NewPepper; the zero Pepper stands for none,
// which is plain SHA-256. It never prints its secret. Immutable, safe for concurrent use.
type Pepper struct {
	version string
	secret  *string // out of fmt's reach as in Presented
}

// NewPepper returns a pepper of 32 random bytes or more. The version, of 1 to 32 bytes, names it in the
// records. NewHasher checks both.
func NewPepper(version string, secret []byte) Pepper {
	text := string(secret)
	return Pepper{version: version, secret: &text}
}

// Format writes the version only, for every verb.
func (p Pepper) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "pepper %q %s", p.version, redacted)
}

// Hasher makes digests: HMAC-SHA-256 (RFC 2104) with a pepper, or SHA-256 without. A fast function is
// right here, since a key has too many random bits to be guessed at any speed. Make it with NewHasher; a
// nil or zero Hasher is the one without pepper. Immutable, safe for concurrent use.
type Hasher struct {
	peppers []Pepper // the first is current; empty: only the zero Pepper
}

// NewHasher returns a hasher whose first pepper makes new digests, while all of them verify old ones.
// With none it is plain SHA-256. Once there is a pepper, records without one are no longer accepted,
// unless the zero Pepper is listed too: use that to move to a pepper, and drop it afterwards.
func NewHasher(peppers ...Pepper) (*Hasher, error) {
	var faults []error
	seen := map[string]bool{}
	for i, p := range peppers {
		switch secret := p.secret; {
		case seen[p.version]:
			faults = append(faults, fmt.Errorf("%w: pepper %d: version %.40q is there twice", ErrInvalid, i, p.version))
		case secret != nil && (p.version == "" || len(p.version) > maxPepperVersion):
			faults = append(faults, fmt.Errorf("%w: pepper %d: the version has %d bytes, want 1 to %d", ErrInvalid, i, len(p.version), maxPepperVersion))
		case secret != nil && len(*secret) < minPepperLen:
			faults = append(faults, fmt.Errorf("%w: pepper %q: the secret has %d bytes, want %d or more", ErrInvalid, p.version, len(*secret), minPepperLen))
		}
		seen[p.version] = true
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return &Hasher{peppers: slices.Clone(peppers)}, nil
}

// Digest returns the digest of a key under the current pepper, and that pepper's version.
func (h *Hasher) Digest(presented Presented) (digest Digest, version string) {
	current := h.all()[0]
	return current.digest(presented), current.version
}

// digestWith returns the digest under the pepper of a version; false when the hasher has no such pepper.
func (h *Hasher) digestWith(version string, presented Presented) (Digest, bool) {
	for _, p := range h.all() {
		if p.version == version {
			return p.digest(presented), true
		}
	}
	return Digest{}, false
}

var noPepper = []Pepper{{}}

func (h *Hasher) all() []Pepper {
	if h == nil || len(h.peppers) == 0 {
		return noPepper
	}
	return h.peppers
}

func (p Pepper) digest(presented Presented) Digest {
	if p.secret == nil {
		return NewDigest(sha256.Sum256([]byte(presented.Reveal())))
	}
	mac := hmac.New(sha256.New, []byte(*p.secret))
	mac.Write([]byte(presented.Reveal()))
	return NewDigest([sha256.Size]byte(mac.Sum(nil)))
}
