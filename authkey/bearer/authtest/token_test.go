package authtest_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func TestMintedTokensVerify(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			issuer := authtest.NewIssuer(t)
			key := issuer.Rotate(alg)
			token := issuer.Mint(nil)
			header, _, signature := parts(t, token)
			if header["alg"] != alg || header["kid"] != key.ID || header["typ"] != "at+jwt" || len(header) != 3 {
				t.Errorf("header %v", header)
			}
			if alg == "Ed25519" { // golang-jwt has not heard of the name
				input := token[:strings.LastIndexByte(token, '.')]
				if err := jwt.SigningMethodEdDSA.Verify(input, signature, publicKey(t, keySet(t, issuer)[key.ID])); err != nil {
					t.Error(err)
				}
				return
			}
			if _, err := verify(t, issuer, token); err != nil {
				t.Errorf("as minted: %v", err)
			}
			if _, err := verify(t, authtest.NewIssuer(t), token); err == nil {
				t.Error("another issuer's keys verify it too")
			}
			if _, err := verify(t, issuer, token, jwt.WithAudience("other")); !errors.Is(err, jwt.ErrTokenInvalidAudience) {
				t.Errorf("for another audience: %v", err)
			}
		})
	}
}

func TestMintDefaults(t *testing.T) {
	t.Parallel()
	var clock authtest.Clock
	issuer := authtest.NewIssuer(t, authtest.WithClock(clock.Now))
	_, claims, _ := parts(t, issuer.Mint(nil))
	now := float64(clock.Now().Unix())
	want := map[string]any{
		"iss": issuer.URL(), "sub": "subject", "aud": authtest.Audience, "client_id": authtest.ClientID,
		"iat": now, "exp": now + 300, "jti": claims["jti"],
	}
	if !maps.Equal(claims, want) {
		t.Errorf("claims %v, want %v", claims, want)
	}
	if _, other, _ := parts(t, issuer.Mint(nil)); other["jti"] == claims["jti"] || claims["jti"] == "" {
		t.Errorf("jti %q, and again %q", claims["jti"], other["jti"])
	}
}

func TestClaimsGoOverDefaults(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	given := authtest.Claims{
		"sub": "other", "exp": time.Unix(17, 0), "aud": nil, "jti": authtest.Absent, "nbf": "text",
		"realm_access": authtest.Claims{"roles": []string{"a"}}, "raw": json.RawMessage(`{"x":1.50,"x":2}`),
	}
	token := issuer.Mint(given)
	_, claims, _ := parts(t, token)
	if claims["sub"] != "other" || claims["exp"] != 17.0 || claims["nbf"] != "text" {
		t.Errorf("claims %v", claims)
	}
	if aud, ok := claims["aud"]; !ok || aud != nil {
		t.Errorf("aud is %v, %t; want null", aud, ok)
	}
	if jti, ok := claims["jti"]; ok {
		t.Errorf("jti is there: %v", jti)
	}
	if payload := string(decode(t, strings.Split(token, ".")[1])); !strings.Contains(payload, `"raw":{"x":1.50,"x":2}`) {
		t.Errorf("raw JSON was changed: %s", payload)
	}
	if given["jti"] != authtest.Absent {
		t.Errorf("the claims that were given have changed: %v", given)
	}
}

func TestMintWith(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	attacker := authtest.NewKey(t, "RS256", issuer.Key().ID)
	for _, c := range []struct {
		name   string
		header authtest.Claims
		key    *authtest.Key
		want   map[string]any
	}{
		{"nothing", nil, nil, map[string]any{"typ": "at+jwt", "alg": "ES256", "kid": "key-1"}},
		{"another key", nil, attacker, map[string]any{"typ": "at+jwt", "alg": "RS256", "kid": "key-1"}},
		{"a key without id", nil, &authtest.Key{Alg: "RS512", Private: attacker.Private}, map[string]any{"typ": "at+jwt", "alg": "RS512"}},
		{"another header", authtest.Claims{"typ": authtest.Absent, "alg": "HS256", "kid": 7, "zip": "DEF"}, nil, map[string]any{"alg": "HS256", "kid": 7.0, "zip": "DEF"}},
		{"no algorithm", nil, authtest.NewKey(t, "none", ""), map[string]any{"typ": "at+jwt", "alg": "none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			header, claims, signature := parts(t, issuer.MintWith(c.header, authtest.Claims{"sub": "s"}, c.key))
			if !maps.Equal(header, c.want) {
				t.Errorf("header %v, want %v", header, c.want)
			}
			if claims["sub"] != "s" || claims["iss"] != issuer.URL() {
				t.Errorf("claims %v", claims)
			}
			if none := c.want["alg"] == "none"; none != (len(signature) == 0) {
				t.Errorf("a signature of %d bytes", len(signature))
			}
		})
	}
}

func TestSignTakesAnyBytes(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	other := authtest.NewKey(t, "EdDSA", "")
	for _, c := range []struct {
		name, header, payload string
		key                   *authtest.Key
		method                jwt.SigningMethod
	}{
		{"doubled names", `{"alg":"none","alg":"ES256"}`, `{"exp":1,"exp":2}`, nil, jwt.SigningMethodES256},
		{"no JSON", "\xff\x00 ", "{} trailing", other, jwt.SigningMethodEdDSA},
		{"nothing", "", "", nil, jwt.SigningMethodES256},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := issuer.Sign([]byte(c.header), []byte(c.payload), c.key)
			part := strings.Split(token, ".")
			if len(part) != 3 || string(decode(t, part[0])) != c.header || string(decode(t, part[1])) != c.payload {
				t.Fatalf("token %q", token)
			}
			key := issuer.Key()
			if c.key != nil {
				key = c.key
			}
			if err := c.method.Verify(part[0]+"."+part[1], decode(t, part[2]), key.Public()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	var clock authtest.Clock
	issuer := authtest.NewIssuer(t, authtest.WithClock(clock.Now))
	now := clock.Now()
	revoked, minted := issuer.Opaque(nil), issuer.Mint(authtest.Claims{"scope": "a b"})
	issuer.Revoke(revoked)
	for _, c := range []struct {
		name, token string
		want        map[string]any // of the answer; active is true unless it says otherwise
	}{
		{"opaque", issuer.Opaque(authtest.Claims{"sub": "x"}), map[string]any{"sub": "x", "iss": issuer.URL(), "aud": authtest.Audience, "token_type": "Bearer"}},
		{"minted", minted, map[string]any{"scope": "a b", "sub": "subject"}},
		{"ends in a second", issuer.Opaque(authtest.Claims{"exp": now.Add(time.Second)}), nil},
		{"ends now", issuer.Opaque(authtest.Claims{"exp": now}), map[string]any{"active": false}},
		{"begins now", issuer.Opaque(authtest.Claims{"nbf": now}), nil},
		{"begins in a second", issuer.Opaque(authtest.Claims{"nbf": now.Add(time.Second)}), map[string]any{"active": false}},
		{"no end", issuer.Opaque(authtest.Claims{"exp": authtest.Absent}), map[string]any{"exp": nil}},
		{"odd end", issuer.Opaque(authtest.Claims{"exp": "soon"}), map[string]any{"exp": "soon"}},
		{"says that it is active", issuer.Opaque(authtest.Claims{"active": "true"}), map[string]any{"active": "true"}},
		{"revoked", revoked, map[string]any{"active": false, "sub": nil}},
		{"unknown", "unknown", map[string]any{"active": false}},
		{"not of Mint", issuer.MintWith(nil, nil, nil), map[string]any{"active": false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := post(t, issuer, authtest.EndpointIntrospection, authtest.ClientID, authtest.ClientSecret, url.Values{"token": {c.token}}).object(t, http.StatusOK)
			if _, ok := c.want["active"]; !ok && got["active"] != true {
				t.Errorf("answer %v, want an active token", got)
			}
			for name, want := range c.want {
				if got[name] != want {
					t.Errorf("%s is %v, want %v", name, got[name], want)
				}
			}
		})
	}
	clock.Advance(5 * time.Minute)
	got := post(t, issuer, authtest.EndpointIntrospection, authtest.ClientID, authtest.ClientSecret, url.Values{"token": {minted}}).object(t, http.StatusOK)
	if len(got) != 1 || got["active"] != false {
		t.Errorf("five minutes later: %v", got)
	}
}

func TestWhatCannotBeSigned(t *testing.T) {
	t.Parallel()
	bad := authtest.Claims{"bad": make(chan int)}
	for _, c := range []struct {
		name, want string
		do         func(issuer *authtest.Issuer)
	}{
		{"Mint", "Mint: json: unsupported type", func(i *authtest.Issuer) { i.Mint(bad) }},
		{"Opaque", "Opaque: json: unsupported type", func(i *authtest.Issuer) { i.Opaque(bad) }},
		{"a header", "MintWith: json: unsupported type", func(i *authtest.Issuer) { i.MintWith(bad, nil, nil) }},
		{"Absent within a value", "Absent stands for a whole member", func(i *authtest.Issuer) {
			i.Mint(authtest.Claims{"cnf": authtest.Claims{"jkt": authtest.Absent}})
		}},
		{"a key that is not the algorithm's", `key "x": RS256 with a ed25519.PrivateKey: they do not go together`, func(i *authtest.Issuer) {
			i.Sign(nil, nil, &authtest.Key{Alg: "RS256", ID: "x", Private: ed25519.NewKeyFromSeed(make([]byte, 32))})
		}},
		{"Revoke", "Revoke: the token is not of Mint or Opaque", func(i *authtest.Issuer) { i.Revoke("unknown") }},
		{"Revoke again", "was revoked already", func(i *authtest.Issuer) {
			token := i.Mint(nil)
			i.Revoke(token)
			i.Revoke(token)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ends(t, c.want, func(t testing.TB) { c.do(authtest.NewIssuer(t)) })
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	var wg sync.WaitGroup
	tokens := make([]string, 16)
	for n := range tokens {
		wg.Go(func() {
			issuer.Rotate("EdDSA")
			tokens[n] = issuer.Mint(nil)
			issuer.Break(authtest.EndpointToken, authtest.Fault{Status: http.StatusTeapot})
			issuer.Heal()
			_ = get(t.Context(), issuer, issuer.EndpointURL(authtest.EndpointOIDC))
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, token := range tokens {
		if parsed, err := verify(t, issuer, token); err != nil {
			t.Errorf("%v", err)
		} else {
			seen[parsed.Raw] = true
		}
	}
	if len(seen) != len(tokens) || len(kids(t, issuer)) != len(tokens)+1 || issuer.Hits(authtest.EndpointOIDC) != len(tokens) {
		t.Errorf("%d tokens, %d keys, %d requests", len(seen), len(kids(t, issuer)), issuer.Hits(authtest.EndpointOIDC))
	}
}
