package resource_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/resource"
)

func TestLocation(t *testing.T) {
	t.Parallel()
	const wellKnown = "/.well-known/oauth-protected-resource"
	for name, row := range map[string]struct{ resource, url, path string }{
		"host":              {"https://api.example.com", "https://api.example.com" + wellKnown, wellKnown},
		"host and slash":    {"https://api.example.com/", "https://api.example.com" + wellKnown, wellKnown},
		"path":              {"https://api.example.com/v1", "https://api.example.com" + wellKnown + "/v1", wellKnown + "/v1"},
		"deep path":         {"https://api.example.com/v1/maps", "https://api.example.com" + wellKnown + "/v1/maps", wellKnown + "/v1/maps"},
		"path and slash":    {"https://api.example.com/v1/", "https://api.example.com" + wellKnown + "/v1/", wellKnown + "/v1/"},
		"port":              {"https://api.example.com:8443/v1", "https://api.example.com:8443" + wellKnown + "/v1", wellKnown + "/v1"},
		"escaped":           {"https://api.example.com/a%2Fb%20c", "https://api.example.com" + wellKnown + "/a%2Fb%20c", wellKnown + "/a%2Fb%20c"},
		"case of the host":  {"https://API.example.com/V1", "https://API.example.com" + wellKnown + "/V1", wellKnown + "/V1"},
		"loopback":          {"http://127.0.0.1:8080/v1", "http://127.0.0.1:8080" + wellKnown + "/v1", wellKnown + "/v1"},
		"loopback of IPv6":  {"http://[::1]:8080", "http://[::1]:8080" + wellKnown, wellKnown},
		"loopback by name":  {"http://localhost:8080", "http://localhost:8080" + wellKnown, wellKnown},
		"a name in the way": {"https://api.example.com/.well-known", "https://api.example.com" + wellKnown + "/.well-known", wellKnown + "/.well-known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := resource.New(resource.Metadata{Resource: row.resource})
			if err != nil {
				t.Fatal(err)
			}
			if d.URL() != row.url || d.Path() != row.path {
				t.Errorf("URL %q and path %q, want %q and %q", d.URL(), d.Path(), row.url, row.path)
			}
			if err := middleware.Authenticate(nobody{}, middleware.WithResourceMetadata(d.URL())).Err(); err != nil {
				t.Errorf("the stage does not take its URL: %v", err)
			}
			mux := http.NewServeMux()
			mux.Handle(d.Path(), d)
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, d.Path(), nil)
			r.Host = "evil.test"
			mux.ServeHTTP(w, r)
			if want := `{"resource":"` + row.resource + `"}`; w.Code != http.StatusOK || w.Body.String() != want {
				t.Errorf("got %d %s, want %s", w.Code, w.Body, want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	const good = "https://api.example.com/v1"
	list := func(edit func(*resource.Metadata)) resource.Metadata {
		m := resource.Metadata{Resource: good}
		edit(&m)
		return m
	}
	of := func(text string) resource.Metadata { return resource.Metadata{Resource: text} }
	for name, row := range map[string]struct {
		metadata resource.Metadata
		want     string
	}{
		"nothing":                {of(""), "Resource"},
		"no URL":                 {of("https://api example.com"), "Resource"},
		"relative":               {of("/v1"), "Resource"},
		"http":                   {of("http://api.example.com"), "Resource"},
		"http on a network":      {of("http://10.0.0.1"), "Resource"},
		"like loopback":          {of("http://localhost.example.com"), "Resource"},
		"no host":                {of("https:///v1"), "Resource"},
		"port alone":             {of("https://:443/v1"), "Resource"},
		"opaque":                 {of("https:api.example.com"), "Resource"},
		"user":                   {of("https://me@api.example.com"), "Resource"},
		"fragment":               {of(good + "#a"), "Resource"},
		"empty fragment":         {of(good + "#"), "Resource"},
		"query":                  {of(good + "?a=1"), "Resource"},
		"empty query":            {of(good + "?"), "Resource"},
		"dot segment":            {of("https://api.example.com/v1/../v2"), "Resource"},
		"escaped dot segment":    {of("https://api.example.com/%2e%2e/v2"), "Resource"},
		"empty segment":          {of("https://api.example.com/v1//v2"), "Resource"},
		"quote":                  {of(`https://api.example.com/"`), "Resource"},
		"not ASCII":              {of("https://api.example.com/ü"), "Resource"},
		"server of http":         {list(func(m *resource.Metadata) { m.AuthorizationServers = []string{"http://login.example.com"} }), "AuthorizationServers"},
		"server with a query":    {list(func(m *resource.Metadata) { m.AuthorizationServers = []string{"https://login.example.com?a"} }), "AuthorizationServers"},
		"server with a fragment": {list(func(m *resource.Metadata) { m.AuthorizationServers = []string{"https://login.example.com#a"} }), "AuthorizationServers"},
		"server twice": {list(func(m *resource.Metadata) {
			m.AuthorizationServers = []string{"https://a.example", "https://a.example"}
		}), "AuthorizationServers"},
		"keys of http":            {list(func(m *resource.Metadata) { m.JWKSURI = "http://api.example.com/keys" }), "JWKSURI"},
		"scope with a space":      {list(func(m *resource.Metadata) { m.Scopes = []string{"a b"} }), "Scopes"},
		"empty scope":             {list(func(m *resource.Metadata) { m.Scopes = []string{""} }), "Scopes"},
		"scope twice":             {list(func(m *resource.Metadata) { m.Scopes = []string{"a", "a"} }), "Scopes"},
		"unknown way":             {list(func(m *resource.Metadata) { m.BearerMethods = []string{"cookie"} }), "BearerMethods"},
		"unsigned answers":        {list(func(m *resource.Metadata) { m.SigningAlgorithms = []string{"none"} }), "SigningAlgorithms"},
		"proof by nothing":        {list(func(m *resource.Metadata) { m.DPoPAlgorithms = []string{"None"} }), "DPoPAlgorithms"},
		"proof by a secret":       {list(func(m *resource.Metadata) { m.DPoPAlgorithms = []string{"ES256", "HS256"} }), "DPoPAlgorithms"},
		"proof of what":           {list(func(m *resource.Metadata) { m.DPoPRequired = true }), "DPoPRequired"},
		"details without a type":  {list(func(m *resource.Metadata) { m.AuthorizationDetails = []string{""} }), "AuthorizationDetails"},
		"documentation of a path": {list(func(m *resource.Metadata) { m.Documentation = "/docs" }), "Documentation"},
		"policy of a script":      {list(func(m *resource.Metadata) { m.Policy = "javascript:alert(1)" }), "Policy"},
		"terms without a host":    {list(func(m *resource.Metadata) { m.Terms = "https:" }), "Terms"},
		"name of other bytes":     {list(func(m *resource.Metadata) { m.Name = "\xff" }), "Name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := resource.New(row.metadata)
			if err == nil || d != nil || !strings.Contains(err.Error(), "resource: "+row.want) {
				t.Errorf("New: %v, %v; want an error that names %s", d, err, row.want)
			}
		})
	}
	_, err := resource.New(resource.Metadata{Scopes: []string{"a b"}}, resource.WithMaxAge(-1), nil, resource.WithMaxAge(25*time.Hour))
	for _, want := range []string{"Resource", "Scopes", "WithMaxAge(-1ns)", "option number 2", "WithMaxAge(25h0m0s)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	full := resource.Metadata{
		Resource: "https://api.example.com/v1", AuthorizationServers: []string{"https://login.example.com", "https://b.example/t"},
		JWKSURI: "https://api.example.com/keys", Scopes: []string{"read", "write"}, BearerMethods: []string{"header"},
		SigningAlgorithms: []string{"ES256"}, Name: "Maps & <more>", Documentation: "https://example.com/docs",
		Policy: "https://example.com/policy", Terms: "https://example.com/terms", CertificateBound: true,
		AuthorizationDetails: []string{"payment"}, DPoPAlgorithms: []string{"ES256", "EdDSA"}, DPoPRequired: true,
	}
	const fullBody = `{"resource":"https://api.example.com/v1","authorization_servers":["https://login.example.com","https://b.example/t"],` +
		`"jwks_uri":"https://api.example.com/keys","scopes_supported":["read","write"],"bearer_methods_supported":["header"],` +
		`"resource_signing_alg_values_supported":["ES256"],"resource_name":"Maps \u0026 \u003cmore\u003e",` +
		`"resource_documentation":"https://example.com/docs","resource_policy_uri":"https://example.com/policy","resource_tos_uri":"https://example.com/terms",` +
		`"tls_client_certificate_bound_access_tokens":true,"authorization_details_types_supported":["payment"],` +
		`"dpop_signing_alg_values_supported":["ES256","EdDSA"],"dpop_bound_access_tokens_required":true}`
	none := resource.Metadata{Resource: "https://api.example.com", BearerMethods: []string{}, Scopes: []string{}}
	const noneBody = `{"resource":"https://api.example.com","bearer_methods_supported":[]}`
	const open = "Access-Control-Allow-Origin: *\n"
	const kept, asked = open + "Cache-Control: public, max-age=3600\nContent-Type: application/json", open + "Cache-Control: public, max-age=60\nContent-Type: application/json"
	const preflight = "Access-Control-Allow-Headers: *\nAccess-Control-Allow-Methods: GET, HEAD\n" + open + "Access-Control-Max-Age: 86400"
	const refused = open + "Allow: GET, HEAD, OPTIONS\nCache-Control: no-store\nContent-Type: application/problem+json\nX-Request-Id: t1"
	const problem = `{"type":"about:blank","title":"Method Not Allowed","status":405,"detail":"This document can only be read.","code":"method_not_allowed","request_id":"t1"}`
	for name, row := range map[string]struct {
		metadata     resource.Metadata
		options      []resource.Option
		method       string
		status       int
		header, body string
	}{
		"GET":         {full, nil, http.MethodGet, 200, kept, fullBody},
		"HEAD":        {full, nil, http.MethodHead, 200, kept, ""},
		"none":        {none, nil, http.MethodGet, 200, kept, noneBody},
		"for shorter": {none, []resource.Option{resource.WithMaxAge(time.Minute)}, http.MethodGet, 200, asked, noneBody},
		"preflight":   {none, nil, http.MethodOptions, 204, preflight, ""},
		"POST":        {none, nil, http.MethodPost, 405, refused, problem},
		"DELETE":      {none, nil, http.MethodDelete, 405, refused, problem},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := resource.New(row.metadata, row.options...)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(row.method, d.Path(), nil)
			r.Header.Set("X-Request-Id", "t1")
			w := httptest.NewRecorder()
			d.ServeHTTP(w, r)
			length := w.Header().Get("Content-Length")
			w.Header().Del("Content-Length")
			var got strings.Builder
			if err := w.Header().Write(&got); err != nil {
				t.Fatal(err)
			}
			if header := strings.TrimSpace(strings.ReplaceAll(got.String(), "\r\n", "\n")); w.Code != row.status || header != row.header {
				t.Errorf("got %d and\n%s\nwant %d and\n%s", w.Code, header, row.status, row.header)
			}
			if w.Body.String() != row.body {
				t.Errorf("got\n%s\nwant\n%s", w.Body, row.body)
			}
			if row.method == http.MethodHead && length == "" {
				t.Error("an answer to HEAD does not tell the length")
			}
		})
	}
}

// What the metadata was made of may change afterwards.
func TestDocumentStays(t *testing.T) {
	t.Parallel()
	scopes := []string{"read"}
	d, err := resource.New(resource.Metadata{Resource: "https://api.example.com", Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	scopes[0] = "write"
	w := httptest.NewRecorder()
	d.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if want := `{"resource":"https://api.example.com","scopes_supported":["read"]}`; w.Body.String() != want {
		t.Errorf("got %s, want %s", w.Body, want)
	}
}
