package middleware_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/dpop"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
)

// newBoundService returns a handler of GET /api/items for the tokens of an issuer, behind a router that strips a
// prefix.
func newBoundService(t *testing.T, login *authtest.Issuer, origin string) http.Handler {
	t.Helper()
	proofs, err := dpop.New(redistest.Standalone(t, redistest.OrEmbedded()), []string{origin}, dpop.WithTimeout(calm))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := bearer.NewKeySet(bearer.Key{ID: login.Key().ID, Public: login.Key().Public()})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := bearer.New([]bearer.Issuer{{
		URL: login.URL(), Audiences: []string{authtest.Audience}, Keys: keys, Org: "acme",
	}}, bearer.WithProofs(proofs))
	if err != nil {
		t.Fatal(err)
	}
	auth := middleware.Authenticate(verifier, middleware.WithDPoP("ES256"), middleware.WithClientCertificates(prefixes("10.0.0.0/8")...))
	mux := http.NewServeMux()
	mux.Handle("GET /items", httpkit.Middleware(auth)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	return http.StripPrefix("/api", mux)
}

// A token that is bound to a key or a certificate is good for its holder alone.
func TestBoundTokens(t *testing.T) {
	t.Parallel()
	const origin, client, proxy = "https://api.example.com", "192.0.2.7:1", "10.0.0.1:1"
	login := authtest.NewIssuer(t)
	handler := newBoundService(t, login, origin)
	key, own, other := authtest.NewDPoPKey(t, "ES256"), authtest.NewCertificate(t).Leaf, certificate(t, 3)
	bound := login.Mint(authtest.Claims{"cnf": authtest.Claims{"jkt": key.Thumbprint()}})
	certified := login.Mint(authtest.Claims{"cnf": authtest.Claims{"x5t#S256": authtest.CertificateThumbprint(own)}})
	field := func(raw []byte) string { return ":" + base64.StdEncoding.EncodeToString(raw) + ":" }
	proof := func(path string) string { return key.Proof(http.MethodGet, origin+path, bound, "") }
	once := proof("/api/items")
	for _, row := range []struct {
		name, peer string
		fields     []string
		status     int
		code       string
	}{
		{"a proof", client, []string{"Authorization", "DPoP " + bound, "DPoP", once}, 200, ""},
		{"the same again", client, []string{"Authorization", "DPoP " + bound, "DPoP", once}, 401, middleware.CodeProof},
		{"a new one", client, []string{"Authorization", "DPoP " + bound, "DPoP", proof("/api/items")}, 200, ""},
		{"of the path behind the prefix", client, []string{"Authorization", "DPoP " + bound, "DPoP", proof("/items")}, 401, middleware.CodeProof},
		{"two", client, []string{"Authorization", "DPoP " + bound, "DPoP", proof("/api/items"), "DPoP", proof("/api/items")}, 401, middleware.CodeProof},
		{"none", client, []string{"Authorization", "DPoP " + bound}, 401, middleware.CodeProof},
		{"a proof, by bearer", client, []string{"Authorization", "Bearer " + bound, "DPoP", proof("/api/items")}, 401, middleware.CodeInvalid},
		{"by bearer", client, []string{"Authorization", "Bearer " + bound}, 401, middleware.CodeInvalid},
		{"in another field", client, []string{"X-Api-Key", bound}, 401, middleware.CodeInvalid},
		{"a plain one by DPoP", client, []string{"Authorization", "DPoP " + login.Mint(nil), "DPoP", proof("/api/items")}, 401, middleware.CodeInvalid},
		{"a certificate", proxy, []string{"Authorization", "Bearer " + certified, "Client-Cert", field(own.Raw)}, 200, ""},
		{"another certificate", proxy, []string{"Authorization", "Bearer " + certified, "Client-Cert", field(other.Raw)}, 401, middleware.CodeInvalid},
		{"no certificate", proxy, []string{"Authorization", "Bearer " + certified}, 401, middleware.CodeInvalid},
		{"a certificate that a client tells", client, []string{"Authorization", "Bearer " + certified, "Client-Cert", field(own.Raw)}, 401, middleware.CodeInvalid},
		{"two certificates", proxy, []string{"Authorization", "Bearer " + certified, "Client-Cert", field(own.Raw), "Client-Cert", field(own.Raw)}, 400, middleware.CodeMalformed},
	} {
		r := corsRequest(http.MethodGet, "/api/items", row.fields...)
		r.RemoteAddr = row.peer
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.code) {
			t.Errorf("%s: %d %s, want %d %s", row.name, w.Code, w.Body, row.status, row.code)
		}
	}
}
