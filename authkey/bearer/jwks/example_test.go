package jwks_test

import (
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

func ExampleNew() {
	t := new(authtest.Example) // stands for a test
	defer t.End()
	issuer := authtest.NewIssuer(t) // stands for yours, on this machine

	cache, err := jwks.New(
		jwks.WithHTTPClient(issuer.Client()), // which trusts its certificate
		jwks.WithLoopback(),
		jwks.WithStale(2*time.Hour),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()
	source := cache.Issuer(issuer.URL())
	fmt.Println("start:", cache.Start(t.Context()), "ready:", cache.Ready())

	key := issuer.Key()
	set, err := source.Keys(t.Context(), bearer.Header{KeyID: key.ID, Algorithm: key.Alg})
	fmt.Println(set.Len(), "key", err)
	for _, s := range cache.Stats() {
		fmt.Println(s.Usable, s.Fetches, "fetch", s.Failures, "failures")
	}
	// Output:
	// start: <nil> ready: <nil>
	// 1 key <nil>
	// true 1 fetch 0 failures
}

func ExampleCache_Issuer() {
	cache, err := jwks.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()
	// A URL or an option that is wrong is told at once; nothing was fetched yet.
	fmt.Println(cache.Issuer("https://issuer.example").Err())
	fmt.Println(cache.Issuer("http://issuer.example").Err())
	// Output:
	// <nil>
	// authkey: invalid: jwks: http://issuer.example: want https; http is for this machine alone, with WithLoopback
}
