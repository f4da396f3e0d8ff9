package resource

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Metadata says what there is to know of a protected resource (RFC 9728, section 2). What is empty is not told.
type Metadata struct {
	// Resource is its identifier, the audience that tokens have to be for: a URL of https with a host and without a
	// user, a fragment and a query, which the RFC advises against and routes do not tell apart. http is taken for the
	// loopback interface alone. Clients compare it byte by byte with the one that they called.
	Resource string `json:"resource"`
	// AuthorizationServers are the issuers (RFC 8414) that it takes tokens of, as they write themselves.
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	// JWKSURI is where the resource's own public keys are: for what it signs, not for tokens.
	JWKSURI string `json:"jwks_uri,omitempty"`
	// Scopes are the ones that a client may ask for; not all have to be told.
	Scopes []string `json:"scopes_supported,omitempty"`
	// BearerMethods are the ways to send a bearer token (RFC 6750, section 2): "header", "body" and "query". Empty
	// but not nil: there is none.
	BearerMethods []string `json:"bearer_methods_supported,omitzero"`
	// SigningAlgorithms are those of signed answers (RFC 7515), never "none".
	SigningAlgorithms []string `json:"resource_signing_alg_values_supported,omitempty"`
	// Name is for people.
	Name string `json:"resource_name,omitempty"`
	// Documentation, Policy and Terms are URLs of pages for developers and for people.
	Documentation string `json:"resource_documentation,omitempty"`
	Policy        string `json:"resource_policy_uri,omitempty"`
	Terms         string `json:"resource_tos_uri,omitempty"`
	// CertificateBound tells that tokens can be bound to the certificate of the client (RFC 8705).
	CertificateBound bool `json:"tls_client_certificate_bound_access_tokens,omitempty"`
	// AuthorizationDetails are the types that are understood (RFC 9396).
	AuthorizationDetails []string `json:"authorization_details_types_supported,omitempty"`
	// DPoPAlgorithms are those of proofs (RFC 9449), as middleware.WithDPoP tells them; never "none" and HMAC.
	DPoPAlgorithms []string `json:"dpop_signing_alg_values_supported,omitempty"`
	// DPoPRequired tells that every token has to be bound to a key of the client's.
	DPoPRequired bool `json:"dpop_bound_access_tokens_required,omitempty"`
}

// validate joins every fault, each with the name of its field.
func (m *Metadata) validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("resource: "+format, args...))
		}
	}
	check(validURL(m.Resource) && !strings.Contains(m.Resource, "?") && plainPath(m.Resource),
		"Resource %q must be an https URL with a host, without a user, a query, a fragment and dot segments; http is for loopback alone", m.Resource)
	for _, server := range m.AuthorizationServers {
		check(validURL(server) && !strings.Contains(server, "?"),
			"AuthorizationServers: %q must be an https URL with a host, without a user, a query and a fragment (RFC 8414, section 2)", server)
	}
	check(m.JWKSURI == "" || validURL(m.JWKSURI), "JWKSURI %q must be an https URL without a user and a fragment", m.JWKSURI)
	for _, page := range []struct{ field, text string }{
		{"Documentation", m.Documentation}, {"Policy", m.Policy}, {"Terms", m.Terms},
	} {
		u, err := url.Parse(page.text)
		check(page.text == "" || err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "", "%s %q must be a URL of a page", page.field, page.text)
	}
	check(utf8.ValidString(m.Name), "Name %q must be UTF-8", m.Name)
	for _, list := range []struct {
		field string
		names []string
		fits  func(string) bool
		want  string
	}{
		{"AuthorizationServers", m.AuthorizationServers, notEmpty, "issuers"},
		{"Scopes", m.Scopes, validScope, "scope-tokens (RFC 6749, section 3.3)"},
		{"BearerMethods", m.BearerMethods, validMethod, `of "header", "body" and "query"`},
		{"SigningAlgorithms", m.SigningAlgorithms, validAlgorithm, "algorithms (RFC 7518, section 3.1) and not none"},
		{"AuthorizationDetails", m.AuthorizationDetails, notEmpty, "types"},
		{"DPoPAlgorithms", m.DPoPAlgorithms, asymmetric, "asymmetric algorithms (RFC 7518, section 3.1)"},
	} {
		for i, name := range list.names {
			check(list.fits(name) && !slices.Contains(list.names[:i], name), "%s: %q must be one of a list %s, each once", list.field, name, list.want)
		}
	}
	check(!m.DPoPRequired || len(m.DPoPAlgorithms) > 0, "DPoPRequired needs DPoPAlgorithms, or no client knows how to sign")
	return errors.Join(faults...)
}

// validURL reports whether a text is a URL of https, or of http on the loopback interface, that only says where.
func validURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Contains(text, "#") || strings.ContainsFunc(text, unprintable) {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// plainPath reports whether the path of a URL is one that routers and clients do not rewrite.
func plainPath(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	for segment := range strings.SplitSeq(strings.Trim(u.Path, "/"), "/") {
		if segment == "." || segment == ".." || segment == "" && strings.Trim(u.Path, "/") != "" {
			return false
		}
	}
	return !strings.HasPrefix(u.Path, "//") && !strings.HasSuffix(u.Path, "//")
}

func unprintable(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }

func notEmpty(s string) bool { return s != "" && utf8.ValidString(s) }

func validScope(s string) bool { return s != "" && !strings.ContainsFunc(s, unprintable) }

func validMethod(s string) bool { return s == "header" || s == "body" || s == "query" }

func validAlgorithm(s string) bool { return validScope(s) && !strings.EqualFold(s, "none") }

func asymmetric(s string) bool {
	return validAlgorithm(s) && !strings.HasPrefix(strings.ToUpper(s), "HS")
}
