package clientcred

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

// Bounds of what a client is named and authenticated by, in bytes.
const (
	maxID     = 256
	maxSecret = 4 << 10
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
			basic := http.Request{Header: header}
			basic.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
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
			form.Set("client_id", id)
			form.Set("client_secret", secret)
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
	var fault error
	if !printable(secret, maxSecret) {
		fault = fmt.Errorf("%w: %s: secret: want 1 to %d printable ASCII characters", authkey.ErrInvalid, name, maxSecret)
	}
	return errors.Join(checkID(name, id), fault)
}

func checkID(name, id string) error {
	if !printable(id, maxID) {
		return fmt.Errorf("%w: %s: client ID: want 1 to %d printable ASCII characters", authkey.ErrInvalid, name, maxID)
	}
	return nil
}

// printable reports whether a text is VSCHAR of RFC 6749, and not empty or longer than most.
func printable(text string, most int) bool {
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' })
}
