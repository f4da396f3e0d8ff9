package clientcred_test

import (
	"net/http"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

// What another hand built to be asked, over TLS.
func TestIssuer(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]clientcred.Client{
		"basic": clientcred.SecretBasic(authtest.ClientID, authtest.ClientSecret),
		"post":  clientcred.SecretPost(authtest.ClientID, authtest.ClientSecret),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer := authtest.NewIssuer(t)
			source := newSourceAt(t, issuer.EndpointURL(authtest.EndpointToken), client,
				clientcred.WithTransport(issuer.Client().Transport), clientcred.WithTimeout(calm), clientcred.WithScopes("a", "b"))
			issuer.Break(authtest.EndpointToken, authtest.Fault{Redirect: issuer.EndpointURL(authtest.EndpointToken)})
			fails(t, source, clientcred.Refused)
			if n := issuer.Hits(authtest.EndpointToken); n != 1 {
				t.Errorf("asked %d times, want once: the redirect was followed", n)
			}
			issuer.Heal(authtest.EndpointToken)
			source = newSourceAt(t, issuer.EndpointURL(authtest.EndpointToken), client,
				clientcred.WithTransport(issuer.Client().Transport), clientcred.WithTimeout(calm), clientcred.WithScopes("a", "b"))
			base := &service{}
			trip(t, newTransport(t, source, base, maps), newRequest(t, http.MethodGet, maps, nil))
			token, err := source.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wantSent(t, base, "Bearer "+token.Access.Reveal())
			if n := issuer.Hits(authtest.EndpointToken); n != 2 {
				t.Errorf("asked %d times, want twice", n)
			}
		})
	}
}
