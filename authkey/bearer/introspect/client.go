package introspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/clientauth"
)

// maxAssertion bounds what we are authenticated by, in bytes.
const maxAssertion = 8 << 10

// proof adds our own credentials to a request. A function, so that nothing that prints a config can reach them.
type proof func(ctx context.Context, form url.Values, header http.Header) error

// WithSecretBasic proves who we are by a secret in the field Authorization: client_secret_basic. Both are encoded as in a
// form before they are joined (RFC 6749, section 2.3.1). An ID has 1 to 256 bytes and a secret 1 to 4096, printable ASCII
// (RFC 6749, appendix A).
func WithSecretBasic(id, secret string) Option {
	return client("WithSecretBasic", id, clientauth.CheckSecret(secret), func(_ context.Context, _ url.Values, header http.Header) error {
		clientauth.Basic(header, id, secret)
		return nil
	})
}

// WithSecretPost proves who we are by a secret in the body, for servers that do not take WithSecretBasic:
// client_secret_post. ID and secret are as those of WithSecretBasic.
func WithSecretPost(id, secret string) Option {
	return client("WithSecretPost", id, clientauth.CheckSecret(secret), func(_ context.Context, form url.Values, _ http.Header) error {
		clientauth.Post(form, id, secret)
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
		if !clientauth.Printable(assertion, maxAssertion) {
			return fmt.Errorf("the assertion is not one of 1 to %d printable ASCII characters", maxAssertion)
		}
		clientauth.Assert(form, id, assertion)
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
		for _, fault := range []error{clientauth.CheckID(id), fault} {
			if fault != nil {
				say(fault.Error())
			}
		}
		if c.prove != nil {
			say("there is another client: want one of WithSecretBasic, WithSecretPost and WithAssertion")
		}
		c.prove = prove
		return errors.Join(faults...)
	})
}
