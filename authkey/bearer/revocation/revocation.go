// Package revocation refuses bearer tokens before their end: one by its id, or all of a subject, a session or a client
// that were made before a moment. It keeps what is revoked in Redis, standalone, Sentinel or Cluster.
//
//	revocations, err := revocation.New(rdb, revocation.WithLifetime(12*time.Hour))
//	if err != nil { ... }
//	tokens, err := bearer.New(issuers, bearer.WithRevocations(revocations)) // each with a MaxLifetime of up to 12 hours
//	...
//	r, err := revocations.RevokeSubject(ctx, "acme", "https://login.example.com/", "user-17", time.Time{}, "left the company")
//	if err != nil { ... } // nobody knows: try again
//
// From the moment in which a call has returned without an error, no request passes any more, on any replica: nothing is
// cached. Where a request has a limit, package ratelimit looks in the same Redis call that counts it; everywhere else
// Check does, at the cost of one.
//
// What cannot be read refuses: all tokens of its name until it is lifted and, where the key of an org holds something
// else than it should, all of the org until an operator deletes that key. So is everybody refused where Redis does not
// answer, unless bearer.WithOpenRevocations says otherwise. This Redis must not drop keys when its memory is full
// (ratelimit.CheckStorage tells), for a revocation that is gone lets its tokens in again; a failover to a replica that
// lags behind may lose the last ones.
//
// Do not use it for keys of the API: those are revoked by their authkey.Issuer.
package revocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/breaker"
	"github.com/tollgate-go/tollgate/lua/seal"
)

const (
	defaultLifetime = 24 * time.Hour
	maxLifetime     = 400 * 24 * time.Hour
	// slack is how much longer a revocation is kept than its tokens can be good for: an issuer's clock may be up to
	// five minutes from ours, once where a token begins and once where it ends.
	slack = 10 * time.Minute
	// changeTimeout bounds changes and lists: administration can wait longer than a request.
	changeTimeout = 2 * time.Second
	maxOrg        = 128
)

// Store tells which tokens are revoked, and changes that. Make it with New. Safe for concurrent use; it has nothing to
// close, and the client stays the caller's.
type Store struct {
	conn     *lua.Conn
	lifetime time.Duration
	timeout  time.Duration
	sealer   *seal.Sealer
	logger   *slog.Logger // nil: nothing is logged
}

var _ bearer.Revocations = (*Store)(nil)

// Option changes a default of New.
type Option interface{ apply(*Store) error }

type optionFunc func(*Store) error

func (f optionFunc) apply(s *Store) error { return f(s) }

// WithLifetime says for how long the longest-lived token that counts is good, which is for how long a revocation of a
// subject, a session or a client is kept, and ten minutes more, for clocks that differ: 1 second to 400 days. The
// default is 24 hours. A longer one acts on what is revoked from then on.
func WithLifetime(d time.Duration) Option {
	return optionFunc(func(s *Store) error {
		if d < time.Second || d > maxLifetime {
			return fmt.Errorf("%w: revocation: WithLifetime(%v): want 1s to %v", authkey.ErrInvalid, d, maxLifetime)
		}
		s.lifetime = d
		return nil
	})
}

// WithTimeout bounds Check, whatever state Redis is in: 1 ms to 1 minute. The default is 50 ms. Changes and lists have
// 2 seconds, or this where it is longer.
func WithTimeout(d time.Duration) Option {
	return optionFunc(func(s *Store) error {
		if d < time.Millisecond || d > time.Minute {
			return fmt.Errorf("%w: revocation: WithTimeout(%v): want 1ms to 1m", authkey.ErrInvalid, d)
		}
		s.timeout = d
		return nil
	})
}

// WithSealer seals the entries of the audit trail that changes make; see ratelimit.WithSealer, which wants the same. What
// is revoked has no seal, for a script looks it up: whoever can write to Redis can lift a revocation, and the trail tells
// what should be there. By default nothing is sealed. Nil is an error.
func WithSealer(sealer *seal.Sealer) Option {
	return optionFunc(func(s *Store) error {
		if sealer == nil {
			return fmt.Errorf("%w: revocation: WithSealer(nil): want one from seal.New", authkey.ErrInvalid)
		}
		s.sealer = sealer
		return nil
	})
}

// WithLogger writes a line when Check leaves a Redis server alone that fails again and again, and one when that answers
// again: no line for each request, whatever happens. By default nothing is written. Nil is an error.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(s *Store) error {
		if logger == nil {
			return fmt.Errorf("%w: revocation: WithLogger(nil): want a logger, as slog.Default()", authkey.ErrInvalid)
		}
		s.logger = logger
		return nil
	})
}

// New returns a Store on a Redis client. It does not dial. Faults are authkey.ErrInvalid, all joined.
func New(rdb redis.UniversalClient, opts ...Option) (*Store, error) {
	s := &Store{lifetime: defaultLifetime, timeout: 50 * time.Millisecond}
	var faults []error
	conn, err := lua.NewConn(rdb)
	if err != nil {
		faults = append(faults, fmt.Errorf("%w: revocation: %w", authkey.ErrInvalid, err))
	}
	for n, opt := range opts {
		if opt == nil {
			faults = append(faults, fmt.Errorf("%w: revocation: option %d: nil", authkey.ErrInvalid, n))
			continue
		}
		faults = append(faults, opt.apply(s))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	s.conn = conn.Guarded(breaker.Log(s.logger, "revocations"))
	return s, nil
}

// OpenBreakers returns how many Redis servers Check leaves alone now: after several failures in a row it asks them nothing,
// but for a probe five times a second, and whoever asks gets authkey.ErrUnavailable at once. Changes go on asking.
func (s *Store) OpenBreakers() int { return s.conn.OpenBreakers() }

// Lifetime is for how long the longest-lived token that counts is good: as WithLifetime says. No token may be good for
// longer, which the MaxLifetime of a bearer.Issuer sees to.
func (s *Store) Lifetime() time.Duration { return s.lifetime }

// Check implements bearer.Revocations: it reports whether a token of an org is revoked under its ID, or was made before
// its subject, session or client was. IssuedAt counts to the second, so that a token that is made in the second of a
// revocation is refused too; a token without one is older than every revocation. A token with none of these names cannot
// be revoked.
//
// One round trip. It returns within the timeout, and as soon as ctx ends. Errors: authkey.ErrRevoked;
// authkey.ErrUnavailable where nobody can tell; authkey.ErrMalformed for names that are too long to be revoked;
// authkey.ErrInvalid for no token, and for an org of none or more than 128 bytes.
func (s *Store) Check(ctx context.Context, org string, token *authkey.Token) error {
	if err := errors.Join(validOrg(org), validToken(token)); err != nil {
		return err
	}
	if token.ID == "" && token.Subject == "" && token.Session == "" && token.Client == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	// It is the look of a limiter, with nothing to count: there is one script that tells what is revoked.
	answers, err := s.conn.Admit(ctx, []lua.Check{{Mode: lua.Peek, Token: &lua.Token{
		Org: org, Issuer: token.Issuer, ID: token.ID, Subject: token.Subject, Session: token.Session, Client: token.Client,
		IssuedAt: token.IssuedAt,
	}}})
	if err != nil {
		return unavailable(err)
	}
	switch status := answers[0].Status; status {
	case lua.Allowed:
		return nil
	case lua.Revoked:
		return fmt.Errorf("%w: token", authkey.ErrRevoked)
	default:
		return unavailable(fmt.Errorf("%w: status %d", lua.ErrReply, status))
	}
}

func validToken(token *authkey.Token) error {
	if token == nil {
		return fmt.Errorf("%w: revocation: the token is nil", authkey.ErrInvalid)
	}
	if len(token.Issuer) > lua.MaxIssuer || max(len(token.ID), len(token.Subject), len(token.Session), len(token.Client)) > lua.MaxName {
		return fmt.Errorf("%w: revocation: a name of the token is too long", authkey.ErrMalformed)
	}
	return nil
}

func validOrg(org string) error {
	if org == "" || len(org) > maxOrg {
		return fmt.Errorf("%w: revocation: org: want 1 to %d bytes", authkey.ErrInvalid, maxOrg)
	}
	return nil
}

func unavailable(err error) error {
	return fmt.Errorf("%w: revocation: %w", authkey.ErrUnavailable, err)
}
