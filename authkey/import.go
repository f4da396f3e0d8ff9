package authkey

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/tollgate-go/tollgate/lua/bucket"
)

const maxSourceLen = 128

// Import stores a record for a key that some other system handed out: 16 bytes (see WithMinForeignLength)
// to 256 visible ASCII characters. A verifier finds it by digest, if made WithForeignKeys. ErrExists when
// the key is there already, under any pepper of the hasher, or its Source is; ErrInvalid for a key of the form
// that Mint gives, which is found by its id. Cost: one Store.Create, and a Store.FindDigest for each pepper but the
// current one.
func (i *Issuer) Import(ctx context.Context, presented Presented, key NewKey) (Record, error) {
	text := presented.Reveal()
	if len(text) < i.minForeignLen || len(text) > maxKeyLen || !onlyVisible(text) {
		return Record{}, fmt.Errorf("%w: foreign key: want %d to %d visible ASCII characters", ErrInvalid, i.minForeignLen, maxKeyLen)
	}
	if _, err := Parse(text); err == nil {
		return Record{}, fmt.Errorf("%w: foreign key: it has the form of a key minted here; create its record with its own id", ErrInvalid)
	}
	// A second record would stand before one from under an older pepper, which may have been revoked.
	for _, old := range i.hasher.all()[1:] {
		if _, err := i.store.FindDigest(ctx, old.digest(presented)); err == nil {
			return Record{}, fmt.Errorf("%w: foreign key: under pepper %q", ErrExists, old.version)
		} else if !errors.Is(err, ErrUnknown) {
			return Record{}, err
		}
	}
	digest, version := i.hasher.Digest(presented)
	return i.createForeign(ctx, key, Credential{Digest: digest, PepperVersion: version})
}

// ImportDigest is Import for a key of which only the plain SHA-256 is known, as other systems keep it. How long the key
// is nobody can tell: import only what was drawn from 128 random bits or more. A hasher with peppers has to list the
// zero Pepper too, or no verifier would accept the key; else ErrInvalid. Whether the key itself was imported under a
// pepper nobody can tell either, unless both have a Source.
func (i *Issuer) ImportDigest(ctx context.Context, digest Digest, key NewKey) (Record, error) {
	if _, ok := i.hasher.digestWith("", Presented{}); !ok {
		return Record{}, fmt.Errorf("%w: ImportDigest: a digest without pepper needs the zero Pepper in NewHasher", ErrInvalid)
	}
	return i.createForeign(ctx, key, Credential{Digest: digest})
}

func (i *Issuer) createForeign(ctx context.Context, key NewKey, credential Credential) (Record, error) {
	if !validText(key.Source, maxSourceLen) {
		return Record{}, fmt.Errorf("%w: Source: want up to %d bytes of UTF-8 without control characters", ErrInvalid, maxSourceLen)
	}
	credential.ID, credential.Foreign = newID(key.Org), true
	if key.Source != "" {
		credential.ID = sourceID(key.Org, key.Source)
	}
	return i.create(ctx, key, credential)
}

// sourceID returns the public id of what an org imports from a source: 71 bits of a hash, in the org's bucket.
func sourceID(org, source string) string {
	id := []byte(bucket.Of(org))
	hash := sha256.Sum256(fmt.Appendf(nil, "import %d %s %s", len(org), org, source))
	for fill := hash; ; fill = sha256.Sum256(fill[:]) {
		for _, b := range fill {
			if b < fairBytes && len(id) < idLen {
				id = append(id, base62[b%62])
			}
		}
		if len(id) == idLen {
			return string(id)
		}
	}
}

// AcceptsForeignKeys reports whether the verifier was made WithForeignKeys. False for a nil verifier.
func (v *Verifier) AcceptsForeignKeys() bool { return v != nil && v.foreign }
