// Package redisstore keeps API key records in Redis: standalone, Sentinel or Cluster.
//
// A change is written together with the org's epoch, in one script, so that a limiter on the same Redis
// notices it on the next request. Records have no TTL: give this Redis persistence, and no eviction
// policy that takes keys without one. Where the truth about keys lies in an SQL table, implement
// authkey.Store over that table instead.
//
//	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
//	store := redisstore.New(rdb)
//	verifier, err := authkey.New(store) // reports a nil client too
//	if err != nil { ... }
//	issuer, err := authkey.NewIssuer(store, format)
//	record, key, err := issuer.Issue(ctx, authkey.NewKey{Org: "demo", Project: "shop"})
package redisstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/seal"
)

const (
	defaultTimeout = time.Second
	maxTimeout     = lua.ClaimTime / 2 // a claim has to outlast the writing of its record
)

// Store keeps records in Redis. Make it with New. Safe for concurrent use; the client stays the caller's
// to close. Its errors are those of authkey.Store.
type Store struct {
	conn     *lua.Conn
	timeout  time.Duration
	sealer   *seal.Sealer // nil: nothing is sealed
	unsealed bool         // what has no seal is read too
	fault    error
}

var (
	_ authkey.Store    = (*Store)(nil)
	_ authkey.UseStore = (*Store)(nil)
	_ authkey.Rehasher = (*Store)(nil)
)

// Option sets up New.
type Option interface{ apply(*Store) error }

type option func(*Store) error

func (o option) apply(s *Store) error { return o(s) }

// WithTimeout bounds each call of a method, within the bound of its context: more than 0, up to 5 s.
// Default 1 s; a Verifier sets a shorter one for its look-ups.
func WithTimeout(d time.Duration) Option {
	return option(func(s *Store) error {
		if d <= 0 || d > maxTimeout {
			return fmt.Errorf("%w: redisstore: WithTimeout(%v): want more than 0, up to %v", authkey.ErrInvalid, d, maxTimeout)
		}
		s.timeout = d
		return nil
	})
}

// WithSealer seals what the store writes, and refuses, as an outage, what it reads without a good seal: who can write to
// Redis, and does not know the secret, can then neither plant a key nor give one more than it had. What he still can
// do is to remove records, and to put back an older form of one, such as that from before a revocation; processes that
// saw the revocation keep to it while they have it cached. Default: no seals.
func WithSealer(sealer *seal.Sealer) Option {
	return option(func(s *Store) error {
		if sealer == nil {
			return fmt.Errorf("%w: redisstore: WithSealer(nil): want one from seal.New", authkey.ErrInvalid)
		}
		s.sealer = sealer
		return nil
	})
}

// WithUnsealed also reads what has no seal at all, while Reseal gives old records theirs. A planted record has none
// either: use it for that time only.
func WithUnsealed() Option {
	return option(func(s *Store) error {
		s.unsealed = true
		return nil
	})
}

// New returns a store on a client. It does not dial. What is wrong with its arguments is told by Err and
// by every method, so that New can stand inside the call of authkey.New, which asks for it.
func New(rdb redis.UniversalClient, opts ...Option) *Store {
	s := &Store{timeout: defaultTimeout}
	var faults []error
	conn, err := lua.NewConn(rdb)
	if err != nil {
		faults = append(faults, fmt.Errorf("%w: redisstore: %w", authkey.ErrInvalid, err))
	}
	s.conn = conn
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, fmt.Errorf("%w: redisstore: option %d: nil", authkey.ErrInvalid, n))
			continue
		}
		faults = append(faults, opt.apply(s))
	}
	s.fault = errors.Join(faults...)
	return s
}

// Err reports what is wrong with the arguments of New; authkey.ErrInvalid. It does no I/O.
func (s *Store) Err() error {
	if s == nil || s.conn == nil && s.fault == nil {
		return fmt.Errorf("%w: redisstore: a Store that New did not make", authkey.ErrInvalid)
	}
	return s.fault
}

// Find implements authkey.Store. Cost: two round trips.
func (s *Store) Find(ctx context.Context, credential string) (authkey.Record, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return authkey.Record{}, err
	}
	defer cancel()
	return s.find(ctx, credential)
}

// FindDigest implements authkey.Store. Cost: three round trips.
func (s *Store) FindDigest(ctx context.Context, digest authkey.Digest) (authkey.Record, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return authkey.Record{}, err
	}
	defer cancel()
	id, err := s.conn.DigestID(ctx, hexOf(digest))
	if err != nil {
		return authkey.Record{}, translate(err)
	}
	record, err := s.find(ctx, id)
	if err != nil {
		return authkey.Record{}, err
	}
	if c := record.Credential(id); c == nil || !c.Foreign || !c.Digest.Equal(digest) {
		return authkey.Record{}, authkey.ErrUnknown
	}
	return record, nil
}

func (s *Store) find(ctx context.Context, credential string) (authkey.Record, error) {
	reading, err := s.conn.Key(ctx, credential)
	if err != nil {
		return authkey.Record{}, translate(err)
	}
	return s.decode(&reading)
}

// Create implements authkey.Store. Cost: one round trip, two more for each foreign credential, whose digest lies in
// another slot: it is claimed first and confirmed last. When the confirmation gets lost, the record is there but no
// key opens it.
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
	text, audited := encode(&record)
	line, err := audit.NewLine(ctx, s.sealer, audit.Entry{Action: action, Org: record.Org, Project: record.Project, ID: record.ID, After: audited})
	if err != nil {
		return authkey.Record{}, translate(err)
	}
	key := lua.Key{
		ID: record.ID, Org: record.Org, Project: record.Project, State: string(record.State), Revision: record.Revision,
		Record: string(text), Seal: s.seal(sealedKey, record.Org, record.ID, text),
	}
	if err := s.conn.PutKey(ctx, key, expected, raise, fresh, line); err != nil {
		return authkey.Record{}, translate(err)
	}
	if expected == 0 {
		if err := s.bind(ctx, s.conn.ConfirmDigest, bound); err != nil {
			return authkey.Record{}, fmt.Errorf("%w: key %s is written, but it was not bound to its digest in time: import the key again: %w",
				authkey.ErrUnavailable, record.ID, err)
		}
	}
	reading := lua.KeyReading{Key: key, Within: lua.ProjectReading{Name: record.Project}, Used: map[string]int64{}}
	for i := range old.Credentials {
		reading.Used[old.Credentials[i].ID] = micros(old.Credentials[i].LastUsedAt)
	}
	written, err := s.decode(&reading)
	written.Within = old.Within
	return written, err
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

// List implements authkey.Store. Cost: two round trips.
func (s *Store) List(ctx context.Context, org, project, cursor string, limit int) ([]authkey.Record, string, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, "", err
	}
	defer cancel()
	after, err := decodeCursor(cursor, limit)
	if err != nil {
		return nil, "", err
	}
	page, err := s.conn.Keys(ctx, org, project, after, limit)
	if err != nil {
		return nil, "", translate(err)
	}
	records := make([]authkey.Record, 0, len(page.Keys))
	for i := range page.Keys {
		record, err := s.decode(&page.Keys[i])
		if err != nil {
			return nil, "", err
		}
		records = append(records, record)
	}
	return records, encodeCursor(page.Next), nil
}

func encodeCursor(place string) string { return base64.RawURLEncoding.EncodeToString([]byte(place)) }

func decodeCursor(cursor string, limit int) (place string, err error) {
	if limit < 1 || limit > authkey.MaxPage {
		return "", fmt.Errorf("%w: limit %d: want 1 to %d", authkey.ErrInvalid, limit, authkey.MaxPage)
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return "", translate(lua.ErrCursor)
	}
	return string(text), nil
}

func (s *Store) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if err := s.Err(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	return ctx, cancel, nil
}

// translate turns what package lua says into what authkey.Store promises.
func translate(err error) error {
	switch {
	case errors.Is(err, lua.ErrKeyNotFound):
		return authkey.ErrUnknown
	case errors.Is(err, lua.ErrKeyExists):
		return authkey.ErrExists
	case errors.Is(err, lua.ErrKeyRevoked):
		return authkey.ErrRevoked
	case errors.Is(err, lua.ErrKeyChanged):
		return authkey.ErrConflict
	case errors.Is(err, lua.ErrCursor):
		return fmt.Errorf("%w: cursor: want what List returned for this org and project", authkey.ErrInvalid)
	case errors.Is(err, lua.ErrDigestClaimed):
		return fmt.Errorf("%w: another call is importing this key: try again in %v: %w", authkey.ErrUnavailable, lua.ClaimTime, err)
	}
	return fmt.Errorf("%w: redisstore: %w", authkey.ErrUnavailable, err)
}
