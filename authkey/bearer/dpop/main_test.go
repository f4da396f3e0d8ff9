package dpop_test

import (
	"crypto/ecdsa"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/dpop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	origin = "https://api.example.com"
	path   = "/maps/7"
	token  = "a-secret.token~of+68/characters=="
)

// nobody is a client of a Redis that nobody runs, for what does no I/O.
func nobody(t testing.TB) redis.UniversalClient {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// world is a verifier, its clock, and a client with a key.
type world struct {
	*dpop.Verifier
	clock *authtest.Clock
	key   *authtest.DPoPKey
}

func newWorld(t testing.TB, rdb redis.UniversalClient, opts ...dpop.Option) *world {
	t.Helper()
	w := &world{clock: new(authtest.Clock), key: authtest.NewDPoPKey(t, "ES256")}
	w.key.Now = w.clock.Now
	var err error
	if w.Verifier, err = dpop.New(rdb, []string{origin}, append([]dpop.Option{dpop.WithClock(w.clock.Now)}, opts...)...); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) proof(hooks ...func(header, claims map[string]any)) string {
	return w.key.Proof("GET", origin+path, token, "", hooks...)
}

func shown(proofs ...string) *authkey.Presentation {
	return &authkey.Presentation{Scheme: "DPoP", Method: "GET", Path: path, Proofs: proofs}
}

func (w *world) check(proof string) (bearer.Proof, error) {
	return w.Check(shown(proof), token, w.key.Thumbprint())
}

// refused fails unless an error is a ProofError with a code, whose text has a word in it and nothing of the token.
func refused(t testing.TB, what string, got bearer.Proof, err error, code, word string) {
	t.Helper()
	own, ok := errors.AsType[*authkey.ProofError](err)
	if !ok || own.Code != code || !strings.Contains(err.Error(), word) {
		t.Errorf("%s: error %v, want %s that says %q", what, err, code, word)
		return
	}
	if got != (bearer.Proof{}) {
		t.Errorf("%s: a proof %+v comes with the error", what, got)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("%s: the error tells of the token: %v", what, err)
	}
	for _, of := range []error{authkey.ErrUnavailable, authkey.ErrInvalid} {
		if errors.Is(err, of) {
			t.Errorf("%s: the error %v is %v, too", what, err, of)
		}
	}
}

// signed signs any bytes by ES256.
func signed(t testing.TB, header, payload string, key *authtest.DPoPKey) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(header)) + "." + encode([]byte(payload))
	signature, err := jwt.SigningMethodES256.Sign(text, key.Private.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + encode(signature)
}
