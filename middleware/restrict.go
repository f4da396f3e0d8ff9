package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

// The codes for a good credential at the wrong place. Both are 403.
const (
	CodeNetwork = "network_refused" // the request comes from a network that the key is not for
	CodeOrigin  = "origin_refused"  // the request comes from a page that the key is not for
)

// WithTrustedProxies states the networks of your own proxies, for keys that have Networks: where a connection
// comes from one of them, the client is the last address of X-Forwarded-For that is in none of them. Without it,
// or from anywhere else, the client is who made the connection, whatever the field says. It is read as
// ClientNetwork reads it, except that a key with Networks is refused where a trusted proxy does not say whom it
// had its request from. State networks that nobody else can send from; at least one, and none with all
// addresses, for then clients could name their own.
func WithTrustedProxies(networks ...netip.Prefix) Option {
	return optionFunc(func(c *config) error {
		if len(networks) == 0 {
			return errors.New("middleware: WithTrustedProxies needs at least one network")
		}
		if err := ValidateProxies(networks); err != nil {
			return fmt.Errorf("middleware: WithTrustedProxies: %w", err)
		}
		c.proxies = slices.Clone(networks)
		return nil
	})
}

// ValidateProxies returns what is wrong with the networks of one's own proxies, nil if nothing: one that is none, and
// one with all addresses, for then clients could name their own.
func ValidateProxies(networks []netip.Prefix) error {
	plain, err := unmapped(networks)
	for i, n := range plain {
		if n.Bits() == 0 {
			err = errors.Join(err, fmt.Errorf("number %d, %v, trusts everybody", i+1, networks[i]))
		}
	}
	return err
}

// restrict refuses a request from a network or a page that the identity's key is not for. A zone of an IPv6
// address says nothing.
func (c *config) restrict(r *http.Request, id *authkey.Identity) *Error {
	if id == nil {
		return nil
	}
	if len(id.Networks) > 0 {
		if addr, told := ClientAddr(r, c.proxies...); !told || !Within(addr, id.Networks) {
			return errForbidden(CodeNetwork, "The credential may not be used from this network.")
		}
	}
	if id.Kind == authkey.KindPublishable && len(id.Origins) > 0 && !id.AllowsOrigin(originOf(r)) {
		return errForbidden(CodeOrigin, "The credential may not be used from this origin.")
	}
	return nil
}

// originOf returns the origin of the page that a request comes from: what Origin says or, for requests that
// browsers send without it, Referer. "" where there is neither, or a field is there twice; what it returns
// may be no origin at all.
func originOf(r *http.Request) string {
	if origins := r.Header["Origin"]; len(origins) > 0 {
		return single(origins)
	}
	referer := single(r.Header["Referer"])
	scheme, rest, ok := strings.Cut(referer, "://")
	if !ok {
		return ""
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return scheme + "://" + rest
}

// single returns the value of a field that is there once, otherwise "".
func single(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// announce tells the caller of an outgoing credential since when a newer one is there, by Deprecation (RFC 9745),
// and when this one ends, by Sunset (RFC 8594).
func announce(header http.Header, id *authkey.Identity) {
	if header == nil || id == nil || id.SupersededAt.IsZero() {
		return
	}
	header.Set("Deprecation", "@"+strconv.FormatInt(id.SupersededAt.Unix(), 10))
	if !id.ExpiresAt.IsZero() {
		header.Set("Sunset", id.ExpiresAt.UTC().Format(http.TimeFormat))
	}
}
