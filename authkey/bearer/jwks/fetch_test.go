package jwks_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

// onTheWire is a cache that may ask an issuer on loopback.
func onTheWire(t *testing.T, issuer *authtest.Issuer, opts ...jwks.Option) *jwks.Cache {
	t.Helper()
	cache, err := jwks.New(append([]jwks.Option{
		jwks.WithHTTPClient(issuer.Client()), jwks.WithLoopback(), jwks.WithWait(30 * time.Second), jwks.WithTimeout(30 * time.Second),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return cache
}

func headerOf(key *authtest.Key) bearer.Header {
	return bearer.Header{KeyID: key.ID, Algorithm: key.Alg}
}

// wired fails unless the source has the issuer's key.
func wired(t *testing.T, issuer *authtest.Issuer, source *jwks.Source) {
	t.Helper()
	h := headerOf(issuer.Key())
	if set, err := source.Keys(t.Context(), h); err != nil || !set.Has(h) {
		t.Errorf("want the issuer's key; error %v", err)
	}
}

func TestWhatARequestSays(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := *issuer.Client()
	client.Jar = jar
	issuer.Break(authtest.EndpointOIDC, authtest.Fault{Header: http.Header{"Set-Cookie": {"a=b; Path=/"}}})
	wired(t, issuer, onTheWire(t, issuer, jwks.WithHTTPClient(&client)).Issuer(issuer.URL()))
	got := issuer.Last(authtest.EndpointKeys).Header
	for name, want := range map[string]string{"User-Agent": "tollgate-jwks", "Accept": "application/json, application/jwk-set+json", "Cookie": "", "Authorization": ""} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
	}
	wired(t, issuer, onTheWire(t, issuer, jwks.WithUserAgent("shop/1.2")).Issuer(issuer.URL()))
	if got := issuer.Last(authtest.EndpointKeys).Header.Get("User-Agent"); got != "shop/1.2" {
		t.Errorf("User-Agent %q", got)
	}
}

func TestABadAnswerOnTheWire(t *testing.T) { // row 74
	t.Parallel()
	for name, test := range map[string]struct {
		fault authtest.Fault
		opts  []jwks.Option
		want  string
	}{
		"300 MB":                    {authtest.Fault{Pad: 300 << 20}, nil, "more than 262144 bytes"},
		"a byte too many":           {authtest.Fault{Body: []byte(strings.Repeat(" ", 256<<10+1))}, nil, "more than 262144 bytes"},
		"slow drip":                 {authtest.Fault{Drip: 50 * time.Millisecond}, []jwks.Option{jwks.WithTimeout(300 * time.Millisecond)}, "deadline exceeded"},
		"redirect to metadata":      {authtest.Fault{Redirect: "http://169.254.169.254/latest/meta-data"}, nil, "a redirect, and none is followed"},
		"permanent redirect":        {authtest.Fault{Status: 308, Redirect: "https://issuer.example/keys"}, nil, "a redirect, and none is followed"},
		"long header":               {authtest.Fault{Header: http.Header{"X-Long": {strings.Repeat("x", 40<<10)}}}, nil, "no answer"},
		"good answer, wrong status": {authtest.Fault{Status: http.StatusInternalServerError}, nil, "status 500"},
		"cut":                       {authtest.Fault{Cut: true}, nil, "no answer"},
		"nothing":                   {authtest.Fault{Body: []byte{}}, nil, "JSON"},
	} {
		for _, endpoint := range []authtest.Endpoint{authtest.EndpointOIDC, authtest.EndpointKeys} {
			t.Run(name+" at "+string(endpoint), func(t *testing.T) {
				t.Parallel()
				issuer := authtest.NewIssuer(t)
				issuer.Break(endpoint, test.fault)
				source := onTheWire(t, issuer, test.opts...).Issuer(issuer.URL(), jwks.WithForm(jwks.OIDC))
				_, err := source.Keys(t.Context(), headerOf(issuer.Key()))
				outage(t, err, test.want)
			})
		}
	}
}

func TestAnAnswerJustSmallEnough(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, n *network) {
		body := document("a")
		n.put(keysURL, page{body: body + strings.Repeat(" ", 256<<10-len(body)), header: http.Header{"X": {strings.Repeat("x", 32<<10-1)}}})
		good(t, newCache(t, n).Issuer(issuerURL), "a")
	})
}

func TestARoundTripperWithoutBounds(t *testing.T) {
	t.Parallel()
	t.Run("size", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *network) {
			stream := new(endless)
			n.put(keysURL, page{stream: stream})
			unavailable(t, newCache(t, n).Issuer(issuerURL), "a", "more than 262144 bytes")
			if stream.read > 512<<10 {
				t.Errorf("%d bytes were read, want little more than the bound", stream.read)
			}
		})
	})
	t.Run("header", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *network) {
			n.put(keysURL, page{body: document("a"), header: http.Header{"X": {strings.Repeat("x", 32<<10)}}})
			unavailable(t, newCache(t, n).Issuer(issuerURL), "a", "the header has more than 32768 bytes")
		})
	})
	t.Run("time", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *network) {
			n.put(keysURL, page{stream: drops{}})
			cache := newCache(t, n, jwks.WithWait(30*time.Second))
			began := time.Now()
			unavailable(t, cache.Issuer(issuerURL), "a", "deadline exceeded")
			if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
				t.Errorf("took %v, want 5 s and maybe a byte", took)
			}
		})
	})
	t.Run("an end with that of the time", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *network) {
			n.put(keysURL, page{stream: &late{document("a")}})
			unavailable(t, newCache(t, n, jwks.WithWait(30*time.Second)).Issuer(issuerURL), "a", "deadline exceeded")
		})
	})
	t.Run("less time", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *network) {
			n.slow(2 * time.Second)
			began := time.Now()
			unavailable(t, newCache(t, n, jwks.WithHTTPClient(&http.Client{Transport: n, Timeout: time.Second})).Issuer(issuerURL), "a", "deadline exceeded")
			if took := time.Since(began); took != time.Second {
				t.Errorf("took %v, want the client's own second", took)
			}
		})
	})
	t.Run("panic", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *network) {
			cache := newCache(t, roundTrip(func(*http.Request) (*http.Response, error) { panic("at the transport") }))
			unavailable(t, cache.Issuer(issuerURL), "a", "a string panicked")
		})
	})
	t.Run("an error with a piece of an answer", func(t *testing.T) {
		bubble(t, func(t *testing.T, n *network) {
			n.fail(errors.New("malformed HTTP response: secret"))
			source := newCache(t, n).URL(keysURL + "?code=secret")
			_, err := source.Keys(t.Context(), header("a"))
			outage(t, err, "no answer: the exchange failed with a *errors.errorString")
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, want nothing of an answer or a query", err)
			}
		})
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRootsAreThoseOfTheProcess(t *testing.T) {
	if url := os.Getenv("JWKS_TEST_ISSUER"); url != "" { // the child
		cache, err := jwks.New(jwks.WithLoopback(), jwks.WithTimeout(30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		cache.Issuer(url)
		if err := cache.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, pemOf(t, issuer), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, file string
		trusted    bool
	}{
		{"named by SSL_CERT_FILE", file, true},
		{"not named", filepath.Join(t.TempDir(), "none.pem"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRootsAreThoseOfTheProcess$", "-test.v")
			child.Env = append(os.Environ(), "SSL_CERT_FILE="+test.file, "SSL_CERT_DIR="+t.TempDir(), "JWKS_TEST_ISSUER="+issuer.URL())
			output, err := child.CombinedOutput()
			if test.trusted != (err == nil) || !test.trusted && !strings.Contains(string(output), "tls: failed to verify certificate") {
				t.Errorf("%v: %s", err, output)
			}
		})
	}
}

// pemOf returns the certificate that an issuer shows.
func pemOf(t *testing.T, issuer *authtest.Issuer) []byte {
	t.Helper()
	dialer := tls.Dialer{Config: issuer.Client().Transport.(*http.Transport).TLSClientConfig}
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(issuer.URL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	certificate := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}
