package authtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// DPoPKey is a client's key that proves possession of tokens (RFC 9449). The token that it proves is bound to it by
// Claims{"cnf": Claims{"jkt": key.Thumbprint()}}. Safe for concurrent use while its fields stay as they are.
type DPoPKey struct {
	*Key
	// Now is the time that proofs are made at; NewDPoPKey sets time.Now.
	Now func() time.Time

	t testing.TB
}

// NewDPoPKey makes a key; alg is any of Key.Alg, also one that a proof must not have.
func NewDPoPKey(t testing.TB, alg string) *DPoPKey {
	t.Helper()
	return &DPoPKey{Key: NewKey(t, alg, ""), Now: time.Now, t: t}
}

// Proof returns a proof for one request: htm and htu are method and url as given, iat is now, jti is new each time, ath
// stands for the token and nonce for the nonce, unless they are empty. Each hook may change header and claims before
// they are signed.
func (k *DPoPKey) Proof(method, url, token, nonce string, hooks ...func(header, claims map[string]any)) string {
	k.t.Helper()
	jwk := k.JWK()
	delete(jwk, "alg")
	delete(jwk, "use")
	header := map[string]any{"typ": "dpop+jwt", "alg": k.Alg, "jwk": jwk}
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": url, "iat": k.Now().Unix()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = encode(sum[:])
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	for _, hook := range hooks {
		hook(header, claims)
	}
	proof, _, err := signJSON(merge(nil, header), merge(nil, claims), k.Key)
	if err != nil {
		k.t.Fatalf("authtest: Proof: %v", err)
	}
	return proof
}

// NewCertificate makes a client's certificate (RFC 8705, section 2.2), signed by its own key and valid from 2000 to
// 2100; its Leaf is set. A server whose ClientCAs holds the Leaf trusts it.
func NewCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("authtest: NewCertificate: %v", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: ClientID},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatalf("authtest: NewCertificate: %v", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("authtest: NewCertificate: %v", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// CertificateThumbprint returns what the member x5t#S256 of cnf says of a certificate (RFC 8705, section 3.1).
func CertificateThumbprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return encode(sum[:])
}
