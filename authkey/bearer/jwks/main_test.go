package jwks_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuerURL = "https://issuer.example"
	oidcURL   = issuerURL + "/.well-known/openid-configuration"
	oauthURL  = issuerURL + "/.well-known/oauth-authorization-server"
	keysURL   = issuerURL + "/keys"
)

// network is issuers without sockets: a RoundTripper that answers by the URL, for tests whose time is synctest's.
type network struct {
	mu     sync.Mutex
	pages  map[string]page
	hits   map[string]int
	last   map[string]http.Header
	under  int           // way
	most   int           // at a time
	taking time.Duration // by each answer
	down   error
}

// page is an answer. Without a status it is 200.
type page struct {
	status int
	header http.Header
	body   string
	stream io.Reader // instead of the body
}

// newNetwork has one issuer, with keys of these names.
func newNetwork(kids ...string) *network {
	n := &network{pages: map[string]page{}, hits: map[string]int{}, last: map[string]http.Header{}}
	n.put(oidcURL, page{body: fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuerURL, keysURL)})
	n.publish(kids...)
	return n
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	url := r.URL.String()
	n.hits[url]++
	n.last[url] = r.Header
	n.under++
	n.most = max(n.most, n.under)
	p, ok := n.pages[url]
	down, taking := n.down, n.taking
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.under--
	}()
	if taking > 0 {
		select {
		case <-time.After(taking):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if down != nil {
		return nil, down
	}
	if !ok {
		p.status = http.StatusNotFound
	}
	if p.status == 0 {
		p.status = http.StatusOK
	}
	if p.stream == nil {
		p.stream = strings.NewReader(p.body)
	}
	return &http.Response{StatusCode: p.status, Header: p.header, Body: io.NopCloser(p.stream), ContentLength: -1, Request: r}, nil
}

func (n *network) put(url string, p page) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pages[url] = p
}

// publish says which keys the issuer has.
func (n *network) publish(kids ...string) { n.put(keysURL, page{body: document(kids...)}) }

func (n *network) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = err
}

// slow has answers take their time.
func (n *network) slow(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taking = d
}

// count returns how often a URL was asked.
func (n *network) count(url string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hits[url]
}

// total returns how often anything was asked.
func (n *network) total() (total int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, hits := range n.hits {
		total += hits
	}
	return total
}

// crowd returns how many requests were under way at a time since it was asked last.
func (n *network) crowd() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	most := n.most
	n.most = n.under
	return most
}

func (n *network) header(url string) http.Header {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last[url]
}

var errDown = errors.New("the cable is cut")

// document is a key set.
func document(kids ...string) string {
	keys := make([]string, len(kids))
	for i, kid := range kids {
		keys[i] = jwk(kid)
	}
	return `{"keys":[` + strings.Join(keys, ",") + `]}`
}

func jwk(kid string) string {
	seed := sha256.Sum256([]byte(kid))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}`, kid, base64.RawURLEncoding.EncodeToString(public))
}

func header(kid string) bearer.Header { return bearer.Header{KeyID: kid, Algorithm: "EdDSA"} }

func newCache(t *testing.T, n http.RoundTripper, opts ...jwks.Option) *jwks.Cache {
	t.Helper()
	cache, err := jwks.New(append([]jwks.Option{jwks.WithHTTPClient(&http.Client{Transport: n})}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return cache
}

// good fails unless the source has the key.
func good(t *testing.T, source *jwks.Source, kid string) *bearer.KeySet {
	t.Helper()
	set, err := source.Keys(t.Context(), header(kid))
	if err != nil || !set.Has(header(kid)) {
		t.Errorf("key %q: want it to be there; error %v", kid, err)
	}
	return set
}

// absent fails unless the source says that there is no such key.
func absent(t *testing.T, source *jwks.Source, kid string) {
	t.Helper()
	set, err := source.Keys(t.Context(), header(kid))
	if err != nil || set.Has(header(kid)) {
		t.Errorf("key %q: want it not to be there; error %v", kid, err)
	}
}

// unavailable fails unless nobody can tell of a key, for a cause that is named.
func unavailable(t *testing.T, source *jwks.Source, kid, cause string) {
	t.Helper()
	set, err := source.Keys(t.Context(), header(kid))
	if set != nil {
		t.Errorf("key %q: want no set", kid)
	}
	outage(t, err, cause)
}

// outage fails unless an error says so, and says nothing about a token.
func outage(t *testing.T, err error, cause string) {
	t.Helper()
	if !errors.Is(err, authkey.ErrUnavailable) || errors.Is(err, authkey.ErrUnknown) || !strings.Contains(err.Error(), cause) {
		t.Errorf("error %v, want authkey.ErrUnavailable for: %s", err, cause)
	}
}

// asked fails unless a URL was asked so often.
func asked(t *testing.T, n *network, url string, want int) {
	t.Helper()
	if got := n.count(url); got != want {
		t.Errorf("%s: asked %d times, want %d", url, got, want)
	}
}

// atOnce fails if time passes meanwhile: in a bubble it only does where somebody waits.
func atOnce(t *testing.T, what string, do func()) {
	t.Helper()
	began := time.Now()
	do()
	if took := time.Since(began); took != 0 {
		t.Errorf("%s: took %v, want an answer at once", what, took)
	}
}

// endless is a body that never ends, and counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return copy(p, bytes.Repeat([]byte(" "), len(p))), nil
}

// drops is a body of one byte a second, that heeds no context.
type drops struct{}

func (drops) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return copy(p, " "), nil
}

// late is a body that comes, and ends, after the time is over: it may be cut.
type late struct{ body string }

func (l *late) Read(p []byte) (int, error) {
	time.Sleep(6 * time.Second)
	return copy(p, l.body), io.EOF
}

// log keeps what an observer is told.
type log struct {
	mu   sync.Mutex
	seen []jwks.Fetch
}

func (l *log) observe(f jwks.Fetch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, f)
}

// last returns what it was told last.
func (l *log) last() jwks.Fetch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.seen) == 0 {
		return jwks.Fetch{}
	}
	return l.seen[len(l.seen)-1]
}
