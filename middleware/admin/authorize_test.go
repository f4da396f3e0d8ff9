package admin_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	good := admin.BearerToken(token)
	limits := admin.WithLimits(limiterFunc(nil))
	for _, row := range []struct {
		name       string
		authorizer admin.Authorizer
		opts       []admin.Option
		faults     int
	}{
		{"no authorizer", nil, nil, 1},
		{"a nil function", admin.AuthorizerFunc(nil), nil, 1},
		{"no token", admin.BearerToken(), nil, 1},
		{"a short token", admin.BearerToken("0123456789abcde"), nil, 1},
		{"a long token", admin.BearerToken(strings.Repeat("a", 1025)), nil, 1},
		{"a token with a blank", admin.BearerToken("0123456789 abcdefgh"), nil, 1},
		{"two bad tokens", admin.BearerToken(token, "", "é0123456789abcdef"), nil, 2},
		{"a nil option", good, []admin.Option{nil}, 1},
		{"prefix without slash", good, []admin.Option{admin.WithPrefix("admin")}, 1},
		{"prefix of a slash", good, []admin.Option{admin.WithPrefix("/")}, 1},
		{"prefix with a slash at its end", good, []admin.Option{admin.WithPrefix("/admin/")}, 1},
		{"prefix with a wildcard", good, []admin.Option{admin.WithPrefix("/{x}")}, 1},
		{"prefix that walks", good, []admin.Option{admin.WithPrefix("/a/../b")}, 1},
		{"nil parts", good, []admin.Option{
			admin.WithOverrides(nil), admin.WithKeys(nil, issuer), admin.WithKeys(store, nil), admin.WithUsage(nil),
			admin.WithLimits(nil), admin.WithAudit(nil), admin.WithLogger(nil), admin.WithAuditLog(nil),
		}, 8},
		{"route without limits", good, []admin.Option{admin.WithRoute(search, policy)}, 1},
		{"route without method", good, []admin.Option{limits, admin.WithRoute("/v1/search", policy)}, 1},
		{"route twice", good, []admin.Option{limits, admin.WithRoute(search), admin.WithRoute(search)}, 1},
		{"route with a bad policy", good, []admin.Option{limits, admin.WithRoute(search, ratelimit.Policy{})}, 1},
		{"route with one name twice", good, []admin.Option{limits, admin.WithRoute(search, policy, policy.Named(""))}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h, err := admin.New(row.authorizer, row.opts...)
			if h != nil || !errors.Is(err, admin.ErrInvalid) {
				t.Fatalf("New = %v, %v; want ErrInvalid", h, err)
			}
			if n := strings.Count(err.Error(), admin.ErrInvalid.Error()); n != row.faults {
				t.Errorf("%d faults in %q, want %d", n, err, row.faults)
			}
			if strings.Contains(err.Error(), "0123456789") {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

func TestBearerTokenHidesTokens(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		if text := fmt.Sprintf(verb, admin.BearerToken(token)); text != "admin.BearerToken([redacted])" {
			t.Errorf("%s: %s", verb, text)
		}
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	const bare, invalid = `Bearer realm="admin"`, `Bearer realm="admin", error="invalid_token"`
	h, err := admin.New(admin.BearerToken("another-token-for-tests", token), withAll(t)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, field     string
		status          int
		code, challenge string
	}{
		{"none", "", 401, "missing_credential", bare},
		{"another scheme", "Basic " + token, 401, "missing_credential", bare},
		{"no token", "Bearer", 401, "invalid_credential", invalid},
		{"empty token", "Bearer ", 401, "invalid_credential", invalid},
		{"wrong", "Bearer " + token + "x", 401, "invalid_credential", invalid},
		{"cut", "Bearer " + token[1:], 401, "invalid_credential", invalid},
		{"two in one", "Bearer " + token + "," + token, 401, "invalid_credential", invalid},
		{"right", "Bearer " + token, 200, "", ""},
		{"the other right one", "bearer  another-token-for-tests", 200, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, h, request("GET", "/v1/orgs/o/projects/p/keys", "", "Authorization", row.field)).want(t, row.status, row.code)
			if got := a.header.Get("WWW-Authenticate"); got != row.challenge {
				t.Errorf("WWW-Authenticate %q, want %q", got, row.challenge)
			}
		})
	}
	twice := request("GET", "/v1/orgs/o/projects/p/keys", "")
	twice.Header.Add("Authorization", "Bearer "+token)
	serve(t, h, twice).want(t, 401, "invalid_credential")
	// Who is nobody learns nothing of what is where.
	for _, target := range []string{"/", "/v1/orgs/o/usage", "/v1/orgs/o/nothing", "//v1"} {
		serve(t, h, request("PATCH", target, "", "Authorization", "")).want(t, 401, "missing_credential")
	}
}

func TestAuthorizerErrors(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err    error
		status int
		code   string
	}{
		{fmt.Errorf("x: %w", admin.ErrMissing), 401, "missing_credential"},
		{fmt.Errorf("x: %w", admin.ErrForbidden), 403, "forbidden"},
		{fmt.Errorf("x: %w", admin.ErrUnavailable), 503, "unavailable"},
		{errors.New("a-secret-cause"), 401, "invalid_credential"},
	} {
		t.Run(row.err.Error(), func(t *testing.T) {
			t.Parallel()
			h, err := admin.New(admin.AuthorizerFunc(func(*http.Request) (admin.Actor, error) { return admin.Actor{}, row.err }), withAll(t)...)
			if err != nil {
				t.Fatal(err)
			}
			a := serve(t, h, request("GET", "/v1/orgs/o/projects/p/keys", "")).want(t, row.status, row.code)
			if strings.Contains(a.text, "cause") {
				t.Errorf("the answer tells the cause: %s", a.text)
			}
		})
	}
}
