package clientcred_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tollgate-go/tollgate/authkey/bearer/clientcred"
)

func Example() {
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _, _ := r.BasicAuth()
		fmt.Printf("%s asks for %q\n", id, r.FormValue("scope"))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"a-secret","token_type":"Bearer","expires_in":300}`)
	}))
	defer login.Close()
	maps := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "called with %q", r.Header.Get("Authorization"))
	}))
	defer maps.Close()

	source, err := clientcred.New(login.URL+"/token", clientcred.SecretBasic("search", "its secret"),
		clientcred.WithScopes("maps.read"), clientcred.WithLoopback())
	if err != nil {
		panic(err)
	}
	defer source.Close()
	transport, err := clientcred.NewTransport(source, nil, maps.URL)
	if err != nil {
		panic(err)
	}
	client := &http.Client{Transport: transport}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, maps.URL+"/stores", http.NoBody)
	if err != nil {
		panic(err)
	}
	response, err := client.Do(request)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	body := make([]byte, 64)
	n, _ := response.Body.Read(body)
	fmt.Println(string(body[:n]))
	// Output:
	// search asks for "maps.read"
	// called with "Bearer a-secret"
}
