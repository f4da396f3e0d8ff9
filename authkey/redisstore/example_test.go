package redisstore_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
)

func ExampleNew() {
	server, err := miniredis.Run() // a Redis in this process, for the example
	if err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()

	store := redisstore.New(rdb)
	verifier, err := authkey.New(store)
	if err != nil {
		panic(err)
	}
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		panic(err)
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		panic(err)
	}
	_, key, err := issuer.Issue(context.Background(), authkey.NewKey{Org: "demo", Project: "shop"})
	if err != nil {
		panic(err)
	}
	identity, err := verifier.Authenticate(context.Background(), key)
	fmt.Println(identity.Org, identity.Project, identity.Epoch > 0, err)

	_, err = authkey.New(redisstore.New(nil))
	fmt.Println(err != nil)
	// Output:
	// demo shop true <nil>
	// true
}
