package middleware_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

var everySource = middleware.WithSources(
	middleware.Header("X-API-Key"), middleware.Bearer(), middleware.Basic(), middleware.Cookie("key"), middleware.Query("key"), middleware.Query("private_key"),
)

// Whatever a request looks like, the stage answers, and what it lets pass carries no trace of the key.
func FuzzCredentialIsRemoved(f *testing.F) {
	f.Add("X-Api-Key", goodKey, "q=1", "a=b")
	f.Add("Authorization", "Bearer "+goodKey, "key="+goodKey, "key="+goodKey)
	f.Add("Authorization", "bearer  "+goodKey, "k%65y="+goodKey+"&key2=x", "key="+goodKey+"; a=b")
	f.Add("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(goodKey+":x")), "private_key=%67ood-key-of-the-demo", "")
	f.Add("X-Api-Key", "", "key="+goodKey+";x&key", "key=\"\"")
	f.Fuzz(func(t *testing.T, name, value, query, cookie string) {
		r := httptest.NewRequest(http.MethodGet, "/v1/search", nil)
		r.URL.RawQuery, r.RequestURI = query, "/v1/search?"+query
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		r.Header["Cookie"] = []string{cookie}
		a, refusal := middleware.Authenticate(demoCallers(), everySource).Admit(http.Header{}, r, "GET /v1/search")
		if refusal != nil {
			if refusal.Status != 400 && refusal.Status != 401 {
				t.Fatalf("status %d", refusal.Status)
			}
			return
		}
		clean := a.Request()
		if got, there := clean.Header["X-Api-Key"]; there {
			t.Errorf("X-API-Key: %s reaches the handler", got)
		}
		scheme := strings.FieldsFunc(clean.Header.Get("Authorization")+" ", func(r rune) bool { return r == ' ' || r == '\t' })
		if len(scheme) > 0 && (strings.EqualFold(scheme[0], "Bearer") || strings.EqualFold(scheme[0], "Basic")) {
			t.Errorf("Authorization: %s reaches the handler", clean.Header.Get("Authorization"))
		}
		if clean.URL.Query().Has("key") || clean.URL.Query().Has("private_key") {
			t.Errorf("the query %q reaches the handler", clean.URL.RawQuery)
		}
		if u, err := url.ParseRequestURI(clean.RequestURI); err == nil && u.Query().Has("key") {
			t.Errorf("RequestURI %q reaches the handler", clean.RequestURI)
		}
		if len(clean.CookiesNamed("key")) != 0 {
			t.Errorf("the cookie %q reaches the handler", clean.Header.Get("Cookie"))
		}
		if r.URL.RawQuery != query || r.Header.Get("Cookie") != cookie {
			t.Error("the original request was changed")
		}
	})
}

func TestWhatElseIsInTheRequestStays(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/v1/search?b=2&key="+goodKey+"&a=%201", nil)
	r.Header.Set("Accept", "text/plain")
	r.Header.Set("Cookie", `session=s; key=`+goodKey+`; b={"q":1}; a=x y; e`)
	if err := r.ParseForm(); err != nil {
		t.Fatal(err)
	}
	a, h, refusal := admit(t, middleware.Authenticate(demoCallers(), everySource), r)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if h.Get("Cache-Control") != "private" || h.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("header %v lets caches and links keep the key", h)
	}
	clean := a.Request()
	if clean.URL.RawQuery != "b=2&a=%201" || clean.RequestURI != "/v1/search?b=2&a=%201" {
		t.Errorf("query %q, RequestURI %q; want the others as they were written", clean.URL.RawQuery, clean.RequestURI)
	}
	if clean.Header.Get("Accept") != "text/plain" || clean.Header.Get("Cookie") != `session=s; b={"q":1}; a=x y; e` {
		t.Errorf("header %v lost something", clean.Header)
	}
	if clean.FormValue("key") != "" {
		t.Error("the form that was read before still has the key")
	}
}

// What another source would read as a key goes too, however it is spelled.
func TestEveryCredentialIsRemoved(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"Bearer " + goodKey, "bearer " + goodKey, "BEARER   " + goodKey} {
		r := request(http.MethodGet, "/")
		r.Header.Set("Authorization", value)
		a, _, refusal := admit(t, middleware.Authenticate(demoCallers()), r)
		if refusal != nil {
			t.Fatalf("%q: %v", value, refusal)
		}
		if got, there := a.Request().Header["Authorization"]; there {
			t.Errorf("%q: the handler sees %q", value, got)
		}
	}
}

func TestClientNetwork(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct {
		remote    string
		forwarded []string
		trusted   []netip.Prefix
		want      string
	}{
		"IPv4":                                   {remote: "192.0.2.7:1234", want: "192.0.2.7"},
		"IPv6 is its /64":                        {remote: "[2001:db8:1:2:3:4:5:6]:1234", want: "2001:db8:1:2::/64"},
		"IPv4 in IPv6 is IPv4":                   {remote: "[::ffff:192.0.2.7]:1234", want: "192.0.2.7"},
		"a zone is left out":                     {remote: "[fe80::1%eth0]:1234", want: "fe80::/64"},
		"not an address":                         {remote: "@", want: ""},
		"forwarded is not believed":              {remote: "192.0.2.7:1", forwarded: []string{"198.51.100.1"}, want: "192.0.2.7"},
		"nor from a peer that is not trusted":    {remote: "192.0.2.7:1", forwarded: []string{"198.51.100.1"}, trusted: proxies, want: "192.0.2.7"},
		"a trusted peer is":                      {remote: "10.0.0.1:1", forwarded: []string{"198.51.100.1"}, trusted: proxies, want: "198.51.100.1"},
		"from the right":                         {remote: "10.0.0.1:1", forwarded: []string{"1.1.1.1, 198.51.100.1, 10.2.2.2"}, trusted: proxies, want: "198.51.100.1"},
		"over all lines":                         {remote: "10.0.0.1:1", forwarded: []string{"1.1.1.1", "198.51.100.1"}, trusted: proxies, want: "198.51.100.1"},
		"folded in the middle":                   {remote: "10.0.0.1:1", forwarded: []string{"198.51.100.1, ::ffff:10.9.9.9"}, trusted: proxies, want: "198.51.100.1"},
		"garbage ends the walk":                  {remote: "10.0.0.1:1", forwarded: []string{"198.51.100.1, junk, 10.2.2.2"}, trusted: proxies, want: "10.2.2.2"},
		"all trusted: the leftmost of them":      {remote: "10.0.0.1:1", forwarded: []string{"10.3.3.3, 10.2.2.2"}, trusted: proxies, want: "10.3.3.3"},
		"trusted but nothing forwarded: itself":  {remote: "10.0.0.1:1", trusted: proxies, want: "10.0.0.1"},
		"trusted IPv4 written inside IPv6":       {remote: "10.0.0.1:1", forwarded: []string{"198.51.100.1"}, trusted: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}, want: "198.51.100.1"},
		"all of IPv4 written inside IPv6":        {remote: "203.0.113.9:1", forwarded: []string{"2001:db8::1"}, trusted: []netip.Prefix{netip.MustParsePrefix("::ffff:0:0/96")}, want: "2001:db8::/64"},
		"a client that pretends to be our proxy": {remote: "203.0.113.9:1", forwarded: []string{"10.0.0.1"}, trusted: proxies, want: "203.0.113.9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr, r.Header["X-Forwarded-For"] = c.remote, c.forwarded
			if got := middleware.ClientNetwork(c.trusted...).Of(r); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// Every field that is sent is a list that RFC 9651 can read, with the members that the draft names.
func TestFieldsAreStructured(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policies := []ratelimit.Policy{
			ratelimit.Per(rapid.Int64Range(0, ratelimit.MaxLimit).Draw(t, "limit"), time.Duration(rapid.IntRange(1, 1e8).Draw(t, "window"))*time.Millisecond),
			ratelimit.PerHour(5).Named(rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`).Draw(t, "name")),
		}
		if policies[1].Name == "requests" {
			policies = policies[:1]
		}
		h := http.Header{}
		stage := middleware.Authenticate(demoCallers()).RateLimit(limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
			d, err := allow(r)
			d.Results[0].Remaining = max(d.Results[0].Remaining, 0)
			return d, err
		}), policies...)
		if err := stage.Err(); err != nil {
			t.Fatal(err)
		}
		if _, refusal := stage.Admit(h, request("GET", "/"), "GET /"); refusal != nil {
			t.Fatal(refusal)
		}
		for field, required := range map[string]string{"Ratelimit-Policy": "q", "Ratelimit": "r"} {
			list, err := httpsfv.UnmarshalList(h[field])
			if err != nil || len(list) != len(policies) {
				t.Fatalf("%s: %v: %v, want a list of %d", field, h[field], err, len(policies))
			}
			for i, member := range list {
				item, ok := member.(httpsfv.Item)
				if !ok || item.Value != policies[i].Name {
					t.Fatalf("%s: member %d is %v, want the string %q", field, i, member, policies[i].Name)
				}
				if v, ok := item.Params.Get(required); !ok || v.(int64) < 0 {
					t.Errorf("%s: member %d has no %s", field, i, required)
				}
				for _, optional := range []string{"w", "t"} {
					if v, ok := item.Params.Get(optional); ok && v.(int64) <= 0 {
						t.Errorf("%s: member %d has %s=%v", field, i, optional, v)
					}
				}
				if names := item.Params.Names(); slices.ContainsFunc(names, func(n string) bool { return !strings.Contains("qwrt", n) }) {
					t.Errorf("%s: member %d has the parameters %v", field, i, names)
				}
			}
		}
	})
}
