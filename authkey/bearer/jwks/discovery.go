package jwks

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/jose"
	"github.com/tollgate-go/tollgate/authkey/internal/outbound"
)

// maxURL bounds URLs, in bytes.
const maxURL = 2048

// Form says where an issuer's discovery document is.
type Form string

// The forms of discovery. Without WithForm, OIDC is tried first, and OAuth where that brings no good document.
const (
	// OIDC appends /.well-known/openid-configuration to the issuer (OpenID Connect Discovery 1.0, section 4).
	OIDC Form = "openid-configuration"
	// OAuth puts /.well-known/oauth-authorization-server between the issuer's host and path (RFC 8414, section 3).
	OAuth Form = "oauth-authorization-server"
)

// at returns where the discovery document of an issuer is. The URL is a good one.
func (f Form) at(issuer string) string {
	if f == OIDC {
		return strings.TrimSuffix(issuer, "/") + "/.well-known/" + string(f)
	}
	scheme, rest, _ := strings.Cut(issuer, "://")
	host, path, _ := strings.Cut(rest, "/")
	if path = strings.TrimSuffix(path, "/"); path != "" {
		path = "/" + path
	}
	return scheme + "://" + host + "/.well-known/" + string(f) + path
}

// discover returns the address of an issuer's key set. Both forms name the same issuer, so whichever document names
// it is as good as the other.
func (c *config) discover(ctx context.Context, e *entry) (string, error) {
	forms := []Form{OIDC, OAuth}
	if e.form != "" {
		forms = []Form{e.form}
	}
	var faults []error
	for _, form := range forms {
		at := form.at(e.url)
		body, _, err := c.get(ctx, e.client, at, false)
		if err == nil {
			var address string
			if address, err = e.addressIn(body); err == nil {
				return address, nil
			}
			err = fmt.Errorf("discovery at %s: %w", at, err)
		}
		faults = append(faults, err)
		if errors.Is(err, errNoAnswer) {
			break // nor will the same host answer about the other
		}
	}
	return "", errors.Join(faults...)
}

// addressIn reads a discovery document. Its errors repeat nothing of it.
func (e *entry) addressIn(document []byte) (string, error) {
	o, err := jose.ReadObject(document)
	if err != nil {
		return "", err
	}
	issuer, err := o.Text("issuer", maxURL)
	if err != nil {
		return "", err
	}
	if issuer != e.url {
		if strings.TrimSuffix(issuer, "/") == strings.TrimSuffix(e.url, "/") {
			return "", errors.New("it names another issuer: one of the two has a slash at the end")
		}
		return "", errors.New("it names another issuer: want the same, byte for byte (RFC 8414, section 3.3)")
	}
	address, err := o.Text("jwks_uri", maxURL)
	if err != nil {
		return "", err
	}
	if fault := checkURL(address, e.loopback); fault != nil {
		return "", fmt.Errorf("jwks_uri: %w", fault)
	}
	return address, nil
}

// check reports what is wrong with the URL of a place.
func (p place) check() error {
	fault := checkURL(p.url, p.loopback)
	if fault == nil && !p.outright && strings.Contains(p.url, "?") {
		fault = errors.New("want an issuer without a query; URL takes that of a key set")
	}
	if fault != nil {
		return fmt.Errorf("%w: jwks: %s: %w", authkey.ErrInvalid, nameOf(p.url), fault)
	}
	return nil
}

// checkURL refuses what is not an absolute https URL of a host. It repeats nothing of it.
func checkURL(text string, loopback bool) error {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxURL:
		return fmt.Errorf("want a URL of up to %d bytes", maxURL)
	case err != nil || u.Hostname() == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("want an absolute URL with https, as https://issuer.example")
	case u.User != nil || strings.Contains(text, "#"):
		return errors.New("want a URL without a user name, a password or a fragment")
	case u.Scheme == "http" && !(loopback && outbound.Loopback(u.Hostname())):
		return errors.New("want https; http is for this machine alone, with WithLoopback")
	}
	return nil
}

// nameOf returns a URL for texts: without what may be a secret.
func nameOf(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || len(text) > maxURL {
		return "a URL that is none"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
