package clientcred_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

// isInvalid fails unless New refuses these, for the reasons that it names, and repeats no secret.
func isInvalid(t *testing.T, client clientcred.Client, address string, name string, opts ...clientcred.Option) {
	t.Helper()
	source, err := clientcred.New(address, client, opts...)
	if source != nil || !errors.Is(err, authkey.ErrInvalid) {
		t.Fatalf("a Source %v and the error %v, want authkey.ErrInvalid alone", source, err)
	}
	if !strings.Contains(err.Error(), name) {
		t.Errorf("error %v, want one that names %q", err, name)
	}
	keeps(t, err)
}

func TestTokenURL(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://login.example/token":          "",
		"https://login.example/token?tenant=7": "",
		"https://login.example":                "",
		"https://[2001:db8::1]:8443/token":     "",
		"":                                     "absolute",
		"login.example/token":                  "absolute",
		"/token":                               "absolute",
		"https:///token":                       "absolute",
		"https://:443/token":                   "absolute",
		"ftp://login.example/token":            "absolute",
		"HTTPS//login.example":                 "absolute",
		"https://login.example/\x7f":           "absolute",
		"https://login.example/" + strings.Repeat("a", 2048): "absolute",
		"https://a:s3cret@login.example/token":               "password",
		"https://s3cret@login.example/token":                 "password",
		"https://login.example/token#a":                      "fragment",
		"https://login.example/token#":                       "fragment",
		"http://login.example/token":                         "in clear",
		"http://127.0.0.1.login.example/token":               "in clear",
		"http://localhost.login.example/token":               "in clear",
		"http://10.0.0.1/token":                              "in clear",
		"http://127.0.0.1:8080/token":                        "WithLoopback",
		"http://[::1]/token":                                 "WithLoopback",
		"http://localhost/token":                             "WithLoopback",
	} {
		t.Run(address[:min(len(address), 40)], func(t *testing.T) {
			t.Parallel()
			client := clientcred.SecretBasic(clientID, secret)
			if want != "" {
				isInvalid(t, client, address, want)
			} else {
				newSourceAt(t, address, client)
			}
			if want == "WithLoopback" {
				newSourceAt(t, address, client, clientcred.WithLoopback())
			} else if want != "" {
				isInvalid(t, client, address, want, clientcred.WithLoopback())
			}
		})
	}
}

func TestClients(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 257)
	longest := strings.Repeat("s", 4096)
	for name, row := range map[string]struct {
		client clientcred.Client
		want   string
	}{
		"none":                       {client: clientcred.Client{}, want: "want one of SecretBasic"},
		"basic":                      {client: clientcred.SecretBasic(long[1:], longest)},
		"post":                       {client: clientcred.SecretPost(long[1:], longest)},
		"basic without an ID":        {client: clientcred.SecretBasic("", secret), want: "SecretBasic: client ID"},
		"basic without a secret":     {client: clientcred.SecretBasic(clientID, ""), want: "SecretBasic: secret"},
		"basic with a long ID":       {client: clientcred.SecretBasic(long, secret), want: "SecretBasic: client ID"},
		"basic with a long secret":   {client: clientcred.SecretBasic(clientID, longest+"s"), want: "SecretBasic: secret"},
		"basic with a line break":    {client: clientcred.SecretBasic(clientID, secret+"\n"), want: "SecretBasic: secret"},
		"post without a secret":      {client: clientcred.SecretPost(clientID, ""), want: "SecretPost: secret"},
		"post with another script":   {client: clientcred.SecretPost("ä", secret), want: "SecretPost: client ID"},
		"an assertion without an ID": {client: clientcred.PrivateKeyJWT("", edKey(t), clientcred.Assertion{Algorithm: "EdDSA"}), want: "PrivateKeyJWT: client ID"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if row.want == "" {
				newSourceAt(t, tokenURL, row.client)
				return
			}
			isInvalid(t, row.client, tokenURL, row.want)
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	many := slices.Repeat([]string{"urn:a"}, 65)
	long := strings.Repeat("a", 2049)
	for name, row := range map[string]struct {
		want string
		good []clientcred.Option
		bad  []clientcred.Option
	}{
		"nil": {want: "option 0: nil", bad: []clientcred.Option{nil}},
		"scopes": {
			want: "WithScopes", good: []clientcred.Option{clientcred.WithScopes(many[1:]...), clientcred.WithScopes("!#[]~")},
			bad: []clientcred.Option{
				clientcred.WithScopes(), clientcred.WithScopes(many...), clientcred.WithScopes(""), clientcred.WithScopes("a b"), clientcred.WithScopes(`a"`),
				clientcred.WithScopes(`a\`), clientcred.WithScopes("a\n"), clientcred.WithScopes("a", "ä"), clientcred.WithScopes(long),
			},
		},
		"audience": {
			want: "WithAudience", good: []clientcred.Option{clientcred.WithAudience(long[1:])},
			bad: []clientcred.Option{clientcred.WithAudience(""), clientcred.WithAudience(long), clientcred.WithAudience("a\n")},
		},
		"resources": {
			want: "WithResources", good: []clientcred.Option{clientcred.WithResources(many[1:]...), clientcred.WithResources("https://a.example/?b")},
			bad: []clientcred.Option{
				clientcred.WithResources(), clientcred.WithResources(many...), clientcred.WithResources(""), clientcred.WithResources("a.example"),
				clientcred.WithResources("/a"), clientcred.WithResources("https://a.example/#b"), clientcred.WithResources("https://a.example/#"),
				clientcred.WithResources("urn:" + long), clientcred.WithResources("urn:a", "urn:\n"), clientcred.WithResources("https://ä.example"),
			},
		},
		"transport": {want: "WithTransport(nil)", good: []clientcred.Option{clientcred.WithTransport(plain())}, bad: []clientcred.Option{clientcred.WithTransport(nil)}},
		"timeout": {
			want: "WithTimeout", good: []clientcred.Option{clientcred.WithTimeout(1), clientcred.WithTimeout(time.Minute)},
			bad: []clientcred.Option{clientcred.WithTimeout(0), clientcred.WithTimeout(-1), clientcred.WithTimeout(time.Minute + 1)},
		},
		"life": {
			want: "WithDefaultLife", good: []clientcred.Option{clientcred.WithDefaultLife(time.Second), clientcred.WithDefaultLife(24 * time.Hour)},
			bad: []clientcred.Option{clientcred.WithDefaultLife(time.Second - 1), clientcred.WithDefaultLife(24*time.Hour + 1)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := clientcred.SecretBasic(clientID, secret)
			for _, opt := range row.good {
				newSourceAt(t, tokenURL, client, opt)
			}
			for _, opt := range row.bad {
				isInvalid(t, client, tokenURL, row.want, opt)
			}
		})
	}
}

func TestAllFaultsAreNamed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"token URL", "SecretPost: client ID", "SecretPost: secret", "option 0", "WithTimeout", "WithScopes"} {
		isInvalid(t, clientcred.SecretPost("", ""), "http://login.example", name, nil, clientcred.WithTimeout(0), clientcred.WithScopes())
	}
}

func TestOptionsKeepNoSliceOfTheCaller(t *testing.T) {
	t.Parallel()
	scopes, resources := []string{"a"}, []string{"urn:a"}
	e := &endpoint{do: grants(60)}
	e.set(func(r *http.Request) (int, string, error) {
		if r.FormValue("scope") != "a" || r.PostForm.Get("resource") != "urn:a" {
			t.Errorf("asked for %v, which was changed after New", r.PostForm)
		}
		return http.StatusOK, good, nil
	})
	source := newSource(t, e, clientcred.WithScopes(scopes...), clientcred.WithResources(resources...))
	scopes[0], resources[0] = "b", "urn:b"
	wants(t, source, "token-1")
}
