package bearer_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

// list is a JSON array of so many strings.
func list(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`"a",`, n), ",") + "]" }

// object is a JSON object of so many flags, of which one is on.
func object(n int) string {
	flags := make(map[string]bool, n)
	for i := range n {
		flags[fmt.Sprint(i)] = i == 7
	}
	return string(encoded(flags))
}

// values are one of each type, and the bounds of those that are good for something.
var values = []string{
	"null", "true", "false", "0", "1.5", `""`, `"a"`, `"a b"`, `"a\u0000"`, `"a\nb"`, `"a\u0085b"`, "[]", `["a"]`, `["a","b"]`, `["a",1]`,
	`["a",null]`, `[["a"]]`, `[""]`, `["a\tb"]`, "[true]", "[null]", "{}", `{"a":true}`, `{"a":false}`, `{"a":{"v":true}}`, `{"a":{"v":true,"w":false}}`, `{"a":{"w":true}}`, `{"a":"true"}`, `{"a":1}`,
	`[{"key":"a"}]`, `[{"name":"a"}]`, `[{"key":"a","name":"b"}]`, `[{"key":1,"name":"a"}]`, `[{"key":null,"name":"a"}]`, `[{"key":""}]`, `[{}]`, `["a",{"key":"b"}]`, `[{"key":1},{"key":"a"}]`, object(256), object(257),
	`"` + strings.Repeat("a", 128) + `"`, `"` + strings.Repeat("a", 129) + `"`, `["` + strings.Repeat("a", 256) + `"]`, `["` + strings.Repeat("a", 257) + `"]`,
	list(256), list(257), `"` + strings.Repeat("a ", 256) + `"`, `"` + strings.Repeat("a ", 257) + `"`,
}

// field is a field of Claims, how to read it from an identity, and what comes of the values that are good for it.
type field struct {
	set  func(c *bearer.Claims, names bearer.Names)
	get  func(id *authkey.Identity) []string
	good map[string][]string
}

var (
	a128, a129, a256 = strings.Repeat("a", 128), strings.Repeat("a", 129), strings.Repeat("a", 256)
	as               = slices.Repeat([]string{"a"}, 256)
	texts            = map[string][]string{`"a"`: {"a"}, `"a b"`: {"a b"}, `"` + a128 + `"`: {a128}}
	words            = map[string][]string{
		`""`: {}, `"a"`: {"a"}, `"a b"`: {"a", "b"}, "[]": {}, `["a"]`: {"a"}, `["a","b"]`: {"a", "b"},
		`"` + a128 + `"`: {a128}, `"` + a129 + `"`: {a129}, `["` + a256 + `"]`: {a256}, list(256): as, `"` + strings.Repeat("a ", 256) + `"`: as,
	}
	roles = map[string][]string{`[{"key":"a"}]`: {"a"}, `[{"name":"a"}]`: {"a"}, `[{"key":"a","name":"b"}]`: {"a"}}
	flags = map[string][]string{
		"[]": {}, `["a"]`: {"a"}, `["a","b"]`: {"a", "b"}, "{}": {}, `{"a":true}`: {"a"}, `{"a":false}`: {}, `{"a":{"v":true}}`: {"a"}, `{"a":{"v":true,"w":false}}`: {"a"}, `{"a":{"w":true}}`: {},
		`{"a":"true"}`: {}, `{"a":1}`: {}, `["` + a256 + `"]`: {a256}, list(256): as,
		object(256): {"7"},
	}
	one    = func(text string) []string { return []string{text} }
	fields = map[string]field{
		"Org":         {func(c *bearer.Claims, n bearer.Names) { c.Org = n }, func(id *authkey.Identity) []string { return one(id.Org) }, texts},
		"Project":     {func(c *bearer.Claims, n bearer.Names) { c.Project = n }, func(id *authkey.Identity) []string { return one(id.Project) }, texts},
		"Plan":        {func(c *bearer.Claims, n bearer.Names) { c.Plan = n }, func(id *authkey.Identity) []string { return one(id.Plan) }, texts},
		"Name":        {func(c *bearer.Claims, n bearer.Names) { c.Name = n }, func(id *authkey.Identity) []string { return one(id.Name) }, texts},
		"Scopes":      {func(c *bearer.Claims, n bearer.Names) { c.Scopes = n }, func(id *authkey.Identity) []string { return id.Scopes }, words},
		"Permissions": {func(c *bearer.Claims, n bearer.Names) { c.Permissions = n }, func(id *authkey.Identity) []string { return id.Permissions }, words},
		"Products":    {func(c *bearer.Claims, n bearer.Names) { c.Products = n }, func(id *authkey.Identity) []string { return id.Products }, words},
		"Roles":       {func(c *bearer.Claims, n bearer.Names) { c.Roles = n }, func(id *authkey.Identity) []string { return id.Roles }, both(words, roles)},
		"Features":    {func(c *bearer.Claims, n bearer.Names) { c.Features = n }, func(id *authkey.Identity) []string { return id.Features }, flags},
	}
)

func both(a, b map[string][]string) map[string][]string {
	merged := map[string][]string{}
	for _, m := range []map[string][]string{a, b} {
		for value, want := range m {
			merged[value] = want
		}
	}
	return merged
}

func TestRefusesClaimsOfAWrongType(t *testing.T) {
	t.Parallel()
	for name, field := range fields {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, func(i *bearer.Issuer) {
				field.set(&i.Claims, bearer.Names{"x"})
				if name == "Org" {
					i.Org = ""
				}
			})
			for _, value := range values {
				t.Run(fmt.Sprintf("%.40s", value), func(t *testing.T) {
					want, ok := field.good[value]
					token := g.Mint(authtest.Claims{"x": json.RawMessage(value)})
					if !ok {
						judge(t, g.verifier, token, nil, authkey.ErrMalformed)
						return
					}
					if got := field.get(judge(t, g.verifier, token, nil, nil)); !slices.Equal(got, want) {
						t.Errorf("it is %.60q, want %.60q", got, want)
					}
				})
			}
			if name == "Org" {
				judge(t, g.verifier, g.Mint(nil), nil, authkey.ErrMalformed)
			} else if got := strings.Join(field.get(judge(t, g.verifier, g.Mint(nil), nil, nil)), ""); got != "" && got != org {
				t.Errorf("where it is absent, it is %q", got)
			}
		})
	}
}

func TestRefusesRegisteredClaimsOfAWrongType(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	longest := `"` + strings.Repeat("a", 256) + `"`
	for name, good := range map[string][]string{
		"sub": {`"a"`, `"a b"`, longest}, "jti": {`"a"`, longest}, "sid": {`"a"`, longest}, "client_id": {`"a"`, longest},
		"azp": {`"a"`, "1" /* client_id comes first */}, "acr": {`"a"`}, "amr": {"[]", `["a"]`, `["a","b"]`},
	} {
		for _, value := range good {
			t.Run(fmt.Sprintf("%s %.20s", name, value), func(t *testing.T) {
				judge(t, g.verifier, g.Mint(authtest.Claims{name: json.RawMessage(value)}), nil, nil)
			})
		}
		for _, value := range []string{"null", "true", "1", `""`, `"a\u0000"`, `"a\u0085"`, `[1]`, `[["a"]]`, "{}", `"` + strings.Repeat("a", 257) + `"`} {
			if slices.Contains(good, value) || name == "azp" {
				continue
			}
			t.Run(fmt.Sprintf("%s %.20s", name, value), func(t *testing.T) {
				judge(t, g.verifier, g.Mint(authtest.Claims{name: json.RawMessage(value)}), nil, authkey.ErrMalformed)
			})
		}
	}
	judge(t, g.verifier, g.Mint(authtest.Claims{"azp": 1, "client_id": authtest.Absent}), nil, authkey.ErrMalformed)
}

func TestReadsAToken(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(i *bearer.Issuer) { i.Org, i.Project = "", "fallback" })
	now := g.clock.Now()
	token := g.Mint(authtest.Claims{
		"jti": "id", "sub": "alice", "sid": "session", "client_id": "app", "azp": "other", "acr": "loa2", "amr": []string{"pwd", "otp"}, "auth_time": now.Add(-time.Minute),
		"org_id": "acme", "project_id": "shop", "plan": "pro", "name": "Alice", "scope": "read write", "permissions": []string{"p"}, "products": "maps",
		"roles": []any{map[string]any{"key": "editor"}}, "feature_flags": map[string]any{"beta": map[string]any{"t": "b", "v": true}, "off": false, "on": true},
	})
	id := judge(t, g.verifier, token, nil, nil)
	said := id.Token
	got := fmt.Sprintln(id.Org, id.Project, id.Plan, id.Name, id.Scopes, id.Permissions, id.Products, id.Roles, id.Features, id.Kind, id.Method, id.Credential,
		said.Issuer == g.URL(), said.ID, said.Subject, said.Session, said.Client, said.ACR, said.AMR, said.Audience, said.Pending)
	want := fmt.Sprintln("acme", "shop", "pro", "Alice", "[read write]", "[p]", "[maps]", "[editor]", "[beta on]", authkey.KindSecret, "bearer", "id",
		true, "id", "alice", "session", "app", "loa2", "[pwd otp]", []string{authtest.Audience}, authkey.NothingPending)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !said.IssuedAt.Equal(now) || !said.AuthTime.Equal(now.Add(-time.Minute)) || !id.ExpiresAt.Equal(now.Add(5*time.Minute)) || string(said.Claims["plan"]) != `"pro"` || id.Epoch != 0 {
		t.Errorf("iat %v, auth_time %v, exp %v, plan %s", said.IssuedAt, said.AuthTime, id.ExpiresAt, said.Claims["plan"])
	}
	for name, r := range map[string]struct {
		claims authtest.Claims
		want   string
	}{
		"names of another system":            {authtest.Claims{"org_code": "acme", "x-hasura-project-id": "shop", "x-hasura-plan": "pro", "scp": []string{"s"}, "x-hasura-roles": []string{"r"}}, "acme shop pro [s] [r]"},
		"the first name that is there":       {authtest.Claims{"x-hasura-org-code": "3", "org_code": "2", "org_id": "1", "scope": "a", "scp": "b"}, "1 fallback  [a] []"},
		"no project":                         {authtest.Claims{"org_id": "acme"}, "acme fallback  [] []"},
		"a path is only for who asks for it": {authtest.Claims{"org_id": "acme", "realm_access": authtest.Claims{"roles": []string{"admin"}}}, "acme fallback  [] []"},
	} {
		t.Run(name, func(t *testing.T) {
			id := judge(t, g.verifier, g.Mint(r.claims), nil, nil)
			if got := fmt.Sprint(id.Org, " ", id.Project, " ", id.Plan, " ", id.Scopes, " ", id.Roles); got != r.want {
				t.Errorf("got %q, want %q", got, r.want)
			}
		})
	}
}

func TestReadsClaimsByPath(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(i *bearer.Issuer) {
		i.Claims = bearer.Claims{Roles: bearer.Names{"realm_access.roles"}, Scopes: bearer.Names{}, Plan: bearer.Names{"https://example.com/plan"}}
	})
	nested := func(value any) authtest.Claims { return authtest.Claims{"realm_access": value} }
	for name, r := range map[string]struct {
		claims authtest.Claims
		want   string
	}{
		"a path":                     {nested(authtest.Claims{"roles": []string{"a"}}), "[a] []"},
		"a name with the dots":       {authtest.Claims{"realm_access.roles": []string{"b"}, "realm_access": authtest.Claims{"roles": []string{"a"}}}, "[b] []"},
		"nothing at the path":        {nested(authtest.Claims{}), "[] []"},
		"another case within":        {nested(authtest.Claims{"Roles": []string{"a"}}), "[] []"},
		"a name that is left out":    {authtest.Claims{"scope": "read"}, "[] []"},
		"a URL, which has dots, too": {authtest.Claims{"https://example.com/plan": "pro"}, "[] []pro"},
	} {
		t.Run(name, func(t *testing.T) {
			id := judge(t, g.verifier, g.Mint(r.claims), nil, nil)
			if got := fmt.Sprint(id.Roles, " ", id.Scopes, id.Plan); got != r.want {
				t.Errorf("got %q, want %q", got, r.want)
			}
		})
	}
	judge(t, g.verifier, g.Mint(nested(authtest.Claims{"roles": 1})), nil, authkey.ErrMalformed)
	either := newGate(t, func(i *bearer.Issuer) { i.Org, i.Claims.Org = "", bearer.Names{"org.id", "org"} })
	for _, said := range []any{"acme", authtest.Claims{"id": "acme"}} {
		if id := judge(t, either.verifier, either.Mint(authtest.Claims{"org": said}), nil, nil); id.Org != "acme" {
			t.Errorf("org %v is %q", said, id.Org)
		}
	}
	judge(t, either.verifier, either.Mint(authtest.Claims{"org": 1}), nil, authkey.ErrMalformed)
	for _, odd := range []any{"roles", 1, nil, []string{"roles"}} { // no object on the way
		judge(t, g.verifier, g.Mint(nested(odd)), nil, authkey.ErrMalformed)
	}
	judge(t, g.verifier, g.Mint(authtest.Claims{"Realm_access": authtest.Claims{}}), nil, authkey.ErrMalformed)
}
