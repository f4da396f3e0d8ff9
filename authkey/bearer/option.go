package bearer

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

const (
	defaultTimeout = 3 * time.Second
	maxTimeout     = time.Minute
)

// Option changes a default of New.
type Option interface{ apply(v *Verifier) error }

type optionFunc func(v *Verifier) error

func (f optionFunc) apply(v *Verifier) error { return f(v) }

// given returns an option that sets something which must not be nil.
func given[T any](name string, value T, set func(v *Verifier, value T)) Option {
	return optionFunc(func(v *Verifier) error {
		if missing(value) {
			return fmt.Errorf("%w: %s(nil)", authkey.ErrInvalid, name)
		}
		set(v, value)
		return nil
	})
}

// missing reports whether an interface or a function holds nothing, or a nil pointer.
func missing(value any) bool {
	if value == nil {
		return true
	}
	switch r := reflect.ValueOf(value); r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Interface, reflect.Chan, reflect.Slice:
		return r.IsNil()
	default:
		return false
	}
}

// WithTimeout bounds all that Authenticate waits for, from the first on: keys, introspection, revocations, validators and proofs
// together. More than zero, up to a minute; the default is 3 s.
func WithTimeout(timeout time.Duration) Option {
	return optionFunc(func(v *Verifier) error {
		if timeout <= 0 || timeout > maxTimeout {
			return fmt.Errorf("%w: WithTimeout(%v): want more than 0, up to %v", authkey.ErrInvalid, timeout, maxTimeout)
		}
		v.timeout = timeout
		return nil
	})
}

// WithClock takes the time from now instead of time.Now. For tests. A source of keys has a clock of its own.
func WithClock(now func() time.Time) Option {
	return given("WithClock", now, func(v *Verifier, now func() time.Time) {
		v.now, v.since = now, func(t time.Time) time.Duration { return now().Sub(t) }
	})
}

// WithProofs takes tokens that are bound to a key by cnf.jkt, which come by the scheme DPoP together with a proof
// (RFC 9449). Without it they are refused. Tokens that are bound to a certificate by cnf.x5t#S256 need no option: the
// certificate has to be in the authkey.Presentation.
func WithProofs(proofs Proofs) Option {
	return given("WithProofs", proofs, func(v *Verifier, p Proofs) { v.proofs = p })
}

// WithRevocations refuses tokens that were revoked before their end. Every Issuer needs a MaxLifetime of no more than
// the Revocations' Lifetime, so that no token comes back when its revocation is forgotten. Where nobody can tell
// whether a token is revoked, it is refused with authkey.ErrUnavailable, but for WithOpenRevocations.
//
// Cost: one round trip, or none where a stage of package middleware has a limit, which looks in its own call. A stage
// that authenticates a group looks by itself, since it knows nothing of the limits within: then it is one more.
func WithRevocations(revocations Revocations) Option {
	return given("WithRevocations", revocations, func(v *Verifier, r Revocations) { v.revocations = r })
}

// WithOpenRevocations lets tokens pass where nobody can tell whether they are revoked: whoever can slow Redis down can
// then use a revoked one. The function is told of each, to be logged and counted; it must be fast and is called
// concurrently. It is not called where the limiter has the check, which tells the stage's observers. A
// caller who goes away opens nothing.
func WithOpenRevocations(outage func(error)) Option {
	return given("WithOpenRevocations", outage, func(v *Verifier, f func(error)) { v.outage = f })
}

// WithIntrospection takes tokens that are no JWTs, see IsToken, by asking what they say; where there are no issuers
// besides, all tokens. The issuer needs no Keys. Its Audiences may be empty, for many endpoints tell only what is meant
// for who asks; iss, exp and aud are judged where the answer has them. It needs sub or client_id, and has to be of an
// access token as far as it says: see Compatible.
func WithIntrospection(i Issuer, introspector Introspector) Option {
	return given("WithIntrospection", introspector, func(v *Verifier, p Introspector) {
		v.opaque, v.introspector = &issuer{Issuer: i}, p
	})
}

// Validator looks at an identity once more, after everything else: at its claims, its tenant, a session. It is called
// for each request, and must neither change nor keep what it is given. An error refuses the caller: with 403 where it
// is authkey.ErrForbidden, with 503 where it is authkey.ErrUnavailable or ctx ended, otherwise with 401.
type Validator func(ctx context.Context, identity *authkey.Identity) error

// WithValidator adds a validator, after those that are there, and the time that it has: more than zero, up to a minute,
// and no more than WithTimeout leaves. It has to heed its context.
func WithValidator(validate Validator, timeout time.Duration) Option {
	return optionFunc(func(v *Verifier) error {
		var faults []error
		if validate == nil {
			faults = append(faults, fmt.Errorf("%w: WithValidator(nil)", authkey.ErrInvalid))
		}
		if timeout <= 0 || timeout > maxTimeout {
			faults = append(faults, fmt.Errorf("%w: WithValidator: timeout %v: want more than 0, up to %v", authkey.ErrInvalid, timeout, maxTimeout))
		}
		v.validators = append(v.validators, func(ctx context.Context, identity *authkey.Identity) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			err := validate(ctx, identity)
			if err != nil && ctx.Err() != nil {
				return unavailable(err)
			}
			return err
		})
		return errors.Join(faults...)
	})
}
