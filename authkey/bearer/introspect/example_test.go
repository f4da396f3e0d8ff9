package introspect_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/introspect"
)

func ExampleNew() {
	t := new(authtest.Example) // stands for an authorization server
	defer t.End()
	server := authtest.NewIssuer(t, authtest.WithClient("maps", "our secret"))

	asks, err := introspect.New(server.EndpointURL(authtest.EndpointIntrospection),
		introspect.WithSecretBasic("maps", "our secret"), introspect.WithTransport(server.Client().Transport))
	if err != nil {
		panic(err)
	}
	verifier, err := bearer.New(nil, bearer.WithIntrospection(bearer.Issuer{URL: server.URL(), Org: "acme"}, asks))
	if err != nil {
		panic(err)
	}
	token := server.Opaque(authtest.Claims{"sub": "ann", "scope": "read"})
	identity, err := verifier.Authenticate(context.Background(), authkey.NewPresented(token))
	if err != nil {
		panic(err)
	}
	fmt.Println(identity.Org, identity.Token.Subject, identity.Scopes)

	server.Revoke(token)
	asks.Invalidate(token)
	_, err = verifier.Authenticate(context.Background(), authkey.NewPresented(token))
	fmt.Println(errors.Is(err, authkey.ErrUnknown))
	// Output:
	// acme ann [read]
	// true
}
