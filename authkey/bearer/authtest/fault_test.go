package authtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

var endpoints = []authtest.Endpoint{
	authtest.EndpointOIDC, authtest.EndpointOAuth, authtest.EndpointKeys, authtest.EndpointToken, authtest.EndpointIntrospection,
}

// call asks an endpoint as a good client does.
func call(t *testing.T, issuer *authtest.Issuer, endpoint authtest.Endpoint) reply {
	t.Helper()
	switch endpoint {
	case authtest.EndpointToken:
		return post(t, issuer, endpoint, authtest.ClientID, authtest.ClientSecret, url.Values{"grant_type": {"client_credentials"}})
	case authtest.EndpointIntrospection:
		return post(t, issuer, endpoint, authtest.ClientID, authtest.ClientSecret, url.Values{"token": {"unknown"}})
	default:
		return get(t.Context(), issuer, issuer.EndpointURL(endpoint))
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	own := call(t, issuer, authtest.EndpointKeys)
	for _, c := range []struct {
		name   string
		fault  authtest.Fault
		status int
		body   string
		header map[string]string
	}{
		{"none", authtest.Fault{}, 200, string(own.body), nil},
		{"status", authtest.Fault{Status: 500}, 500, string(own.body), nil},
		{"garbage", authtest.Fault{Body: []byte("<html>")}, 200, "<html>", nil},
		{"empty", authtest.Fault{Body: []byte{}}, 200, "", nil},
		{"status and body", authtest.Fault{Status: 503, Body: []byte(`{}`)}, 503, `{}`, nil},
		{"header", authtest.Fault{Header: http.Header{"cache-control": {"max-age=7"}, "Content-Type": {"text/html"}}}, 200, string(own.body), map[string]string{"Cache-Control": "max-age=7", "Content-Type": "text/html"}},
		{"redirect", authtest.Fault{Redirect: "http://169.254.169.254/latest"}, 302, string(own.body), map[string]string{"Location": "http://169.254.169.254/latest"}},
		{"redirect with a status", authtest.Fault{Redirect: "/x", Status: 308}, 308, string(own.body), map[string]string{"Location": "/x"}},
		{"members", authtest.Fault{Members: authtest.Claims{"keys": []int{}, "x": nil}}, 200, `{"keys":[],"x":null}`, nil},
		{"a member that is not there", authtest.Fault{Members: authtest.Claims{"keys": authtest.Absent}}, 200, `{}`, nil},
		{"members of a body", authtest.Fault{Body: []byte(`{"a":1.0,"b":2}`), Members: authtest.Claims{"b": 3}}, 200, `{"a":1.0,"b":3}`, nil},
		{"members of garbage", authtest.Fault{Body: []byte(`[1]`), Members: authtest.Claims{"b": 3}}, 200, `[1]`, nil},
		{"pad", authtest.Fault{Pad: 3}, 200, string(own.body) + "   ", nil},
		{"huge", authtest.Fault{Pad: 1 << 20}, 200, string(own.body) + strings.Repeat(" ", 1<<20), nil},
		{"drip to the end", authtest.Fault{Drip: time.Nanosecond, Body: []byte("abc"), Pad: 2}, 200, "abc  ", nil},
		{"no content", authtest.Fault{Status: 204}, 204, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			issuer.Break(authtest.EndpointKeys, c.fault)
			got := call(t, issuer, authtest.EndpointKeys)
			if got.err != nil || got.status != c.status || string(got.body) != c.body {
				t.Errorf("status %d, error %v, %d bytes %.100q, want %d and %d bytes %.100q", got.status, got.err, len(got.body), got.body, c.status, len(c.body), c.body)
			}
			for name, want := range c.header {
				if value := got.header.Get(name); value != want {
					t.Errorf("%s is %q, want %q", name, value, want)
				}
			}
			if length := got.header.Get("Content-Length"); c.fault.Pad > 0 && length != "" {
				t.Errorf("its length is told: %s", length)
			}
			issuer.Heal(authtest.EndpointKeys)
			if healed := call(t, issuer, authtest.EndpointKeys); healed.status != 200 || !bytes.Equal(healed.body, own.body) || healed.header.Get("Location") != "" {
				t.Errorf("healed: %+v", healed)
			}
		})
	}
}

func TestEveryEndpointBreaksAndHeals(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	for _, endpoint := range endpoints {
		issuer.Break(endpoint, authtest.Fault{Status: 500})
		issuer.Break(endpoint, authtest.Fault{Status: 502}) // in its place
	}
	issuer.Heal(authtest.EndpointOIDC, authtest.EndpointToken)
	for _, endpoint := range endpoints {
		want := http.StatusBadGateway
		if endpoint == authtest.EndpointOIDC || endpoint == authtest.EndpointToken {
			want = http.StatusOK
		}
		if got := call(t, issuer, endpoint); got.status != want {
			t.Errorf("%s: status %d, error %v, want %d", endpoint, got.status, got.err, want)
		}
	}
	issuer.Heal()
	for _, endpoint := range endpoints {
		if got := call(t, issuer, endpoint); got.status != http.StatusOK {
			t.Errorf("healed %s: status %d, error %v", endpoint, got.status, got.err)
		}
	}
}

func TestWrongIssuerAndOddAnswers(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	good := call(t, issuer, authtest.EndpointOAuth).object(t, http.StatusOK)
	issuer.Break(authtest.EndpointOAuth, authtest.Fault{Members: authtest.Claims{"issuer": issuer.URL() + "/"}})
	bad := call(t, issuer, authtest.EndpointOAuth).object(t, http.StatusOK)
	if bad["issuer"] != issuer.URL()+"/" || bad["jwks_uri"] != good["jwks_uri"] || len(bad) != len(good) {
		t.Errorf("metadata %v", bad)
	}
	issuer.Break(authtest.EndpointToken, authtest.Fault{Members: authtest.Claims{"expires_in": authtest.Absent, "token_type": "DPoP"}})
	answer := call(t, issuer, authtest.EndpointToken).object(t, http.StatusOK)
	if _, ok := answer["expires_in"]; ok || answer["token_type"] != "DPoP" || answer["access_token"] == nil {
		t.Errorf("answer %v", answer)
	}
	issuer.Break(authtest.EndpointIntrospection, authtest.Fault{Body: []byte(`{"active":"true"}`)})
	if got := call(t, issuer, authtest.EndpointIntrospection); string(got.body) != `{"active":"true"}` {
		t.Errorf("introspection answers %q", got.body)
	}
}

func TestCutEndsInTheMiddle(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	for _, body := range [][]byte{nil, []byte("ab"), {}} {
		issuer.Break(authtest.EndpointKeys, authtest.Fault{Cut: true, Body: body, Status: 203})
		got := call(t, issuer, authtest.EndpointKeys)
		if !errors.Is(got.err, io.ErrUnexpectedEOF) || got.status != 203 || json.Valid(got.body) {
			t.Errorf("status %d, error %v, body %q", got.status, got.err, got.body)
		}
		if body != nil && len(got.body) != len(body)/2 {
			t.Errorf("body %q of %q", got.body, body)
		}
	}
}

func TestHits(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	if hits, last := issuer.Hits(), issuer.Last(authtest.EndpointKeys); hits != 0 || last != nil {
		t.Errorf("at first: %d, %v", hits, last)
	}
	for n, endpoint := range endpoints {
		for range n + 1 {
			call(t, issuer, endpoint)
		}
	}
	for n, endpoint := range endpoints {
		if got := issuer.Hits(endpoint); got != n+1 {
			t.Errorf("%s: %d hits, want %d", endpoint, got, n+1)
		}
	}
	get(t.Context(), issuer, issuer.URL()+"/elsewhere?x=y")
	issuer.Break(authtest.EndpointKeys, authtest.Fault{Cut: true})
	call(t, issuer, authtest.EndpointKeys)
	for _, c := range []struct {
		of   []authtest.Endpoint
		want int
	}{{nil, 17}, {endpoints, 16}, {[]authtest.Endpoint{authtest.EndpointOIDC, authtest.EndpointKeys}, 5}, {[]authtest.Endpoint{""}, 1}} {
		if got := issuer.Hits(c.of...); got != c.want {
			t.Errorf("%q: %d hits, want %d", c.of, got, c.want)
		}
	}
	if last := issuer.Last(""); last == nil || last.URL.String() != "/elsewhere?x=y" {
		t.Errorf("the last request elsewhere: %v", last)
	}
	last := issuer.Last(authtest.EndpointIntrospection)
	if id, secret, ok := last.BasicAuth(); !ok || id != authtest.ClientID || secret != authtest.ClientSecret || last.PostForm.Get("token") != "unknown" {
		t.Errorf("the last introspection: %v %v", last.Header, last.PostForm)
	}
}

func TestFaultsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want     string
		endpoint authtest.Endpoint
		fault    authtest.Fault
	}{
		{`Break: no endpoint "key"`, "key", authtest.Fault{}},
		{"Break: field Status is 199", authtest.EndpointKeys, authtest.Fault{Status: 199}},
		{"Break: field Status is 600", authtest.EndpointKeys, authtest.Fault{Status: 600}},
		{"Break: field Status is -1; it may be 0, or 200 to 599\nfields Pad and Drip are -1 and 0s", authtest.EndpointKeys, authtest.Fault{Status: -1, Pad: -1}},
		{"Break: fields Pad and Drip are 0 and -1ns", authtest.EndpointKeys, authtest.Fault{Drip: -1}},
		{"Break: json: unsupported type", authtest.EndpointKeys, authtest.Fault{Members: authtest.Claims{"x": make(chan int)}}},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			ends(t, c.want, func(t testing.TB) { authtest.NewIssuer(t).Break(c.endpoint, c.fault) })
		})
	}
}
