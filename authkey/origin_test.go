package authkey_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
)

func ExampleParseOrigin() {
	rule, err := authkey.ParseOrigin("*.example.com")
	fmt.Println(err, rule.Matches("https://shop.example.com"), rule.Matches("https://example.com"), rule.Matches("null"))
	// Output: <nil> true false false
}

func TestOriginMatches(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule          string
		matches, bars []string
	}{
		{
			"example.com",
			[]string{"https://example.com", "http://example.com", "https://EXAMPLE.com", "HTTPS://example.com", "https://example.com.", "https://example.com:443", "http://example.com:80"},
			[]string{
				"https://www.example.com", "https://example.com:8443", "https://example.com:80", "http://example.com:443", "https://badexample.com",
				"https://example.com.evil.net", "https://example.co", "capacitor://example.com", "example.com", "//example.com", "https://example.com..",
			},
		},
		{"EXAMPLE.com.", []string{"https://example.com"}, nil},
		{"https://example.com", []string{"https://example.com", "https://example.com:443"}, []string{"http://example.com", "http://example.com:443", "https://example.com:80"}},
		{"HTTPS://example.com:443", []string{"https://example.com"}, []string{"https://example.com:444"}},
		{"example.com:443", []string{"https://example.com", "http://example.com:443"}, []string{"http://example.com", "https://example.com:80"}},
		{"http://localhost:3000", []string{"http://localhost:3000", "http://LOCALHOST:3000"}, []string{"http://localhost", "https://localhost:3000", "http://localhost:3001", "http://localhost:03000"}},
		{"localhost:*", []string{"http://localhost", "http://localhost:1", "https://localhost:65535"}, []string{"http://localhost:0", "http://localhost:65536", "http://localhost:", "http://localhost:*", "http://a.localhost:1"}},
		{
			"*.example.com",
			[]string{"https://a.example.com", "http://a.b.c.example.com", "https://A.Example.Com."},
			[]string{"https://example.com", "https://.example.com", "https://aexample.com", "https://badexample.com", "https://a.badexample.com", "https://a.example.com:8080", "https://a.example.com.evil.net", "https://*.example.com"},
		},
		{"https://*.example.com:*", []string{"https://a.example.com:1", "https://a.example.com"}, []string{"http://a.example.com:1", "https://example.com:1"}},
		{"*.localhost:8080", []string{"http://shop.localhost:8080"}, []string{"http://localhost:8080"}},
		{"xn--bcher-kva.example", []string{"https://xn--bcher-kva.example", "https://XN--BCHER-KVA.example"}, []string{"https://bücher.example", "https://bucher.example"}},
		{"192.0.2.7", []string{"http://192.0.2.7"}, []string{"http://192.0.2.70", "http://192.0.2.07", "http://3221225991", "http://0xc0000207"}},
		{"[2001:DB8::1]:8080", []string{"http://[2001:db8::1]:8080", "http://[2001:db8:0:0::1]:8080"}, []string{"http://[2001:db8::1]", "http://2001:db8::1:8080", "http://[2001:db8::1%25eth0]:8080", "http://[2001:db8::1"}},
		{"[::ffff:192.0.2.7]", []string{"http://[::ffff:c000:207]"}, []string{"http://192.0.2.7"}},
		{"capacitor://localhost", []string{"capacitor://localhost"}, []string{"http://localhost", "capacitor://localhost:80"}},
		{"*", []string{"https://example.com", "http://[::1]:1", "app://x"}, nil},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			rule, err := authkey.ParseOrigin(row.rule)
			if err != nil {
				t.Fatal(err)
			}
			identity := &authkey.Identity{Origins: []string{"https://elsewhere.test", row.rule}}
			for _, origin := range row.matches {
				if !rule.Matches(origin) || !identity.AllowsOrigin(origin) {
					t.Errorf("does not match %q", origin)
				}
			}
			for _, origin := range append(row.bars, notOrigins...) {
				if rule.Matches(origin) || identity.AllowsOrigin(origin) {
					t.Errorf("matches %q", origin)
				}
			}
		})
	}
}

// notOrigins is what no rule matches.
var notOrigins = []string{
	"", "null", "*", "https://", "https:///", "://example.com", "https://example.com/", "https://example.com/path", "https://example.com?q", "https://example.com#f",
	"https://user@example.com", "https://user:pw@example.com", "https://evil.net\\@example.com", "https://example.com https://evil.net", "https://example.com, https://evil.net",
	"https://exa mple.com", "https://example.com\n", "https://example.com\x00", "https://exam%70le.com", "javascript:alert(1)", "file://", "file://host", "about:blank", "1http://example.com",
	"https://" + strings.Repeat("a", 64) + ".example.com", "https://" + strings.Repeat("a.", 127) + "example.com", "https://example.com:" + strings.Repeat("0", 400) + "443",
}

func TestParseOriginRefuses(t *testing.T) {
	t.Parallel()
	for _, rule := range append([]string{
		"https://*", "**", "*.", "*.*", "*.com", "*.*.example.com", "www.*.com", "a*.example.com", "*.192.0.2.7", "*.[::1]", "*:*", "*:80", "https://*:*",
		"example.com/", "https://example.com:80:*", "example.com:8080:*", "example.com:0", "example.com:+1", "example.com:x", "example.com:99999", "bücher.example",
		"::1", "[::1", "::1]", "[192.0.2.7]", "[fe80::1%eth0]", "127.1", "2130706433", "0x7f000001", "127.0.0.0x1", "a..b", ".example.com", "-://example.com", "file://example.com",
		" example.com", "example.com ", "https:example.com", strings.Repeat("a", 321),
	}, notOrigins...) {
		if rule == "*" {
			continue
		}
		o, err := authkey.ParseOrigin(rule)
		if !errors.Is(err, authkey.ErrInvalid) || len(err.Error()) > 400 {
			t.Errorf("%.60q: %v, %v; want ErrInvalid", rule, o, err)
		}
		if err := authkey.ValidateOrigin(rule); !errors.Is(err, authkey.ErrInvalid) {
			t.Errorf("ValidateOrigin(%.60q) = %v", rule, err)
		}
	}
}

func TestOriginOfNothing(t *testing.T) {
	t.Parallel()
	if (authkey.Origin{}).Matches("https://example.com") || (authkey.Origin{}).String() != "" || (authkey.Origin{}).Any() {
		t.Error("the zero Origin is a rule")
	}
	var nobody *authkey.Identity
	if nobody.AllowsOrigin("https://example.com") {
		t.Error("a nil identity allows an origin")
	}
	free := &authkey.Identity{}
	if !free.AllowsOrigin("https://example.com") || free.AllowsOrigin("null") {
		t.Error("an identity without rules allows every origin, and only what is one")
	}
	damaged := &authkey.Identity{Origins: []string{"https://example.com/"}}
	if damaged.AllowsOrigin("https://example.com") || damaged.AllowsOrigin("https://other.test") {
		t.Error("a damaged rule stands for something")
	}
}

// What a rule says of itself is that rule, and a rule that stands for one origin matches it.
func FuzzParseOrigin(f *testing.F) {
	for _, seed := range []string{"*", "example.com", "https://*.example.com:*", "[::ffff:1.2.3.4]:80", "localhost:3000", "http://a.b:443", "app://x", "127.0.0.1", "xn--p1ai", "*.", "a@b", "h://[::]"} {
		f.Add(seed, "https://example.com")
	}
	f.Fuzz(func(t *testing.T, text, origin string) {
		rule, err := authkey.ParseOrigin(text)
		if err != nil {
			if !errors.Is(err, authkey.ErrInvalid) || rule != (authkey.Origin{}) {
				t.Fatalf("%q: %v, %v", text, rule, err)
			}
			return
		}
		plain := rule.String()
		again, err := authkey.ParseOrigin(plain)
		if err != nil || again != rule {
			t.Fatalf("%q is %q, which is %q, %v", text, plain, again, err)
		}
		if strings.Contains(plain, "://") && !strings.Contains(plain, "*") && !rule.Matches(plain) {
			t.Fatalf("%q does not match itself", plain)
		}
		if matched := rule.Matches(origin); matched != (&authkey.Identity{Origins: []string{text}}).AllowsOrigin(origin) ||
			matched && (strings.ContainsAny(origin, "/?#@\\ ,") && strings.Count(origin, "/") != 2 || !strings.Contains(origin, "://")) {
			t.Fatalf("%q matches %q", text, origin)
		}
	})
}
