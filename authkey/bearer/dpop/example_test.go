package dpop_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/dpop"
)

func ExampleNew() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()

	proofs, err := dpop.New(rdb, []string{"https://api.example.com"})
	if err != nil {
		panic(err)
	}

	// What a client sends with a token that is bound to its key.
	t := new(authtest.Example)
	defer t.End()
	key, token := authtest.NewDPoPKey(t, "ES256"), "the.access.token"
	presentation := &authkey.Presentation{
		Scheme: "DPoP", Method: "GET", Path: "/maps",
		Proofs: []string{key.Proof("GET", "https://api.example.com/maps", token, "")},
	}

	// What a bearer.Verifier asks.
	proof, err := proofs.Check(presentation, token, key.Thumbprint())
	fmt.Println(err)
	fmt.Println(proofs.Use(context.Background(), proof))
	err = proofs.Use(context.Background(), proof)
	fmt.Println(err)
	var refused *authkey.ProofError
	fmt.Println(errors.As(err, &refused), refused.Code)
	// Output:
	// <nil>
	// <nil>
	// authkey: invalid_dpop_proof: dpop: the proof was used before
	// true invalid_dpop_proof
}
