package bearer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// good is an issuer that New takes.
func good(t testing.TB) bearer.Issuer {
	t.Helper()
	return bearer.Issuer{
		URL: "https://login.example.com/", Audiences: []string{"https://api.example.com"}, Keys: keySet(t, authtest.NewKey(t, "ES256", "k")), Org: org,
	}
}

// wants fails unless an error is authkey.ErrInvalid and says all of some things.
func wants(t *testing.T, err error, says ...string) {
	t.Helper()
	if !errors.Is(err, authkey.ErrInvalid) {
		t.Fatalf("error %v, want authkey.ErrInvalid", err)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

func TestIssuersThatNewRefuses(t *testing.T) {
	t.Parallel()
	secrets := secretSet(t)
	long := strings.Repeat("x", 129)
	for name, r := range map[string]struct {
		change func(*bearer.Issuer)
		want   string
	}{
		"no URL":                             {func(i *bearer.Issuer) { i.URL = "" }, "URL: want"},
		"URL without a scheme":               {func(i *bearer.Issuer) { i.URL = "login.example.com" }, "URL: want"},
		"URL without a host":                 {func(i *bearer.Issuer) { i.URL = "https:///x" }, "URL: want"},
		"URL with a user":                    {func(i *bearer.Issuer) { i.URL = "https://u@login.example.com" }, "URL: want"},
		"URL with a query":                   {func(i *bearer.Issuer) { i.URL += "?x" }, "URL: want"},
		"URL with a fragment":                {func(i *bearer.Issuer) { i.URL += "#x" }, "URL: want"},
		"URL that is none":                   {func(i *bearer.Issuer) { i.URL = "https://\x00" }, "URL: want"},
		"URL of 513 bytes":                   {func(i *bearer.Issuer) { i.URL += strings.Repeat("x", 513-len(i.URL)) }, "up to 512 bytes"},
		"no Audiences":                       {func(i *bearer.Issuer) { i.Audiences = nil }, "Audiences: want at least one"},
		"an empty audience":                  {func(i *bearer.Issuer) { i.Audiences = []string{"a", ""} }, "Audiences: want at least one"},
		"Match out of bounds":                {func(i *bearer.Issuer) { i.Match = 2 }, "Match or Profile"},
		"Profile out of bounds":              {func(i *bearer.Issuer) { i.Profile = 2 }, "Match or Profile"},
		"Leeway below zero":                  {func(i *bearer.Issuer) { i.Leeway = -2 }, "Leeway -2ns: want 0 to 5m0s"},
		"Leeway above its bound":             {func(i *bearer.Issuer) { i.Leeway = 5*time.Minute + 1 }, "Leeway 5m0.000000001s: want 0 to 5m0s"},
		"MaxLifetime below zero":             {func(i *bearer.Issuer) { i.MaxLifetime = -1 }, "MaxLifetime -1ns: want"},
		"MaxLifetime above its bound":        {func(i *bearer.Issuer) { i.MaxLifetime = 400*24*time.Hour + 1 }, "want 0 to 9600h0m0s"},
		"Org too long":                       {func(i *bearer.Issuer) { i.Org = long }, "more than 128 bytes"},
		"Project too long":                   {func(i *bearer.Issuer) { i.Project = long }, "more than 128 bytes"},
		"Orgs too long":                      {func(i *bearer.Issuer) { i.Org, i.Orgs = "", []string{long} }, "more than 128 bytes"},
		"Orgs beside Org":                    {func(i *bearer.Issuer) { i.Orgs = []string{"a"} }, "none beside Org"},
		"an empty one of Orgs":               {func(i *bearer.Issuer) { i.Org, i.Orgs = "", []string{"a", ""} }, "none that is empty"},
		"no Keys":                            {func(i *bearer.Issuer) { i.Keys = nil }, "Keys: a source is needed"},
		"a KeySet that is nil":               {func(i *bearer.Issuer) { i.Keys = (*bearer.KeySet)(nil) }, "Keys: a source is needed"},
		"a source that is nil":               {func(i *bearer.Issuer) { i.Keys = (*source)(nil) }, "Keys: a source is needed"},
		"a Keyfunc that is nil":              {func(i *bearer.Issuer) { i.Keys = bearer.Keyfunc(nil) }, "Keys: a source is needed"},
		"a secret too short":                 {func(i *bearer.Issuer) { i.Algorithms, i.Keys = []string{"HS512"}, shortSecret(t) }, "as many bytes as the hash"},
		"a key of no algorithm":              {func(i *bearer.Issuer) { i.Algorithms = []string{"RS256"} }, "fits none of the Algorithms"},
		"an algorithm nobody knows":          {func(i *bearer.Issuer) { i.Algorithms = []string{"ES256", "ES256K"} }, `"ES256K" is not known`},
		"alg none":                           {func(i *bearer.Issuer) { i.Algorithms = []string{"none"} }, `"none" is not known`},
		"an empty algorithm":                 {func(i *bearer.Issuer) { i.Algorithms = []string{""} }, `"" is not known`},
		"HS256 beside others":                {func(i *bearer.Issuer) { i.Algorithms, i.Keys = []string{"HS256", "RS256"}, secrets }, "cannot stand beside others"},
		"HS256 from a source":                {func(i *bearer.Issuer) { i.Algorithms, i.Keys = []string{"HS256"}, new(source) }, "need a KeySet of secrets"},
		"HS256 with public keys":             {func(i *bearer.Issuer) { i.Algorithms = []string{"HS256"} }, "want secrets"},
		"secrets without HS256":              {func(i *bearer.Issuer) { i.Keys = secrets }, "for them alone"},
		"a name that is empty":               {func(i *bearer.Issuer) { i.Claims.Org = bearer.Names{"a", ""} }, "is no name"},
		"a path with an empty part":          {func(i *bearer.Issuer) { i.Claims.Roles = bearer.Names{"a..b"} }, `"a..b" is no name`},
		"a path that ends with a dot":        {func(i *bearer.Issuer) { i.Claims.Scopes = bearer.Names{"a."} }, `"a." is no name`},
		"a name too long":                    {func(i *bearer.Issuer) { i.Claims.Features = bearer.Names{long} }, "up to 128 bytes"},
		"a claim to require that is no name": {func(i *bearer.Issuer) { i.Require = map[string]string{"": "x"} }, `"" is no name`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := good(t)
			r.change(&i)
			v, err := bearer.New([]bearer.Issuer{i})
			wants(t, err, "issuer", r.want)
			if v != nil {
				t.Error("there is a verifier beside the error")
			}
		})
	}
	t.Run("every fault is named", func(t *testing.T) {
		t.Parallel()
		_, err := bearer.New([]bearer.Issuer{{Leeway: -2, MaxLifetime: -1, Match: 9, Orgs: []string{""}, Claims: bearer.Claims{Org: bearer.Names{""}, Plan: bearer.Names{"."}}}}, nil, bearer.WithTimeout(0))
		wants(t, err, "URL:", "Audiences:", "Leeway", "MaxLifetime", "Match", "Orgs:", "Keys:", `"" is no name`, `"." is no name`, "option number 1 is nil", "WithTimeout(0s)")
	})
}

func TestIssuersThatNewTakes(t *testing.T) {
	t.Parallel()
	most := strings.Repeat("x", 128)
	for name, change := range map[string]func(*bearer.Issuer){
		"as it is": func(*bearer.Issuer) {},
		"at the bounds": func(i *bearer.Issuer) {
			i.Leeway, i.MaxLifetime, i.Org, i.Project = 5*time.Minute, 400*24*time.Hour, most, most
		},
		"URL at bounds":  func(i *bearer.Issuer) { i.URL += strings.Repeat("x", 512-len(i.URL)) },
		"NoLeeway":       func(i *bearer.Issuer) { i.Leeway = bearer.NoLeeway },
		"no Org, alone":  func(i *bearer.Issuer) { i.Org = "" },
		"secrets":        func(i *bearer.Issuer) { i.Algorithms, i.Keys = []string{"HS256", "HS512"}, secretSet(t) },
		"names":          func(i *bearer.Issuer) { i.Claims.Org = bearer.Names{most, "a.b.c"} },
		"http":           func(i *bearer.Issuer) { i.URL = "http://localhost:8080" },
		"any org":        func(i *bearer.Issuer) { i.Org, i.Orgs = "", []string{bearer.AnyOrg} },
		"all algorithms": func(i *bearer.Issuer) { i.Algorithms = []string{"RS384", "RS512", "PS384", "PS512", "ES512", "ES256"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := good(t)
			change(&i)
			if _, err := bearer.New([]bearer.Issuer{i}); err != nil {
				t.Error(err)
			}
		})
	}
}

// shortSecret is a set whose secret is long enough for HS256 alone.
func shortSecret(t testing.TB) *bearer.KeySet {
	t.Helper()
	set, err := bearer.NewKeySet(bearer.Key{Public: []byte(strings.Repeat("s", 32))})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func secretSet(t testing.TB) *bearer.KeySet {
	t.Helper()
	set, err := bearer.NewKeySet(bearer.Key{Public: []byte(strings.Repeat("s3cr3t-", 10))})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestSeveralIssuersNeedOrgs(t *testing.T) {
	t.Parallel()
	const say = "beside others it needs Org or Orgs"
	open, fixed := good(t), good(t)
	open.Org, fixed.URL = "", "https://other.example.com/"
	listed := open
	listed.Orgs = []string{"a"}
	foreign := bearer.Issuer{URL: "https://opaque.example.com/"}
	resolver := bearer.WithResolver(nobody, 1)
	for name, r := range map[string]struct {
		issuers []bearer.Issuer
		opts    []bearer.Option
		want    string // "": it is taken
	}{
		"two, and one is open":                  {[]bearer.Issuer{fixed, open}, nil, say},
		"two, and both have orgs":               {[]bearer.Issuer{fixed, good(t)}, nil, ""},
		"two, and one lists its orgs":           {[]bearer.Issuer{fixed, listed}, nil, ""},
		"one that is open, and a Resolver":      {[]bearer.Issuer{open}, []bearer.Option{resolver}, say},
		"one that is open, and an introspected": {[]bearer.Issuer{open}, introspected(bearer.Issuer{URL: foreign.URL, Org: "a"}), say},
		"one, and an introspected that is open": {[]bearer.Issuer{fixed}, introspected(foreign), say},
		"an introspected that is open, alone":   {nil, introspected(foreign), ""},
		"the same, with a Resolver":             {nil, append(introspected(foreign), resolver), say},
		"one by JWT and by introspection":       {[]bearer.Issuer{open}, introspected(bearer.Issuer{URL: open.URL}), ""},
		"one that is there twice":               {[]bearer.Issuer{fixed, fixed}, nil, "is there twice"},
		"none":                                  {nil, nil, "want at least one"},
		"none but a Resolver":                   {nil, []bearer.Option{resolver}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := bearer.New(r.issuers, r.opts...)
			if r.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wants(t, err, r.want)
		})
	}
}

func introspected(i bearer.Issuer) []bearer.Option {
	return []bearer.Option{bearer.WithIntrospection(i, new(endpoint))}
}

// TestNewCopiesIssuers: what is changed after New changes nothing.
func TestNewCopiesIssuers(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(i *bearer.Issuer) {
		i.Org, i.Orgs, i.Algorithms = "", []string{"a"}, []string{"ES256"}
		i.Require, i.Claims.Org = map[string]string{"x": "y"}, bearer.Names{"o"}
	})
	token := g.Mint(authtest.Claims{"x": "y", "o": "a"})
	judge(t, g.verifier, token, nil, nil)
	g.config.Orgs[0], g.config.Algorithms[0], g.config.Audiences[0], g.config.Require["x"], g.config.Claims.Org[0] = "b", "RS256", "b", "z", "p"
	judge(t, g.verifier, token, nil, nil)
}
