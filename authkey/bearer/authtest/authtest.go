// Package authtest has an issuer of tokens for tests: an OAuth 2.0 authorization server on loopback that signs
// whatever a test asks for, breaks when it is told to and counts who asks. With it come a clock that the test moves,
// a client that makes DPoP proofs, and certificates.
//
//	func TestExpired(t *testing.T) {
//		var clock authtest.Clock
//		issuer := authtest.NewIssuer(t, authtest.WithClock(clock.Now))
//		keySets, err := jwks.New(jwks.WithHTTPClient(issuer.Client()), jwks.WithLoopback())
//		if err != nil { ... }
//		defer keySets.Close()
//		verifier, err := bearer.New([]bearer.Issuer{{
//			URL: issuer.URL(), Audiences: []string{authtest.Audience}, Org: "acme", Keys: keySets.Issuer(issuer.URL()),
//		}}, bearer.WithClock(clock.Now))
//		if err != nil { ... }
//		token := authkey.NewPresented(issuer.Mint(authtest.Claims{"scope": "read"}))
//		clock.Advance(time.Hour)
//		if _, err := verifier.Authenticate(t.Context(), token); !errors.Is(err, authkey.ErrExpired) {
//			t.Errorf("an old token: %v", err)
//		}
//	}
//
// It knows nothing of the packages that it tests, and no key that a test holds is any other's while that test runs.
// Not for use outside tests and examples: its secrets are in its source, and it authenticates no person.
package authtest

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a token says and a client shows where a test does not choose.
const (
	// Audience is the aud claim.
	Audience = "https://api.example.com"
	// ClientID and ClientSecret are those of the client that every issuer knows.
	ClientID     = "client"
	ClientSecret = "secret"
)

// lifetime is how long a token lives where a test does not choose.
const lifetime = 5 * time.Minute

// Issuer is an authorization server with a key set: discovery (OpenID Connect Discovery 1.0 and RFC 8414), JWKS (RFC
// 7517), the client-credentials grant (RFC 6749, section 4.4) and introspection (RFC 7662), over TLS. Safe for
// concurrent use; a method that is given what it cannot do ends the test, so such calls belong to the test's own
// goroutine.
type Issuer struct {
	t       testing.TB
	server  *httptest.Server
	path    string
	now     func() time.Time
	clients map[string]string // secrets by client id

	mu      sync.Mutex
	key     *Key
	named   int // keys that were named here
	keys    []published
	tokens  map[string][]byte // payloads of the tokens that introspection knows
	faults  map[Endpoint]Fault
	traffic map[Endpoint]traffic
}

// Option changes how NewIssuer sets an issuer up.
type Option interface{ apply(issuer *Issuer) error }

type optionFunc func(issuer *Issuer) error

func (f optionFunc) apply(issuer *Issuer) error { return f(issuer) }

// WithClock sets the time that tokens are made and judged by; the default is time.Now.
func WithClock(now func() time.Time) Option {
	return optionFunc(func(i *Issuer) error {
		if now == nil {
			return errors.New("WithClock: nil; pass the Now method of a Clock, or leave the option out")
		}
		i.now = now
		return nil
	})
}

// WithPath gives the issuer's URL a path, as hosts of many tenants do: "/tenant", or "/" for an issuer whose name ends
// with a slash. The default is none.
func WithPath(path string) Option {
	return optionFunc(func(i *Issuer) error {
		if !strings.HasPrefix(path, "/") || (&url.URL{Path: path}).EscapedPath() != path {
			return errors.New(`WithPath: the path begins with "/" and has no characters that a URL escapes`)
		}
		i.path = path
		return nil
	})
}

// WithClient adds a client. Any characters will do: a client form-encodes both parts (RFC 6749, section 2.3.1).
func WithClient(id, secret string) Option {
	return optionFunc(func(i *Issuer) error {
		if id == "" || secret == "" {
			return errors.New("WithClient: id and secret have at least one byte")
		}
		i.clients[id] = secret
		return nil
	})
}

// NewIssuer starts an issuer with one ES256 key, which ends with the test. A bad option ends the test at once.
func NewIssuer(t testing.TB, opts ...Option) *Issuer {
	t.Helper()
	i := &Issuer{
		t: t, now: time.Now, clients: map[string]string{ClientID: ClientSecret},
		tokens: map[string][]byte{}, faults: map[Endpoint]Fault{}, traffic: map[Endpoint]traffic{},
	}
	var faults []error
	for _, opt := range opts {
		if opt == nil {
			faults = append(faults, errors.New("an option is nil"))
			continue
		}
		faults = append(faults, opt.apply(i))
	}
	if err := errors.Join(faults...); err != nil {
		t.Fatalf("authtest: NewIssuer: %v", err)
	}
	i.Rotate("ES256")
	i.start()
	return i
}

// start serves until the test ends. Then connections are closed first: the server waits for what is held or drips.
func (i *Issuer) start() {
	i.server = httptest.NewUnstartedServer(http.HandlerFunc(i.serve))
	i.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that give up are what tests are about
	i.server.StartTLS()
	i.t.Cleanup(func() {
		i.server.CloseClientConnections()
		i.server.Close()
	})
}

// URL returns the issuer's name: what its tokens say in iss and its metadata in issuer.
func (i *Issuer) URL() string { return i.server.URL + i.path }

// EndpointURL returns where an endpoint is.
func (i *Issuer) EndpointURL(endpoint Endpoint) string { return i.server.URL + i.pathOf(endpoint) }

// Client returns a client that trusts the issuer's certificate, the same on each call: for jwks.WithHTTPClient, beside
// jwks.WithLoopback. Its transport is an *http.Transport, whose TLSClientConfig.RootCAs is what a client of one's own
// needs.
func (i *Issuer) Client() *http.Client { return i.server.Client() }
