package clientcred

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/clientauth"
)

// maxDrain is how much of a refusal is read, so that its connection can be used again.
const maxDrain = 4 << 10

// Transport is an http.RoundTripper that puts the token of a Source on requests. Make it with NewTransport. Safe for
// concurrent use.
//
// The token goes to the listed origins and nowhere else: any other request, also one that a redirect leads to, is sent
// as it is. So is one whose Host field names another host than the URL, unless that is listed too, and one that has an
// Authorization field: whoever sets it decides.
//
// A 401 that says error="invalid_token" renews the token and sends the request once more, if it has no body or
// GetBody can make it anew. It is renewed for that at most every 30 s, however many requests are refused; a request
// that showed an older token than the one held is sent again without asking for a new one. Where that does not help,
// the caller gets the 401.
type Transport struct {
	source  *Source
	base    http.RoundTripper
	origins map[string]bool
}

// NewTransport returns a Transport that sends requests by base, where nil is http.DefaultTransport. Origins are what
// the token is for, scheme, host and port exactly, as "https://maps.example" or "https://maps.example:8443"; one with
// http is a decision to send the token in clear. Faults are authkey.ErrInvalid, all joined. It does not dial.
func NewTransport(source *Source, base http.RoundTripper, origins ...string) (*Transport, error) {
	t := &Transport{source: source, base: base, origins: make(map[string]bool, len(origins))}
	var faults []error
	if source == nil {
		faults = append(faults, fmt.Errorf("%w: source: nil, want one of New", authkey.ErrInvalid))
	}
	if base == nil {
		t.base = http.DefaultTransport
	}
	if len(origins) == 0 {
		faults = append(faults, fmt.Errorf("%w: origins: none, want those that the token is for", authkey.ErrInvalid))
	}
	for n, text := range origins {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || !clientauth.Printable(u.Hostname(), maxText) ||
			text != u.Scheme+"://"+u.Host || strings.ContainsAny(u.Host, "*%") {
			faults = append(faults, fmt.Errorf("%w: origin %d: want scheme, host and port only, as https://maps.example", authkey.ErrInvalid, n))
			continue
		}
		t.origins[origin(u.Scheme, u.Host)] = true
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return t, nil
}

// RoundTrip sends a request, with the token if it is for one of the origins. The request is not changed, and the
// response's Request is that request, without the token. Errors are those of Source.Token, before anything was sent,
// and those of the base.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.takes(r) {
		return t.base.RoundTrip(r)
	}
	token, err := t.source.Token(r.Context())
	if err != nil {
		closeBody(r)
		return nil, err
	}
	response, err := t.send(r, token, r.Body)
	if err != nil || !refusesToken(response) || !repeatable(r) {
		return response, err
	}
	token, ok := t.source.renewed(r.Context(), token)
	if !ok {
		return response, nil
	}
	body := r.Body
	if hasBody(r) {
		if body, err = r.GetBody(); err != nil {
			return response, nil //nolint:nilerr // the 401 says more
		}
	}
	_, _ = io.CopyN(io.Discard, response.Body, maxDrain) // to what end does not matter
	response.Body.Close()
	return t.send(r, token, body)
}

// CloseIdleConnections closes those of the base, if it can; for http.Client.CloseIdleConnections.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// Format writes that it is a Transport and of which Source, for every verb.
func (t *Transport) Format(f fmt.State, _ rune) {
	var source *Source
	if t != nil {
		source = t.source
	}
	_, _ = fmt.Fprintf(f, "clientcred.Transport(%v)", source) // fmt.State has nobody to tell
}

// takes reports whether a request gets the token.
func (t *Transport) takes(r *http.Request) bool {
	if r.URL == nil || !t.origins[origin(r.URL.Scheme, r.URL.Host)] {
		return false
	}
	if r.Host != "" && r.Host != r.URL.Host && !t.origins[origin(r.URL.Scheme, r.Host)] {
		return false
	}
	for name := range r.Header {
		if strings.EqualFold(name, "Authorization") {
			return false
		}
	}
	return true
}

// send sends a copy of the request that carries the token.
func (t *Transport) send(r *http.Request, token Token, body io.ReadCloser) (*http.Response, error) {
	bearing := r.WithContext(r.Context())
	bearing.Body = body
	if bearing.Header = r.Header.Clone(); bearing.Header == nil {
		bearing.Header = http.Header{}
	}
	bearing.Header.Set("Authorization", "Bearer "+token.Access.Reveal())
	response, err := t.base.RoundTrip(bearing)
	if response != nil {
		response.Request = r
	}
	return response, err
}

func hasBody(r *http.Request) bool    { return r.Body != nil && r.Body != http.NoBody }
func repeatable(r *http.Request) bool { return !hasBody(r) || r.GetBody != nil }

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}

// origin is the one way to write an origin: in lower case and with the port. It is "", which is never listed, for a host
// that is not ASCII, since lower case makes ASCII of some letters that are none.
func origin(scheme, host string) string {
	if !clientauth.Printable(host, maxText) {
		return ""
	}
	u := url.URL{Host: host}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
