package bearer_test

import (
	"crypto/sha256"
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// benchURL is the issuer of measured tokens, which nobody calls.
const benchURL = "https://login.example.com/"

// measured is one algorithm's token, and the two who read it.
type measured struct {
	token     string
	issuer    bearer.Issuer
	reference *jwt.Parser
	keyfunc   jwt.Keyfunc
}

// full are the claims that an identity provider puts into a token, a kilobyte in all.
func full() jwt.MapClaims {
	return jwt.MapClaims{
		"iss": benchURL, "sub": "kp_5f0c2d7e9b1a4c3d8e6f", "aud": []string{"https://api.example.com", benchURL + "userinfo"},
		"iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "jti": "3c9d0f61-95cb-4d2e-9a53-6de0b5f7a1c2",
		"client_id": "8d1f0c6e2b7a4e55", "azp": "8d1f0c6e2b7a4e55", "sid": "c1a7e2d94b3f4d60", "scope": "openid profile email read:stores write:stores",
		"org_id": "org_71c05d9e2f", "org_name": "Example", "email": "someone@example.com", "email_verified": true,
		"permissions": []string{"read:stores", "write:stores", "read:reports"}, "roles": []string{"editor", "billing"},
		"feature_flags": map[string]any{"beta": map[string]any{"t": "b", "v": true}, "theme": map[string]any{"t": "s", "v": "dark"}},
	}
}

// short are the claims that no token can do without: with HS256, less than 300 bytes.
func short() jwt.MapClaims {
	return jwt.MapClaims{"iss": benchURL, "sub": "kp_5f", "aud": "https://api.example.com", "exp": time.Now().Add(time.Hour).Unix(), "org_id": "org_71c05d9e2f"}
}

// measure mints a token.
func measure(tb testing.TB, alg string, claims jwt.MapClaims) measured {
	tb.Helper()
	key := authtest.NewKey(tb, alg, "2030-01-b7e1c9")
	method := jwt.GetSigningMethod(alg)
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"], token.Header["typ"] = key.ID, "at+jwt"
	text, err := token.SignedString(key.Private)
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := bearer.NewKeySet(bearer.Key{ID: key.ID, Algorithm: alg, Public: key.Public()})
	if err != nil {
		tb.Fatal(err)
	}
	public := key.Public()
	return measured{
		token:  text,
		issuer: bearer.Issuer{URL: benchURL, Audiences: []string{"https://api.example.com"}, Keys: keys, Algorithms: []string{alg}},
		reference: jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(benchURL), jwt.WithAudience("https://api.example.com"),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(30*time.Second)),
		keyfunc: func(*jwt.Token) (any, error) { return public, nil },
	}
}

// authenticate returns a function that authenticates the token anew on each call.
func (m measured) authenticate(tb testing.TB, opts ...bearer.Option) func() error {
	tb.Helper()
	verifier, err := bearer.New([]bearer.Issuer{m.issuer}, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, presented := tb.Context(), authkey.NewPresented(m.token)
	return func() error {
		identity, err := verifier.Authenticate(ctx, presented)
		if err == nil && identity.Org != "org_71c05d9e2f" {
			err = fmt.Errorf("org %q", identity.Org)
		}
		return err
	}
}

func (m measured) parse() error {
	_, err := m.reference.Parse(m.token, m.keyfunc)
	return err
}

// TestAllocations: what a token costs beside the arithmetic. Where races are looked for, sync.Pool drops a quarter of
// the decoders that it is given.
func TestAllocations(t *testing.T) {
	m, dropped := measure(t, "RS256", full()), 0.0
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		dropped = 45
	}
	for _, tt := range []struct {
		name string
		do   func() error
		most float64
	}{
		{"RS256", m.authenticate(t), 50 + dropped},
		{"cached", m.authenticate(t, bearer.WithCache(100, time.Minute)), 0},
	} {
		got := testing.AllocsPerRun(500, func() {
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
		})
		if got > tt.most {
			t.Errorf("%s: %v allocations, want at most %v", tt.name, got, tt.most)
		}
	}
}

// BenchmarkAuthenticate sets a verifier beside golang-jwt with the key in hand and the same claims to check, which has
// no identity to make and lets duplicates, depth and the rest of jose's front pass; and a cached token beside its SHA-256.
func BenchmarkAuthenticate(b *testing.B) {
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA", "HS256"} {
		for _, claims := range []jwt.MapClaims{full(), short()} {
			m := measure(b, alg, claims)
			text := []byte(m.token)
			for _, who := range []struct {
				name string
				do   func() error
			}{
				{"golang-jwt", m.parse},
				{"tollgate", m.authenticate(b)},
				{"tollgate-cached", m.authenticate(b, bearer.WithCache(100, time.Minute))},
				{"sha256", func() error { _ = sha256.Sum256(text); return nil }},
			} {
				b.Run(fmt.Sprintf("%s/bytes=%d/%s", alg, len(text), who.name), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if err := who.do(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
