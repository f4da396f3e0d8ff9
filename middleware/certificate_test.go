package middleware_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
)

// certificate makes one that signs itself.
func certificate(t *testing.T, number int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(number), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// byteSequence is a certificate as a proxy tells it.
func byteSequence(c *x509.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":"
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	own, proxy, other := certificate(t, 1), certificate(t, 2), certificate(t, 3)
	state := func(c *x509.Certificate) *tls.ConnectionState {
		if c == nil {
			return &tls.ConnectionState{}
		}
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c, other}}
	}
	trusting := middleware.WithClientCertificates(prefixes("10.0.0.0/8", "::1/128")...)
	told, der := byteSequence(own), base64.StdEncoding.EncodeToString(own.Raw)
	for name, row := range map[string]struct {
		peer   string
		tls    *tls.ConnectionState
		fields []string // of Client-Cert
		plain  bool     // without the option
		status int
		want   string // the number; "none"
	}{
		"none":                                {peer: "192.0.2.1:1", want: "none"},
		"TLS without one":                     {peer: "192.0.2.1:1", tls: state(nil), want: "none"},
		"TLS":                                 {peer: "192.0.2.1:1", tls: state(own), want: "1"},
		"TLS without the option":              {peer: "192.0.2.1:1", tls: state(own), plain: true, want: "1"},
		"told by a proxy":                     {peer: "10.0.0.1:1", fields: []string{told}, want: "1"},
		"told by a proxy of IPv4 in IPv6":     {peer: "[::ffff:10.0.0.1]:1", fields: []string{told}, want: "1"},
		"told by a proxy of IPv6 with a zone": {peer: "[::1%lo]:1", fields: []string{told}, want: "1"},
		"told by a client":                    {peer: "192.0.2.1:1", fields: []string{told}, want: "none"},
		"told by a client, beside its own":    {peer: "192.0.2.1:1", tls: state(other), fields: []string{told}, want: "3"},
		"told by nobody":                      {peer: "@", fields: []string{told}, want: "none"},
		"told without the option":             {peer: "10.0.0.1:1", fields: []string{told}, plain: true, want: "none"},
		"the proxy's own is not the client's": {peer: "10.0.0.1:1", tls: state(proxy), want: "none"},
		"the proxy's own, and the client's":   {peer: "10.0.0.1:1", tls: state(proxy), fields: []string{told}, want: "1"},
		"nonsense of a client":                {peer: "192.0.2.1:1", fields: []string{"x", "y"}, want: "none"},
		"twice":                               {peer: "10.0.0.1:1", fields: []string{told, told}, status: 400},
		"twice in one field":                  {peer: "10.0.0.1:1", fields: []string{told + ", " + told}, status: 400},
		"empty":                               {peer: "10.0.0.1:1", fields: []string{""}, status: 400},
		"without colons":                      {peer: "10.0.0.1:1", fields: []string{der}, status: 400},
		"half open":                           {peer: "10.0.0.1:1", fields: []string{":" + der}, status: 400},
		"a colon alone":                       {peer: "10.0.0.1:1", fields: []string{":"}, status: 400},
		"no bytes":                            {peer: "10.0.0.1:1", fields: []string{"::"}, status: 400},
		"no base64":                           {peer: "10.0.0.1:1", fields: []string{":?:"}, status: 400},
		"no certificate":                      {peer: "10.0.0.1:1", fields: []string{":Zm9v:"}, status: 400},
		"bytes behind it":                     {peer: "10.0.0.1:1", fields: []string{":" + base64.StdEncoding.EncodeToString(append(slices.Clone(own.Raw), 0)) + ":"}, status: 400},
		"PEM":                                 {peer: "10.0.0.1:1", fields: []string{"-----BEGIN CERTIFICATE-----" + der}, status: 400},
		"too long":                            {peer: "10.0.0.1:1", fields: []string{":" + strings.Repeat("A", 20<<10) + ":"}, status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens := newIssued(authkey.NothingPending)
			options := []middleware.Option{trusting}
			if row.plain {
				options = nil
			}
			r := request(http.MethodGet, "/")
			r.RemoteAddr, r.TLS = row.peer, row.tls
			r.Header.Set("X-Forwarded-For", "10.0.0.1")
			for _, value := range row.fields {
				r.Header.Add("Client-Cert", value)
			}
			_, _, refusal := admit(t, middleware.Authenticate(tokens, options...), r)
			if row.status != 0 {
				refusedAs(t, refusal, row.status, middleware.CodeMalformed)
				if len(tokens.seen) != 0 || refusal != nil && !strings.Contains(refusal.Error(), "Client-Cert") {
					t.Errorf("asked %d times; the cause is %v", len(tokens.seen), refusal)
				}
				return
			}
			refusedAs(t, refusal, 0, "")
			want := `"" "GET" "/" [] ` + row.want + " false"
			if row.want == "none" {
				want = "nothing"
			}
			if got := presented(tokens.last()); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
