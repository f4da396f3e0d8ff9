package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// What an Authorizer may answer, besides an error of its own, which is 401 "invalid_credential".
var (
	// ErrMissing: the request carries no credential. 401 without an error in WWW-Authenticate.
	ErrMissing = errors.New("admin: no credential")
	// ErrForbidden: the actor is known, and may not do this. 403.
	ErrForbidden = errors.New("admin: forbidden")
	// ErrUnavailable: nobody could tell who the actor is. 503, never 401.
	ErrUnavailable = errors.New("admin: unavailable")
)

// Actor is who uses the admin route.
type Actor struct {
	// Name is for the audit trail. It is no secret.
	Name string
	// Org, if set, is the only org that the actor may touch. All others are 404 to him, and so are plans, which
	// are for all orgs.
	Org string
}

// Authorizer tells who a request comes from, and whether he may do what it asks: it sees the method and
// the path. It is asked before anything else is told about a path. Implementations are safe for
// concurrent use. One that reads cookies opens the route to forged requests of old browsers; do not.
type Authorizer interface {
	Authorize(r *http.Request) (Actor, error)
}

// AuthorizerFunc is a function that is an Authorizer.
type AuthorizerFunc func(r *http.Request) (Actor, error)

// Authorize calls the function.
func (f AuthorizerFunc) Authorize(r *http.Request) (Actor, error) { return f(r) }

func validAuthorizer(a Authorizer) error {
	if f, ok := a.(AuthorizerFunc); a == nil || ok && f == nil {
		return fmt.Errorf("%w authorizer: it is nil, and nobody may administer unasked; use BearerToken or your own", ErrInvalid)
	}
	if a, ok := a.(interface{ Err() error }); ok {
		return a.Err()
	}
	return nil
}

const (
	minToken = 16
	maxToken = 1024
)

// BearerToken returns an Authorizer for everyone who sends one of the tokens as "Authorization: Bearer"
// (RFC 6750): 16 to 1024 visible ASCII characters each, at random. Two of them allow to replace one. The
// actor is named "bearer". Tokens are compared in constant time and kept as digests. A token that is out
// of bounds is told by New. Immutable, safe for concurrent use.
func BearerToken(tokens ...string) Authorizer {
	b := &bearer{}
	var faults []error
	if len(tokens) == 0 {
		faults = append(faults, fmt.Errorf("%w token: BearerToken needs at least one", ErrInvalid))
	}
	for i, token := range tokens {
		if len(token) < minToken || len(token) > maxToken || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
			faults = append(faults, fmt.Errorf("%w token: number %d must be %d to %d visible ASCII characters", ErrInvalid, i+1, minToken, maxToken))
		}
		b.digests = append(b.digests, sha256.Sum256([]byte(token)))
	}
	b.fault = errors.Join(faults...)
	return b
}

type bearer struct {
	digests [][sha256.Size]byte
	fault   error
}

var errToken = errors.New("admin: the token is not known")

// Authorize implements Authorizer.
func (b *bearer) Authorize(r *http.Request) (Actor, error) {
	fields := r.Header.Values("Authorization")
	if len(fields) == 0 {
		return Actor{}, ErrMissing
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Actor{}, ErrMissing
	}
	if len(fields) > 1 {
		return Actor{}, errToken
	}
	digest, known := sha256.Sum256([]byte(strings.TrimLeft(token, " "))), 0
	for _, d := range b.digests {
		known |= subtle.ConstantTimeCompare(digest[:], d[:])
	}
	if known != 1 || b.fault != nil {
		return Actor{}, errToken
	}
	return Actor{Name: "bearer"}, nil
}

// Err tells New what is wrong with the tokens.
func (b *bearer) Err() error { return b.fault }

// Format writes no token for any verb.
func (*bearer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "admin.BearerToken([redacted])") }
