package redisstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
)

// Create implements authkey.Store. Cost: one round trip, two more for each foreign credential, whose digest lies in
// another slot: it is claimed first and confirmed last. When the confirmation gets lost, the record is there but no
// key opens it, until the same is created again: that is ErrExists, and confirms.
func (s *Store) Create(ctx context.Context, record authkey.Record) (authkey.Record, error) {
	record.Revision = 1
	return s.put(ctx, record, 0, "key.create", false)
}

// Change implements authkey.Store. Cost: two round trips more than Create.
func (s *Store) Change(ctx context.Context, record authkey.Record, action string) (authkey.Record, error) {
	return s.change(ctx, record, action, true)
}

// Rehash implements authkey.Rehasher. Cost: as Change.
func (s *Store) Rehash(ctx context.Context, record authkey.Record) (authkey.Record, error) {
	return s.change(ctx, record, "credential.rehash", false)
}

func (s *Store) change(ctx context.Context, record authkey.Record, action string, raise bool) (authkey.Record, error) {
	expected := record.Revision
	if expected == 0 {
		expected = -1 // no record has it; 0 would make one
	}
	record.Revision++
	return s.put(ctx, record, expected, action, raise)
}

// put writes a record in the place of the one with the expected revision; 0: of none. It raises the org's epoch where
// others have to notice.
func (s *Store) put(ctx context.Context, record authkey.Record, expected int64, action string, raise bool) (authkey.Record, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return authkey.Record{}, err
	}
	defer cancel()
	if err := record.Validate(); err != nil {
		return authkey.Record{}, err
	}
	var old authkey.Record
	if expected != 0 { // to know which credentials are new
		if old, err = s.find(ctx, record.ID); err != nil {
			return authkey.Record{}, err
		}
		if old.Org != record.Org || old.Project != record.Project {
			return authkey.Record{}, authkey.ErrUnknown
		}
	}
	fresh, bound := additions(&old, &record)
	if err := s.bind(ctx, s.conn.ClaimDigest, bound); err != nil {
		return authkey.Record{}, translate(err)
	}
	if expected != 0 { // a key that opens now must open still if this is cut short; one that is new need not yet
		if err := s.bind(ctx, s.conn.ConfirmDigest, bound); err != nil {
			return authkey.Record{}, translate(err)
		}
	}
	key, err := s.write(ctx, &record, expected, action, raise, fresh)
	if expected == 0 && errors.Is(err, lua.ErrKeyExists) {
		if err := s.finish(ctx, bound); err != nil {
			return authkey.Record{}, err
		}
	}
	if err != nil {
		return authkey.Record{}, translate(err)
	}
	if expected == 0 {
		if err := s.bind(ctx, s.conn.ConfirmDigest, bound); err != nil {
			return authkey.Record{}, unbound(record.ID, err)
		}
	}
	return s.written(key, &old)
}

// write seals a record and writes it with its audit entry.
func (s *Store) write(ctx context.Context, record *authkey.Record, expected int64, action string, raise bool, fresh []string) (lua.Key, error) {
	text, audited := encode(record)
	line, err := audit.NewLine(ctx, s.sealer, audit.Entry{Action: action, Org: record.Org, Project: record.Project, ID: record.ID, After: audited})
	if err != nil {
		return lua.Key{}, err
	}
	key := lua.Key{
		ID: record.ID, Org: record.Org, Project: record.Project, State: string(record.State), Revision: record.Revision,
		Record: string(text), Seal: s.seal(sealedKey, record.Org, record.ID, text),
	}
	return key, s.conn.PutKey(ctx, key, expected, raise, fresh, line)
}

// written returns a key as it was just written in the place of an old one.
func (s *Store) written(key lua.Key, old *authkey.Record) (authkey.Record, error) {
	reading := lua.KeyReading{Key: key, Within: lua.ProjectReading{Name: key.Project}, Used: map[string]int64{}}
	for i := range old.Credentials {
		reading.Used[old.Credentials[i].ID] = micros(old.Credentials[i].LastUsedAt)
	}
	record, err := s.decode(&reading)
	record.Within = old.Within
	return record, err
}

// finish confirms digests of credentials that are there with them already: whoever wrote those may not have come so far.
func (s *Store) finish(ctx context.Context, bound map[string]string) error {
	for digest, id := range bound {
		record, err := s.find(ctx, id)
		if errors.Is(err, authkey.ErrUnknown) {
			continue
		}
		if err != nil {
			return err
		}
		if c := record.Credential(id); c == nil || !c.Foreign || hexOf(c.Digest) != digest {
			continue
		}
		if err := s.conn.ConfirmDigest(ctx, digest, id); err != nil {
			return unbound(record.ID, err)
		}
	}
	return nil
}

func unbound(id string, cause error) error {
	return fmt.Errorf("%w: key %s is written, but it was not bound to its digest in time: import the key again: %w", authkey.ErrUnavailable, id, cause)
}

// bind takes one step of binding digests to credentials.
func (s *Store) bind(ctx context.Context, step func(ctx context.Context, digest, id string) error, bound map[string]string) error {
	for digest, id := range bound {
		if err := step(ctx, digest, id); err != nil {
			return err
		}
	}
	return nil
}

// additions returns the ids of the credentials that are new in a record, and those of the foreign ones by digests that
// are.
func additions(old, record *authkey.Record) (fresh []string, bound map[string]string) {
	bound = map[string]string{}
	for i := range record.Credentials {
		c := &record.Credentials[i]
		before := old.Credential(c.ID)
		if before == nil {
			fresh = append(fresh, c.ID)
		}
		if c.Foreign && (before == nil || !before.Foreign || !before.Digest.Equal(c.Digest)) {
			bound[hexOf(c.Digest)] = c.ID
		}
	}
	return fresh, bound
}

// NoteUses implements authkey.UseStore. Cost: one round trip for each hundred keys of a bucket.
func (s *Store) NoteUses(ctx context.Context, uses []authkey.Use) error {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	notes := make([]lua.Use, 0, len(uses))
	for _, use := range uses {
		if use.At.IsZero() {
			return fmt.Errorf("%w: redisstore: use of %.20q at no time", authkey.ErrInvalid, use.Credential)
		}
		notes = append(notes, lua.Use{Key: use.Key, Credential: use.Credential, At: micros(use.At)})
	}
	if err := s.conn.NoteUses(ctx, notes); err != nil {
		return translate(err)
	}
	return nil
}
