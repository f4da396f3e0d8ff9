package middleware

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientCert is the field of RFC 9440, maxCertificate how long it may be.
const (
	clientCert     = "Client-Cert"
	maxCertificate = 16 << 10
)

// WithClientCertificates states the networks of your own proxies that end TLS and tell the client's certificate in
// Client-Cert (RFC 9440), for tokens that are bound to it (RFC 8705, section 3). From them the field is the only
// certificate there is: their own, of the connection, is none of the client's. A field of theirs that is there twice or
// is no certificate is refused with 400. From everywhere else the field is ignored, and the certificate is that of the
// connection, which is also how it is without the option. The proxies must take out a Client-Cert that a client sent,
// and nothing before the stage may change the request's RemoteAddr. At least one network, and none with all addresses.
func WithClientCertificates(trusted ...netip.Prefix) Option {
	return optionFunc(func(c *config) error {
		if len(trusted) == 0 {
			return errors.New("middleware: WithClientCertificates needs at least one network")
		}
		if err := ValidateProxies(trusted); err != nil {
			return fmt.Errorf("middleware: WithClientCertificates: %w", err)
		}
		c.certificates = slices.Clone(trusted)
		return nil
	})
}

// certificate returns the client's; nil where it has none. That it holds the key is what TLS proved, of whatever chain.
func (c *config) certificate(r *http.Request) (*x509.Certificate, error) {
	if len(c.certificates) > 0 {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err == nil && Within(peer.Addr(), c.certificates) {
			return readCertificate(r.Header[clientCert])
		}
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, nil
	}
	return r.TLS.PeerCertificates[0], nil
}

// readCertificate reads a byte sequence (RFC 9651, section 3.3.5) of DER.
func readCertificate(fields []string) (*x509.Certificate, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	text, opened := strings.CutPrefix(single(fields), ":")
	text, closed := strings.CutSuffix(text, ":")
	if !opened || !closed || len(text) > maxCertificate {
		return nil, fmt.Errorf("middleware: %s must be there once, as a byte sequence of at most %d bytes", clientCert, maxCertificate)
	}
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("middleware: %s: %w", clientCert, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("middleware: %s: %w", clientCert, err)
	}
	return certificate, nil
}
