package introspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

// Bounds of what we are named and authenticated by, in bytes.
const (
	maxID        = 256
	maxSecret    = 4 << 10
	maxAssertion = 8 << 10
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// proof adds our own credentials to a request. A function, so that nothing that prints a config can reach them.
type proof func(ctx context.Context, form url.Values, header http.Header) error

// WithSecretBasic proves who we are by a secret in the field Authorization: client_secret_basic. Both are encoded as in a
// form before they are joined (RFC 6749, section 2.3.1). An ID has 1 to 256 bytes and a secret 1 to 4096, printable ASCII
// (RFC 6749, appendix A).
func WithSecretBasic(id, secret string) Option {
	return client("WithSecretBasic", id, checkSecret(secret), func(_ context.Context, _ url.Values, header http.Header) error {
		basic := http.Request{Header: header}
		basic.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		return nil
	})
}

// WithSecretPost proves who we are by a secret in the body, for servers that do not take WithSecretBasic:
// client_secret_post. ID and secret are as those of WithSecretBasic.
func WithSecretPost(id, secret string) Option {
	return client("WithSecretPost", id, checkSecret(secret), func(_ context.Context, form url.Values, _ http.Header) error {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
		return nil
	})
}

// WithAssertion proves who we are by a JWT that sign makes for each request (RFC 7523, section 2.2): private_key_jwt, with
// a key that may stay in a vault. Its iss and sub are the ID, its aud is the server's issuer identifier or the endpoint,
// jti is new each time and exp a minute away. sign is called concurrently and has to heed its context; of its errors only
// the type is told. The ID is as that of WithSecretBasic; an assertion has up to 8 KiB.
func WithAssertion(id string, sign func(context.Context) (string, error)) Option {
	var fault error
	if sign == nil {
		fault = errors.New("want a function that signs")
	}
	return client("WithAssertion", id, fault, func(ctx context.Context, form url.Values, _ http.Header) error {
		assertion, err := sign(ctx)
		if err != nil {
			return fmt.Errorf("the assertion could not be signed: a %T", err)
		}
		if !printable(assertion, maxAssertion) {
			return fmt.Errorf("the assertion is not one of 1 to %d printable ASCII characters", maxAssertion)
		}
		form.Set("client_id", id)
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
		return nil
	})
}

// client is the option that proves who we are in one way.
func client(name, id string, fault error, prove proof) Option {
	return optionFunc(func(c *config) error {
		var faults []error
		say := func(text string) {
			faults = append(faults, fmt.Errorf("%w: introspect: %s: %s", authkey.ErrInvalid, name, text))
		}
		if !printable(id, maxID) {
			say(fmt.Sprintf("client ID: want 1 to %d printable ASCII characters", maxID))
		}
		if fault != nil {
			say(fault.Error())
		}
		if c.prove != nil {
			say("there is another client: want one of WithSecretBasic, WithSecretPost and WithAssertion")
		}
		c.prove = prove
		return errors.Join(faults...)
	})
}

func checkSecret(secret string) error {
	if printable(secret, maxSecret) {
		return nil
	}
	return fmt.Errorf("secret: want 1 to %d printable ASCII characters", maxSecret)
}

// printable reports whether a text is VSCHAR of RFC 6749, and not empty or longer than most.
func printable(text string, most int) bool {
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' })
}
