package middleware_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// The gate works over TLS, and has nothing to do with a server whose certificate it does not trust, or that has another
// name: it tells that it cannot decide, and lets nobody pass.
func TestTLS(t *testing.T) {
	t.Parallel()
	trusted, files := certificates(t)
	stranger, _ := certificates(t)
	addr := startTLS(t, files)
	for _, tt := range []struct {
		name   string
		config *tls.Config // nil: without TLS
		status int
		want   func(err error) bool
	}{
		{"trusted", &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted}, http.StatusNoContent, nil},
		{"of another authority", &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: stranger}, http.StatusServiceUnavailable, is[x509.UnknownAuthorityError]},
		{"of no authority that is known", &tls.Config{MinVersion: tls.VersionTLS12}, http.StatusServiceUnavailable, is[x509.UnknownAuthorityError]},
		{"under another name", &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted, ServerName: "redis.example.com"}, http.StatusServiceUnavailable, is[x509.HostnameError]},
		{"without TLS", nil, http.StatusServiceUnavailable, func(err error) bool { return err != nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rdb := redis.NewClient(&redis.Options{Addr: addr, TLSConfig: tt.config, DialerRetries: 1, MaxRetries: -1, ContextTimeoutEnabled: true})
			t.Cleanup(func() { rdb.Close() })
			if err := rdb.Ping(t.Context()).Err(); (tt.want == nil) != (err == nil) || tt.want != nil && !tt.want(err) {
				t.Errorf("PING: %v", err)
			}
			if got := gateStatus(t, rdb); got != tt.status {
				t.Errorf("the gate answers %d, want %d", got, tt.status)
			}
		})
	}
}

// startTLS starts a server that also listens with TLS, and returns where.
func startTLS(t *testing.T, files map[string]string) string {
	t.Helper()
	admin := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	defer admin.Close()
	words := []any{"CONFIG", "SET"}
	for name, value := range files {
		words = append(words, name, value)
	}
	var err error
	for range 10 { // a port that is free now may be another's when the server asks for it
		addr := freed(t)
		_, port, _ := net.SplitHostPort(addr)
		if err = admin.Do(t.Context(), append(words, "tls-port", port)...).Err(); err == nil {
			return addr
		}
	}
	t.Fatalf("redis-server does not listen with TLS: %v", err)
	return ""
}

// freed returns an address where nobody listens any more.
func freed(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// gateStatus returns what a gate over a client of Redis answers to a good key, or to any where none could be made.
func gateStatus(t *testing.T, rdb redis.UniversalClient) int {
	t.Helper()
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(redisstore.New(rdb, redisstore.WithTimeout(calm)), format)
	if err != nil {
		t.Fatal(err)
	}
	record, key, err := issuer.Issue(t.Context(), authkey.NewKey{Org: redistest.Org(t), Project: "shop", Scopes: []string{"search"}, Products: []string{"stores"}})
	if err != nil {
		if !errors.Is(err, authkey.ErrUnavailable) {
			t.Errorf("Issue %v: %v, want ErrUnavailable", record.ID, err)
		}
		_, key, err = issuerOf(t, format).Issue(t.Context(), authkey.NewKey{Org: "org", Project: "shop"})
		if err != nil {
			t.Fatal(err)
		}
	}
	s := newService(t, rdb, time.Minute)
	request := httptest.NewRequest(http.MethodGet, "/v1/search", nil)
	request.Header.Set("X-Api-Key", key.Reveal())
	answer := httptest.NewRecorder()
	s.handler.ServeHTTP(answer, request)
	return answer.Code
}

// issuerOf makes keys of which no Redis knows.
func issuerOf(t *testing.T, format authkey.Format) *authkey.Issuer {
	t.Helper()
	issuer, err := authkey.NewIssuer(authkey.NewMemoryStore(), format)
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// certificates makes an authority and a certificate of it for 127.0.0.1, and returns who trusts it and the settings
// that have redis-server show it.
func certificates(t *testing.T) (*x509.CertPool, map[string]string) {
	t.Helper()
	dir, now := t.TempDir(), time.Now()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	authorityKey, key := newECKey(t), newECKey(t)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	authorityDER, err1 := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	serverDER, err2 := x509.CreateCertificate(rand.Reader, server, authority, &key.PublicKey, authorityKey)
	keyDER, err3 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(authorityDER)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool, map[string]string{
		"tls-cert-file": write("redis.crt", "CERTIFICATE", serverDER), "tls-key-file": write("redis.key", "PRIVATE KEY", keyDER),
		"tls-ca-cert-file": write("ca.crt", "CERTIFICATE", authorityDER), "tls-auth-clients": "no",
	}
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
