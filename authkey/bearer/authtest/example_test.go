package authtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

func ExampleNewIssuer() {
	t := new(authtest.Example) // in a test, its own t
	defer t.End()
	var clock authtest.Clock
	issuer := authtest.NewIssuer(t, authtest.WithClock(clock.Now))

	keySets, err := jwks.New(jwks.WithHTTPClient(issuer.Client()), jwks.WithLoopback())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer keySets.Close()
	verifier, err := bearer.New([]bearer.Issuer{{
		URL: issuer.URL(), Audiences: []string{authtest.Audience}, Org: "acme", Keys: keySets.Issuer(issuer.URL()),
	}}, bearer.WithClock(clock.Now))
	if err != nil {
		fmt.Println(err)
		return
	}
	verify := func(token string) error {
		_, err := verifier.Authenticate(t.Context(), authkey.NewPresented(token))
		return err
	}
	token := issuer.Mint(authtest.Claims{"scope": "read"})
	fmt.Println("good:", verify(token))
	clock.Advance(time.Hour)
	fmt.Println("expired:", errors.Is(verify(token), authkey.ErrExpired))

	issuer.Rotate("ES256")
	token = issuer.Mint(nil)
	fmt.Println("by a key that was not fetched yet:", errors.Is(verify(token), authkey.ErrUnknown))
	keySets.Invalidate(issuer.URL()) // by itself it would look again 30 seconds after the last time
	fmt.Println("by the next key:", verify(token))
	// Output:
	// good: <nil>
	// expired: true
	// by a key that was not fetched yet: true
	// by the next key: <nil>
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
