package authtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func ExampleNewIssuer() {
	t := new(authtest.Example) // in a test, its own t
	defer t.End()
	var clock authtest.Clock
	issuer := authtest.NewIssuer(t, authtest.WithClock(clock.Now))

	verify := func(token string) error {
		_, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return issuer.Key().Public(), nil },
			jwt.WithIssuer(issuer.URL()), jwt.WithAudience(authtest.Audience), jwt.WithTimeFunc(clock.Now))
		return err
	}
	token := issuer.Mint(authtest.Claims{"scope": "read"})
	fmt.Println(verify(token))
	clock.Advance(time.Hour)
	fmt.Println(verify(token))
	// Output:
	// <nil>
	// token has invalid claims: token is expired
}

func ExampleIssuer_Break() {
	t := new(authtest.Example)
	defer t.End()
	issuer := authtest.NewIssuer(t)

	fetch := func() {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, issuer.EndpointURL(authtest.EndpointKeys), http.NoBody)
		if err != nil {
			fmt.Println(err)
			return
		}
		response, err := issuer.Client().Do(request)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer response.Body.Close()
		var set struct{ Keys []json.RawMessage }
		err = json.NewDecoder(response.Body).Decode(&set)
		fmt.Printf("%d, %d keys, %v, %q\n", response.StatusCode, len(set.Keys), err, response.Header.Get("Retry-After"))
	}
	fetch()
	issuer.Break(authtest.EndpointKeys, authtest.Fault{
		Status: http.StatusServiceUnavailable,
		Header: http.Header{"Retry-After": {"7"}},
		Body:   []byte("<html>"),
	})
	fetch()
	issuer.Heal()
	fetch()
	fmt.Println(issuer.Hits(authtest.EndpointKeys), "requests")
	// Output:
	// 200, 1 keys, <nil>, ""
	// 503, 0 keys, invalid character '<' looking for beginning of value, "7"
	// 200, 1 keys, <nil>, ""
	// 3 requests
}

func ExampleNewDPoPKey() {
	t := new(authtest.Example)
	defer t.End()
	issuer := authtest.NewIssuer(t)
	client := authtest.NewDPoPKey(t, "ES256")

	token := issuer.Mint(authtest.Claims{"cnf": authtest.Claims{"jkt": client.Thumbprint()}})
	request := httptest.NewRequest(http.MethodGet, "https://api.example.com/maps", http.NoBody)
	request.Header.Set("Authorization", "DPoP "+token)
	request.Header.Set("DPoP", client.Proof(request.Method, request.URL.String(), token, ""))

	proof, err := jwt.Parse(request.Header.Get("DPoP"), func(*jwt.Token) (any, error) { return client.Public(), nil })
	fmt.Println(proof.Header["typ"], err)
	// Output: dpop+jwt <nil>
}
