package admin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

// A report needs a signature, and no credential.
func TestLeakReports(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	known, err := leak.Keys(map[string]string{"k": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))})
	if err != nil {
		t.Fatal(err)
	}
	reports, err := leak.New(issuer, known)
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"", "/admin"} {
		h := newHandler(t, admin.WithPrefix(prefix), admin.WithKeys(store, issuer), admin.WithLeakReports(reports))
		made := serve(t, h, request("POST", prefix+keys, "")).want(t, 201, "")
		body := `[{"token":"` + made.object["secret"].(string) + `","type":"acme","url":"","source":""}]`
		sum := sha256.Sum256([]byte(body))
		signature, err := ecdsa.SignASN1(rand.Reader, private, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		send := func(target, signature string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
			r.Header.Set("Github-Public-Key-Identifier", "k")
			r.Header.Set("Github-Public-Key-Signature", signature)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			r.Header.Set("Content-Type", "application/json")
			documentOf(t, h, r).check(t, r, []byte(body), w)
			return w
		}
		good := base64.StdEncoding.EncodeToString(signature)
		if w := send(prefix+"/v1/leak-reports", base64.StdEncoding.EncodeToString(signature[:8])); w.Code != 401 {
			t.Errorf("with a bad signature: %d %s", w.Code, w.Body)
		}
		if w := send(prefix+"/v1/leak-reports/", good); w.Code != 401 {
			t.Errorf("elsewhere: %d %s", w.Code, w.Body)
		}
		if w := send(prefix+"/v1/leak-reports", good); w.Code != 200 || !strings.Contains(w.Body.String(), "true_positive") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		list := serve(t, h, request("GET", made.header.Get("Location")+"/credentials", "")).want(t, 200, "").items(t)
		if list[0]["revoked_at"] == nil {
			t.Errorf("the credential that leaked is %v", list[0])
		}
	}
	serve(t, newHandler(t, admin.WithKeys(store, issuer)), request("POST", "/v1/leak-reports", "[]")).want(t, 404, "not_served")
	if _, err := admin.New(admin.BearerToken(token), admin.WithLeakReports(nil)); !errors.Is(err, admin.ErrInvalid) {
		t.Errorf("nil: %v", err)
	}
}
