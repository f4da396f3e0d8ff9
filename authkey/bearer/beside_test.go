package bearer_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// keyring tells callers by keys, and notes what it is shown.
type keyring struct{ shown, again []string }

func (k *keyring) Authenticate(_ context.Context, presented authkey.Presented) (*authkey.Identity, error) {
	k.shown = append(k.shown, presented.Reveal())
	return &authkey.Identity{Method: "key"}, nil
}

func (k *keyring) Refresh(_ context.Context, presented authkey.Presented, held *authkey.Identity) (*authkey.Identity, error) {
	k.again = append(k.again, presented.Reveal())
	return held, nil
}

func newFormat(t testing.TB, prefix string) authkey.Format {
	t.Helper()
	format, err := authkey.NewFormat(prefix, "live")
	if err != nil {
		t.Fatal(err)
	}
	return format
}

func TestBesideTellsByShape(t *testing.T) {
	t.Parallel()
	format, second := newFormat(t, "acme"), newFormat(t, "old")
	minted, _ := format.Mint("demo")
	older, _ := second.Mint("demo")
	jwt := "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"
	for name, r := range map[string]struct {
		text, scheme string
		formats      bool // formats are given, and opaque tokens are introspected
		keys, asked  bool // who sees it; neither: the tokens' side, which asks nobody
	}{
		"a key":                              {text: minted.Reveal(), scheme: "Bearer", keys: true},
		"a key, and formats":                 {text: minted.Reveal(), scheme: "Bearer", formats: true, keys: true},
		"a key of the second format":         {text: older.Reveal(), formats: true, keys: true},
		"a key by no scheme":                 {text: minted.Reveal(), keys: true},
		"a JWT":                              {text: jwt, scheme: "Bearer"},
		"a JWT, and formats":                 {text: jwt, formats: true},
		"a JWT that is a bad one":            {text: "ey..", scheme: "Bearer"},
		"a key by DPoP":                      {text: "another-" + minted.Reveal(), scheme: "DPoP"},
		"a key by DPoP, and formats":         {text: minted.Reveal(), scheme: "DPoP", formats: true},
		"a key of the second format by dpop": {text: older.Reveal(), scheme: "dpop", formats: true},
		"something by dpop":                  {text: "something", scheme: "dpop"},
		"something by dpop, and formats":     {text: "something", scheme: "dpop", formats: true, asked: true},
		"something":                          {text: "something", keys: true},
		"something, and formats":             {text: "something", formats: true, asked: true},
		"what begins as a key, and formats":  {text: "acme_live_x", formats: true, keys: true},
		"what nearly begins as one":          {text: "acme_livex", formats: true, asked: true},
		"a key in another case, and formats": {text: strings.ToUpper(minted.Reveal()), formats: true, asked: true},
		"two dots that begin otherwise":      {text: "a.b.c", keys: true},
		"a JWE":                              {text: jwt + ".a.b", keys: true},
		"nothing":                            {text: "", keys: true},
		"nothing, and formats":               {text: "", formats: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, keys, asks := newGate(t, nil), new(keyring), &endpoint{err: authkey.ErrUnknown}
			opts, formats := []bearer.Option(nil), []authkey.Format(nil)
			if r.formats {
				opts = append(opts, bearer.WithIntrospection(bearer.Issuer{URL: g.URL(), Org: org}, asks))
				formats = append(formats, format, second)
			}
			both, err := bearer.Beside(newVerifier(t, g.clock, []bearer.Issuer{g.config}, opts...), keys, formats...)
			if err != nil {
				t.Fatal(err)
			}
			presented := authkey.NewPresented(r.text).In(&authkey.Presentation{Scheme: r.scheme})
			identity, err := both.Authenticate(t.Context(), presented)
			_, _ = both.Refresh(t.Context(), presented, identity)
			if shown := len(keys.shown) == 1 && len(keys.again) == 1; shown != r.keys || (err == nil) != r.keys || len(keys.shown)+len(keys.again) > 2 {
				t.Errorf("shown to the keys' side %q and %q, and %v", keys.shown, keys.again, err)
			}
			if asked := slices.Equal(asks.asked, []string{r.text, r.text}); asked != r.asked || !asked && len(asks.asked) > 0 {
				t.Errorf("the endpoint was asked for %q", asks.asked)
			}
			if !r.keys && !errors.Is(err, authkey.ErrMalformed) && !errors.Is(err, authkey.ErrUnknown) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestBesideIsATokenVerifier(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	both, err := bearer.Beside(g.verifier, new(keyring))
	if err != nil {
		t.Fatal(err)
	}
	token := g.Mint(nil)
	identity := judge(t, both, token, nil, nil)
	if again, err := both.Refresh(t.Context(), authkey.NewPresented(token), identity); err != nil || again.Key != identity.Key || identity.Method != bearer.Method {
		t.Errorf("Refresh: %+v, %v", again, err)
	}
	judge(t, both, g.Mint(authtest.Claims{"exp": 1}), nil, authkey.ErrExpired)
}

func TestBesideWants(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	introspecting := newVerifier(t, g.clock, nil, bearer.WithIntrospection(bearer.Issuer{URL: g.URL(), Org: org}, new(endpoint)))
	for name, r := range map[string]struct {
		tokens  *bearer.Verifier
		keys    bearer.Keys
		formats []authkey.Format
		want    string
	}{
		"no tokens":                 {nil, new(keyring), nil, "a verifier of tokens and one of keys"},
		"no keys":                   {g.verifier, nil, nil, "a verifier of tokens and one of keys"},
		"keys that are nil":         {g.verifier, (*keyring)(nil), nil, "a verifier of tokens and one of keys"},
		"introspection, no formats": {introspecting, new(keyring), nil, "name them"},
		"a format of nothing":       {g.verifier, new(keyring), []authkey.Format{{}}, "NewFormat"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := bearer.Beside(r.tokens, r.keys, r.formats...); !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(err.Error(), r.want) {
				t.Errorf("error %v, want one with %q", err, r.want)
			}
		})
	}
}

func TestIsToken(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"eyJ.e30.c2ln": true, "ey..": true, "": false, "ey": false, "eyJ.x": false, "a.b.c": false, "eyJ.a.b.c": false, "EYJ.a.b": false, " eyJ.a.b": false,
	} {
		if bearer.IsToken(authkey.NewPresented(text)) != want {
			t.Errorf("IsToken(%q) is not %v", text, want)
		}
	}
	if bearer.IsToken(authkey.Presented{}) {
		t.Error("nothing is a token")
	}
}
