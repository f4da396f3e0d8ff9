package main

import (
	"fmt"
	"net/http"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/examples/internal/demo"
)

// provider is an authorization server in this process, which does what it is told: see package authtest. Leave it out of
// a service of yours.
type provider struct {
	*authtest.Issuer
	*authtest.Example // which it lives as long as

	service string // that its tokens are for
	client  *authtest.DPoPKey
}

func newProvider(at demo.Place) *provider {
	t := new(authtest.Example)
	return &provider{
		Issuer: authtest.NewIssuer(t), Example: t,
		service: "http://" + at.Addr, client: authtest.NewDPoPKey(t, "ES256"),
	}
}

// mount adds what can be done with a provider that is one's own.
func (p *provider) mount(mux *http.ServeMux) {
	mux.HandleFunc("POST /provider/rotate", func(w http.ResponseWriter, _ *http.Request) {
		p.Rotate("ES256")
		w.WriteHeader(http.StatusNoContent)
	})
	// A client would make the proof by itself, a new one for each request. curl has no key to do so.
	mux.HandleFunc("POST /provider/proof", func(w http.ResponseWriter, _ *http.Request) {
		token := p.Mint(authtest.Claims{
			"aud": p.service, "scope": "pay", "cnf": authtest.Claims{"jkt": p.client.Thumbprint()},
		})
		proof := p.client.Proof(http.MethodPost, p.service+"/v1/payments", token, "")
		fmt.Fprintf(w, "Authorization: DPoP %s\nDPoP: %s\n", token, proof)
	})
}

// facts and text are the one place that the key and the admin token are shown.
func (p *provider) facts(at demo.Place, s *service) any {
	return struct {
		Addr         string `json:"addr"`
		Org          string `json:"org"`
		Project      string `json:"project"`
		APIKey       string `json:"api_key"`
		AdminToken   string `json:"admin_token"`
		Redis        string `json:"redis"`
		Issuer       string `json:"issuer"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}{at.Addr, demo.Org, demo.Project, s.key, s.adminToken, at.RedisName, p.URL(), authtest.ClientID, authtest.ClientSecret}
}

func (p *provider) text(at demo.Place, s *service) string {
	return fmt.Sprintf(`Listening on http://%[1]s, Redis: %[2]s, issuer: %[3]s

Without a token you are told whom to ask for one:
  curl -si http://%[1]s/v1/search | grep -i www-authenticate
  curl -s http://%[1]s/.well-known/oauth-protected-resource; echo

Ask, and call until the limit of 10 in 10 seconds answers 429:
  ask() { curl -sk -u %[4]s:%[5]s -d grant_type=client_credentials -d scope=search -d resource=http://%[1]s %[6]s | grep -o 'ey[^"]*'; }
  who() { curl -si -H "Authorization: Bearer $1" http://%[1]s/v1/whoami | grep -E '^(HTTP|[{])'; }
  TOKEN=$(ask); who "$TOKEN"
  for i in $(seq 11); do curl -si -H "Authorization: Bearer $TOKEN" http://%[1]s/v1/search | grep -iE '^(HTTP|ratelimit:|retry-after)'; done

An API key does as well, and where nobody has to be known, nothing:
  curl -s -H 'X-API-Key: %[7]s' http://%[1]s/v1/whoami
  curl -s http://%[1]s/v1/news

A token that is bound to a key, with a proof that works once:
  PROOF=$(curl -s -X POST http://%[1]s/provider/proof)
  for i in 1 2; do echo "$PROOF" | curl -si -X POST -H @- http://%[1]s/v1/payments | grep -iE '^(HTTP|www-authenticate)'; done

Replace the issuer's key: a new token is signed by the new one and passes, and so does the one from before:
  curl -s -X POST http://%[1]s/provider/rotate
  OLD=$TOKEN; TOKEN=$(ask)
  who "$TOKEN"; who "$OLD"

End the token: the next request is refused, and only the log of the service says why:
  curl -si -X POST -H "Authorization: Bearer $TOKEN" http://%[1]s/v1/logout | grep HTTP
  who "$TOKEN"

End all that the client has, as an operator does: what it has is refused, what it is given from the next second on passes:
  TOKEN=$(ask); who "$TOKEN"
  curl -s -H 'Authorization: Bearer %[8]s' -H 'Content-Type: application/json' -d '{"kind":"subject","issuer":"%[3]s","value":"%[4]s","reason":"try it"}' http://%[1]s/admin/v1/orgs/%[9]s/revocations; echo
  who "$TOKEN"
  sleep 1; TOKEN=$(ask); who "$TOKEN"
`, at.Addr, at.RedisName, p.URL(), authtest.ClientID, authtest.ClientSecret, p.EndpointURL(authtest.EndpointToken), s.key, s.adminToken, demo.Org)
}
