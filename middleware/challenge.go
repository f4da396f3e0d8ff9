package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

// The codes of an Error that comes of a proof of possession (RFC 9449), both 401, or of an authenticator that
// answers with authkey.ErrForbidden, which is 403.
const (
	CodeProof     = "invalid_dpop_proof"
	CodeNonce     = "use_dpop_nonce"
	CodeForbidden = "forbidden"
)

// The schemes that a token comes by.
const (
	schemeBearer = "Bearer"
	schemeDPoP   = "DPoP"
)

// WithDPoP takes tokens that are bound to a key of the caller's (RFC 9449): it adds DPoP to the sources, and to each
// 401 a challenge with the algorithms of proofs, such as "ES256": at least one, and neither "none" nor HMAC, by which
// nothing is proved. Whether a proof is good is for the authenticator to say; state the algorithms that it takes. A
// proof is good for one authentication: make all stages of a request from one Authenticate.
func WithDPoP(algorithms ...string) Option {
	return optionFunc(func(c *config) error {
		var faults []error
		if len(algorithms) == 0 {
			faults = append(faults, errors.New("middleware: WithDPoP needs an algorithm, such as ES256"))
		}
		for i, name := range algorithms {
			if !validToken(name) || strings.EqualFold(name, "none") || strings.HasPrefix(strings.ToUpper(name), "HS") || slices.Contains(algorithms[:i], name) {
				faults = append(faults, fmt.Errorf("middleware: WithDPoP(%q): want the names of asymmetric algorithms (RFC 7518, section 3.1), each once", name))
			}
		}
		c.algorithms = strings.Join(algorithms, " ")
		return errors.Join(faults...)
	})
}

// WithResourceMetadata tells in each challenge where the metadata of the resource is (RFC 9728, section 5.1): the URL
// of a document of middleware/resource. There is none by default.
func WithResourceMetadata(address string) Option {
	return optionFunc(func(c *config) error {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" || !quotable(address) || strings.Contains(address, " ") {
			return fmt.Errorf("middleware: WithResourceMetadata(%q) must be a URL of https, or of http for tests, without a user and a fragment", address)
		}
		c.metadata = address
		return nil
	})
}

// quotable reports whether a text can stand in a parameter of a challenge as it is (RFC 6750, section 3).
func quotable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f || r == '"' || r == '\\' })
}

// takes reports whether a source reads a scheme.
func (c *config) takes(scheme string) bool {
	return slices.ContainsFunc(c.sources, func(s Source) bool { return s.scheme == scheme })
}

// challenges returns the values of WWW-Authenticate: one for each scheme that a token may come by, and Bearer for
// stages that take none. What is wrong stands in that of the scheme used, or in the first.
func (c *config) challenges(used, wrong string) []string {
	schemes := []string{schemeBearer}
	if c.takes(schemeDPoP) {
		schemes = append(schemes, schemeDPoP)
		if !c.takes(schemeBearer) {
			schemes = schemes[1:]
		}
	}
	at := max(slices.Index(schemes, used), 0)
	for i, scheme := range schemes {
		text := scheme + ` realm="` + c.realm + `"`
		if scheme == schemeDPoP && c.algorithms != "" {
			text += `, algs="` + c.algorithms + `"`
		}
		if c.metadata != "" {
			text += `, resource_metadata="` + c.metadata + `"`
		}
		if i == at {
			text += wrong
		}
		schemes[i] = text
	}
	return schemes
}

// challenged returns a refusal with challenges that say what is wrong, by an error code of RFC 6750, section 3.1, or of
// what extends it, and by further parameters. The description is the message, which is the same for everybody.
func (c *config) challenged(e Error, used, wrong, more string) *Error {
	e.challenges = c.challenges(used, `, error="`+wrong+`", error_description="`+e.Message+`"`+more)
	return &e
}

// errMissing says nothing of an error, for there was nothing to be wrong.
func (c *config) errMissing() *Error {
	return &Error{
		Status: http.StatusUnauthorized, Code: CodeMissing, Message: "This resource needs a credential.",
		challenges: c.challenges("", ""),
	}
}

func (c *config) errMalformed(scheme string, cause error) *Error {
	return c.challenged(Error{
		Status: http.StatusBadRequest, Code: CodeMalformed, Message: "The credential is not well formed, or sent more than once.", cause: cause,
	}, scheme, "invalid_request", "")
}

func (c *config) errAmbiguous(scheme string) *Error {
	return c.challenged(Error{
		Status: http.StatusBadRequest, Code: CodeAmbiguous, Message: "The request carries two different credentials.",
	}, scheme, "invalid_request", "")
}

// errAuthentication is the one answer to every credential that is not good; only an outage differs, a proof that the
// caller has to make anew, and a good credential that is not for this or whose project is suspended.
func (c *config) errAuthentication(scheme string, cause error) *Error {
	proof, ofProof := errors.AsType[*authkey.ProofError](cause)
	switch {
	case errors.Is(cause, authkey.ErrUnavailable):
		return errUnavailable(cause)
	case ofProof:
		return c.errProof(proof, cause)
	case errors.Is(cause, authkey.ErrSuspended):
		return &Error{Status: http.StatusForbidden, Code: CodeSuspended, Message: "The project is suspended.", cause: cause}
	case errors.Is(cause, authkey.ErrForbidden):
		return &Error{Status: http.StatusForbidden, Code: CodeForbidden, Message: "The credential may not be used for this.", cause: cause}
	}
	return c.challenged(Error{
		Status: http.StatusUnauthorized, Code: CodeInvalid, Message: "The credential is not valid.", cause: cause,
	}, scheme, "invalid_token", "")
}

// errProof asks for another proof, with the nonce that it has to have if there is one.
func (c *config) errProof(proof *authkey.ProofError, cause error) *Error {
	e := Error{Status: http.StatusUnauthorized, Code: CodeProof, Message: "The proof of possession is not valid.", cause: cause, nonce: proof.Nonce}
	if proof.Code == CodeNonce {
		e.Code, e.Message = CodeNonce, "The proof of possession needs the nonce of this answer."
	}
	return c.challenged(e, schemeDPoP, e.Code, "")
}
