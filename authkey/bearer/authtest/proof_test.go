package authtest_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// proof verifies a DPoP proof with the key that it brings along.
func proof(t *testing.T, text string) (*jwt.Token, error) {
	t.Helper()
	return jwt.Parse(text, func(token *jwt.Token) (any, error) {
		return publicKey(t, token.Header["jwk"].(map[string]any)), nil
	}, jwt.WithoutClaimsValidation())
}

func TestProof(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			var clock authtest.Clock
			key := authtest.NewDPoPKey(t, alg)
			key.Now = clock.Now
			got, err := proof(t, key.Proof("POST", "https://a.example/x?y", "token", "nonce"))
			if err != nil {
				t.Fatal(err)
			}
			jwk := key.JWK()
			delete(jwk, "alg")
			delete(jwk, "use")
			if got.Header["typ"] != "dpop+jwt" || got.Header["alg"] != alg || len(got.Header) != 3 || !maps.Equal(got.Header["jwk"].(map[string]any), jwk) {
				t.Errorf("header %v", got.Header)
			}
			sum := sha256.Sum256([]byte("token"))
			claims := got.Claims.(jwt.MapClaims)
			want := jwt.MapClaims{
				"htm": "POST", "htu": "https://a.example/x?y", "iat": float64(clock.Now().Unix()), "nonce": "nonce",
				"ath": base64.RawURLEncoding.EncodeToString(sum[:]), "jti": claims["jti"],
			}
			if !maps.Equal(claims, want) || claims["jti"] == "" {
				t.Errorf("claims %v, want %v", claims, want)
			}
		})
	}
}

func TestProofWithoutTokenAndNonce(t *testing.T) {
	t.Parallel()
	key := authtest.NewDPoPKey(t, "ES256")
	one, err := proof(t, key.Proof("GET", "https://a.example/", "", ""))
	if err != nil {
		t.Fatal(err)
	}
	two, err := proof(t, key.Proof("GET", "https://a.example/", "", ""))
	if err != nil {
		t.Fatal(err)
	}
	first, second := one.Claims.(jwt.MapClaims), two.Claims.(jwt.MapClaims)
	if len(first) != 4 || first["ath"] != nil || first["nonce"] != nil || first["jti"] == second["jti"] {
		t.Errorf("claims %v, then %v", first, second)
	}
}

func TestProofHooks(t *testing.T) {
	t.Parallel()
	key, other := authtest.NewDPoPKey(t, "ES256"), authtest.NewKey(t, "ES256", "")
	for _, c := range []struct {
		name string
		hook func(header, claims map[string]any)
		want func(header, claims map[string]any) bool
	}{
		{"typ", func(h, _ map[string]any) { h["typ"] = "JWT" }, func(h, _ map[string]any) bool { return h["typ"] == "JWT" }},
		{"no jti", func(_, c map[string]any) { delete(c, "jti") }, func(_, c map[string]any) bool { return c["jti"] == nil && c["htm"] == "GET" }},
		{"Absent", func(h, c map[string]any) { h["typ"], c["iat"] = authtest.Absent, authtest.Absent }, func(h, c map[string]any) bool { return h["typ"] == nil && c["iat"] == nil }},
		{"private key", func(h, _ map[string]any) { h["jwk"].(map[string]any)["d"] = "x" }, func(h, _ map[string]any) bool { return h["jwk"].(map[string]any)["d"] == "x" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := proof(t, key.Proof("GET", "https://a.example/", "token", "", c.hook))
			if err != nil {
				t.Fatal(err)
			}
			if !c.want(got.Header, got.Claims.(jwt.MapClaims)) {
				t.Errorf("header %v, claims %v", got.Header, got.Claims)
			}
		})
	}
	if _, err := proof(t, key.Proof("GET", "https://a.example/", "", "", func(h, _ map[string]any) { h["jwk"] = other.JWK() })); err == nil {
		t.Error("a proof with another's key verifies")
	}
	ends(t, "Proof: json: unsupported type", func(t testing.TB) {
		authtest.NewDPoPKey(t, "ES256").Proof("GET", "", "", "", func(_, c map[string]any) { c["x"] = make(chan int) })
	})
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	certificate := authtest.NewCertificate(t)
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Leaf)
	var shown string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		shown = authtest.CertificateThumbprint(r.TLS.VerifiedChains[0][0])
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	server.Client().Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{certificate}

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if got := send(t.Context(), server.Client(), request); got.err != nil || got.status != http.StatusOK {
		t.Fatalf("status %d, error %v", got.status, got.err)
	}
	sum := sha256.Sum256(certificate.Certificate[0])
	if want := base64.RawURLEncoding.EncodeToString(sum[:]); shown != want || strings.Contains(want, "=") {
		t.Errorf("thumbprint %q, want %q", shown, want)
	}
	if authtest.CertificateThumbprint(authtest.NewCertificate(t).Leaf) == shown {
		t.Error("two certificates are the same")
	}
}
