package remotestore_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/remotestore"
)

// keyring has what a service signs with: made once, for RSA takes its time.
type keyring struct {
	rsa     *rsa.PrivateKey
	ec      *ecdsa.PrivateKey
	ed      ed25519.PrivateKey
	secret  []byte
	verdict remotestore.Tokens
}

var ring = sync.OnceValue(func() *keyring {
	k := &keyring{secret: []byte("32 bytes that only two of us know")}
	var err error
	if k.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	if k.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		panic(err)
	}
	if _, k.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		panic(err)
	}
	k.verdict = remotestore.Tokens{Issuer: "https://auth.internal", Audience: "search", Keys: []remotestore.Key{
		{ID: "r1", Algorithm: "RS256", Public: &k.rsa.PublicKey},
		{ID: "p1", Algorithm: "PS256", Public: &k.rsa.PublicKey},
		{ID: "e1", Algorithm: "ES256", Public: &k.ec.PublicKey},
		{ID: "d1", Algorithm: "EdDSA", Public: k.ed.Public()},
		{ID: "h1", Algorithm: "HS256", Public: k.secret},
	}}
	return k
})

// claims are good ones, changed; a nil value takes one away.
func claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": "https://auth.internal", "aud": "search", "exp": start.Add(time.Minute).Unix(),
		"org": "acme", "project": "shop", "key": "k1", "kind": "secret",
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// part encodes a part of a token. A string is taken as it is.
func part(t *testing.T, v any) string {
	t.Helper()
	text, ok := v.(string)
	if !ok {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text = string(raw)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// mint signs a header and claims, whatever they are.
func mint(t *testing.T, method jwt.SigningMethod, key, header, claims any) string {
	t.Helper()
	signed := part(t, header) + "." + part(t, claims)
	signature, err := method.Sign(signed, key)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// rs mints with the RSA key.
func rs(t *testing.T, header, claims any) string {
	t.Helper()
	return mint(t, jwt.SigningMethodRS256, ring().rsa, header, claims)
}

type fields = map[string]any

var rsHeader = fields{"alg": "RS256", "kid": "r1", "typ": "JWT"}

// with returns the header for RS256 with changes; nil takes away.
func with(changes fields) fields {
	h := maps.Clone(rsHeader)
	maps.Copy(h, changes)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	return h
}

// tokenGate trusts the keyring, and is sent one token.
func tokenGate(t *testing.T, tokens remotestore.Tokens, token string) (*authkey.Identity, error) {
	t.Helper()
	raw, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		t.Fatal(err)
	}
	a := newOn(t, &transport{do: says(http.StatusOK, string(raw))}, remotestore.WithClock(new(clock).now), remotestore.WithTokens(tokens))
	return authenticate(t, a)
}

func TestGoodTokens(t *testing.T) {
	t.Parallel()
	k := ring()
	at := func(d time.Duration) int64 { return start.Add(d).Unix() }
	for name, token := range map[string]string{
		"RS256":                       rs(t, rsHeader, claims(nil)),
		"PS256":                       mint(t, jwt.SigningMethodPS256, k.rsa, fields{"alg": "PS256", "kid": "p1"}, claims(nil)),
		"ES256":                       mint(t, jwt.SigningMethodES256, k.ec, fields{"alg": "ES256", "kid": "e1"}, claims(nil)),
		"EdDSA":                       mint(t, jwt.SigningMethodEdDSA, k.ed, fields{"alg": "EdDSA", "kid": "d1"}, claims(nil)),
		"HS256 with a secret":         mint(t, jwt.SigningMethodHS256, k.secret, fields{"alg": "HS256", "kid": "h1"}, claims(nil)),
		"no typ":                      rs(t, with(fields{"typ": nil}), claims(nil)),
		"typ in another form":         rs(t, with(fields{"typ": "application/jwt"}), claims(nil)),
		"one audience of several":     rs(t, rsHeader, claims(fields{"aud": []string{"maps", "search"}})),
		"past its end by less":        rs(t, rsHeader, claims(fields{"exp": at(-29 * time.Second)})),
		"from the near future":        rs(t, rsHeader, claims(fields{"nbf": at(30 * time.Second), "iat": at(30 * time.Second)})),
		"an exp with a fraction":      rs(t, rsHeader, claims(fields{"exp": float64(at(time.Minute)) + .5})),
		"a claim that is not ours":    rs(t, rsHeader, claims(fields{"jti": "7", "cnf": fields{"x": 1}})),
		"a header that is not ours":   rs(t, with(fields{"x5t": "abc"}), claims(nil)),
		"claims of all other kinds":   rs(t, rsHeader, claims(fields{"scopes": []string{"write"}, "networks": []string{"192.0.2.0/24"}})),
		"an end before that of exp":   rs(t, rsHeader, claims(fields{"expires_at": start.Add(time.Second).Format(time.RFC3339)})),
		"an end that is later":        rs(t, rsHeader, claims(fields{"expires_at": start.Add(time.Hour).Format(time.RFC3339)})),
		"iat and nbf in the past":     rs(t, rsHeader, claims(fields{"nbf": 0, "iat": 1})),
		"a kind that is publishable":  rs(t, rsHeader, claims(fields{"kind": "publishable"})),
		"whitespace within the parts": rs(t, `{ "alg" : "RS256" , "kid":"r1" }`, claims(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			identity, err := tokenGate(t, k.verdict, token)
			if err != nil {
				t.Fatal(err)
			}
			if identity.Org != "acme" || identity.Project != "shop" || identity.Key != "k1" || identity.Method != "remote" {
				t.Errorf("identity %+v", identity)
			}
			if end := identity.ExpiresAt; end.IsZero() || end.After(start.Add(time.Minute+31*time.Second)) {
				t.Errorf("the identity ends at %v, want with its token", end)
			}
		})
	}
	t.Run("as application/jwt", func(t *testing.T) {
		t.Parallel()
		a := newAuthenticator(t, answers(http.StatusOK, "application/jwt", rs(t, rsHeader, claims(nil))+"\n"),
			remotestore.WithClock(new(clock).now), remotestore.WithTokens(k.verdict))
		if _, err := authenticate(t, a); err != nil {
			t.Error(err)
		}
	})
	t.Run("no kid and one key", func(t *testing.T) {
		t.Parallel()
		one := k.verdict
		one.Keys = one.Keys[:1]
		if _, err := tokenGate(t, one, rs(t, with(fields{"kid": nil}), claims(nil))); err != nil {
			t.Error(err)
		}
		_, err := tokenGate(t, one, rs(t, with(fields{"kid": ""}), claims(nil)))
		isClass(t, "an empty kid", err, remotestore.BadToken, http.StatusOK)
	})
	t.Run("a secret that is wiped", func(t *testing.T) {
		t.Parallel()
		secret := bytes.Clone(k.secret)
		own := k.verdict
		own.Keys = []remotestore.Key{{ID: "h1", Algorithm: "HS256", Public: secret}}
		raw, err := json.Marshal(map[string]string{"token": mint(t, jwt.SigningMethodHS256, make([]byte, len(secret)), fields{"alg": "HS256", "kid": "h1"}, claims(nil))})
		if err != nil {
			t.Fatal(err)
		}
		a := newOn(t, &transport{do: says(http.StatusOK, string(raw))}, remotestore.WithClock(new(clock).now), remotestore.WithTokens(own))
		clear(secret)
		_, err = authenticate(t, a)
		isClass(t, "a token signed with zeros", err, remotestore.BadToken, http.StatusOK)
	})
	t.Run("a type of one's own", func(t *testing.T) {
		t.Parallel()
		own := k.verdict
		own.Type = "project+jwt"
		if _, err := tokenGate(t, own, rs(t, with(fields{"typ": "application/Project+JWT"}), claims(nil))); err != nil {
			t.Error(err)
		}
		for _, typ := range []any{nil, "JWT", "other+jwt"} {
			_, err := tokenGate(t, own, rs(t, with(fields{"typ": typ}), claims(nil)))
			isClass(t, fmt.Sprint(typ), err, remotestore.BadToken, http.StatusOK)
		}
	})
}

func TestTokensEndWithTheirExp(t *testing.T) {
	t.Parallel()
	c := new(clock)
	raw, err := json.Marshal(map[string]string{"token": rs(t, rsHeader, claims(fields{"exp": start.Add(2 * time.Second).Unix()}))})
	if err != nil {
		t.Fatal(err)
	}
	tokens := ring().verdict
	tokens.Leeway = time.Second
	a := newOn(t, &transport{do: says(http.StatusOK, string(raw))}, remotestore.WithClock(c.now), remotestore.WithTokens(tokens))
	if _, err := authenticate(t, a); err != nil {
		t.Fatal(err)
	}
	c.advance(3 * time.Second)
	_, err = authenticate(t, a)
	is(t, "a token from the cache after exp and the leeway", err, authkey.ErrExpired)
}

func TestTokensThatLackSomething(t *testing.T) {
	t.Parallel()
	for name, changes := range map[string]fields{
		"no org": {"org": nil}, "no key": {"key": nil}, "no kind": {"kind": nil}, "an admin": {"kind": "admin"}, "scopes as a text": {"scopes": "a b"},
	} {
		_, err := tokenGate(t, ring().verdict, rs(t, rsHeader, claims(changes)))
		isClass(t, name, err, remotestore.Garbage, http.StatusOK)
	}
	// Where a token is wanted, an identity that nobody signed is none.
	a := newOn(t, &transport{do: says(http.StatusOK, good)}, remotestore.WithTokens(ring().verdict))
	_, err := authenticate(t, a)
	isClass(t, "no token", err, remotestore.BadToken, http.StatusOK)
	a = newOn(t, &transport{do: says(http.StatusOK, strings.TrimSuffix(good, "}")+`,"token":null}`)}, remotestore.WithTokens(ring().verdict))
	_, err = authenticate(t, a)
	isClass(t, "a null token", err, remotestore.BadToken, http.StatusOK)
	a = newOn(t, &transport{do: says(http.StatusGone, "{}")}, remotestore.WithTokens(ring().verdict))
	_, err = authenticate(t, a)
	is(t, "a refusal needs none", err, authkey.ErrRevoked)
}

func TestWithTokensRefuses(t *testing.T) {
	t.Parallel()
	k := ring()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skipf("no small key to be had: %v", err)
	}
	even := &rsa.PublicKey{N: k.rsa.N, E: 3}
	off := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)} //nolint:staticcheck // no other way makes a bad one
	for name, row := range map[string]struct {
		key  remotestore.Key
		says string
	}{
		"none":                  {remotestore.Key{ID: "a", Algorithm: "none", Public: &k.rsa.PublicKey}, `algorithm "none"`},
		"no algorithm":          {remotestore.Key{ID: "a", Public: &k.rsa.PublicKey}, `algorithm ""`},
		"HS256 of a public key": {remotestore.Key{ID: "a", Algorithm: "HS256", Public: &k.rsa.PublicKey}, "Public"},
		"HS256, short":          {remotestore.Key{ID: "a", Algorithm: "HS256", Public: make([]byte, 31)}, "Public"},
		"HS512, short":          {remotestore.Key{ID: "a", Algorithm: "HS512", Public: make([]byte, 63)}, "Public"},
		"RS256 of a secret":     {remotestore.Key{ID: "a", Algorithm: "RS256", Public: k.secret}, "Public"},
		"RS256 of 1024 bits":    {remotestore.Key{ID: "a", Algorithm: "RS256", Public: &small.PublicKey}, "Public"},
		"RS256 with exponent 3": {remotestore.Key{ID: "a", Algorithm: "RS256", Public: even}, "Public"},
		"RS256 of nothing":      {remotestore.Key{ID: "a", Algorithm: "RS256", Public: (*rsa.PublicKey)(nil)}, "Public"},
		"RS256 of a value":      {remotestore.Key{ID: "a", Algorithm: "RS256", Public: k.rsa.PublicKey}, "Public"},
		"a private key":         {remotestore.Key{ID: "a", Algorithm: "RS256", Public: k.rsa}, "Public"},
		"ES384 on P-256":        {remotestore.Key{ID: "a", Algorithm: "ES384", Public: &k.ec.PublicKey}, "Public"},
		"ES256 off its curve":   {remotestore.Key{ID: "a", Algorithm: "ES256", Public: off}, "Public"},
		"EdDSA, short":          {remotestore.Key{ID: "a", Algorithm: "EdDSA", Public: ed25519.PublicKey{1}}, "Public"},
		"a long ID":             {remotestore.Key{ID: strings.Repeat("a", 257), Algorithm: "EdDSA", Public: k.ed.Public()}, "256 bytes"},
		"an ID twice":           {k.verdict.Keys[0], "twice"},
	} {
		tokens := k.verdict
		tokens.Keys = append(tokens.Keys[:5:5], row.key)
		_, err := remotestore.New("https://auth.internal", remotestore.WithTokens(tokens))
		is(t, name, err, authkey.ErrInvalid)
		if err != nil && (!strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "only two of us")) {
			t.Errorf("%s: error %v, want one that says %q and no secret", name, err, row.says)
		}
	}
	for name, change := range map[string]func(*remotestore.Tokens){
		"no issuer":      func(t *remotestore.Tokens) { t.Issuer = "" },
		"no audience":    func(t *remotestore.Tokens) { t.Audience = "" },
		"no keys":        func(t *remotestore.Tokens) { t.Keys = nil },
		"much leeway":    func(t *remotestore.Tokens) { t.Leeway = 6 * time.Minute },
		"less than none": func(t *remotestore.Tokens) { t.Leeway = -1 },
	} {
		tokens := k.verdict
		change(&tokens)
		_, err := remotestore.New("https://auth.internal", remotestore.WithTokens(tokens))
		is(t, name, err, authkey.ErrInvalid)
	}
	_, err = remotestore.New("https://auth.internal", remotestore.WithTokens(k.verdict),
		remotestore.WithDecoder(func(int, http.Header, []byte) (*authkey.Identity, error) { return nil, authkey.ErrUnknown }))
	is(t, "tokens and a decoder", err, authkey.ErrInvalid)
	if text := fmt.Sprintf("%v %+v %#v %s", k.verdict.Keys[4], k.verdict, k.verdict.Keys, k.verdict.Keys[4]); strings.Contains(text, "only two of us") || strings.Contains(text, strings.Trim(fmt.Sprintf("%d", k.secret[:4]), "[]")) {
		t.Errorf("a secret is printed: %s", text)
	}
}
