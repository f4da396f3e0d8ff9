package bearer_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a KeySource that counts who asks, and has what a test gives it.
type source struct {
	mu    sync.Mutex
	set   *bearer.KeySet
	err   error
	calls int
	last  bearer.Header
}

func (s *source) Keys(_ context.Context, header bearer.Header) (*bearer.KeySet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.last = s.calls+1, header
	return s.set, s.err
}

func (s *source) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *source) become(set *bearer.KeySet, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set, s.err = set, err
}

// keySet is the set of an issuer that publishes these keys and nothing else.
func keySet(t testing.TB, keys ...*authtest.Key) *bearer.KeySet {
	t.Helper()
	jwks := make([]map[string]any, len(keys))
	for n, key := range keys {
		jwks[n] = key.JWK()
	}
	return keySetOf(t, jwks...)
}

func keySetOf(t testing.TB, jwks ...map[string]any) *bearer.KeySet {
	t.Helper()
	document, err := json.Marshal(map[string]any{"keys": jwks})
	if err != nil {
		t.Fatal(err)
	}
	set, err := bearer.ParseKeySet(document)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// gate is a verifier, an issuer that it trusts, and the source of that issuer's keys.
type gate struct {
	*authtest.Issuer
	clock    *authtest.Clock
	keys     *source
	config   bearer.Issuer
	verifier *bearer.Verifier
}

// org is the org of all tokens, unless a test changes the configuration.
const org = "demo"

// newGate opens a gate; change, which may be nil, changes how the issuer is configured.
func newGate(t testing.TB, change func(*bearer.Issuer), opts ...bearer.Option) *gate {
	t.Helper()
	g := &gate{clock: new(authtest.Clock), keys: new(source)}
	g.Issuer = authtest.NewIssuer(t, authtest.WithClock(g.clock.Now))
	g.keys.set = keySet(t, g.Key())
	g.config = bearer.Issuer{URL: g.URL(), Audiences: []string{authtest.Audience}, Keys: g.keys, Org: org}
	if change != nil {
		change(&g.config)
	}
	g.verifier = newVerifier(t, g.clock, []bearer.Issuer{g.config}, opts...)
	return g
}

func newVerifier(t testing.TB, clock *authtest.Clock, issuers []bearer.Issuer, opts ...bearer.Option) *bearer.Verifier {
	t.Helper()
	v, err := bearer.New(issuers, append([]bearer.Option{bearer.WithClock(clock.Now)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// sentinels are what a refusal can be.
var sentinels = []error{
	authkey.ErrMalformed, authkey.ErrUnknown, authkey.ErrRevoked, authkey.ErrDisabled, authkey.ErrExpired,
	authkey.ErrNotYetValid, authkey.ErrSuspended, authkey.ErrForbidden, authkey.ErrUnavailable, authkey.ErrInvalid,
}

// authenticator is what a credential is shown to.
type authenticator interface {
	Authenticate(ctx context.Context, presented authkey.Presented) (*authkey.Identity, error)
}

// judge shows a token. It wants exactly one sentinel, and none of the token in the error; or, where want is nil, an
// identity, which it returns.
func judge(t testing.TB, v authenticator, token string, with *authkey.Presentation, want error) *authkey.Identity {
	t.Helper()
	identity, err := v.Authenticate(t.Context(), authkey.NewPresented(token).In(with))
	if want == nil {
		if err != nil || identity == nil {
			t.Fatalf("a good token: %v, %v", identity, err)
		}
		return identity
	}
	if identity != nil || err == nil {
		t.Fatalf("identity %+v, error %v, want none and %v", identity, err, want)
	}
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) != errors.Is(want, sentinel) {
			t.Errorf("error %q, want %q and no other", err, want)
		}
	}
	silent(t, err.Error(), token)
	return nil
}

// silent fails if a text has a part of a secret.
func silent(t testing.TB, text, secret string) {
	t.Helper()
	for _, part := range strings.Split(secret, ".") {
		if len(part) < 16 {
			continue // as short as what any text may have
		}
		for n := 0; n+16 <= len(part); n += 16 {
			if strings.Contains(text, part[n:n+16]) {
				t.Fatalf("the text %.300q has %q of the secret", text, part[n:n+16])
			}
		}
	}
}

// row is a token, what comes of it, and how often its issuer's keys are asked for.
type row struct {
	name  string
	token string
	want  error // nil: it is taken
	asked int
}

// run judges each row in a subtest.
func (g *gate) run(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			before := g.keys.asked()
			identity := judge(t, g.verifier, r.token, nil, r.want)
			if asked := g.keys.asked() - before; asked != r.asked {
				t.Errorf("keys were asked for %d times, want %d", asked, r.asked)
			}
			if r.want == nil && (identity.Token.Issuer != g.config.URL || identity.Token.Subject != "subject" || identity.Method != bearer.Method) {
				t.Errorf("identity of %q, %q by %q", identity.Token.Issuer, identity.Token.Subject, identity.Method)
			}
		})
	}
}

// head is the header of the current key's tokens with members over it.
func (g *gate) head(over map[string]any) []byte {
	header := map[string]any{"typ": "at+jwt", "alg": g.Key().Alg, "kid": g.Key().ID}
	maps.Copy(header, over)
	maps.DeleteFunc(header, func(_ string, value any) bool { return value == authtest.Absent })
	return encoded(header)
}

// payload is what a good token says, as JSON.
func (g *gate) payload(over authtest.Claims) string {
	text, _ := base64.RawURLEncoding.DecodeString(strings.Split(g.Mint(over), ".")[1])
	return string(text)
}

// saying is a well signed token that says members and then what a good token does, so that a name can be there twice.
func (g *gate) saying(members string) string {
	return g.Sign(g.head(nil), []byte("{"+members+","+g.payload(nil)[1:]), nil)
}

// headed is a well signed token whose header has members before those of a good one.
func (g *gate) headed(members string) string {
	return g.Sign([]byte("{"+members+","+string(g.head(nil)[1:])), []byte(g.payload(nil)), nil)
}

func encoded(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

// minted is a good token of a key and a URL, at the time of now, for those who have no server.
func minted(t testing.TB, key *authtest.Key, url string, cnf map[string]string) string {
	t.Helper()
	claims := jwt.MapClaims{"iss": url, "sub": "subject", "aud": "a", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
	if cnf != nil {
		claims["cnf"] = cnf
	}
	token := jwt.NewWithClaims(jwt.GetSigningMethod(key.Alg), claims)
	token.Header["kid"] = key.ID
	text, err := token.SignedString(key.Private)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func base64url(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// parts takes a token apart, and with puts another part in.
func with(token string, part int, text string) string {
	parts := slices.Clone(strings.Split(token, "."))
	parts[part] = text
	return strings.Join(parts, ".")
}
