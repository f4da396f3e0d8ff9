package leak_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

func TestSignature(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	for _, c := range []struct {
		name string
		edit func(r *http.Request, body string)
		good bool
	}{
		{"as signed", func(*http.Request, string) {}, true},
		{"fields in another case", func(r *http.Request, _ string) {
			r.Header[http.CanonicalHeaderKey("GITHUB-PUBLIC-KEY-IDENTIFIER")] = []string{identifier}
		}, true},
		{"signed with another key", func(r *http.Request, body string) {
			r.Header.Set(fieldSignature, newSigner(t, elliptic.P256()).sign(t, body))
		}, false},
		{"signed on another curve", func(r *http.Request, body string) {
			r.Header.Set(fieldSignature, newSigner(t, elliptic.P384()).sign(t, body))
		}, false},
		{"signature of another body", func(r *http.Request, body string) {
			r.Header.Set(fieldSignature, github.sign(t, body+" "))
		}, false},
		{"no identifier", func(r *http.Request, _ string) { r.Header.Del(fieldIdentifier) }, false},
		{"no signature", func(r *http.Request, _ string) { r.Header.Del(fieldSignature) }, false},
		{"two identifiers", func(r *http.Request, _ string) { r.Header.Add(fieldIdentifier, identifier) }, false},
		{"two signatures", func(r *http.Request, body string) { r.Header.Add(fieldSignature, github.sign(t, body)) }, false},
		{"empty identifier", func(r *http.Request, _ string) { r.Header.Set(fieldIdentifier, "") }, false},
		{"empty signature", func(r *http.Request, _ string) { r.Header.Set(fieldSignature, "") }, false},
		{"unknown identifier", func(r *http.Request, _ string) { r.Header.Set(fieldIdentifier, strings.Repeat("0", 64)) }, false},
		{"long identifier", func(r *http.Request, _ string) { r.Header.Set(fieldIdentifier, strings.Repeat("0", 129)) }, false},
		{"identifier with a space", func(r *http.Request, _ string) { r.Header.Set(fieldIdentifier, identifier+" x") }, false},
		{"signature with a byte more", func(r *http.Request, body string) {
			r.Header.Set(fieldSignature, r.Header.Get(fieldSignature)+"AAAA")
		}, false},
		{"signature in hexadecimal", func(r *http.Request, _ string) { r.Header.Set(fieldSignature, strings.Repeat("3045", 30)) }, false},
		{"signature not in base64", func(r *http.Request, _ string) { r.Header.Set(fieldSignature, "!") }, false},
		{"signature of zeros", func(r *http.Request, _ string) {
			r.Header.Set(fieldSignature, base64.StdEncoding.EncodeToString([]byte{0x30, 6, 2, 1, 0, 2, 1, 0}))
		}, false},
		{"signature without ASN.1", func(r *http.Request, _ string) {
			r.Header.Set(fieldSignature, base64.StdEncoding.EncodeToString(make([]byte, 64)))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			issuer := newIssuer(t, authkey.NewMemoryStore())
			record, key := issue(t, issuer, authkey.NewKey{})
			h := newHandler(t, issuer, github.keys(t))
			body := report(t, key)
			r := github.request(t, body)
			c.edit(r, body)
			a := serve(t, h, r)
			live := find(t, issuer, &record).Credentials[0].RevokedAt.IsZero()
			if c.good {
				a.want(t, http.StatusOK, "")
				if live {
					t.Error("the key lives")
				}
				return
			}
			a.want(t, http.StatusUnauthorized, "invalid_signature")
			if !live {
				t.Error("the key was revoked")
			}
			if got := a.header.Get("WWW-Authenticate"); got == "" {
				t.Error("no WWW-Authenticate")
			}
		})
	}
}

func TestTamperedBody(t *testing.T) {
	t.Parallel()
	github := newSigner(t, elliptic.P256())
	issuer := newIssuer(t, authkey.NewMemoryStore())
	record, key := issue(t, issuer, authkey.NewKey{})
	_, other := issue(t, issuer, authkey.NewKey{})
	r := github.request(t, report(t, key))
	signed := github.request(t, report(t, other))
	r.Header.Set(fieldSignature, signed.Header.Get(fieldSignature))
	serve(t, newHandler(t, issuer, github.keys(t)), r).want(t, http.StatusUnauthorized, "invalid_signature")
	if now := find(t, issuer, &record); now.Revision != 1 {
		t.Errorf("revision %d of a key that nobody reported", now.Revision)
	}
}

// TestDocumentedSample takes the report that GitHub's documentation shows, with the key that it is signed with.
func TestDocumentedSample(t *testing.T) {
	t.Parallel()
	const id = "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c"
	keys, err := leak.Keys(map[string]string{id: `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd
AjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==
-----END PUBLIC KEY-----
`})
	if err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, newIssuer(t, authkey.NewMemoryStore()), keys)
	body := `[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]`
	r := newSigner(t, elliptic.P256()).request(t, body)
	r.Header.Set(fieldIdentifier, id)
	r.Header.Set(fieldSignature, "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==")
	a := serve(t, h, r).want(t, http.StatusOK, "")
	want := `[{"token_hash":"mkVSChIT8VAW0tdotfs9kESSpE7idLRNTeiAPgD7U2o=","token_type":"some_type","label":"false_positive"}]`
	if a.text != want {
		t.Errorf("answer %s, want %s", a.text, want)
	}
}

// keysFunc is a list of keys of one's own.
type keysFunc func() (*ecdsa.PublicKey, error)

func (f keysFunc) PublicKey(context.Context, string) (*ecdsa.PublicKey, error) { return f() }

func TestPublicKeysOfOnesOwn(t *testing.T) {
	t.Parallel()
	p384 := newSigner(t, elliptic.P384())
	for _, c := range []struct {
		name   string
		key    *ecdsa.PublicKey
		err    error
		status int
		code   string
	}{
		{"unknown", nil, leak.ErrUnknownKey, http.StatusUnauthorized, "invalid_signature"},
		{"nobody can tell", nil, errors.New("no answer"), http.StatusServiceUnavailable, "unavailable"},
		{"none at all", nil, nil, http.StatusUnauthorized, "invalid_signature"},
		{"another curve", &p384.PublicKey, nil, http.StatusUnauthorized, "invalid_signature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHandler(t, newIssuer(t, authkey.NewMemoryStore()), keysFunc(func() (*ecdsa.PublicKey, error) { return c.key, c.err }))
			serve(t, h, p384.request(t, "[]")).want(t, c.status, c.code)
		})
	}
}
