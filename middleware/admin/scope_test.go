package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// operations has a request for every operation, of the org o, and the scope that it needs.
var operations = []struct{ method, path, body, scope string }{
	{"GET", "/v1/orgs/o/overrides", "", "overrides:read"},
	{"PUT", "/v1/orgs/o/overrides", `{"limit":1}`, "overrides:write"},
	{"DELETE", "/v1/orgs/o/overrides?project=p", "", "overrides:write"},
	{"GET", "/v1/orgs/o/overrides/x", "", "overrides:read"},
	{"DELETE", "/v1/orgs/o/overrides/x", "", "overrides:write"},
	{"POST", "/v1/orgs/o/overrides/dry-run", `{"project":"p","limit":1}`, "overrides:read"},
	{"GET", "/v1/orgs/o/projects/p/limits", "", "limits:read"},
	{"DELETE", "/v1/orgs/o/projects/p/limits", "", "limits:write"},
	{"GET", "/v1/orgs/o/projects/p/keys", "", "keys:read"},
	{"POST", "/v1/orgs/o/projects/p/keys", "", "keys:write"},
	{"GET", "/v1/orgs/o/projects/p/keys/x", "", "keys:read"},
	{"DELETE", "/v1/orgs/o/projects/p/keys/x", "", "keys:write"},
	{"GET", "/v1/orgs/o/projects", "", "projects:read"},
	{"GET", "/v1/orgs/o/projects/p", "", "projects:read"},
	{"PUT", "/v1/orgs/o/projects/p", `{"state":"active"}`, "projects:write"},
	{"PATCH", "/v1/orgs/o/projects/p", `{}`, "projects:write"},
	{"PATCH", "/v1/orgs/o/projects/p/keys/x", `{}`, "keys:write"},
	{"GET", "/v1/orgs/o/projects/p/keys/x/credentials", "", "keys:read"},
	{"POST", "/v1/orgs/o/projects/p/keys/x/credentials", `{"overlap":"0s"}`, "keys:write"},
	{"GET", "/v1/orgs/o/projects/p/keys/x/credentials/y", "", "keys:read"},
	{"DELETE", "/v1/orgs/o/projects/p/keys/x/credentials/y", "", "keys:write"},
	{"POST", "/v1/orgs/o/keys:bulk-revoke", `{"keys":["x"],"reason":"r"}`, "keys:write"},
	{"POST", "/v1/keys:lookup", `{"key":"x"}`, "keys:read"},
	{"GET", "/v1/orgs/o/revocations", "", "revocations:read"},
	{"POST", "/v1/orgs/o/revocations", `{"kind":"subject","issuer":"https://id.example","value":"mia","reason":"r"}`, "revocations:write"},
	{"DELETE", "/v1/orgs/o/revocations?kind=subject&issuer=https%3A%2F%2Fid.example&value=mia", "", "revocations:write"},
	{"GET", "/v1/orgs/o/usage", "", "usage:read"},
	{"GET", "/v1/orgs/o/audit", "", "audit:read"},
	{"GET", "/v1/orgs/o/audit:verify", "", "audit:read"},
	{"GET", "/v1/audit", "", "audit:read"},
	{"GET", "/v1/audit:verify", "", "audit:read"},
	{"GET", "/v1/plans", "", "plans:read"},
	{"GET", "/v1/plans/x", "", "plans:read"},
	{"PUT", "/v1/plans/x", `{"rules":[]}`, "plans:write"},
	{"DELETE", "/v1/plans/x", "", "plans:write"},
}

// as returns a handler of all parts for one actor.
func as(t *testing.T, actor admin.Actor) http.Handler {
	t.Helper()
	opts := append(withAll(t), admin.WithPlans(noPlans(t)), admin.WithAuditLog(newAuditLog(t, noRedis(t))))
	h, err := admin.New(admin.AuthorizerFunc(func(*http.Request) (admin.Actor, error) { return actor, nil }), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestEachOperationNeedsItsScope(t *testing.T) {
	t.Parallel()
	for _, row := range operations {
		t.Run(row.method+" "+row.path, func(t *testing.T) {
			t.Parallel()
			others := slices.DeleteFunc(admin.Scopes(), func(scope string) bool { return scope == row.scope || scope == admin.ScopeAll })
			a := serve(t, as(t, admin.Actor{Scopes: others}), request(row.method, row.path, row.body)).want(t, 403, "insufficient_scope")
			if want := `Bearer realm="admin", error="insufficient_scope", scope="` + row.scope + `"`; a.header.Get("WWW-Authenticate") != want {
				t.Errorf("WWW-Authenticate %q, want %q", a.header.Get("WWW-Authenticate"), want)
			}
			serve(t, as(t, admin.Actor{Scopes: []string{}}), request(row.method, row.path, row.body)).want(t, 403, "insufficient_scope")
			for _, enough := range [][]string{nil, {row.scope}, {admin.ScopeAll}} {
				if a := serve(t, as(t, admin.Actor{Scopes: enough}), request(row.method, row.path, row.body)); a.status == 403 || a.status == 405 {
					t.Errorf("with %q: %d %s", enough, a.status, a.text)
				}
			}
		})
	}
}

// Of another org nothing is there, whatever an actor may do in his own; that he may not do it is told in his own
// org alone.
func TestOtherOrgsAreNotThere(t *testing.T) {
	t.Parallel()
	for _, scopes := range [][]string{nil, {}, {admin.ScopeAll}} {
		h := as(t, admin.Actor{Org: "mine", Scopes: scopes})
		for _, row := range operations {
			if row.path == "/v1/keys:lookup" { // looks for keys in one's own org
				continue
			}
			serve(t, h, request(row.method, row.path, row.body)).want(t, 404, "not_found")
			serve(t, h, request(row.method, row.path, "no JSON", "If-Match", "nothing")).want(t, 404, "not_found")
		}
	}
}

func TestTokensAreActors(t *testing.T) {
	t.Parallel()
	h, err := admin.New(admin.Tokens(
		admin.Token{Name: "ops", Secret: "the-secret-of-operations", Scopes: []string{admin.ScopeAll}},
		admin.Token{Name: "reader", Secret: "the-secret-of-a-reader", Scopes: []string{"keys:read"}},
		admin.Token{Name: "tenant", Secret: "the-secret-of-a-tenant", Scopes: []string{"keys:read", "keys:write"}, Org: "mine"},
	), withAll(t)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		secret, method, org string
		status              int
		code                string
	}{
		{"the-secret-of-operations", "GET", "o", 200, ""},
		{"the-secret-of-operations", "POST", "o", 201, ""},
		{"the-secret-of-a-reader", "GET", "o", 200, ""},
		{"the-secret-of-a-reader", "POST", "o", 403, "insufficient_scope"},
		{"the-secret-of-a-tenant", "POST", "mine", 201, ""},
		{"the-secret-of-a-tenant", "POST", "o", 404, "not_found"},
		{"the-secret-of-nobody", "GET", "o", 401, "invalid_credential"},
	} {
		r := request(row.method, "/v1/orgs/"+row.org+"/projects/p/keys", "", "Authorization", "Bearer "+row.secret)
		serve(t, h, r).want(t, row.status, row.code)
	}
}

func TestTokensRefuses(t *testing.T) {
	t.Parallel()
	good := admin.Token{Name: "ops", Secret: "0123456789abcdef", Scopes: []string{"*"}}
	change := func(f func(*admin.Token)) admin.Token {
		token := good
		f(&token)
		return token
	}
	for _, row := range []struct {
		name   string
		tokens []admin.Token
		faults int
	}{
		{"none", nil, 1},
		{"no name", []admin.Token{change(func(t *admin.Token) { t.Name = "" })}, 1},
		{"a name with a blank", []admin.Token{change(func(t *admin.Token) { t.Name = "a b" })}, 1},
		{"no secret", []admin.Token{change(func(t *admin.Token) { t.Secret = "" })}, 1},
		{"no scopes", []admin.Token{change(func(t *admin.Token) { t.Scopes = nil })}, 1},
		{"a scope that is none", []admin.Token{change(func(t *admin.Token) { t.Scopes = []string{"keys:read", "key:read"} })}, 1},
		{"a long org", []admin.Token{change(func(t *admin.Token) { t.Org = strings.Repeat("o", 129) })}, 1},
		{"one secret twice", []admin.Token{good, good}, 1},
		{"nothing", []admin.Token{{}}, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := admin.New(admin.Tokens(row.tokens...))
			if !errors.Is(err, admin.ErrInvalid) || strings.Count(err.Error(), admin.ErrInvalid.Error()) != row.faults {
				t.Errorf("New: %v, want %d faults", err, row.faults)
			}
			if err != nil && strings.Contains(err.Error(), good.Secret) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func TestTokenHidesItsSecret(t *testing.T) {
	t.Parallel()
	token := admin.Token{Name: "ops", Secret: "0123456789abcdef", Scopes: []string{"*"}}
	encoded, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	logTo(&log).Info("x", "token", token)
	text := string(encoded) + log.String() + fmt.Sprintf("%v %+v %#v %s %q %x %v %v", token, token, token, token, token, token, &token, admin.Tokens(token))
	if strings.Contains(text, token.Secret) || strings.Contains(text, fmt.Sprintf("%x", token.Secret)) || !strings.Contains(text, "ops") {
		t.Errorf("it tells %s", text)
	}
}

// keyring answers for keys that no store can hold here.
type keyring map[string]*authkey.Identity

func (k keyring) Authenticate(_ context.Context, presented authkey.Presented) (*authkey.Identity, error) {
	switch identity := k[presented.Reveal()]; {
	case presented.Reveal() == "unreachable":
		return nil, fmt.Errorf("x: %w", authkey.ErrUnavailable)
	case identity == nil:
		return nil, authkey.ErrUnknown
	default:
		return identity, nil
	}
}

func (k keyring) Refresh(_ context.Context, presented authkey.Presented, held *authkey.Identity) (*authkey.Identity, error) {
	if identity := k[presented.Reveal()+", anew"]; held == nil && identity != nil {
		return identity, nil
	}
	return nil, authkey.ErrRevoked
}

func TestAdminKeysAreActors(t *testing.T) {
	t.Parallel()
	admins := &authkey.Identity{Org: "mine", Key: "k1", Kind: authkey.KindAdmin, Scopes: []string{"keys:read", "keys:write"}}
	powerless := &authkey.Identity{Org: "mine", Key: "k1", Kind: authkey.KindAdmin}
	secret := &authkey.Identity{Org: "mine", Key: "k1", Kind: authkey.KindSecret, Scopes: []string{"*"}}
	orgless := &authkey.Identity{Key: "k1", Kind: authkey.KindAdmin, Scopes: []string{"*"}}
	var changes []admin.Change
	h, err := admin.New(admin.Keys(keyring{
		"good": admins, "good, anew": admins, "revoked": admins, "powerless": powerless, "powerless, anew": powerless,
		"secret": secret, "secret, anew": secret, "orgless": orgless, "orgless, anew": orgless,
	}), append(withAll(t), admin.WithAudit(func(c admin.Change) { changes = append(changes, c) }))...)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		key, org string
		status   int
		code     string
	}{
		{"good", "mine", 201, ""},
		{"good", "o", 404, "not_found"},
		{"powerless", "mine", 403, "insufficient_scope"},
		{"revoked", "mine", 401, "invalid_credential"},
		{"secret", "mine", 401, "invalid_credential"},
		{"orgless", "mine", 401, "invalid_credential"},
		{"unknown", "mine", 401, "invalid_credential"},
		{"unreachable", "mine", 503, "unavailable"},
	} {
		r := request("POST", "/v1/orgs/"+row.org+"/projects/p/keys", "", "Authorization", "Bearer "+row.key)
		serve(t, h, r).want(t, row.status, row.code)
	}
	if len(changes) != 1 || changes[0].Actor.Name != "key:k1" {
		t.Errorf("changes %+v", changes)
	}
}

func TestAuthorizersAskOneAfterTheOther(t *testing.T) {
	t.Parallel()
	answer := func(name string, err error) admin.Authorizer {
		return admin.AuthorizerFunc(func(*http.Request) (admin.Actor, error) { return admin.Actor{Name: name}, err })
	}
	unknown := errors.New("unknown")
	for _, row := range []struct {
		name  string
		list  []admin.Authorizer
		actor string
		want  error
	}{
		{"the first", []admin.Authorizer{answer("a", nil), answer("b", nil)}, "a", nil},
		{"the second", []admin.Authorizer{answer("", unknown), answer("b", nil)}, "b", nil},
		{"after one that could not tell", []admin.Authorizer{answer("", admin.ErrUnavailable), answer("b", nil)}, "b", nil},
		{"forbidden", []admin.Authorizer{answer("", admin.ErrForbidden), answer("b", nil)}, "", admin.ErrForbidden},
		{"one could not tell", []admin.Authorizer{answer("", admin.ErrUnavailable), answer("", unknown)}, "", admin.ErrUnavailable},
		{"the last could not tell", []admin.Authorizer{answer("", unknown), answer("", admin.ErrUnavailable)}, "", admin.ErrUnavailable},
		{"unknown", []admin.Authorizer{answer("", unknown), answer("", admin.ErrMissing)}, "", unknown},
		{"missing", []admin.Authorizer{answer("", admin.ErrMissing), answer("", admin.ErrMissing)}, "", admin.ErrMissing},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			actor, err := admin.Authorizers(row.list...).Authorize(request("GET", "/", ""))
			if actor.Name != row.actor || !errors.Is(err, row.want) {
				t.Errorf("%q, %v; want %q, %v", actor.Name, err, row.actor, row.want)
			}
		})
	}
	for _, a := range []admin.Authorizer{admin.Authorizers(), admin.Authorizers(nil), admin.Authorizers(admin.BearerToken()), admin.Keys(nil)} {
		if _, err := admin.New(a); !errors.Is(err, admin.ErrInvalid) {
			t.Errorf("New: %v", err)
		}
	}
}
