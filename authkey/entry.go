package authkey

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"
)

// entry is a credential of a record as the verifier needs it, with the identity made once. Immutable, but for what used
// points to, and whether it is distrusted.
type entry struct {
	always    bool      // it is good at any time
	used      *useCell  // nil: nobody wants to know
	read      time.Time // when the store was asked
	identity  Identity
	state     State // of the key, or StateRevoked where the credential is
	suspended bool  // the project is
	notBefore time.Time
	revision  int64

	distrusted atomic.Bool // somebody was told that it is stale
}

func newEntry(r *Record, c *Credential, read time.Time) *entry {
	own := r.clone()
	e := &entry{
		read: read,
		identity: Identity{
			Org: own.Org, Project: own.Project, Key: own.ID, Credential: c.ID, Name: own.Name, Owner: own.Owner,
			Plan: cmp.Or(own.Plan, own.Within.Plan), Kind: own.Kind, Scopes: own.Scopes, Products: own.Products,
			Networks: own.Networks, Origins: own.Origins, Method: methodKey,
			ExpiresAt: earlier(own.ExpiresAt, c.ExpiresAt), SupersededAt: c.SupersededAt, Epoch: own.Epoch,
			Notes: new(Notes),
		},
		state: own.State, suspended: own.Within.State == StateSuspended, notBefore: own.NotBefore, revision: own.Revision,
	}
	if !c.RevokedAt.IsZero() {
		e.state = StateRevoked
	}
	e.always = e.state == StateActive && !e.suspended && e.notBefore.IsZero() && e.identity.ExpiresAt.IsZero()
	return e
}

// earlier returns the earlier of two ends, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// admit decides by state and time, so long after the entry was read; it runs on every request, so that an end is seen
// while the entry is cached.
func (e *entry) admit(age time.Duration) (*Identity, error) {
	if e.always && e.used == nil {
		return &e.identity, nil
	}
	return e.judge(e.read.Add(age)) // a wall clock that is set is followed by the next look-up
}

func (e *entry) judge(now time.Time) (*Identity, error) {
	var cause error
	switch expires := e.identity.ExpiresAt; {
	case e.state == StateRevoked:
		cause = ErrRevoked
	case e.state != StateActive:
		cause = ErrDisabled
	case now.Before(e.notBefore):
		cause = ErrNotYetValid
	case !expires.IsZero() && !now.Before(expires):
		cause = ErrExpired
	case e.suspended:
		cause = ErrSuspended
	default:
		e.used.note(now)
		return &e.identity, nil
	}
	return nil, fmt.Errorf("%w: credential %s", cause, e.identity.Credential)
}

// outlasts reports whether old stays although fresh was read: revoked stays revoked, and what a later
// epoch or revision says is not undone by a slow or lagging read.
func (e *entry) outlasts(fresh *entry) bool {
	if revoked := e.state == StateRevoked; revoked != (fresh.state == StateRevoked) {
		return revoked
	}
	if e.identity.Epoch != fresh.identity.Epoch {
		return e.identity.Epoch > fresh.identity.Epoch
	}
	return e.revision > fresh.revision
}
