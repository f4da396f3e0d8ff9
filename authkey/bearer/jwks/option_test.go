package jwks_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		opt  jwks.Option
	}{
		{"option 0: nil", nil},
		{"WithTTL(59s): want 1m0s to 24h0m0s", jwks.WithTTL(59 * time.Second)},
		{"WithTTL(24h0m0.000000001s)", jwks.WithTTL(24*time.Hour + 1)},
		{"WithStale(-1ns): want 0s to 24h0m0s", jwks.WithStale(-1)},
		{"WithStale(24h0m0.000000001s)", jwks.WithStale(24*time.Hour + 1)},
		{"WithCooldown(0s): want 1s to 10m0s", jwks.WithCooldown(0)},
		{"WithCooldown(11m0s)", jwks.WithCooldown(11 * time.Minute)},
		{`WithForm(""): want OIDC or OAuth`, jwks.WithForm("")},
		{`WithForm("saml")`, jwks.WithForm("saml")},
		{"WithPrivateNetworks(): want a network", jwks.WithPrivateNetworks()},
		{"WithPrivateNetworks(invalid Prefix)", jwks.WithPrivateNetworks(netip.Prefix{})},
		{"WithPrivateNetworks(::ffff:10.0.0.0/104)", jwks.WithPrivateNetworks(netip.MustParsePrefix("::ffff:10.0.0.0/104"))},
		{"WithHTTPClient(nil)", jwks.WithHTTPClient(nil)},
		{"WithHTTPClient: the transport is a nil *http.Transport", jwks.WithHTTPClient(&http.Client{Transport: (*http.Transport)(nil)})},
		{"WithProxy(nil)", jwks.WithProxy(nil)},
		{"WithUserAgent: want 1 to 256", jwks.WithUserAgent("")},
		{"WithUserAgent", jwks.WithUserAgent("a\r\nb: c")},
		{"WithUserAgent", jwks.WithUserAgent(strings.Repeat("x", 257))},
		{"WithTimeout(0s): want 1ms to 30s", jwks.WithTimeout(0)},
		{"WithTimeout(31s)", jwks.WithTimeout(31 * time.Second)},
		{"WithWait(0s): want 1ms to 30s", jwks.WithWait(0)},
		{"WithWait(31s)", jwks.WithWait(31 * time.Second)},
		{"WithIssuers(0): want 1 to 100000", jwks.WithIssuers(0)},
		{"WithIssuers(100001)", jwks.WithIssuers(100001)},
		{"WithObserver(nil)", jwks.WithObserver(nil)},
	} {
		t.Run(test.name, func(t *testing.T) {
			cache, err := jwks.New(test.opt)
			if cache != nil || !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(err.Error(), test.name) {
				t.Errorf("%v, want authkey.ErrInvalid with %s", err, test.name)
			}
			opt, ok := test.opt.(jwks.IssuerOption)
			if !ok && test.opt != nil {
				return
			}
			bubble(t, func(t *testing.T, n *network) {
				cache := newCache(t, n)
				healthy, faulty := cache.Issuer(issuerURL), cache.Issuer(issuerURL, opt)
				if err := faulty.Err(); !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(err.Error(), test.name) {
					t.Errorf("%v, want authkey.ErrInvalid with %s", err, test.name)
				}
				unavailable(t, faulty, "a", test.name)
				asked(t, n, keysURL, 0)
				good(t, healthy, "a")
				outage(t, cache.Ready(), test.name)
			})
		})
	}
}

func TestAllFaultsAreTold(t *testing.T) {
	t.Parallel()
	_, err := jwks.New(jwks.WithTTL(1), nil, jwks.WithStale(-1), jwks.WithIssuers(0))
	for _, want := range []string{"WithTTL", "option 1: nil", "WithStale", "WithIssuers"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s in it", err, want)
		}
	}
}

func TestGoodOptions(t *testing.T) {
	t.Parallel()
	cache, err := jwks.New(
		jwks.WithTTL(time.Minute), jwks.WithStale(0), jwks.WithCooldown(time.Second), jwks.WithForm(jwks.OIDC), jwks.WithUserAgent("x"),
		jwks.WithTimeout(time.Millisecond), jwks.WithWait(30*time.Second), jwks.WithIssuers(100_000), jwks.WithProxy(http.ProxyFromEnvironment),
		jwks.WithTTL(24*time.Hour), jwks.WithStale(24*time.Hour), jwks.WithCooldown(10*time.Minute), jwks.WithForm(jwks.OAuth),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := cache.Close(); err != nil {
		t.Error(err)
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url          string
		issuer, keys string // what is wrong with it; "": nothing
	}{
		{"https://issuer.example", "", ""},
		{"https://issuer.example/", "", ""},
		{"https://issuer.example:8443/a%2Fb", "", ""},
		{"https://[2001:4860::1]/keys", "", ""},
		{"https://issuer.example/keys?a=b", "without a query", ""},
		{"https://issuer.example/keys?", "without a query", ""},
		{"http://issuer.example", "want https", "want https"},
		{"http://127.0.0.1:8080", "want https", "want https"},
		{"https://me@issuer.example", "without a user name", "without a user name"},
		{"https://me:secret@issuer.example", "without a user name", "without a user name"},
		{"https://issuer.example/#secret", "or a fragment", "or a fragment"},
		{"https://issuer.example/#", "or a fragment", "or a fragment"},
		{"HTTPS://", "an absolute URL", "an absolute URL"},
		{"https://:443", "an absolute URL", "an absolute URL"},
		{"https:issuer.example", "an absolute URL", "an absolute URL"},
		{"issuer.example", "an absolute URL", "an absolute URL"},
		{"//issuer.example", "an absolute URL", "an absolute URL"},
		{"file:///etc/secret", "an absolute URL", "an absolute URL"},
		{"https://issuer.example/secret\x7f", "an absolute URL", "an absolute URL"},
		{"", "an absolute URL", "an absolute URL"},
		{"https://issuer.example/" + strings.Repeat("secret", 400), "up to 2048 bytes", "up to 2048 bytes"},
	} {
		t.Run(test.url[:min(len(test.url), 40)], func(t *testing.T) {
			cache := newCache(t, newNetwork())
			for _, c := range []struct {
				err  error
				want string
			}{{cache.Issuer(test.url).Err(), test.issuer}, {cache.URL(test.url).Err(), test.keys}} {
				switch {
				case c.want == "" && c.err != nil, c.want != "" && (!errors.Is(c.err, authkey.ErrInvalid) || !strings.Contains(c.err.Error(), c.want)):
					t.Errorf("%v, want: %s", c.err, c.want)
				case c.err != nil && strings.Contains(c.err.Error(), "secret"):
					t.Errorf("%v, want no secret", c.err)
				}
			}
		})
	}
}
