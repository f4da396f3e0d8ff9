package bearer_test

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// TestKeysAreOfOneIssuer: a token that says one issuer and is signed by the key of another is refused for every pair.
func TestKeysAreOfOneIssuer(t *testing.T) {
	t.Parallel()
	clock := new(authtest.Clock)
	issuers := make([]*authtest.Issuer, 4)
	sources := make([]*source, len(issuers))
	configs := make([]bearer.Issuer, len(issuers))
	for n := range issuers {
		issuers[n] = authtest.NewIssuer(t, authtest.WithClock(clock.Now)) // all name their key alike
		issuers[n].AddKey("ES256", "own"+issuers[n].URL())
		sources[n] = &source{set: keySet(t, issuers[n].Key())}
		configs[n] = bearer.Issuer{URL: issuers[n].URL(), Audiences: []string{authtest.Audience}, Keys: sources[n], Org: org}
	}
	v := newVerifier(t, clock, configs, cached(t))
	seen := map[string]string{}
	for a, says := range issuers {
		for b, signs := range issuers {
			for _, kid := range []any{signs.Key().ID, "own" + signs.URL(), authtest.Absent} {
				token := says.MintWith(map[string]any{"kid": kid}, nil, signs.Key())
				before := sources[b].asked()
				want := authkey.ErrUnknown
				if a == b && kid != "own"+signs.URL() {
					want = nil
				}
				identity := judge(t, v, token, nil, want)
				if a != b && sources[b].asked() != before {
					t.Errorf("a token of %s asked for the keys of %s", says.URL(), signs.URL())
				}
				if identity == nil {
					continue
				}
				if of, ok := seen[identity.Key]; ok && of != says.URL() {
					t.Errorf("subjects of %s and %s are one principal", of, says.URL())
				}
				seen[identity.Key] = says.URL()
			}
		}
	}
	if len(seen) != len(issuers) {
		t.Errorf("%d principals of one subject at %d issuers", len(seen), len(issuers))
	}
}

// TestPrincipals: what usage and limits hang on is one for a subject, or else for a client, and never for two.
func TestPrincipals(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	of := func(claims authtest.Claims) string { return judge(t, g.verifier, g.Mint(claims), nil, nil).Key }
	seen := map[string]string{}
	for name, claims := range map[string]authtest.Claims{
		"subject":         {"sub": "a"},
		"another subject": {"sub": "b"},
		"longer subject":  {"sub": "aa"},
		"client":          {"sub": authtest.Absent, "client_id": "a"},
		"another client":  {"sub": authtest.Absent, "client_id": "sa"},
		"its name":        {"sub": "ca"},
	} {
		key := of(claims)
		if of(claims) != key || len(key) != len("tok_")+22 || !strings.HasPrefix(key, "tok_") {
			t.Errorf("%s: %q", name, key)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s are one principal", name, other)
		}
		seen[key] = name
	}
	if of(authtest.Claims{"sub": "a", "client_id": "x"}) != of(authtest.Claims{"sub": "a", "client_id": "y"}) {
		t.Error("a subject is two principals by two clients")
	}
}

// TestEveryByteCounts: a good token of which one byte is another is refused, or is the same token: there is no other
// text that works.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	rsaKey, ed := g.AddKey("RS256", "rsa"), g.AddKey("EdDSA", "ed")
	g.keys.become(keySet(t, g.Key(), rsaKey, ed), nil)
	tokens := []string{g.Mint(nil), g.MintWith(nil, nil, rsaKey), g.MintWith(nil, nil, ed)}
	alphabet := []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\x00\xff")
	rapid.Check(t, func(r *rapid.T) {
		token := rapid.SampledFrom(tokens).Draw(r, "token")
		n := rapid.IntRange(0, len(token)-1).Draw(r, "at")
		b := rapid.SampledFrom(alphabet).Draw(r, "byte")
		changed := token[:n] + string(b) + token[n+1:]
		switch rapid.SampledFrom([]string{"change", "insert", "delete", "swap"}).Draw(r, "how") {
		case "insert":
			changed = token[:n] + string(b) + token[n:]
		case "delete":
			changed = token[:n] + token[n+1:]
		case "swap":
			m := rapid.IntRange(0, len(token)-1).Draw(r, "with")
			bytes := []byte(token)
			bytes[n], bytes[m] = bytes[m], bytes[n]
			changed = string(bytes)
		}
		identity, err := g.verifier.Authenticate(context.Background(), authkey.NewPresented(changed))
		if (err == nil) != (changed == token) || (identity == nil) != (err != nil) {
			r.Fatalf("identity %v, error %v for %q of %q", identity, err, changed, token)
		}
		if err != nil && (errors.Is(err, authkey.ErrUnavailable) || !slices.ContainsFunc(sentinels, func(s error) bool { return errors.Is(err, s) })) {
			r.Fatalf("error %v for %q", err, changed)
		}
	})
}

// TestPartsOfTwoTokens: parts of two good tokens are none.
func TestPartsOfTwoTokens(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil, cached(t))
	a, b := strings.Split(g.Mint(nil), "."), strings.Split(g.Mint(authtest.Claims{"sub": "admin"}), ".")
	judge(t, g.verifier, strings.Join(a, "."), nil, nil)
	judge(t, g.verifier, strings.Join(b, "."), nil, nil)
	judge(t, g.verifier, strings.Join([]string{a[0], b[1], a[2]}, "."), nil, authkey.ErrUnknown)
	judge(t, g.verifier, strings.Join([]string{b[0], a[1], b[2]}, "."), nil, authkey.ErrUnknown)
	judge(t, g.verifier, strings.Join([]string{a[0], a[1], b[2]}, "."), nil, authkey.ErrUnknown)
}

// TestNothingIsAsked: whatever of its claims makes a token a bad one by itself, nobody is asked for a key, nor for
// anything else.
func TestNothingIsAsked(t *testing.T) {
	t.Parallel()
	g := newGate(t, hour, bearer.WithRevocations(&revocations{}), bearer.WithProofs(&proofs{}))
	bad := map[string][]any{
		"iss": {"https://other.example", 1, nil}, "aud": {"other", 1, nil, []string{}}, "exp": {1, "x", nil, authtest.Absent, -1},
		"nbf": {9e9, "x"}, "iat": {9e9, 0, "x", authtest.Absent}, "sub": {1, ""}, "jti": {[]string{}, ""}, "sid": {true}, "client_id": {1},
		"acr": {1}, "amr": {"pwd", []any{1}}, "auth_time": {9e9, "x"}, "cnf": {nil, authtest.Claims{}, authtest.Claims{"x": "y"}}, "nonce": {"x"}, "SUB": {"x"},
	}
	names := slices.Sorted(maps.Keys(bad))
	rapid.Check(t, func(r *rapid.T) {
		claims := authtest.Claims{}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 4, rapid.ID[string]).Draw(r, "names") {
			claims[name] = rapid.SampledFrom(bad[name]).Draw(r, name)
		}
		identity, err := g.verifier.Authenticate(context.Background(), authkey.NewPresented(g.Mint(claims)))
		if identity != nil || err == nil || errors.Is(err, authkey.ErrUnavailable) || g.keys.asked() != 0 {
			r.Fatalf("identity %v, error %v, keys asked for %d times, by claims %v", identity, err, g.keys.asked(), claims)
		}
	})
}

// TestIdentitiesAreNotShared: what two callers are given of one cached token differs in what is pending alone.
func TestIdentitiesAreNotShared(t *testing.T) {
	t.Parallel()
	g := newGate(t, hour, bearer.WithRevocations(&revocations{}), cached(t))
	token := g.Mint(authtest.Claims{"scope": "read"})
	plain := judge(t, g.verifier, token, nil, nil)
	deferred := judge(t, g.verifier, token, &authkey.Presentation{DeferRevocation: true}, nil)
	if plain.Token.Pending != authkey.NothingPending || deferred.Token.Pending != authkey.RevocationPending {
		t.Errorf("pending %v and %v", plain.Token.Pending, deferred.Token.Pending)
	}
	again := *deferred
	said := *deferred.Token
	said.Pending, again.Token = authkey.NothingPending, &said
	if !reflect.DeepEqual(&again, plain) {
		t.Errorf("they differ:\n%+v\n%+v", plain, deferred)
	}
}
