package legacy_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/legacy"
)

func ExampleNew() {
	ctx := context.Background()
	asked := 0
	tokens := func(_ context.Context, id string) (legacy.Row, error) { // a look-up in a table of Laravel Sanctum
		asked++
		if id != "17" {
			return legacy.Row{}, authkey.ErrUnknown
		}
		return legacy.Row{
			Hash: "60dd817c5b95f32587dd0b56259b04d7a402cb607cc54b6bc5b40085babfaadb",
			Key:  authkey.NewKey{Org: "demo", Project: "shop", Source: "personal_access_tokens 17"},
		}, nil
	}

	store := authkey.NewMemoryStore()
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		panic(err)
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		panic(err)
	}
	verifier, err := authkey.New(store, authkey.WithForeignKeys())
	if err != nil {
		panic(err)
	}
	chain, err := legacy.New(verifier, issuer, legacy.Sanctum(tokens))
	if err != nil {
		panic(err)
	}

	key := authkey.NewPresented("17|Xy3Zk9QpLmN4vBt7RwSd2FgHjK8eUcAaQ1oPiT5M2a987538")
	for range 3 {
		identity, err := chain.Authenticate(ctx, key)
		fmt.Println(identity.Org, identity.Project, err, asked)
	}
	_, err = chain.Authenticate(ctx, authkey.NewPresented("17|60dd817c5b95f32587dd0b56259b04d7a402cb60"))
	fmt.Println(errors.Is(err, authkey.ErrUnknown), chain.Stats().Schemes["sanctum"].Upgraded)
	// Output:
	// demo shop <nil> 1
	// demo shop <nil> 1
	// demo shop <nil> 1
	// true 1
}

func ExampleCustom() {
	lookup := func(context.Context, string) (legacy.Row, error) { return legacy.Row{}, authkey.ErrUnknown }
	scheme := legacy.Custom("portal",
		func(key string) (string, bool) { // portal-<8 of id>-<secret>
			if len(key) < 32 || key[:7] != "portal-" || key[15] != '-' {
				return "", false
			}
			return key[7:15], true
		},
		func(_ context.Context, key authkey.Presented, hash legacy.Hash) (bool, error) {
			// bcrypt.CompareHashAndPassword([]byte(hash), []byte(key.Reveal())), for instance
			return false, nil
		},
		lookup)
	_, err := legacy.New(nil, nil, scheme)
	fmt.Println(errors.Is(err, authkey.ErrInvalid)) // no verifier, no issuer
	// Output:
	// true
}
