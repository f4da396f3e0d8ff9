package leak_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/leak"
)

// must is for what cannot fail in an example.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func ExampleNew() {
	format := must(authkey.NewFormat("acme", "live"))
	issuer := must(authkey.NewIssuer(authkey.NewMemoryStore(), format))
	_, key, err := issuer.Issue(context.Background(), authkey.NewKey{Org: "demo", Project: "shop", Owner: "mia@shop.example"})
	if err != nil {
		panic(err)
	}

	// In a service, the keys are GitHub's: leak.FetchKeys(http.DefaultClient, leak.GitHubKeys).
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	public := must(x509.MarshalPKIXPublicKey(&private.PublicKey))
	keys := must(leak.Keys(map[string]string{"one": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}))

	handler := must(leak.New(issuer, keys, leak.WithNotify(func(_ context.Context, r leak.Report) {
		fmt.Println("tell", r.Record.Owner, r.Done, r.URL)
	})))

	body := `[{"token":"` + key.Reveal() + `","type":"acme_live_key","url":"https://github.com/a/b/blob/c/d.txt","source":"commit"}]`
	sum := sha256.Sum256([]byte(body))
	r := httptest.NewRequest(http.MethodPost, "/v1/leak-reports", strings.NewReader(body))
	r.Header.Set("Github-Public-Key-Identifier", "one")
	r.Header.Set("Github-Public-Key-Signature", base64.StdEncoding.EncodeToString(must(ecdsa.SignASN1(rand.Reader, private, sum[:]))))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code, strings.Contains(w.Body.String(), "true_positive"))
	// Output:
	// tell mia@shop.example revoked https://github.com/a/b/blob/c/d.txt
	// 200 true
}

func ExampleFetchKeys() {
	keys, err := leak.FetchKeys(http.DefaultClient, "http://api.github.com/meta/public_keys/secret_scanning")
	fmt.Println(keys, err)
	// Output: <nil> leak: invalid: FetchKeys: want a URL like https://api.github.com/meta/public_keys/secret_scanning
}

func ExampleKeys() {
	keys, err := leak.Keys(map[string]string{"one": `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd
AjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==
-----END PUBLIC KEY-----`})
	if err != nil {
		panic(err)
	}
	key, err := keys.PublicKey(context.Background(), "one")
	fmt.Println(key.Curve.Params().Name, err)
	_, err = keys.PublicKey(context.Background(), "two")
	fmt.Println(err)
	// Output:
	// P-256 <nil>
	// leak: unknown public key
}

func ExampleScan() {
	text := "# settings\nkey = acme_live_17abcdefghijkl_0123456789abcdefghijklmnopqrstuv3NkmhK\n"
	for found, err := range leak.Scan(strings.NewReader(text)) {
		fmt.Println(found.Line, found.Key, err)
	}
	// Output: 2 acme_live_17abcdefghijkl_**** <nil>
}
