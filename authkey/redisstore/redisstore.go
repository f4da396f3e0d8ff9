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
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
)

const (
	defaultTimeout = time.Second
	maxTimeout     = lua.ClaimTime / 2 // a claim has to outlast the writing of its record
)

// Store keeps records in Redis. Make it with New. Safe for concurrent use; the client stays the caller's
// to close. Its errors are those of authkey.Store.
type Store struct {
	conn    *lua.Conn
	timeout time.Duration
	fault   error
}

var _ authkey.Store = (*Store)(nil)

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
func (s *Store) Find(ctx context.Context, id string) (authkey.Record, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return authkey.Record{}, err
	}
	defer cancel()
	return s.find(ctx, id)
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
	if err == nil && !(record.Foreign && record.Digest.Equal(digest)) {
		return authkey.Record{}, authkey.ErrUnknown
	}
	return record, err
}

func (s *Store) find(ctx context.Context, id string) (authkey.Record, error) {
	fields, epoch, err := s.conn.Credential(ctx, id)
	if err != nil {
		return authkey.Record{}, translate(err)
	}
	record, err := decode(id, fields)
	record.Epoch = epoch
	return record, err
}

// Create implements authkey.Store. Cost: one round trip, three for a foreign key. Its digest is claimed
// first and confirmed last, since it lies in another slot: when the confirmation gets lost, the record
// is there but no key opens it.
func (s *Store) Create(ctx context.Context, record authkey.Record) (authkey.Record, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return authkey.Record{}, err
	}
	defer cancel()
	if err := record.Validate(); err != nil {
		return authkey.Record{}, err
	}
	digest := hexOf(record.Digest)
	if record.Foreign {
		if err := s.conn.ClaimDigest(ctx, digest, record.ID); err != nil {
			return authkey.Record{}, translate(err)
		}
	}
	fields, err := s.conn.CreateCredential(ctx, record.Org, record.Project, record.ID, encode(record))
	if err != nil {
		return authkey.Record{}, translate(err)
	}
	if record.Foreign {
		if err := s.conn.ConfirmDigest(ctx, digest, record.ID); err != nil {
			return authkey.Record{}, fmt.Errorf("%w: credential %s is written, but its key was not bound to it in time: import the key again: %w",
				authkey.ErrUnavailable, record.ID, err)
		}
	}
	return decode(record.ID, fields)
}

// SetState implements authkey.Store. Cost: one round trip.
func (s *Store) SetState(ctx context.Context, org, id string, state authkey.State, reason string) (authkey.Record, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return authkey.Record{}, err
	}
	defer cancel()
	if err := state.Validate(reason); err != nil {
		return authkey.Record{}, err
	}
	fields, err := s.conn.SetCredentialState(ctx, org, id, string(state), reason)
	if err != nil {
		return authkey.Record{}, translate(err)
	}
	return decode(id, fields)
}

// List implements authkey.Store. Cost: two round trips.
func (s *Store) List(ctx context.Context, org, project, cursor string, limit int) ([]authkey.Record, string, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, "", err
	}
	defer cancel()
	if limit < 1 || limit > authkey.MaxPage {
		return nil, "", fmt.Errorf("%w: limit %d: want 1 to %d", authkey.ErrInvalid, limit, authkey.MaxPage)
	}
	after, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, "", translate(lua.ErrCursor)
	}
	page, err := s.conn.Credentials(ctx, org, project, string(after), limit)
	if err != nil {
		return nil, "", translate(err)
	}
	records := make([]authkey.Record, 0, len(page.IDs))
	for i, id := range page.IDs {
		if len(page.Records[i]) == 0 {
			continue
		}
		record, err := decode(id, page.Records[i])
		if err != nil {
			return nil, "", err
		}
		records = append(records, record)
	}
	return records, base64.RawURLEncoding.EncodeToString([]byte(page.Next)), nil
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
	case errors.Is(err, lua.ErrCredentialNotFound):
		return authkey.ErrUnknown
	case errors.Is(err, lua.ErrCredentialExists):
		return authkey.ErrExists
	case errors.Is(err, lua.ErrCredentialRevoked):
		return authkey.ErrRevoked
	case errors.Is(err, lua.ErrCursor):
		return fmt.Errorf("%w: cursor: want what List returned for this org and project", authkey.ErrInvalid)
	case errors.Is(err, lua.ErrDigestClaimed):
		return fmt.Errorf("%w: another call is importing this key: try again in %v: %w", authkey.ErrUnavailable, lua.ClaimTime, err)
	}
	return fmt.Errorf("%w: redisstore: %w", authkey.ErrUnavailable, err)
}

func hexOf(digest authkey.Digest) string {
	sum := digest.Sum()
	return hex.EncodeToString(sum[:])
}
