package jwks_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

func metadata(issuer, keys string) page {
	return page{body: fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuer, keys)}
}

func TestWhereDiscoveryLooks(t *testing.T) {
	for _, test := range []struct {
		issuer, oidc, oauth string
	}{
		{"https://issuer.example", "https://issuer.example/.well-known/openid-configuration", "https://issuer.example/.well-known/oauth-authorization-server"},
		{"https://issuer.example/", "https://issuer.example/.well-known/openid-configuration", "https://issuer.example/.well-known/oauth-authorization-server"},
		{"https://issuer.example:8443/a/b", "https://issuer.example:8443/a/b/.well-known/openid-configuration", "https://issuer.example:8443/.well-known/oauth-authorization-server/a/b"},
		{"https://issuer.example/a/", "https://issuer.example/a/.well-known/openid-configuration", "https://issuer.example/.well-known/oauth-authorization-server/a"},
		{"https://issuer.example/a%2Fb", "https://issuer.example/a%2Fb/.well-known/openid-configuration", "https://issuer.example/.well-known/oauth-authorization-server/a%2Fb"},
	} {
		for form, at := range map[jwks.Form]string{jwks.OIDC: test.oidc, jwks.OAuth: test.oauth} {
			t.Run(string(form)+" of "+test.issuer, func(t *testing.T) {
				bubble(t, func(t *testing.T, n *network) {
					n.put(at, metadata(test.issuer, keysURL))
					good(t, newCache(t, n).Issuer(test.issuer, jwks.WithForm(form)), "a")
					asked(t, n, at, 1)
				})
			})
		}
	}
}

func TestTheOrderOfDiscovery(t *testing.T) {
	html := page{body: "<!doctype html>"}
	for _, test := range []struct {
		name        string
		oidc, oauth page
		opts        []jwks.IssuerOption
		asks        [2]int
		fault       string // "": none
	}{
		{"OIDC is enough", metadata(issuerURL, keysURL), html, nil, [2]int{1, 0}, ""},
		{"OAuth where there is none", page{status: 404}, metadata(issuerURL, keysURL), nil, [2]int{1, 1}, ""},
		{"OAuth where all pages are one", html, metadata(issuerURL, keysURL), nil, [2]int{1, 1}, ""},
		{"OAuth where that names another", metadata("https://other.example", keysURL), metadata(issuerURL, keysURL), nil, [2]int{1, 1}, ""},
		{"neither", page{status: 404}, page{status: 404}, nil, [2]int{1, 1}, "status 404"},
		{"OAuth pinned", metadata(issuerURL, keysURL), metadata(issuerURL, keysURL), []jwks.IssuerOption{jwks.WithForm(jwks.OAuth)}, [2]int{0, 1}, ""},
		{"OIDC pinned", page{status: 404}, metadata(issuerURL, keysURL), []jwks.IssuerOption{jwks.WithForm(jwks.OIDC)}, [2]int{1, 0}, "status 404"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *network) {
				n.put(oidcURL, test.oidc)
				n.put(oauthURL, test.oauth)
				source := newCache(t, n).Issuer(issuerURL, test.opts...)
				if test.fault == "" {
					good(t, source, "a")
				} else {
					unavailable(t, source, "a", test.fault)
					asked(t, n, keysURL, 0)
				}
				asked(t, n, oidcURL, test.asks[0])
				asked(t, n, oauthURL, test.asks[1])
			})
		})
	}
	bubble(t, func(t *testing.T, n *network) { // a host that is out of reach is not asked twice
		n.fail(errDown)
		unavailable(t, newCache(t, n).Issuer(issuerURL), "a", "no answer")
		asked(t, n, oauthURL, 0)
	})
}

func TestABadDiscoveryDocument(t *testing.T) { // row 75
	const other = "it names another issuer"
	for name, test := range map[string]struct{ body, fault string }{
		"slash":                  {metadata(issuerURL+"/", keysURL).body, "a slash at the end"},
		"host":                   {metadata("https://issuer.example.net", keysURL).body, other + ": want the same"},
		"host in capitals":       {metadata("https://ISSUER.example", keysURL).body, other},
		"port":                   {metadata("https://issuer.example:443", keysURL).body, other},
		"http":                   {metadata("http://issuer.example", keysURL).body, other},
		"no issuer":              {`{"jwks_uri":"` + keysURL + `"}`, other},
		"issuer in another case": {`{"Issuer":"` + issuerURL + `","jwks_uri":"` + keysURL + `"}`, other},
		"issuer twice":           {`{"issuer":"https://x.example","issuer":"` + issuerURL + `","jwks_uri":"` + keysURL + `"}`, "no name twice"},
		"issuer of no text":      {`{"issuer":["` + issuerURL + `"],"jwks_uri":"` + keysURL + `"}`, "issuer"},
		"no jwks_uri":            {`{"issuer":"` + issuerURL + `"}`, "jwks_uri"},
		"jwks_uri of no text":    {`{"issuer":"` + issuerURL + `","jwks_uri":7}`, "jwks_uri"},
		"jwks_uri with http":     {metadata(issuerURL, "http://issuer.example/keys").body, "want https"},
		"jwks_uri on loopback":   {metadata(issuerURL, "http://127.0.0.1/keys").body, "want https"},
		"jwks_uri with file":     {metadata(issuerURL, "file:///etc/passwd").body, "want an absolute URL"},
		"jwks_uri without host":  {metadata(issuerURL, "/keys").body, "want an absolute URL"},
		"jwks_uri with user":     {metadata(issuerURL, "https://me:secret@issuer.example/keys").body, "without a user name"},
		"jwks_uri too long":      {metadata(issuerURL, keysURL+"?"+strings.Repeat("x", 2048)).body, "jwks_uri"},
		"not JSON":               {"<html>", "JSON"},
		"a list":                 {"[]", "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *network) {
				n.put(oidcURL, page{body: test.body})
				cache := newCache(t, n)
				source := cache.Issuer(issuerURL)
				outage(t, cache.Start(t.Context()), test.fault)
				unavailable(t, source, "a", test.fault)
				asked(t, n, keysURL, 0)
				asked(t, n, "http://issuer.example/keys", 0)
			})
		})
	}
}

func TestLoopbackIsForThisMachineAlone(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		cache := newCache(t, n, jwks.WithLoopback())
		for _, url := range []string{"http://issuer.example", "http://localhost.example", "http://127.0.0.1.example", "http://10.0.0.1", "http://[fd00::1]", "http://LOCALHOST"} {
			if err := cache.Issuer(url).Err(); !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(err.Error(), "want https") {
				t.Errorf("%s: %v, want https to be wanted", url, err)
			}
		}
		n.put(oidcURL, metadata(issuerURL, "http://issuer.example/keys"))
		unavailable(t, cache.Issuer(issuerURL), "a", "want https")
		asked(t, n, "http://issuer.example/keys", 0)
		for _, url := range []string{"http://localhost", "http://127.0.0.2:8080", "http://[::1]"} {
			if err := cache.Issuer(url).Err(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestDiscoveryIsAskedAgainEachDay(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		source := newCache(t, n).Issuer(issuerURL)
		good(t, source, "a")
		pass(23 * time.Hour)
		asked(t, n, oidcURL, 1)
		n.put(oidcURL, metadata(issuerURL, keysURL+"/2"))
		n.put(keysURL+"/2", page{body: document("b")})
		pass(70 * time.Minute)
		asked(t, n, oidcURL, 2)
		good(t, source, "b")
		absent(t, source, "a")
	})
}

func TestADailyDiscoveryThatFailsDoesNoHarm(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		var fetches log
		source := newCache(t, n, jwks.WithObserver(fetches.observe)).Issuer(issuerURL)
		good(t, source, "a")
		n.put(oidcURL, page{status: http.StatusBadGateway})
		pass(30 * time.Hour)
		good(t, source, "a")
		if last := fetches.last(); last.Err != nil || last.Discovery == nil || !strings.Contains(last.Discovery.Error(), "status 502") {
			t.Errorf("%+v, want a fetch that went well, and a discovery that did not", last)
		}
		n.put(oidcURL, metadata(issuerURL, keysURL))
		pass(10 * time.Minute)
		if last := fetches.last(); last.Err != nil || last.Discovery != nil {
			t.Errorf("%+v, want a fetch and a discovery that went well", last)
		}
	})
}

func TestASetThatMovedIsFound(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusGone} {
		bubble(t, func(t *testing.T, n *network) {
			source := newCache(t, n).Issuer(issuerURL)
			good(t, source, "a")
			n.put(oidcURL, metadata(issuerURL, keysURL+"/2"))
			n.put(keysURL, page{status: status})
			n.put(keysURL+"/2", page{body: document("b")})
			pass(9 * time.Minute)
			good(t, source, "b")
			asked(t, n, oidcURL, 2)
			asked(t, n, keysURL, 2)
		})
	}
	bubble(t, func(t *testing.T, n *network) { // and one that did not is asked once
		cache := newCache(t, n)
		source := cache.Issuer(issuerURL)
		good(t, source, "a")
		n.put(keysURL, page{status: http.StatusNotFound})
		pass(8*time.Minute + 30*time.Second)
		if fetches := int(cache.Stats()[0].Fetches); fetches < 2 || n.count(keysURL) != fetches || n.count(oidcURL) != fetches {
			t.Errorf("%d fetches asked %d times for keys and %d for discovery", fetches, n.count(keysURL), n.count(oidcURL))
		}
		good(t, source, "a")
	})
	bubble(t, func(t *testing.T, n *network) { // nor is discovery, if it has just told
		n.put(keysURL, page{status: http.StatusNotFound})
		unavailable(t, newCache(t, n).Issuer(issuerURL), "a", "status 404")
		asked(t, n, oidcURL, 1)
	})
	bubble(t, func(t *testing.T, n *network) { // other statuses say nothing of a move
		source := newCache(t, n).Issuer(issuerURL)
		good(t, source, "a")
		n.put(keysURL, page{status: http.StatusServiceUnavailable})
		pass(9 * time.Minute)
		asked(t, n, oidcURL, 1)
	})
}

func TestAKeySetByItsURL(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		const url = keysURL + "?tenant=1"
		n.put(url, page{body: document("a")})
		cache := newCache(t, n)
		source := cache.URL(url)
		good(t, source, "a")
		asked(t, n, oidcURL, 0)
		if name := cache.Stats()[0].Issuer; name != keysURL {
			t.Errorf("name %q, want one without the query", name)
		}
		n.put(url, page{status: http.StatusNotFound})
		pass(9 * time.Minute)
		asked(t, n, url, n.total())
	})
}

func TestIssuersDoNotShareKeys(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		const other = "https://other.example"
		n.put(other+"/.well-known/openid-configuration", metadata(other, other+"/keys"))
		n.put(other+"/keys", page{body: document("b")})
		cache := newCache(t, n)
		one, two := cache.Issuer(issuerURL), cache.Issuer(other)
		good(t, one, "a")
		good(t, two, "b")
		absent(t, one, "b")
		absent(t, two, "a")
	})
}

func TestDiscoveryOnTheWire(t *testing.T) {
	for _, path := range []string{"/", "/tenant", "/tenant/"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			for endpoint, form := range map[authtest.Endpoint]jwks.Form{authtest.EndpointOIDC: jwks.OIDC, authtest.EndpointOAuth: jwks.OAuth} {
				issuer := authtest.NewIssuer(t, authtest.WithPath(path))
				source := onTheWire(t, issuer).Issuer(issuer.URL(), jwks.WithForm(form))
				wired(t, issuer, source)
				if issuer.Hits(endpoint) != 1 || issuer.Hits() != 2 {
					t.Errorf("%s: %d requests, %d in all, want 1 and 2", form, issuer.Hits(endpoint), issuer.Hits())
				}
			}
		})
	}
}
