package authkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"
)

// MaxOverlap is how long a rotation lets the credentials live that it replaces, at most.
const MaxOverlap = 366 * 24 * time.Hour

// IfAbsent stands for the revision of a project that nothing is set for yet.
const IfAbsent int64 = -1

// Find returns a key of an org by its id; ErrUnknown where the org has no such key, also when another org has. Cost:
// one Store.Find.
func (i *Issuer) Find(ctx context.Context, org, id string) (Record, error) {
	record, err := i.store.Find(ctx, id)
	if err == nil && (record.Org != org || record.ID != id) {
		return Record{}, ErrUnknown
	}
	return record, err
}

// Lookup returns the key that somebody presents, in whatever state it is, and which of its credentials that is. For
// operators who have found a key and want to know whose it is. ErrUnknown where nobody has it, ErrMalformed where it
// cannot be one; else the store's errors. Cost: one Store.Find, or a Store.FindDigest for each pepper.
func (i *Issuer) Lookup(ctx context.Context, presented Presented) (record Record, credential string, err error) {
	text := presented.Reveal()
	if len(text) == 0 || len(text) > maxKeyLen || !onlyVisible(text) {
		return Record{}, "", ErrMalformed
	}
	parsed, err := Parse(text)
	if err != nil {
		parsed.ID = "" // a foreign one
	}
	record, found, err := lookup(ctx, i.store, i.hasher, parsed.ID, presented)
	if err != nil {
		return Record{}, "", err
	}
	return record, found.ID, nil
}

// Changes are what Change changes of a key: nil is left as it is. The zero value behind a pointer takes a bound away.
type Changes struct {
	Name, Owner, Plan         *string
	Scopes, Products, Origins *[]string
	Networks                  *[]netip.Prefix
	Meta                      *map[string]string
	NotBefore, ExpiresAt      *time.Time // a time that has come ends the key at once
	State                     *State     // StateActive or StateDisabled, with Reason; to revoke, use SetState
	Reason                    *string
}

// Change changes a key of an org, if it still has a revision; 0 is whatever it has. It acts on the next request,
// everywhere. Errors: ErrUnknown, ErrConflict, ErrRevoked, ErrInvalid for what is out of bounds, and the store's. What
// changes nothing is no change. Cost: one Store.Find and one Store.Change, again for each change that came between.
func (i *Issuer) Change(ctx context.Context, org, id string, revision int64, changes Changes) (Record, error) {
	if s := changes.State; s != nil && *s != StateActive && *s != StateDisabled {
		return Record{}, fmt.Errorf("%w: record: State: want %q or %q", ErrInvalid, StateActive, StateDisabled)
	}
	return i.update(ctx, org, id, revision, "key.change", func(r *Record) error {
		set(&r.Name, changes.Name)
		set(&r.Owner, changes.Owner)
		set(&r.Plan, changes.Plan)
		set(&r.Scopes, changes.Scopes)
		set(&r.Products, changes.Products)
		set(&r.Origins, changes.Origins)
		set(&r.Networks, changes.Networks)
		set(&r.Meta, changes.Meta)
		set(&r.NotBefore, changes.NotBefore)
		set(&r.ExpiresAt, changes.ExpiresAt)
		set(&r.State, changes.State)
		set(&r.Reason, changes.Reason)
		r.NotBefore, r.ExpiresAt = stored(r.NotBefore), stored(r.ExpiresAt)
		return nil
	})
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// SetState changes the state of a key of an org and why it is that, as Change does. Revoked is for good: any other
// state is then ErrRevoked. A key that is in the state already stays as it is, with its reason. What is taken is taken at
// once; a key that is enabled again may be refused, where it was refused before, until a Verifier's cache ends.
func (i *Issuer) SetState(ctx context.Context, org, id string, revision int64, state State, reason string) (Record, error) {
	action := map[State]string{StateActive: "key.enable", StateDisabled: "key.disable", StateRevoked: "key.revoke"}[state]
	if action == "" {
		return Record{}, fmt.Errorf("%w: record: State: want %q, %q or %q", ErrInvalid, StateActive, StateDisabled, StateRevoked)
	}
	return i.update(ctx, org, id, revision, action, func(r *Record) error {
		if r.State == state {
			return nil
		}
		r.State, r.Reason = state, reason
		if state == StateRevoked {
			r.RevokedAt = stored(i.now())
		}
		return nil
	})
}

// Rotation says how a key gets a new credential.
type Rotation struct {
	// Overlap is how long the credentials live on that are live now: 0, which revokes them at once, to MaxOverlap. None
	// outlives its own end by it.
	Overlap time.Duration
	// ExpiresAt is when the new credential ends; zero: with its key. Else in the future.
	ExpiresAt time.Time
	// Reason says why, in up to 256 bytes.
	Reason string
	// Revision is that of the key as the caller knows it; 0: whatever it is.
	Revision int64
}

// Rotate gives a key of an org a new credential and time-boxes the others. The credential is returned this once and
// kept nowhere. The key stays what it is: its id, limits, usage and restrictions. ErrTooMany when it would have more
// live credentials than WithMaxLive says; without an overlap there is always room. Other errors and the cost are those
// of Change; the new credential is then void, but after ErrUnavailable it may be there, with nobody who knows it: revoke
// it, or rotate without an overlap.
func (i *Issuer) Rotate(ctx context.Context, org, id string, rotation Rotation) (Record, Presented, error) {
	if rotation.Overlap < 0 || rotation.Overlap > MaxOverlap {
		return Record{}, Presented{}, fmt.Errorf("%w: record: Overlap: want 0 to %v", ErrInvalid, MaxOverlap)
	}
	at := stored(i.now())
	fresh := Credential{CreatedAt: at, ExpiresAt: stored(rotation.ExpiresAt)}
	if !fresh.ExpiresAt.IsZero() && !fresh.ExpiresAt.After(at) {
		return Record{}, Presented{}, fmt.Errorf("%w: record: ExpiresAt: want a time in the future", ErrInvalid)
	}
	presented, credential := i.format.Mint(org)
	fresh.ID = credential
	fresh.Digest, fresh.PepperVersion = i.hasher.Digest(presented)
	record, err := i.update(ctx, org, id, rotation.Revision, "key.rotate", func(r *Record) error {
		live := 1
		for n := range r.Credentials {
			old := &r.Credentials[n]
			if !old.RevokedAt.IsZero() || rotation.Overlap > 0 && !old.Live(at) {
				continue // else it may live by another clock
			}
			old.supersede(at, rotation)
			if old.Live(at) {
				live++
			}
		}
		if live > i.maxLive {
			return fmt.Errorf("%w: key %s would have %d live credentials, may have %d: wait until one ends, revoke one, or rotate without an overlap", ErrTooMany, id, live, i.maxLive)
		}
		r.Credentials = slices.Insert(r.Credentials, 0, fresh)
		r.forget(at)
		return nil
	})
	if err != nil {
		return Record{}, Presented{}, err
	}
	return record, presented, nil
}

// supersede ends a live credential with its overlap, or at once.
func (c *Credential) supersede(at time.Time, rotation Rotation) {
	if c.SupersededAt.IsZero() {
		c.SupersededAt, c.Reason = at, rotation.Reason
	}
	if rotation.Overlap == 0 {
		c.RevokedAt = at
		return
	}
	c.ExpiresAt = earlier(c.ExpiresAt, at.Add(rotation.Overlap))
}

// forget drops the oldest dead credentials of which there is no room for.
func (r *Record) forget(at time.Time) {
	for n := len(r.Credentials) - 1; n >= 0 && len(r.Credentials) > MaxCredentials; n-- {
		if !r.Credentials[n].Live(at) {
			r.Credentials = slices.Delete(r.Credentials, n, n+1)
		}
	}
}

// RevokeCredential revokes one credential of a key of an org, as Change does; its others stay. ErrUnknown when the key
// has no such credential. One that is revoked stays as it is.
func (i *Issuer) RevokeCredential(ctx context.Context, org, id, credential string, revision int64, reason string) (Record, error) {
	return i.updateCredential(ctx, org, id, credential, revision, "credential.revoke", func(c *Credential) {
		c.RevokedAt, c.Reason = stored(i.now()), reason
	})
}

// EndCredential lets one credential of a key of an org end at a time, as Change does; its others stay. One that is revoked,
// or ends sooner, stays as it is: no credential is given a later end. ErrUnknown when the key has no such credential,
// ErrInvalid for no time.
func (i *Issuer) EndCredential(ctx context.Context, org, id, credential string, revision int64, end time.Time, reason string) (Record, error) {
	end = stored(end)
	if end.IsZero() {
		return Record{}, fmt.Errorf("%w: record: ExpiresAt: want a time", ErrInvalid)
	}
	return i.updateCredential(ctx, org, id, credential, revision, "credential.end", func(c *Credential) {
		if earlier(c.ExpiresAt, end) != c.ExpiresAt {
			c.ExpiresAt, c.Reason = end, reason
		}
	})
}

// updateCredential edits one credential of a key, unless it is revoked.
func (i *Issuer) updateCredential(ctx context.Context, org, id, credential string, revision int64, action string, edit func(*Credential)) (Record, error) {
	return i.update(ctx, org, id, revision, action, func(r *Record) error {
		c := r.Credential(credential)
		if c == nil {
			return ErrUnknown
		}
		if c.RevokedAt.IsZero() {
			edit(c)
		}
		return nil
	})
}

// update reads a key, edits it and writes it, until nobody else came between, or, where a revision is given, once.
func (i *Issuer) update(ctx context.Context, org, id string, revision int64, action string, edit func(*Record) error) (Record, error) {
	for {
		record, err := i.Find(ctx, org, id)
		if err != nil {
			return Record{}, err
		}
		if revision != 0 && record.Revision != revision {
			return Record{}, ErrConflict
		}
		edited := record.clone()
		if err := edit(&edited); err != nil {
			return Record{}, err
		}
		if reflect.DeepEqual(record, edited) {
			return record, nil
		}
		if record.State == StateRevoked {
			return Record{}, ErrRevoked
		}
		edited, err = i.store.Change(ctx, edited, action)
		if revision == 0 && errors.Is(err, ErrConflict) && ctx.Err() == nil {
			continue
		}
		return edited, err
	}
}

// SetProject sets the state and the plan of a project, for all of its keys, and why. revision is that of the project as
// the caller knows it; 0: whatever it is; IfAbsent: nothing may be set yet. It acts on the next request, everywhere.
// Errors: ErrConflict, ErrInvalid and the store's. Cost: one Store.Project and one Store.SetProject.
func (i *Issuer) SetProject(ctx context.Context, org, name string, revision int64, state State, plan, reason string) (Project, error) {
	for {
		project, err := i.store.Project(ctx, org, name)
		if err != nil && !errors.Is(err, ErrUnknown) {
			return Project{}, err
		}
		if revision != 0 && revision != cmp.Or(project.Revision, IfAbsent) {
			return Project{}, ErrConflict
		}
		if project.Revision != 0 && project.State == state && project.Plan == plan && project.Reason == reason {
			return project, nil
		}
		project, err = i.store.SetProject(ctx, Project{
			Org: org, Name: name, State: state, Plan: plan, Reason: reason, UpdatedAt: stored(i.now()), Revision: project.Revision,
		})
		if revision == 0 && errors.Is(err, ErrConflict) && ctx.Err() == nil {
			continue
		}
		return project, err
	}
}
