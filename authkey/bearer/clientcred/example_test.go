package clientcred_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

// login is an authorization server that knows one client.
func login() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		id, secret, basic := r.BasicAuth()
		if !basic {
			id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
		}
		if id != "search" || secret != "its+secret" && secret != "its secret" && !r.PostForm.Has("client_assertion") {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client"}`)
			return
		}
		fmt.Printf("%s asks for %q\n", id, r.FormValue("scope"))
		fmt.Fprint(w, `{"access_token":"a-secret","token_type":"Bearer","expires_in":300}`)
	}))
}

func ExampleNew() {
	server := login()
	defer server.Close()
	source, err := clientcred.New(server.URL+"/token", clientcred.SecretBasic("search", "its secret"),
		clientcred.WithScopes("maps.read", "maps.write"), clientcred.WithLoopback()) // the server here has no TLS
	if err != nil {
		panic(err)
	}
	defer source.Close()
	for range 2 {
		token, err := source.Token(context.Background())
		fmt.Println(token.Access, token.Access.Reveal(), err)
	}
	// Output:
	// search asks for "maps.read maps.write"
	// [redacted] a-secret <nil>
	// [redacted] a-secret <nil>
}

func ExampleSecretPost() {
	server := login()
	defer server.Close()
	source, err := clientcred.New(server.URL+"/token", clientcred.SecretPost("search", "a wrong one"), clientcred.WithLoopback())
	if err != nil {
		panic(err)
	}
	defer source.Close()
	_, err = source.Token(context.Background())
	fmt.Println(err, errors.Is(err, authkey.ErrUnavailable))
	// Output: authkey: unavailable: clientcred: refused (status 401): invalid_client true
}

func ExamplePrivateKeyJWT() {
	server := login()
	defer server.Close()
	_, private, err := ed25519.GenerateKey(nil) // in truth it is read, and the server has its public half
	if err != nil {
		panic(err)
	}
	client := clientcred.PrivateKeyJWT("search", private, clientcred.Assertion{Algorithm: "EdDSA", KeyID: "2026-11"})
	source, err := clientcred.New(server.URL+"/token", client, clientcred.WithScopes("maps.read"), clientcred.WithLoopback())
	if err != nil {
		panic(err)
	}
	defer source.Close()
	_, err = source.Token(context.Background())
	fmt.Println(err)
	// Output:
	// search asks for "maps.read"
	// <nil>
}

func ExampleNewTransport() {
	server := login()
	defer server.Close()
	maps := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.URL.Path, r.Header.Get("Authorization"))
	}))
	defer maps.Close()

	source, err := clientcred.New(server.URL+"/token", clientcred.SecretBasic("search", "its secret"), clientcred.WithLoopback())
	if err != nil {
		panic(err)
	}
	defer source.Close()
	transport, err := clientcred.NewTransport(source, nil, maps.URL)
	if err != nil {
		panic(err)
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, maps.URL+"/stores", http.NoBody)
	if err != nil {
		panic(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		panic(err)
	}
	response.Body.Close()
	// Output:
	// search asks for ""
	// /stores Bearer a-secret
}
