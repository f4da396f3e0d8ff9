package middleware

import (
	"fmt"
	"net/http"

	"github.com/tollgate-go/tollgate/authkey"
)

// Mode says what an endpoint is for, and so which methods and keys it takes.
type Mode uint8

// The modes. To write, a key has to be secret and to have authkey.ScopeWrite.
const (
	// ReadWrite takes any key for GET, HEAD and OPTIONS; every other method writes.
	ReadWrite Mode = iota + 1
	// ReadOnly takes any key, and no method but GET, HEAD, OPTIONS and POST, which then is a search
	// whose question is in the body.
	ReadOnly
	// WriteOnly takes only keys that can write, whatever the method.
	WriteOnly
)

// RequireMode returns a stage that refuses, with 403, methods and keys that do not suit the mode. A
// stage without it takes any method from any key.
func (s *Authenticated) RequireMode(mode Mode) *Authenticated {
	var err error
	if mode < ReadWrite || mode > WriteOnly {
		err = fmt.Errorf("middleware: RequireMode(%d) is not a mode", mode)
	}
	return s.require(err, func(a *Admission, _ *config) *Error {
		method := a.request.Method
		reads := method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
		if mode == ReadOnly {
			if reads || method == http.MethodPost {
				return nil
			}
			return errForbidden(CodeMode, "This resource can only be read.")
		}
		if mode == ReadWrite && reads {
			return nil
		}
		if a.identity.Kind != authkey.KindSecret || !a.identity.HasScope(authkey.ScopeWrite) {
			return errForbidden(CodeMode, "The credential may not write.")
		}
		return nil
	})
}
