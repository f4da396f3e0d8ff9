package authkey

import (
	"context"
	"errors"
	"fmt"
)

// lookup returns the record that a presented key is of, and which of its credentials it is. id is what the key says
// of itself; "" is a foreign key, found by its digest. ErrUnknown where nobody has it; else the store's errors.
func lookup(ctx context.Context, store Store, hasher *Hasher, id string, presented Presented) (Record, *Credential, error) {
	if id == "" {
		return lookupForeign(ctx, store, hasher, presented)
	}
	record, err := store.Find(ctx, id)
	if errors.Is(err, ErrUnknown) {
		// The same work here as for a known id. How long the store takes may still tell whether an id is
		// known; ids are public.
		digest, _ := hasher.Digest(presented)
		_ = digest.Equal(dummy)
		return Record{}, nil, ErrUnknown
	}
	if err != nil {
		return Record{}, nil, err
	}
	credential := record.Credential(id)
	if credential == nil { // long replaced
		return Record{}, nil, ErrUnknown
	}
	digest, ok := hasher.digestWith(credential.PepperVersion, presented)
	if !ok {
		return Record{}, nil, fmt.Errorf("%w: credential %s needs pepper %q, which WithHasher was not given", ErrUnavailable, id, credential.PepperVersion)
	}
	if !digest.Equal(credential.Digest) {
		return Record{}, nil, ErrUnknown
	}
	return record, credential, nil
}

// lookupForeign tries the digest under each pepper, the current one first, and once more last: another process may
// have moved the key to it meanwhile.
func lookupForeign(ctx context.Context, store Store, hasher *Hasher, presented Presented) (Record, *Credential, error) {
	peppers := hasher.all()
	if len(peppers) > 1 {
		peppers = append(peppers[:len(peppers):len(peppers)], peppers[0])
	}
	for _, pepper := range peppers {
		digest := pepper.digest(presented)
		record, err := store.FindDigest(ctx, digest)
		if errors.Is(err, ErrUnknown) {
			continue
		}
		if err != nil {
			return Record{}, nil, err
		}
		if credential := record.credentialOf(digest); credential != nil && credential.PepperVersion == pepper.version {
			return record, credential, nil
		}
	}
	return Record{}, nil, ErrUnknown
}

// dummy is a digest of no key.
var dummy = NewDigest(sum{1})
