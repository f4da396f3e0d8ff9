package revocation

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
)

// Kind says what a name is that tokens are revoked under.
type Kind string

// The kinds.
const (
	KindToken   = Kind(lua.NameToken)   // jti: one token
	KindSubject = Kind(lua.NameSubject) // sub
	KindSession = Kind(lua.NameSession) // sid
	KindClient  = Kind(lua.NameClient)  // client_id or azp
)

// Revocation says which tokens are refused. It is plain data. Times are Redis times.
type Revocation struct {
	Kind Kind
	// Issuer and Value are what the tokens' claims say, byte for byte: iss, and the claim of the Kind.
	Issuer, Value string
	// Before: tokens that were made before it are refused. Zero: all, as always of KindToken.
	Before time.Time
	// Until is when it ends, for no token that it refuses is good any more: ten minutes later than that, for clocks
	// that differ.
	Until time.Time
	// At is when it was last written, Reason and Actor why and by whom.
	At            time.Time
	Reason, Actor string
	// Damaged says that it cannot be read, so that it refuses all tokens of its name, until it is lifted. It has a
	// name alone. Revoked again, it refuses all of them for 402 days.
	Damaged bool
}

// record is what Redis holds for people.
type record struct {
	Reason string `json:"reason,omitempty"`
	Actor  string `json:"actor,omitempty"`
}

// Revoke refuses one token, by the issuer and the ID that it names itself by, from now on until it expires: at
// expiresAt or, where that is zero, after the Lifetime. It is kept ten minutes more, for clocks that differ. It returns
// the revocation as it then stands: one that was there is never made shorter.
//
// org is the Identity.Org that the tokens come to: the bearer.Issuer's Org or, without one, what their claim says. Under
// another one nothing is refused, and no error tells: nobody knows which names have tokens. A reason is up to 256 bytes
// of UTF-8, and may be empty; the admin route wants one.
//
// It appends an entry, token.revoke, to the org's audit trail, in the name of the audit.Actor of ctx. One round trip.
// Errors: authkey.ErrInvalid, which has changed nothing: a value out of its bounds (issuer 512 bytes, others 256, org
// 128, none empty), an expiresAt that passed more than ten minutes ago or lies more than 400 days ahead, or an org that
// has 100,000 revocations already. authkey.ErrUnavailable: nobody knows; do it again, which is harmless.
func (s *Store) Revoke(ctx context.Context, org, issuer, tokenID string, expiresAt time.Time, reason string) (Revocation, error) {
	until, err := micros("expiresAt", expiresAt)
	if until != 0 {
		until += slack.Microseconds()
	}
	name := lua.Name{Kind: lua.NameToken, Issuer: issuer, Value: tokenID}
	return s.revoke(ctx, org, lua.Revocation{Name: name, Until: until}, reason, err)
}

// RevokeSubject refuses the tokens of a subject that were made before a moment; zero: before now, by the clock of
// Redis. Tokens tell that to the second, so that those made in the same second are refused too: whoever logs in again
// then has to wait for the next. Where the issuer's clock may be ahead of Redis's, give a moment that is as much
// ahead, up to a day.
//
// It is kept for the Lifetime and ten minutes more, for clocks that differ: from now on or, where that is later, from
// the moment on. One that was there is never weakened: the later moment and the later end stand. In all else it is as
// Revoke; a moment more than a day ahead is authkey.ErrInvalid.
func (s *Store) RevokeSubject(ctx context.Context, org, issuer, subject string, before time.Time, reason string) (Revocation, error) {
	return s.revokeBefore(ctx, org, lua.Name{Kind: lua.NameSubject, Issuer: issuer, Value: subject}, before, reason)
}

// RevokeSession is RevokeSubject for the tokens of a session.
func (s *Store) RevokeSession(ctx context.Context, org, issuer, session string, before time.Time, reason string) (Revocation, error) {
	return s.revokeBefore(ctx, org, lua.Name{Kind: lua.NameSession, Issuer: issuer, Value: session}, before, reason)
}

// RevokeClient is RevokeSubject for the tokens of a client.
func (s *Store) RevokeClient(ctx context.Context, org, issuer, client string, before time.Time, reason string) (Revocation, error) {
	return s.revokeBefore(ctx, org, lua.Name{Kind: lua.NameClient, Issuer: issuer, Value: client}, before, reason)
}

func (s *Store) revokeBefore(ctx context.Context, org string, name lua.Name, before time.Time, reason string) (Revocation, error) {
	stamp, err := micros("before", before)
	return s.revoke(ctx, org, lua.Revocation{Name: name, Before: stamp}, reason, err)
}

// revoke writes a revocation, unless there is a fault.
func (s *Store) revoke(ctx context.Context, org string, r lua.Revocation, reason string, fault error) (Revocation, error) {
	if err := errors.Join(fault, validOrg(org), validName(r.Name), authkey.ValidateReason(reason)); err != nil {
		return Revocation{}, err
	}
	about, err := json.Marshal(record{Reason: reason, Actor: audit.ActorOf(ctx).Name})
	if err != nil {
		return Revocation{}, fmt.Errorf("%w: revocation: %w", authkey.ErrInvalid, err)
	}
	r.Record = string(about)
	entry, err := entryOf(org, r, reason)
	if err != nil {
		return Revocation{}, err
	}
	line, err := audit.NewLine(ctx, s.sealer, entry)
	if err != nil {
		return Revocation{}, fmt.Errorf("%w: revocation: %w", authkey.ErrInvalid, err)
	}
	ctx, cancel := s.begin(ctx)
	defer cancel()
	stands, err := s.conn.Revoke(ctx, org, r, (s.lifetime + slack).Microseconds(), line)
	switch {
	case errors.Is(err, lua.ErrRevocationTooFar):
		return Revocation{}, tooFar(r.Name.Kind)
	case err != nil:
		return Revocation{}, translate(err)
	}
	return revocationOf(stands), nil
}

// entryOf says what was asked for: zero times are those that Redis chooses.
func entryOf(org string, r lua.Revocation, reason string) (audit.Entry, error) {
	after, err := json.Marshal(struct {
		Kind   lua.NameKind `json:"kind"`
		Issuer string       `json:"issuer"`
		Value  string       `json:"value"`
		Before time.Time    `json:"before,omitzero"`
		Until  time.Time    `json:"until,omitzero"`
		Reason string       `json:"reason,omitempty"`
	}{r.Name.Kind, r.Name.Issuer, r.Name.Value, timeOf(r.Before), timeOf(r.Until), reason})
	if err != nil {
		return audit.Entry{}, fmt.Errorf("%w: revocation: %w", authkey.ErrInvalid, err)
	}
	return audit.Entry{Action: "token.revoke", Org: org, ID: r.Name.Field(), After: after}, nil
}

// Lift ends a revocation before its time, also one that is damaged: the tokens that are good otherwise pass again. It
// appends an entry, token.lift, to the org's audit trail. One round trip. Errors: authkey.ErrUnknown where nothing is
// revoked under this name; authkey.ErrInvalid; authkey.ErrUnavailable.
func (s *Store) Lift(ctx context.Context, org string, kind Kind, issuer, value string) error {
	name := lua.Name{Kind: lua.NameKind(kind), Issuer: issuer, Value: value}
	if err := errors.Join(validOrg(org), validName(name)); err != nil {
		return err
	}
	line, err := audit.NewLine(ctx, s.sealer, audit.Entry{Action: "token.lift", Org: org, ID: name.Field()})
	if err != nil {
		return fmt.Errorf("%w: revocation: %w", authkey.ErrInvalid, err)
	}
	ctx, cancel := s.begin(ctx)
	defer cancel()
	if err := s.conn.LiftRevocation(ctx, org, name, line); err != nil {
		return translate(err)
	}
	return nil
}

// List returns up to limit revocations of an org that have not ended, 1 to authkey.MaxPage, by when they end. cursor is
// "" or what was returned as next, which is "" at the end. What is written meanwhile may be missing, or be there twice;
// what anybody else has put into Redis may be missing, although it refuses. One round trip. Errors: authkey.ErrInvalid,
// also for a cursor that is none; authkey.ErrUnavailable.
func (s *Store) List(ctx context.Context, org, cursor string, limit int) (all []Revocation, next string, err error) {
	after, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, "", translate(lua.ErrCursor)
	}
	if limit < 1 || limit > authkey.MaxPage {
		return nil, "", fmt.Errorf("%w: revocation: limit %d: want 1 to %d", authkey.ErrInvalid, limit, authkey.MaxPage)
	}
	if err := validOrg(org); err != nil {
		return nil, "", err
	}
	ctx, cancel := s.begin(ctx)
	defer cancel()
	stored, next, err := s.conn.Revocations(ctx, org, string(after), limit)
	if err != nil {
		return nil, "", translate(err)
	}
	all = make([]Revocation, len(stored))
	for i := range stored {
		all[i] = revocationOf(stored[i])
	}
	return all, base64.RawURLEncoding.EncodeToString([]byte(next)), nil
}

func (s *Store) begin(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, max(s.timeout, changeTimeout))
}

// revocationOf explains what Redis holds. A record that cannot be read is for people alone, so it counts as empty.
func revocationOf(stored lua.Revocation) Revocation {
	r := Revocation{Kind: Kind(stored.Name.Kind), Issuer: stored.Name.Issuer, Value: stored.Name.Value, Damaged: stored.Damaged}
	if r.Damaged {
		return r
	}
	var about record
	if json.Unmarshal([]byte(stored.Record), &about) == nil {
		r.Reason, r.Actor = about.Reason, about.Actor
	}
	if stored.Before != lua.MaxTime {
		r.Before = timeOf(stored.Before)
	}
	r.Until, r.At = timeOf(stored.Until), timeOf(stored.At)
	return r
}

// timeOf is the inverse of micros.
func timeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// micros returns a time for a script; the zero time is 0.
func micros(name string, t time.Time) (int64, error) {
	const most = lua.MaxTime / 1_000_000 // seconds; a year's more are too many for microseconds in 64 bits
	if t.IsZero() {
		return 0, nil
	}
	if t.Unix() < 1 || t.Unix() >= most {
		return 0, fmt.Errorf("%w: revocation: %s: want a time from 1970 to 2255", authkey.ErrInvalid, name)
	}
	return t.UnixMicro(), nil
}

func validName(name lua.Name) error {
	var faults []error
	switch name.Kind {
	case lua.NameToken, lua.NameSubject, lua.NameSession, lua.NameClient:
	default:
		faults = append(faults, fmt.Errorf("%w: revocation: kind %.20q is not known", authkey.ErrInvalid, name.Kind))
	}
	if name.Issuer == "" || len(name.Issuer) > lua.MaxIssuer {
		faults = append(faults, fmt.Errorf("%w: revocation: issuer: want 1 to %d bytes", authkey.ErrInvalid, lua.MaxIssuer))
	}
	if name.Value == "" || len(name.Value) > lua.MaxName {
		faults = append(faults, fmt.Errorf("%w: revocation: %s: want 1 to %d bytes", authkey.ErrInvalid, name.Kind, lua.MaxName))
	}
	return errors.Join(faults...)
}

// tooFar names the one time that a revocation of a kind is given.
func tooFar(kind lua.NameKind) error {
	if kind == lua.NameToken {
		return fmt.Errorf("%w: revocation: want an expiresAt of up to %v ahead", authkey.ErrInvalid, maxLifetime)
	}
	return fmt.Errorf("%w: revocation: want a before of up to a day ahead", authkey.ErrInvalid)
}

// translate turns what package lua says into what this package promises.
func translate(err error) error {
	switch {
	case errors.Is(err, lua.ErrRevocationNotFound):
		return fmt.Errorf("%w: revocation: nothing is revoked under this name", authkey.ErrUnknown)
	case errors.Is(err, lua.ErrRevocationTooMany):
		return fmt.Errorf("%w: revocation: the org has %d already; revoke the subject or the client instead", authkey.ErrInvalid, lua.MaxRevocations)
	case errors.Is(err, lua.ErrRevocationEnded):
		return fmt.Errorf("%w: revocation: expiresAt has passed, so the token is refused already", authkey.ErrInvalid)
	case errors.Is(err, lua.ErrCursor):
		return fmt.Errorf("%w: revocation: cursor: want what List returned for this org", authkey.ErrInvalid)
	}
	return unavailable(err)
}
