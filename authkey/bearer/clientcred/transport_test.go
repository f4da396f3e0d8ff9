package clientcred_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

const maps = "https://maps.example"

// service is a base that answers by do and counts what it was sent.
type service struct {
	mu    sync.Mutex
	sent  []string // Authorization of each request
	do    func(r *http.Request) *http.Response
	error error
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	s.mu.Lock()
	s.sent = append(s.sent, strings.Join(r.Header["Authorization"], ","))
	s.mu.Unlock()
	if s.error != nil {
		return nil, s.error
	}
	if s.do == nil {
		return response(r, http.StatusOK, ""), nil
	}
	return s.do(r), nil
}

func (s *service) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.sent...)
}

// wantSent compares the tokens that a service was sent.
func wantSent(t *testing.T, s *service, want ...string) {
	t.Helper()
	if got := s.got(); !reflect.DeepEqual(got, append([]string{}, want...)) {
		t.Errorf("sent with %q, want %q", got, want)
	}
}

func newTransport(t *testing.T, source *clientcred.Source, base http.RoundTripper, origins ...string) *clientcred.Transport {
	t.Helper()
	transport, err := clientcred.NewTransport(source, base, origins...)
	if err != nil {
		t.Fatal(err)
	}
	return transport
}

func newRequest(t *testing.T, method, address string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// trip sends a request and returns the status.
func trip(t *testing.T, transport http.RoundTripper, r *http.Request) int {
	t.Helper()
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func TestTokenGoesToItsOriginsOnly(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		origins []string
		url     string
		host    string
		want    bool
	}{
		"the origin":                    {url: maps + "/a?b", want: true},
		"its default port":              {url: maps + ":443/a", want: true},
		"an empty port":                 {url: maps + ":/a", want: true},
		"another case":                  {url: "https://MAPS.example/a", want: true},
		"a listed port":                 {origins: []string{maps + ":8443"}, url: maps + ":8443/a", want: true},
		"a listed default port":         {origins: []string{maps + ":443"}, url: maps, want: true},
		"listed in another case":        {origins: []string{"https://Maps.Example"}, url: maps, want: true},
		"one of two":                    {origins: []string{"https://other.example", maps}, url: maps, want: true},
		"an address":                    {origins: []string{"https://[2001:DB8::1]"}, url: "https://[2001:db8::1]:443/", want: true},
		"http that is listed":           {origins: []string{"http://maps.example"}, url: "http://maps.example:80/a", want: true},
		"http where https is listed":    {url: "http://maps.example/a"},
		"http at the port of https":     {url: "http://maps.example:443/a"},
		"https where http is listed":    {origins: []string{"http://maps.example"}, url: maps},
		"another port":                  {url: maps + ":8443/a"},
		"no port where one is listed":   {origins: []string{maps + ":8443"}, url: maps},
		"a host below":                  {url: "https://a.maps.example/"},
		"a host above":                  {url: "https://example/"},
		"the host as a name of another": {url: "https://maps.example.evil.example/"},
		"a longer name":                 {url: "https://evilmaps.example/"},
		"the host as a user":            {url: "https://maps.example@evil.example/"},
		"a dot at the end":              {url: "https://maps.example./"},
		"a letter that is i in lower":   {origins: []string{"https://files.example"}, url: "https://f\u0130les.example/"},
		"a letter that is k in lower":   {origins: []string{"https://kiosk.example"}, url: "https://kios\u212a.example:443/"},
		"such a letter in the field":    {origins: []string{"https://files.example"}, url: "https://files.example/", host: "f\u0130les.example"},
		"such a letter in both":         {origins: []string{"https://files.example"}, url: "https://f\u0130les.example/", host: "f\u0130les.example"},
		"the host of the URL":           {url: maps, host: "maps.example", want: true},
		"the host of the URL, and port": {url: maps, host: "Maps.example:443", want: true},
		"another host in the field":     {url: maps, host: "evil.example"},
		"another port in the field":     {url: maps, host: "maps.example:8443"},
		"a listed host in the field":    {origins: []string{maps, "https://b.example"}, url: maps, host: "b.example", want: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origins, want := row.origins, ""
			if origins == nil {
				origins = []string{maps}
			}
			e, base := &endpoint{do: grants(3600)}, &service{}
			r := newRequest(t, http.MethodGet, row.url, nil)
			if r.Host = ""; row.host != "" {
				r.Host = row.host
			}
			trip(t, newTransport(t, newSource(t, e), base, origins...), r)
			if row.want {
				want = "Bearer token-1"
			}
			wantSent(t, base, want)
			if !row.want && e.count() != 0 {
				t.Error("asked for a token that nobody needs")
			}
		})
	}
}

func TestRequestAsItWasWhereNoTokenGoes(t *testing.T) {
	t.Parallel()
	r := newRequest(t, http.MethodGet, "https://other.example", nil)
	base := &service{do: func(sent *http.Request) *http.Response {
		if sent != r {
			t.Error("another request was sent")
		}
		return response(sent, http.StatusOK, "")
	}}
	trip(t, newTransport(t, newSource(t, &endpoint{do: grants(60)}), base, maps), r)
}

func TestRedirectTakesNoTokenElsewhere(t *testing.T) {
	t.Parallel()
	fields := make(chan string, 4)
	show := func(name string) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) { fields <- name + " " + r.Header.Get("Authorization") }
	}
	other := httptest.NewServer(show("other"))
	defer other.Close()
	mux := http.NewServeMux()
	mux.Handle("/there", http.RedirectHandler(other.URL+"/end", http.StatusTemporaryRedirect))
	mux.Handle("/here", http.RedirectHandler("/end", http.StatusTemporaryRedirect))
	mux.Handle("/end", show("own"))
	own := httptest.NewServer(mux)
	defer own.Close()
	client := &http.Client{Transport: newTransport(t, newSource(t, &endpoint{do: grants(60)}), plain(), own.URL)}
	for path, want := range map[string]string{"/there": "other ", "/here": "own Bearer token-1"} {
		response, err := client.Do(newRequest(t, http.MethodGet, own.URL+path, nil))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := <-fields; got != want {
			t.Errorf("%s ended with %q, want %q", path, got, want)
		}
	}
}

func TestRequestOfTheCallerIsNotChanged(t *testing.T) {
	t.Parallel()
	base := &service{}
	transport := newTransport(t, newSource(t, &endpoint{do: grants(60)}), base, maps)
	for name, header := range map[string]http.Header{"a header": {"X-A": {"b"}}, "no header": nil} {
		r := newRequest(t, http.MethodPost, maps, strings.NewReader("body"))
		r.Header = header
		before, body := r.Header.Clone(), r.Body
		base.do = func(sent *http.Request) *http.Response {
			if sent == r || sent.Header.Get("X-A") != header.Get("X-A") || sent.Method != r.Method || sent.URL.String() != maps || sent.ContentLength != 4 {
				t.Errorf("%s: sent %v", name, sent)
			}
			return response(sent, http.StatusOK, "")
		}
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if !reflect.DeepEqual(r.Header, before) || r.Body != body {
			t.Errorf("%s: changed to %v", name, r.Header)
		}
		if response.Request != r {
			t.Errorf("%s: the response's Request is not that of the caller, and may hold the token", name)
		}
	}
}

func TestAuthorizationOfTheCallerIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]http.Header{
		"set":                {"Authorization": {"Basic abc"}},
		"empty":              {"Authorization": {""}},
		"in an odd spelling": {"authorizatioN": {"Basic abc"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := &service{do: func(r *http.Request) *http.Response {
				if !reflect.DeepEqual(r.Header, header) {
					t.Errorf("sent with %v", r.Header)
				}
				return unauthorized(r, invalidToken)
			}}
			e := &endpoint{do: grants(60)}
			r := newRequest(t, http.MethodGet, maps, nil)
			r.Header = header.Clone()
			trip(t, newTransport(t, newSource(t, e), base, maps), r)
			if n := len(base.got()); n != 1 || e.count() != 0 {
				t.Errorf("sent %d times with %d questions, want once without any", n, e.count())
			}
		})
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	source := newSource(t, &endpoint{do: grants(60)})
	for _, origin := range []string{
		"", "maps.example", "//maps.example", "https://", "https://:443", "ftp://maps.example", maps + "/", maps + "/a", maps + "?a", maps + "#a", maps + "#",
		"https://a:s3cret@maps.example", "https://*.maps.example", "https://maps.example%20", "https://[fe80::1%25eth0]", "https://mäps.example",
		"https://maps.example:port", "HTTPS://maps.example", " " + maps, maps + ",https://b.example",
	} {
		transport, err := clientcred.NewTransport(source, nil, maps, origin)
		if transport != nil || !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "origin 1") {
			t.Errorf("%q: a Transport %v and the error %v, want authkey.ErrInvalid alone", origin, transport, err)
		}
		if err != nil {
			keeps(t, err)
		}
	}
	_, err := clientcred.NewTransport(nil, nil)
	for _, want := range []string{"source: nil", "origins: none"} {
		if !errors.Is(err, authkey.ErrInvalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("error %v, want one that names %q", err, want)
		}
	}
}

// closer is a base that can close its connections.
type closer struct {
	service
	closed int
}

func (c *closer) CloseIdleConnections() { c.closed++ }

func TestCloseIdleConnections(t *testing.T) {
	t.Parallel()
	source, base := newSource(t, &endpoint{do: grants(60)}), &closer{}
	(&http.Client{Transport: newTransport(t, source, base, maps)}).CloseIdleConnections()
	if base.closed != 1 {
		t.Errorf("closed %d times, want once", base.closed)
	}
	newTransport(t, source, &service{}, maps).CloseIdleConnections() // has none to close
}
