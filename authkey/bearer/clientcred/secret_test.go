package clientcred_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

func TestNothingPrintsASecret(t *testing.T) {
	t.Parallel()
	source := newSource(t, &endpoint{do: grants(3600)})
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	transport := newTransport(t, source, &service{}, maps)
	key := edKey(t)
	assertion := clientcred.PrivateKeyJWT(clientID, key, clientcred.Assertion{Algorithm: "EdDSA"})
	for name, row := range map[string]struct {
		value any
		want  string // by %v; any if empty
	}{
		"source":      {value: source, want: "clientcred.Source(login.example/token)"},
		"nil source":  {value: (*clientcred.Source)(nil), want: "<nil>"},
		"token":       {value: token},
		"*token":      {value: &token},
		"basic":       {value: clientcred.SecretBasic(clientID, secret), want: "clientcred.Client(client_secret_basic)"},
		"post":        {value: clientcred.SecretPost(clientID, secret), want: "clientcred.Client(client_secret_post)"},
		"assertion":   {value: assertion, want: "clientcred.Client(private_key_jwt)"},
		"transport":   {value: transport, want: "clientcred.Transport(clientcred.Source(login.example/token))"},
		"no source":   {value: (*clientcred.Transport)(nil), want: "clientcred.Transport(<nil>)"},
		"all of them": {value: []any{source, token, transport, assertion, struct{ S *clientcred.Source }{source}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T"} {
				hides(t, key, fmt.Sprintf(verb, row.value))
			}
			if got := fmt.Sprint(row.value); row.want != "" && got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("text", "value", row.value)
			slog.New(slog.NewJSONHandler(&log, nil)).Info("JSON", "value", row.value)
			hides(t, key, log.String())
			text, err := json.Marshal(row.value)
			hides(t, key, string(text)+fmt.Sprint(err))
		})
	}
	if got := token.Access.Reveal(); got != "token-1" {
		t.Errorf("Reveal %q", got)
	}
}

// hides fails where a text has a secret, a token or the private key in it, also in hexadecimal.
func hides(t *testing.T, key ed25519.PrivateKey, text string) {
	t.Helper()
	tellsNothing(t, text)
	for _, hidden := range []string{fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("%x", "token-1"), fmt.Sprintf("%d", key)[1:40], hex.EncodeToString(key)[:40]} {
		if bytes.Contains([]byte(text), []byte(hidden)) {
			t.Errorf("%q tells %q", text, hidden)
		}
	}
}
