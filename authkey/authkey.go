// Package authkey answers the first question of a request: who is calling?
//
// It mints API keys, reads them back, keeps only digests of them, and verifies what a caller presents
// against a [Store] through a small bounded cache. It knows neither HTTP nor Redis: where a key is read
// from is the business of package middleware, and authkey/redisstore keeps records in Redis.
//
// Do not use it for passwords: its digests are fast, which is right for random keys of 178 bits and
// more and wrong for anything that a person chose.
//
//	format, err := authkey.NewFormat("acme", "live")
//	store := redisstore.New(rdb)
//	issuer, err := authkey.NewIssuer(store, format)
//	record, key, err := issuer.Issue(ctx, authkey.NewKey{Org: "demo", Project: "shop"})
//	fmt.Println(record.ID, key.Reveal()) // the one time that the key is seen
//
//	verifier, err := authkey.New(store, authkey.WithFormat(format))
//	identity, err := verifier.Authenticate(ctx, authkey.NewPresented(fromTheRequest))
//	if err != nil { ... } // errors.Is(err, authkey.ErrUnknown), ...
//	fmt.Println(identity.Org, identity.Project, identity.HasScope(authkey.ScopeWrite))
package authkey

import (
	"errors"
	"fmt"
)

// What can be wrong with a credential, and with the store that knows it. Compare with errors.Is; the
// text around them names what and where, and never holds a secret. A client should be told the same for
// all of the first six, so that it cannot learn which keys exist.
var (
	// ErrMalformed: not shaped like a key that this service hands out. Found without any I/O.
	ErrMalformed = errors.New("authkey: malformed credential")
	// ErrUnknown: well formed, but no record has it; also a known id with a wrong secret.
	ErrUnknown = errors.New("authkey: unknown credential")
	// ErrRevoked: the record is revoked, for good.
	ErrRevoked = errors.New("authkey: revoked credential")
	// ErrDisabled: the record is switched off for now.
	ErrDisabled = errors.New("authkey: disabled credential")
	// ErrExpired: the record's ExpiresAt has come.
	ErrExpired = errors.New("authkey: expired credential")
	// ErrNotYetValid: the record's NotBefore has not come.
	ErrNotYetValid = errors.New("authkey: credential not yet valid")
	// ErrSuspended: the key is good, but the project that it belongs to is suspended.
	ErrSuspended = errors.New("authkey: suspended project")
	// ErrForbidden: the credential is good, but must not be used for this. For those who add checks of their own.
	ErrForbidden = errors.New("authkey: forbidden")
	// ErrUnavailable: nobody could tell whether the credential is good, because a store, an issuer or an
	// endpoint did not answer, or not in time. It says nothing about the credential: answer 503, not 401.
	ErrUnavailable = errors.New("authkey: unavailable")
	// ErrExists: a record with that id, or that foreign key, is there already.
	ErrExists = errors.New("authkey: record exists")
	// ErrConflict: the record was changed since it was read. Read it again.
	ErrConflict = errors.New("authkey: record changed meanwhile")
	// ErrTooMany: the key has as many live credentials as it may have.
	ErrTooMany = errors.New("authkey: too many live credentials")
	// ErrInvalid: a value given to an Issuer, a Store or a constructor is out of its bounds.
	ErrInvalid = errors.New("authkey: invalid")
)

// ScopeWrite is the scope that a secret key needs to write, where an endpoint tells reads from writes.
const ScopeWrite = "write"

// Kind says where a key may be seen.
type Kind string

// The kinds of key.
const (
	// KindSecret is for servers. It must not be shown to anybody else.
	KindSecret Kind = "secret"
	// KindPublishable may be shipped in a page or an app, so it identifies more than it protects.
	KindPublishable Kind = "publishable"
	// KindAdmin opens the admin route, and nothing else.
	KindAdmin Kind = "admin"
)

// State is what an operator decided about a credential.
type State string

// The states of a credential.
const (
	// StateActive lets the credential in, within its times.
	StateActive State = "active"
	// StateDisabled keeps it out until it is made active again.
	StateDisabled State = "disabled"
	// StateSuspended is that of a project whose keys are all kept out until it is made active again.
	StateSuspended State = "suspended"
	// StateRevoked keeps it out for good: no store ever changes it back.
	StateRevoked State = "revoked"
)

// ValidateReason reports ErrInvalid for a reason longer than 256 bytes, not of UTF-8, or with control characters. For
// whoever takes one from others.
func ValidateReason(reason string) error {
	if !validText(reason, maxReasonLen) {
		return fmt.Errorf("%w: reason: want up to %d bytes of UTF-8 without control characters", ErrInvalid, maxReasonLen)
	}
	return nil
}
