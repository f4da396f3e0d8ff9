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
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/breaker"
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
	logger   *slog.Logger // nil: nothing is logged
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
// saw the revocation keep to it while they have it cached. Where he sets the org's epoch back too, others follow a change
// only at the end of their cache's life. Default: no seals.
//
// Give the same sealer to ratelimit.WithSealer and, for it covers the entries of the audit trail as well, to
// auditlog.WithSealer, before anything is written: a trail that has an entry without a seal counts as broken.
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

// WithLogger writes a line when the store leaves a Redis server alone that fails again and again, and one when that
// answers again: no line for each request, whatever happens. Default: nothing is written.
func WithLogger(logger *slog.Logger) Option {
	return option(func(s *Store) error {
		if logger == nil {
			return fmt.Errorf("%w: redisstore: WithLogger(nil): want a logger, as slog.Default()", authkey.ErrInvalid)
		}
		s.logger = logger
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
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, fmt.Errorf("%w: redisstore: option %d: nil", authkey.ErrInvalid, n))
			continue
		}
		faults = append(faults, opt.apply(s))
	}
	if s.fault = errors.Join(faults...); s.fault == nil {
		s.conn = conn.Guarded(breaker.Log(s.logger, "keys"))
	}
	return s
}

// OpenBreakers returns how many Redis servers the store leaves alone now: after several failures in a row it looks for no
// key there, but for a probe five times a second, and whoever asks gets authkey.ErrUnavailable at once. Changes go on asking.
func (s *Store) OpenBreakers() int {
	if s == nil {
		return 0
	}
	return s.conn.OpenBreakers()
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
