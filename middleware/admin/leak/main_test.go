package leak_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fieldIdentifier = "Github-Public-Key-Identifier"
	fieldSignature  = "Github-Public-Key-Signature"
	identifier      = "f9525bf080f75b3506ca1ead061add62b8633a346606dc5fe544e29231c6ee0d"
	truePositive    = "true_positive"
	falsePositive   = "false_positive"
	found           = "https://github.com/octocat/Hello-World/blob/12345600b9cbe38a219f39a9941c9319b600c002/foo/bar.txt"
)

// signer is one who sends reports.
type signer struct{ *ecdsa.PrivateKey }

func newSigner(t testing.TB, curve elliptic.Curve) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key}
}

// text is the public key in PEM.
func (s signer) text(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&s.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// keys knows this signer alone.
func (s signer) keys(t testing.TB) leak.PublicKeys {
	t.Helper()
	keys, err := leak.Keys(map[string]string{identifier: s.text(t)})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// sign returns the signature of a body as GitHub sends it.
func (s signer) sign(t testing.TB, body string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	der, err := ecdsa.SignASN1(rand.Reader, s.PrivateKey, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// request is a report with its signature.
func (s signer) request(t testing.TB, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/v1/leak-reports", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(fieldIdentifier, identifier)
	r.Header.Set(fieldSignature, s.sign(t, body))
	return r
}

// bodyOf writes a report.
func bodyOf(t testing.TB, matches ...leak.Match) string {
	t.Helper()
	text, err := json.Marshal(matches)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// report is a report of one token.
func report(t testing.TB, token string) string {
	t.Helper()
	return bodyOf(t, leak.Match{Token: token, Type: "acme_live_key", URL: found, Source: "content"})
}

// answer is what the sender of a report sees.
type answer struct {
	status   int
	header   http.Header
	text     string
	problem  map[string]any
	feedback []map[string]string
}

// serve asks a handler, and checks what holds for every answer.
func serve(t testing.TB, h http.Handler, r *http.Request) *answer {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := &answer{status: w.Code, header: w.Result().Header, text: w.Body.String()}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := a.header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Error("no X-Request-Id")
	}
	media, into := "application/problem+json", any(&a.problem)
	if a.status == http.StatusOK {
		media, into = "application/json", &a.feedback
	}
	if got := a.header.Get("Content-Type"); got != media {
		t.Errorf("Content-Type %q, want %q", got, media)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil && r.Method != http.MethodHead {
		t.Fatalf("body %q: %v", a.text, err)
	}
	return a
}

// want checks status and, for a problem, its code.
func (a *answer) want(t testing.TB, status int, code string) *answer {
	t.Helper()
	if got, _ := a.problem["code"].(string); a.status != status || got != code {
		t.Fatalf("answer %d %q, want %d %q: %s", a.status, got, status, code, a.text)
	}
	return a
}

// labels are what the answer says of each token.
func (a *answer) labels() []string {
	var labels []string
	for _, f := range a.feedback {
		labels = append(labels, f["label"])
	}
	return labels
}

func newFormat(t testing.TB, env string) authkey.Format {
	t.Helper()
	format, err := authkey.NewFormat("acme", env)
	if err != nil {
		t.Fatal(err)
	}
	return format
}

func newIssuer(t testing.TB, store authkey.Store) *authkey.Issuer {
	t.Helper()
	issuer, err := authkey.NewIssuer(store, newFormat(t, "live"))
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// issue makes a key of an org and project of the test.
func issue(t testing.TB, issuer *authkey.Issuer, key authkey.NewKey) (authkey.Record, string) {
	t.Helper()
	key.Org, key.Project = "demo", "shop"
	record, presented, err := issuer.Issue(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return record, presented.Reveal()
}

// find returns a key as the store has it.
func find(t testing.TB, issuer *authkey.Issuer, record *authkey.Record) authkey.Record {
	t.Helper()
	now, err := issuer.Find(t.Context(), record.Org, record.ID)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func newHandler(t testing.TB, issuer *authkey.Issuer, keys leak.PublicKeys, opts ...leak.Option) *leak.Handler {
	t.Helper()
	h, err := leak.New(issuer, keys, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// watched is a store that keeps who changed what, and can fail or be overtaken.
type watched struct {
	authkey.Store
	actions []string
	actor   audit.Actor
	finds   int
	fail    func(find int) error
	race    func(record authkey.Record) // before a change
}

func (s *watched) Find(ctx context.Context, id string) (authkey.Record, error) {
	s.finds++
	if s.fail != nil {
		if err := s.fail(s.finds); err != nil {
			return authkey.Record{}, err
		}
	}
	return s.Store.Find(ctx, id)
}

func (s *watched) Change(ctx context.Context, record authkey.Record, action string) (authkey.Record, error) {
	if race := s.race; race != nil {
		s.race = nil
		race(record)
	}
	changed, err := s.Store.Change(ctx, record, action)
	if err == nil {
		s.actions, s.actor = append(s.actions, action), audit.ActorOf(ctx)
	}
	return changed, err
}

func (s *watched) last() string {
	if len(s.actions) == 0 {
		return ""
	}
	return s.actions[len(s.actions)-1]
}
