package clientcred

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/clientauth"
)

// Client is a client that is registered at an authorization server, with its way to prove itself (RFC 6749, section
// 2.3). Make it with SecretBasic, SecretPost or PrivateKeyJWT; New checks it. It prints as its method. Immutable.
type Client struct {
	method string // as RFC 7591 names it
	// prove adds the credentials to a request. A function, so that nothing that prints a Client can reach them.
	prove func(address string, form url.Values, header http.Header) error
	fault error
}

// SecretBasic is a client with a secret in the field Authorization: client_secret_basic. Both are encoded as in a form
// before they are joined (RFC 6749, section 2.3.1). An ID has 1 to 256 bytes and a secret 1 to 4096, printable ASCII
// (RFC 6749, appendix A).
func SecretBasic(id, secret string) Client {
	return Client{
		method: "client_secret_basic",
		fault:  checkSecret("SecretBasic", id, secret),
		prove: func(_ string, _ url.Values, header http.Header) error {
			clientauth.Basic(header, id, secret)
			return nil
		},
	}
}

// SecretPost is a client with a secret in the body, for servers that do not take SecretBasic: client_secret_post. ID
// and secret are as those of SecretBasic.
func SecretPost(id, secret string) Client {
	return Client{
		method: "client_secret_post",
		fault:  checkSecret("SecretPost", id, secret),
		prove: func(_ string, form url.Values, _ http.Header) error {
			clientauth.Post(form, id, secret)
			return nil
		},
	}
}

// Format writes the method, as "client_secret_basic", for every verb.
func (c Client) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "clientcred.Client(%s)", c.method) // fmt.State has nobody to tell
}

func (c Client) check() error {
	if c.prove == nil && c.fault == nil {
		return fmt.Errorf("%w: client: want one of SecretBasic, SecretPost or PrivateKeyJWT", authkey.ErrInvalid)
	}
	return c.fault
}

func checkSecret(name, id, secret string) error {
	return errors.Join(invalid(name, clientauth.CheckID(id)), invalid(name, clientauth.CheckSecret(secret)))
}

// invalid says of what a fault is; nil of none.
func invalid(name string, fault error) error {
	if fault == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %w", authkey.ErrInvalid, name, fault)
}
