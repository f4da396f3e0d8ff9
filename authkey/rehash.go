package authkey

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Rehasher is a Store that can replace a digest by that of the same key under another pepper.
type Rehasher interface {
	// Rehash is Store.Change for a record in which only digests and their PepperVersion are others. What anybody may do
	// stays as it is, so the org's epoch does too.
	Rehash(ctx context.Context, record Record) (Record, error)
}

// WithRehash replaces, when a key is looked up and found good under a pepper that is not the current one, its digest
// by that under the current one. So an old pepper can be dropped when the keys that are in use have moved: Stats
// counts them, and Credential.PepperVersion tells of each. It costs such a look-up one Rehasher.Rehash, for half of the
// time that it has left; one that fails, or takes longer, changes nothing for the caller. The store has to be a Rehasher.
func WithRehash() Option {
	return option(func(v *Verifier) error {
		v.wantsRehash = true
		return nil
	})
}

// rehashed moves a credential that was just found good to the current pepper, if it is to.
func (v *Verifier) rehashed(ctx context.Context, q question, record *Record, credential *Credential) {
	if !v.wantsRehash || credential.PepperVersion == v.hasher.all()[0].version || record.State == StateRevoked {
		return
	}
	moved := *record
	moved.Credentials = slices.Clone(record.Credentials)
	c := moved.Credential(credential.ID)
	c.Digest, c.PepperVersion = v.hasher.Digest(q.presented)
	defer func() {
		if r := recover(); r != nil { // as in find: nobody else could
			v.rehashErrors.Add(1)
		}
	}()
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	switch _, err := v.rehash.Rehash(ctx, moved); {
	case err == nil:
		v.rehashes.Add(1)
	case !errors.Is(err, ErrConflict): // else somebody changed the key meanwhile, and the next look-up sees that
		v.rehashErrors.Add(1)
	}
}
