package examples_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestOIDC(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args func(*testing.T) []string
	}{
		{"embedded", func(*testing.T) []string { return nil }},
		{"redis", func(t *testing.T) []string { return []string{"-redis", "redis://" + redistest.Start(t)} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "oidc", tt.args(t)...)
			caller := &oidcCaller{process: p}
			t.Run("discover", caller.discover)
			t.Run("token", caller.token)
			t.Run("refused", caller.refused)
			t.Run("key", caller.key)
			t.Run("limit", caller.limit)
			t.Run("bound", caller.bound)
			t.Run("optional", caller.optional)
			t.Run("rotation", caller.rotation)
			t.Run("logout", caller.logout)
			t.Run("revocation", caller.revocation)
			p.t = t
			if err := p.stop(); err != nil {
				t.Errorf("SIGTERM: %v, want a clean end", err)
			}
		})
	}
}

// oidcCaller knows nothing of the service but its address, and finds out the rest as RFC 9728 has it.
type oidcCaller struct {
	*process
	resource, tokenURL string
}

// transport trusts the certificate that all servers of package httptest have, which the issuer is.
func transport(t *testing.T) http.RoundTripper {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	server.Close()
	return server.Client().Transport
}

// fetch reads a JSON document.
func fetch(t *testing.T, url string, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport(t)}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d, %v", url, response.StatusCode, err)
	}
}

// obtain asks the issuer for a new token.
func (c *oidcCaller) obtain(t *testing.T, scopes ...string) string {
	t.Helper()
	source, err := clientcred.New(c.tokenURL, clientcred.SecretBasic(c.ClientID, c.ClientSecret),
		clientcred.WithScopes(scopes...), clientcred.WithResources(c.resource), clientcred.WithTransport(transport(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token.Access.Reveal()
}

func (c *oidcCaller) bearing(method, path, token string) answer {
	c.t.Helper()
	return c.do(method, path, "", "Authorization", "Bearer "+token)
}

// challenged reports what is wrong with the one challenge of a refusal; wrong is what it says besides where the metadata is.
func (c *oidcCaller) challenged(a answer, scheme, wrong string) {
	c.t.Helper()
	values := a.header.Values("WWW-Authenticate")
	if len(values) != 1 || !strings.HasPrefix(values[0], scheme+` realm="api"`) ||
		!strings.HasSuffix(values[0], `resource_metadata="http://`+c.Addr+`/.well-known/oauth-protected-resource"`+wrong) {
		c.t.Errorf("WWW-Authenticate %q, want one of %s with the metadata and %q", values, scheme, wrong)
	}
}

func (c *oidcCaller) discover(t *testing.T) {
	c.t = t
	a := c.want("no token", c.do("GET", "/v1/search", ""), 401)
	c.challenged(a, "Bearer", "")
	_, location, _ := strings.Cut(a.header.Get("WWW-Authenticate"), `resource_metadata="`)
	var resource struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
		Scopes   []string `json:"scopes_supported"`
		Methods  []string `json:"bearer_methods_supported"`
		Proofs   []string `json:"dpop_signing_alg_values_supported"`
	}
	fetch(t, strings.TrimSuffix(location, `"`), &resource)
	if resource.Resource != "http://"+c.Addr || !slices.Equal(resource.Servers, []string{c.Issuer}) ||
		!slices.Equal(resource.Scopes, []string{"search", "pay"}) || !slices.Equal(resource.Methods, []string{"header"}) || !slices.Contains(resource.Proofs, "ES256") {
		t.Errorf("metadata %+v", resource)
	}
	var server struct {
		Issuer   string `json:"issuer"`
		TokenURL string `json:"token_endpoint"`
	}
	fetch(t, c.Issuer+"/.well-known/oauth-authorization-server", &server)
	if server.Issuer != c.Issuer {
		t.Errorf("the server calls itself %q, want %q", server.Issuer, c.Issuer)
	}
	c.resource, c.tokenURL = resource.Resource, server.TokenURL
	c.want("ready", c.do("GET", "/readyz", ""), 200)
}

func (c *oidcCaller) token(t *testing.T) {
	c.t = t
	a := c.want("a token", c.bearing("GET", "/v1/search", c.obtain(t, "search")), 200)
	v := a.decode(t)
	if v["method"] != "bearer" || v["org"] != "demo" || v["project"] != "demo" || len(v["scopes"].([]any)) != 1 ||
		v["subject"] != c.ClientID || v["client"] != c.ClientID {
		t.Errorf("the handler knows %s", a.body)
	}
	if got := a.header.Get("RateLimit-Policy"); got != `"requests";q=10;w=10` {
		t.Errorf("RateLimit-Policy %s", got)
	}
}

func (c *oidcCaller) refused(t *testing.T) {
	c.t = t
	token := c.obtain(t, "other")
	c.want("without a scope to need", c.bearing("GET", "/v1/whoami", token), 200)
	a := c.want("another scope", c.bearing("GET", "/v1/search", token), 403)
	c.challenged(a, "Bearer", `, error="insufficient_scope", error_description="The credential lacks a scope that this resource needs.", scope="search"`)
	signed := strings.LastIndex(token, ".") + 1
	forged := token[:signed] + strings.Repeat("A", len(token)-signed)
	for name, bad := range map[string]string{"forged": forged, "no token": "ey.a.b"} {
		a := c.want(name, c.bearing("GET", "/v1/whoami", bad), 401)
		c.challenged(a, "Bearer", `, error="invalid_token", error_description="The credential is not valid."`)
	}
	c.want("two credentials", c.do("GET", "/v1/whoami", "", "Authorization", "Bearer "+token, "X-API-Key", c.APIKey), 400)
}

func (c *oidcCaller) key(t *testing.T) {
	c.t = t
	for _, field := range [][]string{{"X-API-Key", c.APIKey}, {"Authorization", "Bearer " + c.APIKey}} {
		a := c.want("a key by "+field[0], c.do("GET", "/v1/search", "", field...), 200)
		if v := a.decode(t); v["method"] != "key" || v["project"] != "demo" {
			t.Errorf("the handler knows %s", a.body)
		}
	}
	c.want("a key does not log out", c.do("POST", "/v1/logout", "", "X-API-Key", c.APIKey), 403)
	c.want("a key is no bound token", c.do("POST", "/v1/payments", "", "Authorization", "DPoP "+c.APIKey), 401)
}

func (c *oidcCaller) limit(t *testing.T) {
	c.t = t
	token := c.obtain(t, "search")
	for range 50 { // a window may end meanwhile
		a := c.bearing("GET", "/v1/search", token)
		if a.status == http.StatusOK {
			continue
		}
		c.want("over the limit", a, 429)
		if a.header.Get("Retry-After") == "" {
			t.Errorf("429 with %v", a.header)
		}
		c.want("the key has a limit of its own", c.do("GET", "/v1/search", "", "X-API-Key", c.APIKey), 200)
		return
	}
	t.Error("50 requests passed a limit of 10 in 10 s")
}

func (c *oidcCaller) bound(t *testing.T) {
	c.t = t
	var fields []string
	for line := range strings.Lines(c.want("a proof", c.do("POST", "/provider/proof", ""), 200).body) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		fields = append(fields, name, value)
	}
	token := strings.TrimPrefix(fields[1], "DPoP ")
	c.want("no proof", c.do("POST", "/v1/payments", "", fields[:2]...), 401)
	if a := c.want("with its proof", c.do("POST", "/v1/payments", "", fields...), 200); a.decode(t)["method"] != "bearer" {
		t.Errorf("the handler knows %s", a.body)
	}
	c.challenged(c.want("the proof once more", c.do("POST", "/v1/payments", "", fields...), 401),
		"DPoP", `, error="invalid_dpop_proof", error_description="The proof of possession is not valid."`)
	c.want("as one that is not bound", c.bearing("GET", "/v1/whoami", token), 401)
	c.want("one that is not bound", c.do("POST", "/v1/payments", "", "Authorization", "DPoP "+c.obtain(t, "pay"), fields[2], fields[3]), 401)
}

func (c *oidcCaller) optional(t *testing.T) {
	c.t = t
	if a := c.want("nobody", c.do("GET", "/v1/news", ""), 200); a.decode(t)["method"] != "anonymous" {
		t.Errorf("the handler knows %s", a.body)
	}
	if a := c.want("somebody", c.bearing("GET", "/v1/news", c.obtain(t, "search")), 200); a.decode(t)["method"] != "bearer" {
		t.Errorf("the handler knows %s", a.body)
	}
	c.want("a bad token", c.bearing("GET", "/v1/news", "ey.a.b"), 401)
	c.want("a bad key", c.do("GET", "/v1/news", "", "X-API-Key", "demo_test_x"), 401)
}

func (c *oidcCaller) rotation(t *testing.T) {
	c.t = t
	before := c.obtain(t, "search")
	c.want("rotate", c.do("POST", "/provider/rotate", ""), 204)
	after := c.obtain(t, "search")
	if head, _, _ := strings.Cut(after, "."); strings.HasPrefix(before, head) {
		t.Fatal("the new token names the old key")
	}
	// Keys were fetched a moment ago, so that the new one may be unknown until the end of the cool-down.
	for deadline := time.Now().Add(30 * time.Second); c.bearing("GET", "/v1/whoami", after).status != http.StatusOK; {
		if time.Now().After(deadline) {
			t.Fatal("a token by the new key does not pass")
		}
	}
	c.want("a token by the old key", c.bearing("GET", "/v1/whoami", before), 200)
}

func (c *oidcCaller) logout(t *testing.T) {
	c.t = t
	token, other := c.obtain(t, "search"), c.obtain(t, "search")
	c.want("before", c.bearing("GET", "/v1/whoami", token), 200)
	c.want("logout", c.bearing("POST", "/v1/logout", token), 204)
	for _, path := range []string{"/v1/whoami", "/v1/search", "/v1/news"} { // with and without a limit
		a := c.want("the next request", c.bearing("GET", path, token), 401)
		c.challenged(a, "Bearer", `, error="invalid_token", error_description="The credential is not valid."`)
	}
	c.want("another token of the same client", c.bearing("GET", "/v1/whoami", other), 200)
}

func (c *oidcCaller) revocation(t *testing.T) {
	c.t = t
	token := c.obtain(t, "search")
	c.want("before", c.bearing("GET", "/v1/whoami", token), 200)
	body := fmt.Sprintf(`{"kind":"subject","issuer":%q,"value":%q,"reason":"test"}`, c.Issuer, c.ClientID)
	c.want("revoke the client", c.admin("POST", "/revocations", body), 200)
	for _, path := range []string{"/v1/whoami", "/v1/search", "/v1/news"} {
		c.want("the next request", c.bearing("GET", path, token), 401)
	}
	c.want("the key beside", c.do("GET", "/v1/whoami", "", "X-API-Key", c.APIKey), 200)
	// Tokens tell when they were made to the second, so that one of the same second is refused, too.
	for deadline := time.Now().Add(30 * time.Second); c.bearing("GET", "/v1/whoami", c.obtain(t, "search")).status != http.StatusOK; {
		if time.Now().After(deadline) {
			t.Fatal("a token that was made later does not pass")
		}
	}
}
