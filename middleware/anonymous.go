package middleware

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/tollgate-go/tollgate/authkey"
)

// WithAnonymous lets requests pass that show no credential at all, as an identity of the org and the project, both
// needed, that all of them share: its Method is authkey.MethodAnonymous, its Kind is publishable, and it has no scopes
// and nothing else. A credential that is not good is refused all the same, so that nobody is anonymous by mistake, and
// so is an Authorization field of a scheme that no source reads. Where something is required that it lacks, the answer
// is 401 without an error. Pages may read its responses by CORS.Origins alone.
//
// A limit ByProject, ByKey or ByOrg is one for all anonymous callers together; let LimitBy stand before it to share it.
func WithAnonymous(org, project string) Option {
	return optionFunc(func(c *config) error {
		if !validName(org) || !validName(project) {
			return errors.New("middleware: WithAnonymous needs an org and a project, to charge and to count what is used")
		}
		c.anonymous = &authkey.Identity{
			Org: org, Project: project, Key: authkey.MethodAnonymous, Kind: authkey.KindPublishable, Method: authkey.MethodAnonymous,
		}
		return nil
	})
}

// nobody returns the identity of those who show no credential.
func (c *config) nobody(r *http.Request) (*authkey.Identity, *Error) {
	for _, value := range r.Header["Authorization"] {
		if value != "" {
			return nil, c.errAuthentication("", fmt.Errorf("%w: no source reads the scheme of Authorization", authkey.ErrMalformed))
		}
	}
	return c.anonymous, nil
}

// anonymous reports whether an identity stands for those who show no credential.
func anonymous(id *authkey.Identity) bool { return id != nil && id.Method == authkey.MethodAnonymous }
