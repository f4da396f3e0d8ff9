package admin

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
)

// What an Authorizer may answer, besides an error of its own, which is 401 "invalid_credential".
var (
	// ErrMissing: the request carries no credential. 401 without an error in WWW-Authenticate.
	ErrMissing = rest.ErrMissing
	// ErrForbidden: the actor is known, and may not do this. 403.
	ErrForbidden = rest.ErrForbidden
	// ErrUnavailable: nobody could tell who the actor is. 503, never 401.
	ErrUnavailable = rest.ErrUnavailable
)

// Actor is who uses the admin route.
type Actor struct {
	// Name is for the audit trail. It is no secret.
	Name string
	// Org, if set, is the only org that the actor may touch. All others are 404 to him, and so are plans, which
	// are for all orgs.
	Org string
	// Scopes are what the actor may do, such as "keys:write"; ScopeAll is all of it. Nil is all too, as from an
	// Authorizer that decides by itself; of an empty list that is not nil nothing is allowed.
	Scopes []string
}

// ScopeAll is the scope that stands for all others.
const ScopeAll = rest.ScopeAll

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

// Authorizers returns an Authorizer that asks one after the other, until one knows the actor: tokens first and
// keys after them, say, as that costs no look-up for a token. What one forbids is forbidden. Where none knows the
// actor, and one could not tell, the error is ErrUnavailable; else ErrMissing where all say so. None of them may
// be nil, and there must be one; New tells.
func Authorizers(authorizers ...Authorizer) Authorizer { return chain(authorizers) }

type chain []Authorizer

// Authorize implements Authorizer.
func (c chain) Authorize(r *http.Request) (Actor, error) {
	worst := ErrMissing
	for _, a := range c {
		actor, err := a.Authorize(r)
		switch {
		case err == nil, errors.Is(err, ErrForbidden):
			return actor, err
		case errors.Is(worst, ErrUnavailable), errors.Is(err, ErrMissing):
		default:
			worst = err
		}
	}
	return Actor{}, worst
}

// Err tells New what is wrong with any of them.
func (c chain) Err() error {
	if len(c) == 0 {
		return fmt.Errorf("%w authorizer: Authorizers needs at least one", ErrInvalid)
	}
	faults := make([]error, len(c))
	for i, a := range c {
		faults[i] = validAuthorizer(a)
	}
	return errors.Join(faults...)
}
