package authtest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256", "HS384", "HS512",
}

// reply is an answer as a client has it.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error
}

func send(ctx context.Context, client *http.Client, request *http.Request) reply {
	response, err := client.Do(request.WithContext(ctx))
	if err != nil {
		return reply{err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, body, err}
}

// get fetches without following redirects.
func get(ctx context.Context, issuer *authtest.Issuer, address string) reply {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return reply{err: err}
	}
	client := *issuer.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return send(ctx, &client, request)
}

// post sends a form; id and secret are sent as HTTP Basic unless both are empty.
func post(t *testing.T, issuer *authtest.Issuer, endpoint authtest.Endpoint, id, secret string, form url.Values) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, issuer.EndpointURL(endpoint), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" || secret != "" {
		request.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return send(t.Context(), issuer.Client(), request)
}

// object decodes an answer that must be a JSON object of a status.
func (r reply) object(t *testing.T, status int) map[string]any {
	t.Helper()
	if r.err != nil || r.status != status {
		t.Fatalf("status %d, error %v, want %d; body %.200q", r.status, r.err, status, r.body)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	var object map[string]any
	if err := json.Unmarshal(r.body, &object); err != nil {
		t.Fatalf("%v in %.200q", err, r.body)
	}
	return object
}

// keySet fetches the key set, each key by its kid.
func keySet(t *testing.T, issuer *authtest.Issuer) map[string]map[string]any {
	t.Helper()
	set := get(t.Context(), issuer, issuer.EndpointURL(authtest.EndpointKeys)).object(t, http.StatusOK)
	keys := map[string]map[string]any{}
	for _, key := range set["keys"].([]any) {
		key := key.(map[string]any)
		keys[key["kid"].(string)] = key
	}
	return keys
}

func kids(t *testing.T, issuer *authtest.Issuer) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(keySet(t, issuer)))
}

// publicKey reads a JWK by RFC 7518, apart from the code under test.
func publicKey(t *testing.T, jwk map[string]any) any {
	t.Helper()
	text := func(name string) []byte { return decode(t, jwk[name].(string)) }
	switch jwk["kty"] {
	case "RSA":
		return &rsa.PublicKey{N: new(big.Int).SetBytes(text("n")), E: int(new(big.Int).SetBytes(text("e")).Int64())}
	case "EC":
		curve := map[any]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[jwk["crv"]]
		key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, text("x"), text("y")))
		if err != nil {
			t.Fatal(err)
		}
		return key
	case "OKP":
		return ed25519.PublicKey(text("x"))
	case "oct":
		return text("k")
	}
	t.Fatalf("unknown key type in %v", jwk)
	return nil
}

// verify checks a token with golang-jwt and the keys that the issuer serves now.
func verify(t *testing.T, issuer *authtest.Issuer, token string, opts ...jwt.ParserOption) (*jwt.Token, error) {
	t.Helper()
	keys := keySet(t, issuer)
	opts = append([]jwt.ParserOption{jwt.WithIssuer(issuer.URL()), jwt.WithAudience(authtest.Audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt()}, opts...)
	return jwt.Parse(token, func(token *jwt.Token) (any, error) {
		jwk, ok := keys[fmt.Sprint(token.Header["kid"])]
		if !ok || jwk["alg"] != token.Header["alg"] {
			return nil, fmt.Errorf("no key %v for %v", token.Header["kid"], token.Header["alg"])
		}
		return publicKey(t, jwk), nil
	}, opts...)
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// parts decodes a compact JWS.
func parts(t *testing.T, token string) (header, payload map[string]any, signature []byte) {
	t.Helper()
	part := strings.Split(token, ".")
	if len(part) != 3 {
		t.Fatalf("%d parts in %q", len(part), token)
	}
	if err := json.Unmarshal(decode(t, part[0]), &header); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(decode(t, part[1]), &payload); err != nil {
		t.Fatal(err)
	}
	return header, payload, decode(t, part[2])
}

// ends checks that something ends the test with a text.
func ends(t *testing.T, want string, do func(t testing.TB)) {
	t.Helper()
	fake := new(authtest.Example)
	defer fake.End()
	defer func() {
		t.Helper()
		if said := fmt.Sprint(recover()); !strings.Contains(said, want) || !strings.HasPrefix(said, "authtest: ") {
			t.Errorf("it ended with %q, want %q in it", said, want)
		}
	}()
	do(fake)
	t.Errorf("it did not end the test; want %q", want)
}
