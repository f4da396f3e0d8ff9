package middleware_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/http"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
)

// TestLongClientCert: what a proxy tells is bounded, also where it is a certificate.
func TestLongClientCert(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for size, status := range map[int]int{11 << 10: 0, 13 << 10: http.StatusBadRequest} { // a third more as base64, 16 KiB at most
		template := &x509.Certificate{SerialNumber: big.NewInt(1), ExtraExtensions: []pkix.Extension{{
			Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 55555, 1}, Value: make([]byte, size),
		}}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
		if err != nil {
			t.Fatal(err)
		}
		r := request(http.MethodGet, "/")
		r.RemoteAddr = "10.0.0.1:1"
		r.Header.Set("Client-Cert", byteSequence(&x509.Certificate{Raw: der}))
		stage := middleware.Authenticate(newIssued(authkey.NothingPending), middleware.WithClientCertificates(prefixes("10.0.0.0/8")...))
		_, _, refusal := admit(t, stage, r)
		code := ""
		if status != 0 {
			code = middleware.CodeMalformed
		}
		refusedAs(t, refusal, status, code)
	}
}
