package bearer_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// written returns all that can be printed, logged and encoded of a value.
func written(t *testing.T, value any) string {
	t.Helper()
	var out bytes.Buffer
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		fmt.Fprintf(&out, format+"\n", value)
	}
	fmt.Fprintln(&out, value, []any{value}, map[string]any{"x": value}, struct{ X any }{value})
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("x", "value", value, "list", []any{value})
	}
	for _, encode := range []func(any) ([]byte, error){json.Marshal, xml.Marshal} {
		if text, err := encode(value); err == nil { // what cannot be encoded tells nothing
			out.Write(text)
		}
	}
	return out.String()
}

func TestNoSecretIsWritten(t *testing.T) {
	t.Parallel()
	secret := []byte("correct-horse-battery-staple-correct-horse-battery-staple-512bits")
	key := bearer.Key{ID: "shared", Algorithm: "HS256", Public: secret}
	set, err := bearer.NewKeySet(key)
	if err != nil {
		t.Fatal(err)
	}
	issuer := bearer.Issuer{URL: "https://login.example.com", Audiences: []string{authtest.Audience}, Keys: set, Algorithms: []string{"HS256"}, Org: org}
	g := newGate(t, nil, cached(t))
	token := g.Mint(nil)
	identity := judge(t, g.verifier, token, nil, nil)
	v, err := bearer.New([]bearer.Issuer{issuer}, cached(t))
	if err != nil {
		t.Fatal(err)
	}
	both, err := bearer.Beside(v, new(keyring))
	if err != nil {
		t.Fatal(err)
	}
	_, weak := bearer.NewKeySet(bearer.Key{ID: "weak", Algorithm: "HS512", Public: secret[:63]})
	_, misused := bearer.New([]bearer.Issuer{{URL: issuer.URL, Audiences: issuer.Audiences, Keys: set}})
	if weak == nil || misused == nil {
		t.Fatal("both are to be refused")
	}
	forms := func(secret []byte) []string {
		return []string{string(secret[:16]), base64url(secret)[:20], fmt.Sprintf("%x", secret)[:20], fmt.Sprintf("%X", secret)[:20], strings.Trim(fmt.Sprintf("%d", secret[:8]), "[]"), strings.TrimPrefix(fmt.Sprintf("%#v", secret[:6]), "[]byte{")[:20]}
	}
	for name, value := range map[string]any{
		"Key": key, "*Key": &key, "KeySet": set, "*KeySet": *set, "Issuer": issuer, "*Issuer": &issuer, "Issuers": []bearer.Issuer{issuer},
		"Verifier": v, "Both": both, "Claims": issuer.Claims, "error of a key": weak, "error of an issuer": misused,
		"Verifier with a cached token": g.verifier, "Identity": identity, "Token": identity.Token,
		"Presented": authkey.NewPresented(token).In(&authkey.Presentation{}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := written(t, value)
			for _, form := range append(forms(secret), forms([]byte(strings.Split(token, ".")[2]))...) {
				if strings.Contains(text, form) {
					t.Errorf("%.2000s\nhas %q", text, form)
				}
			}
		})
	}
	if text := written(t, key); strings.Count(text, `key "shared" HS256`) < 9 {
		t.Errorf("a key does not say which it is: %s", text)
	}
	if text := written(t, set); strings.Count(text, "key set of 1") < 9 {
		t.Errorf("a set does not say what it has: %s", text)
	}
}

// TestErrorsSayNothing of the token: judge looks at each text for parts of it, and this at its claims.
func TestErrorsSayNothing(t *testing.T) {
	t.Parallel()
	const secret = "a-claim-of-somebody-that-is-nobody-else's-business"
	faulty := errors.New("dial tcp: refused")
	g := newGate(t, nil)
	for name, claims := range map[string]authtest.Claims{
		"sub": {"sub": []string{secret}}, "jti": {"jti": secret + "\x00"}, "aud": {"aud": secret}, "iss": {"iss": "https://" + secret}, "scope": {"scope": []any{secret, 1}}, "roles": {"roles": []any{map[string]any{secret: 1}}},
		"exp": {"exp": secret}, "amr": {"amr": secret}, "cnf": {"cnf": authtest.Claims{secret: secret}}, "a name": {strings.ToUpper("sub"): secret}, "features": {"feature_flags": secret}, "plan": {"plan": []string{secret}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := g.verifier.Authenticate(t.Context(), authkey.NewPresented(g.Mint(claims)))
			if err == nil || strings.Contains(err.Error(), secret[:16]) {
				t.Errorf("error %v", err)
			}
		})
	}
	for name, header := range map[string]map[string]any{
		"kid": {"kid": secret}, "typ": {"typ": secret}, "crit": {"crit": []string{secret}}, "jku": {"jku": "https://" + secret}, "alg": {"alg": secret[:15]},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := g.verifier.Authenticate(t.Context(), authkey.NewPresented(g.MintWith(header, nil, nil)))
			if err == nil || strings.Contains(err.Error(), secret[:15]) {
				t.Errorf("error %v", err)
			}
		})
	}
	g.keys.become(nil, faulty)
	_, err := g.verifier.Authenticate(t.Context(), authkey.NewPresented(g.Mint(authtest.Claims{"sub": secret})))
	if !errors.Is(err, faulty) || !strings.Contains(err.Error(), g.URL()) || strings.Contains(err.Error(), secret) {
		t.Errorf("an outage says %v, want whose keys and why", err)
	}
}
