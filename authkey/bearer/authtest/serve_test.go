package authtest_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		opts       []authtest.Option
	}{
		{"clock", "WithClock: nil", []authtest.Option{authtest.WithClock(nil)}},
		{"nil", "an option is nil", []authtest.Option{nil}},
		{"no slash", "WithPath: the path begins", []authtest.Option{authtest.WithPath("tenant")}},
		{"query", "WithPath: the path begins", []authtest.Option{authtest.WithPath("/tenant?x")}},
		{"no id", "WithClient: id and secret", []authtest.Option{authtest.WithClient("", "x")}},
		{"no secret", "WithClient: id and secret", []authtest.Option{authtest.WithClient("x", "")}},
		{"two faults", "WithClock: nil; pass the Now method of a Clock, or leave the option out\nWithPath", []authtest.Option{authtest.WithClock(nil), authtest.WithPath("")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ends(t, c.want, func(t testing.TB) { authtest.NewIssuer(t, c.opts...) })
		})
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, oidc, oauth, keys string }{
		{"", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/jwks"},
		{"/", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/jwks"},
		{"/tenant", "/tenant/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/tenant", "/tenant/jwks"},
		{"/a/b/", "/a/b/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/a/b", "/a/b/jwks"},
	} {
		t.Run("path "+c.path, func(t *testing.T) {
			t.Parallel()
			var opts []authtest.Option
			if c.path != "" {
				opts = append(opts, authtest.WithPath(c.path))
			}
			issuer := authtest.NewIssuer(t, opts...)
			issuer.AddKey("RS256", "a")
			issuer.AddKey("RS256", "b")
			host := strings.TrimSuffix(issuer.URL(), c.path)
			for endpoint, path := range map[authtest.Endpoint]string{authtest.EndpointOIDC: c.oidc, authtest.EndpointOAuth: c.oauth} {
				if got := issuer.EndpointURL(endpoint); got != host+path {
					t.Errorf("%s is at %s, want %s", endpoint, got, host+path)
				}
				document := get(t.Context(), issuer, host+path).object(t, http.StatusOK)
				for name, want := range map[string]string{
					"issuer": issuer.URL(), "jwks_uri": host + c.keys,
					"token_endpoint": issuer.EndpointURL(authtest.EndpointToken), "introspection_endpoint": issuer.EndpointURL(authtest.EndpointIntrospection),
				} {
					if document[name] != want {
						t.Errorf("%s: %s is %v, want %s", endpoint, name, document[name], want)
					}
				}
				if algs := document["id_token_signing_alg_values_supported"]; !slices.Equal(algs.([]any), []any{"ES256", "RS256"}) {
					t.Errorf("algorithms %v", algs)
				}
			}
			if _, err := verify(t, issuer, issuer.Mint(nil)); err != nil || !strings.HasPrefix(host, "https://127.0.0.1:") {
				t.Errorf("at %s: %v", host, err)
			}
		})
	}
}

func TestWhatIsNotServed(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t, authtest.WithPath("/tenant"))
	root := strings.TrimSuffix(issuer.URL(), "/tenant")
	for _, address := range []string{root + "/jwks", root + "/", issuer.URL(), issuer.EndpointURL(authtest.EndpointKeys) + "/", root + "/.well-known/openid-configuration"} {
		if got := get(t.Context(), issuer, address); got.status != http.StatusNotFound {
			t.Errorf("%s: status %d, error %v", address, got.status, got.err)
		}
	}
	if got := get(t.Context(), issuer, issuer.EndpointURL(authtest.EndpointToken)); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "POST" {
		t.Errorf("GET of the token endpoint: %+v", got)
	}
	if got := post(t, issuer, authtest.EndpointKeys, "", "", nil); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET" {
		t.Errorf("POST to the key set: %+v", got)
	}
}

func TestGrant(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	for _, c := range []struct {
		name     string
		form     url.Values
		scope    any
		audience jwt.ClaimStrings
		basic    bool
	}{
		{"basic", url.Values{}, nil, jwt.ClaimStrings{authtest.Audience}, true},
		{"post", url.Values{"client_id": {authtest.ClientID}, "client_secret": {authtest.ClientSecret}}, nil, jwt.ClaimStrings{authtest.Audience}, false},
		{"scope", url.Values{"scope": {"a b"}}, "a b", jwt.ClaimStrings{authtest.Audience}, true},
		{"audience and resource", url.Values{"audience": {"x"}, "resource": {"https://y.example", "https://z.example"}}, nil, jwt.ClaimStrings{"x", "https://y.example", "https://z.example"}, true},
		{"basic and its own client_id", url.Values{"client_id": {authtest.ClientID}}, nil, jwt.ClaimStrings{authtest.Audience}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.form.Set("grant_type", "client_credentials")
			id, secret := "", ""
			if c.basic {
				id, secret = authtest.ClientID, authtest.ClientSecret
			}
			got := post(t, issuer, authtest.EndpointToken, id, secret, c.form)
			answer := got.object(t, http.StatusOK)
			if answer["token_type"] != "Bearer" || answer["scope"] != c.scope || got.header.Get("Cache-Control") != "no-store" {
				t.Errorf("answer %v, header %v", answer, got.header)
			}
			token, err := verify(t, issuer, answer["access_token"].(string), jwt.WithAudience(c.audience[0]))
			if err != nil {
				t.Fatal(err)
			}
			claims := token.Claims.(jwt.MapClaims)
			audience, err := claims.GetAudience()
			if err != nil || !slices.Equal(audience, c.audience) || claims["scope"] != c.scope {
				t.Errorf("claims %v", claims)
			}
			if claims["sub"] != authtest.ClientID || claims["client_id"] != authtest.ClientID || claims["exp"].(float64)-claims["iat"].(float64) != answer["expires_in"] {
				t.Errorf("claims %v, expires_in %v", claims, answer["expires_in"])
			}
			told := post(t, issuer, authtest.EndpointIntrospection, authtest.ClientID, authtest.ClientSecret, url.Values{"token": {token.Raw}}).object(t, http.StatusOK)
			if told["active"] != true || told["jti"] != claims["jti"] {
				t.Errorf("introspection says %v", told)
			}
		})
	}
}

func TestClientsAreAuthenticated(t *testing.T) {
	t.Parallel()
	const oddID, oddSecret = "a client: 1", "100%+&=: é"
	issuer := authtest.NewIssuer(t, authtest.WithClient(oddID, oddSecret), authtest.WithClient("b", "c"))
	token := issuer.Opaque(nil)
	for _, c := range []struct {
		name, id, secret string
		form             url.Values
		status           int
		code             any
	}{
		{"default", authtest.ClientID, authtest.ClientSecret, nil, 200, nil},
		{"odd characters", oddID, oddSecret, nil, 200, nil},
		{"odd characters in the form", "", "", url.Values{"client_id": {oddID}, "client_secret": {oddSecret}}, 200, nil},
		{"nobody", "", "", nil, 401, "invalid_client"},
		{"unknown", "x", "c", nil, 401, "invalid_client"},
		{"unknown, without secret", "x", "", nil, 401, "invalid_client"},
		{"another's secret", "b", authtest.ClientSecret, nil, 401, "invalid_client"},
		{"no secret in the form", "", "", url.Values{"client_id": {"b"}}, 401, "invalid_client"},
		{"both ways", "b", "c", url.Values{"client_id": {"b"}, "client_secret": {"c"}}, 400, "invalid_request"},
		{"two clients", "b", "c", url.Values{"client_id": {authtest.ClientID}}, 400, "invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, endpoint := range []authtest.Endpoint{authtest.EndpointToken, authtest.EndpointIntrospection} {
				form := url.Values{"grant_type": {"client_credentials"}, "token": {token}}
				maps.Copy(form, c.form)
				got := post(t, issuer, endpoint, c.id, c.secret, form)
				if answer := got.object(t, c.status); answer["error"] != c.code {
					t.Errorf("%s: answer %v, want error %v", endpoint, answer, c.code)
				}
				if challenge := got.header.Get("WWW-Authenticate"); (challenge != "") != (c.status == 401) {
					t.Errorf("%s: WWW-Authenticate %q", endpoint, challenge)
				}
			}
		})
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	for _, c := range []struct {
		name     string
		endpoint authtest.Endpoint
		form     url.Values
		code     string
	}{
		{"no grant", authtest.EndpointToken, nil, "unsupported_grant_type"},
		{"another grant", authtest.EndpointToken, url.Values{"grant_type": {"password"}}, "unsupported_grant_type"},
		{"no token", authtest.EndpointIntrospection, nil, "invalid_request"},
		{"empty token", authtest.EndpointIntrospection, url.Values{"token": {""}}, "invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := post(t, issuer, c.endpoint, authtest.ClientID, authtest.ClientSecret, c.form).object(t, http.StatusBadRequest)
			if answer["error"] != c.code {
				t.Errorf("answer %v, want %s", answer, c.code)
			}
		})
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, issuer.EndpointURL(authtest.EndpointToken), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("100%", authtest.ClientSecret)
	if answer := send(t.Context(), issuer.Client(), request).object(t, http.StatusBadRequest); answer["error"] != "invalid_request" {
		t.Errorf("a client that is not form-encoded: %v", answer)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	var clock authtest.Clock
	begin := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := clock.Now(); got != begin || got != clock.Now() {
		t.Errorf("it begins at %v", got)
	}
	clock.Advance(90 * time.Minute)
	clock.Advance(-time.Nanosecond)
	if got := clock.Now(); got != begin.Add(90*time.Minute-1) {
		t.Errorf("advanced to %v", got)
	}
	clock.Set(time.Date(2020, 1, 1, 1, 0, 0, 5, time.FixedZone("", 3600)))
	if got := clock.Now(); got != time.Date(2020, 1, 1, 0, 0, 0, 5, time.UTC) {
		t.Errorf("set to %v", got)
	}
}

func TestExampleEndsWhatItBegan(t *testing.T) {
	t.Parallel()
	fake := new(authtest.Example)
	var calls []string
	for _, name := range []string{"first", "second"} {
		fake.Cleanup(func() { calls = append(calls, name) })
	}
	issuer := authtest.NewIssuer(fake)
	address := issuer.EndpointURL(authtest.EndpointKeys)
	if got := get(t.Context(), issuer, address); got.status != http.StatusOK {
		t.Fatalf("before the end: %+v", got)
	}
	fake.End()
	if got := get(t.Context(), issuer, address); got.err == nil {
		t.Error("the issuer answers after the end")
	}
	fake.End()
	if !slices.Equal(calls, []string{"second", "first"}) {
		t.Errorf("clean-ups %q", calls)
	}
}
