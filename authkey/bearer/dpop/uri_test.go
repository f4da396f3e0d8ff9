package dpop_test

import (
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/dpop"
)

func TestURIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nobody(t))
	v, err := dpop.New(nobody(t), []string{
		"https://api.example.com", "HTTPS://Other.Example.com:443/", "https://api.example.com:8443", "http://localhost:80",
		"http://[::1]:8080", "http://127.0.0.1", "https://kiosk.example.com",
	}, dpop.WithClock(w.clock.Now))
	if err != nil {
		t.Fatal(err)
	}
	w.Verifier = v
	for _, row := range []struct {
		htu, path string
		good      bool
	}{
		{"https://api.example.com/maps/7", "/maps/7", true},
		{"https://api.example.com/maps/7?q=1&r=https://a/b#c", "/maps/7", true},
		{"https://api.example.com/maps/7#?", "/maps/7", true},
		{"HTTPS://API.Example.COM/maps/7", "/maps/7", true},
		{"https://api.example.com:443/maps/7", "/maps/7", true},
		{"https://api.example.com:/maps/7", "/maps/7", true},
		{"https://api.example.com:8443/maps/7", "/maps/7", true},
		{"https://other.example.com/maps/7", "/maps/7", true},
		{"http://localhost/maps/7", "/maps/7", true},
		{"http://127.0.0.1:80/maps/7", "/maps/7", true},
		{"http://[::1]:8080/maps/7", "/maps/7", true},
		{"https://api.example.com", "/", true},
		{"https://api.example.com?q=/maps", "/", true},
		{"https://api.example.com/", "", true},
		{"https://api.example.com/a/./b/../c", "/a/c", true},
		{"https://api.example.com/a/%2e%2E/c", "/c", true},
		{"https://api.example.com/a/b/..", "/a/", true},
		{"https://api.example.com/a/.", "/a/", true},
		{"https://api.example.com/../..", "/", true},
		{"https://api.example.com/%6d%61ps/%37", "/maps/7", true},
		{"https://api.example.com/%c3%a9%3a", "/%C3%A9%3A", true},
		{"https://api.example.com/é|", "/%C3%A9%7c", true},
		{"https://api.example.com/a;b=c,d@e:f", "/a;b=c,d@e:f", true},

		{"https://api.example.com/c", "/a/../c", false}, // whatever the handler takes it for
		{"https://api.example.com/a/../c", "/a/../c", false},
		{"https://api.example.com/a/%2E%2e/c", "/a/%2e%2E/c", false},
		{"https://api.example.com/c", "/./c", false},
		{"https://api.example.com/", "/.", false},
		{"https://api.example.com/Maps/7", "/maps/7", false},
		{"https://api.example.com/maps/7/", "/maps/7", false},
		{"https://api.example.com/maps//7", "/maps/7", false},
		{"https://api.example.com/a//../b", "/b", false}, // it is /a/b
		{"https://api.example.com/maps%2F7", "/maps/7", false},
		{"https://api.example.com/maps%3F7", "/maps", false},
		{"https://api.example.com/a%3Ab", "/a:b", false}, // a reserved one is another when it is escaped
		{"https://api.example.com/%253a", "/%3a", false},
		{"https://api.example.com/%zz", "/%zz", false},
		{"https://api.example.com/a%2", "/a%2", false},
		{"https://api.example.com/a%", "/a%", false},
		{"https://api.example.com/%+1", "/%+1", false},
		{"https://api.example.com/", "*", false},
		{"https://api.example.com*", "*", false},
		{"https://api.example.com/", "a", false},
		{"https://api.example.com/", "https://api.example.com/", false},
		{"http://api.example.com/maps/7", "/maps/7", false},
		{"http://api.example.com:443/maps/7", "/maps/7", false},
		{"https://api.example.com:80/maps/7", "/maps/7", false},
		{"https://api.example.com:0443/maps/7", "/maps/7", false},
		{"https://api.example.com:443:443/maps/7", "/maps/7", false},
		{"https://api.example.com:x/maps/7", "/maps/7", false},
		{"https://api.example.com.:443/maps/7", "/maps/7", false},
		{"https://api.example.com.evil.example/maps/7", "/maps/7", false},
		{"https://api.example.com@evil.example/maps/7", "/maps/7", false},
		{"https://evil.example@api.example.com/maps/7", "/maps/7", false},
		{"https://evil.example#@api.example.com/maps/7", "/maps/7", false},
		{`https://evil.example\@api.example.com/maps/7`, "/maps/7", false},
		{`https://api.example.com\/maps/7`, "/maps/7", false},
		{"https://%61pi.example.com/maps/7", "/maps/7", false},
		{"https://apı.example.com/maps/7", "/maps/7", false},
		{"https://ap\u0130.example.com/maps/7", "/maps/7", false}, // i in lower case
		{"https://kios\u212a.example.com/maps/7", "/maps/7", false},
		{"https://[::1/maps/7", "/maps/7", false},
		{"http://[::1]8080/maps/7", "/maps/7", false},
		{"http://[::1]::8080/maps/7", "/maps/7", false},
		{"http://[::1%25lo]:8080/maps/7", "/maps/7", false},
		{"https:///maps/7", "/maps/7", false},
		{"https:/api.example.com/maps/7", "/maps/7", false},
		{"//api.example.com/maps/7", "/maps/7", false},
		{"/maps/7", "/maps/7", false},
		{"", "", false},
		{" https://api.example.com/maps/7", "/maps/7", false},
		{"ftp://api.example.com/maps/7", "/maps/7", false},
	} {
		p := &authkey.Presentation{Method: "GET", Path: row.path, Proofs: []string{w.key.Proof("GET", row.htu, token, "")}}
		got, err := w.Check(p, token, w.key.Thumbprint())
		if row.good {
			if err != nil {
				t.Errorf("htu %q for %q: %v", row.htu, row.path, err)
			}
			continue
		}
		refused(t, row.htu+" for "+row.path, got, err, "invalid_dpop_proof", "htu")
	}
}
