package bearer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// TestKeySetKeepsItsOwnBytes: a caller who wipes a secret must not leave one behind that everybody knows.
func TestKeySetKeepsItsOwnBytes(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	secret := bytes.Repeat([]byte("s3cr3t-"), 10)
	public := bytes.Repeat([]byte{1}, ed25519.PublicKeySize)
	set, err := bearer.NewKeySet(bearer.Key{ID: "h", Algorithm: "HS256", Public: secret})
	if err != nil {
		t.Fatal(err)
	}
	config := g.config
	config.Keys, config.Algorithms = set, []string{"HS256"}
	v := newVerifier(t, g.clock, []bearer.Issuer{config})
	good := &authtest.Key{Alg: "HS256", ID: "h", Private: bytes.Clone(secret)}
	zeros := &authtest.Key{Alg: "HS256", ID: "h", Private: make([]byte, len(secret))}
	clear(secret)
	judge(t, v, g.MintWith(nil, nil, good), nil, nil)
	judge(t, v, g.MintWith(nil, nil, zeros), nil, authkey.ErrUnknown)

	edwards, err := bearer.NewKeySet(bearer.Key{ID: "e", Public: ed25519.PublicKey(public)})
	if err != nil {
		t.Fatal(err)
	}
	same, err := bearer.NewKeySet(bearer.Key{ID: "e", Public: ed25519.PublicKey(bytes.Clone(public))})
	if err != nil {
		t.Fatal(err)
	}
	clear(public)
	if !bearer.SameKeys(edwards, same) {
		t.Error("the key of a set changed with the caller's bytes")
	}
}

// TestKeysOfOneID: two keys of one ID that an algorithm fits could never verify it.
func TestKeysOfOneID(t *testing.T) {
	t.Parallel()
	one := bearer.Key{ID: "k", Public: ed25519.PublicKey(bytes.Repeat([]byte{1}, ed25519.PublicKeySize))}
	for _, algorithms := range [][2]string{{"", "EdDSA"}, {"Ed25519", "EdDSA"}, {"", ""}} {
		a, b := one, one
		a.Algorithm, b.Algorithm = algorithms[0], algorithms[1]
		if _, err := bearer.NewKeySet(a, b); err == nil || !strings.Contains(err.Error(), "twice") {
			t.Errorf("%q: %v", algorithms, err)
		}
	}
}

// TestOneKeyOfASetMayFitNothing, as those of sets that are fetched may.
func TestOneKeyOfASetMayFitNothing(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	other := g.AddKey("ES512", "other")
	config := g.config
	config.Keys = keySet(t, g.Key(), other)
	v := newVerifier(t, g.clock, []bearer.Issuer{config})
	judge(t, v, g.Mint(nil), nil, nil)
}

// TestRefusedTokenStaysOut: what is refused after its signature does not come back from the cache.
func TestRefusedTokenStaysOut(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(i *bearer.Issuer) { i.Org, i.Orgs = "", []string{"acme"} }, bearer.WithCache(10, time.Minute))
	for name, r := range map[string]struct {
		claims authtest.Claims
		want   error
	}{
		"a claim of a wrong type": {authtest.Claims{"org_id": "acme", "scope": 1}, authkey.ErrMalformed},
		"another org":             {authtest.Claims{"org_id": "other"}, authkey.ErrUnknown},
		"no org":                  {authtest.Claims{}, authkey.ErrUnknown},
	} {
		token := g.Mint(r.claims)
		for range 3 {
			if id, err := g.verifier.Authenticate(t.Context(), authkey.NewPresented(token)); id != nil || err == nil {
				t.Errorf("%s: %+v, %v; want %v", name, id, err, r.want)
			}
		}
	}
}

// TestPrincipalsOfTwoIssuers: where the URL of one issuer begins that of another, no subjects make them one.
func TestPrincipalsOfTwoIssuers(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	short, long := g.config, g.config
	short.URL, long.URL = "https://h.example/a", "https://h.example/asb"
	v := newVerifier(t, g.clock, []bearer.Issuer{short, long})
	one := judge(t, v, g.Mint(authtest.Claims{"iss": short.URL, "sub": "bsX"}), nil, nil)
	other := judge(t, v, g.Mint(authtest.Claims{"iss": long.URL, "sub": "X"}), nil, nil)
	if one.Key == other.Key {
		t.Errorf("both are %s", one.Key)
	}
}

// TestFallbackNames: each of the names that are the default says what it is for.
func TestFallbackNames(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(i *bearer.Issuer) { i.Org = "" })
	for claim, want := range map[string]string{
		"org_code": "o/v", "x-hasura-org-id": "o/v", "x-hasura-org-code": "o/v",
		"project_id": "p/v", "x-hasura-project-id": "p/v", "plan": "plan/v", "x-hasura-plan": "plan/v", "name": "name/v",
		"scope": "s/v", "scp": "s/v", "x-hasura-scope": "s/v", "permissions": "perm/v", "x-hasura-permissions": "perm/v",
		"products": "prod/v", "x-hasura-products": "prod/v", "roles": "r/v", "x-hasura-roles": "r/v",
		"feature_flags": "f/v", "x-hasura-feature-flags": "f/v",
	} {
		claims := authtest.Claims{"org_id": "acme", "scope": authtest.Absent, claim: "v"}
		if strings.Contains(claim, "org") {
			delete(claims, "org_id")
		}
		if strings.Contains(claim, "flags") {
			claims[claim] = []string{"v"}
		}
		id := judge(t, g.verifier, g.Mint(claims), nil, nil)
		got := map[string]string{
			"o": id.Org, "p": id.Project, "plan": id.Plan, "name": id.Name, "s": fmt.Sprint(id.Scopes), "perm": fmt.Sprint(id.Permissions),
			"prod": fmt.Sprint(id.Products), "r": fmt.Sprint(id.Roles), "f": fmt.Sprint(id.Features),
		}
		what, value, _ := strings.Cut(want, "/")
		if got[what] != value && got[what] != "["+value+"]" {
			t.Errorf("%s: %s is %q", claim, what, got[what])
		}
	}
}

// TestMalformedOpaqueToken: what an introspector calls malformed is no outage.
func TestMalformedOpaqueToken(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	for _, refusal := range []error{authkey.ErrMalformed, authkey.ErrUnknown} {
		v := newVerifier(t, g.clock, nil, bearer.WithIntrospection(bearer.Issuer{URL: g.config.URL, Org: org}, &endpoint{err: refusal}))
		judge(t, v, "ju$nk", nil, refusal)
	}
}

// hung are Revocations that say nothing in time.
type hung struct{ slow }

func (hung) Check(ctx context.Context, _ string, _ *authkey.Token) error {
	<-ctx.Done()
	return fmt.Errorf("%w: %w", authkey.ErrUnavailable, ctx.Err())
}

// TestOpenWithinOnesOwnTime: the verifier's own time is no caller who hangs up.
func TestOpenWithinOnesOwnTime(t *testing.T) {
	t.Parallel()
	g := newGate(t, hour)
	told := 0
	v := newVerifier(t, g.clock, []bearer.Issuer{g.config}, bearer.WithRevocations(hung{}), bearer.WithTimeout(time.Millisecond),
		bearer.WithOpenRevocations(func(error) { told++ }))
	judge(t, v, g.Mint(nil), nil, nil)
	if told != 1 {
		t.Errorf("told of %d outages, want 1", told)
	}
}

// TestHeaderThatBeginsWithALine is one of a JWT, so it is nobody's opaque token.
func TestHeaderThatBeginsWithALine(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	asks := &endpoint{err: authkey.ErrUnknown}
	v := newVerifier(t, g.clock, []bearer.Issuer{g.config}, bearer.WithIntrospection(bearer.Issuer{URL: "https://other.example", Org: org}, asks))
	for _, space := range []string{"\n", "\t", "\r", " ", ""} {
		header := fmt.Sprintf("{%s\"alg\":%q,\"kid\":%q}", space, g.Key().Alg, g.Key().ID)
		payload := fmt.Sprintf(`{"iss":%q,"sub":"ann","aud":%q,"exp":%d}`, g.URL(), authtest.Audience, g.clock.Now().Add(time.Minute).Unix())
		judge(t, v, g.Sign([]byte(header), []byte(payload), g.Key()), nil, nil)
	}
	if len(asks.asked) != 0 {
		t.Errorf("the endpoint was asked of %d JWTs", len(asks.asked))
	}
}
