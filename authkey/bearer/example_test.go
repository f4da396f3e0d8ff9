package bearer_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
)

func ExampleNew() {
	t := new(authtest.Example) // in a test, its own t
	defer t.End()
	login := authtest.NewIssuer(t)

	keys, err := bearer.NewKeySet(bearer.Key{ID: login.Key().ID, Public: login.Key().Public()}) // or bearer/jwks, which fetches them
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := bearer.New([]bearer.Issuer{{
		URL: login.URL(), Audiences: []string{authtest.Audience}, Keys: keys, Orgs: []string{"acme", "demo"},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	token := login.Mint(authtest.Claims{"org_id": "acme", "scope": "read write", "roles": []string{"editor"}})
	identity, err := verifier.Authenticate(ctx, authkey.NewPresented(token))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(identity.Org, identity.Scopes, identity.Roles, identity.Token.Subject, identity.Method)

	_, err = verifier.Authenticate(ctx, authkey.NewPresented(login.Mint(authtest.Claims{"org_id": "acme", "aud": "https://other.example.com"})))
	fmt.Println(err)
	// Output:
	// acme [read write] [editor] subject bearer
	// authkey: unknown credential: token: it is for another audience
}

func ExampleNewKeySet() {
	t := new(authtest.Example)
	defer t.End()
	key := authtest.NewKey(t, "ES256", "2030-01")

	set, err := bearer.NewKeySet(bearer.Key{ID: key.ID, Algorithm: "ES256", Public: key.Public()})
	fmt.Println(set, err)
	fmt.Println(set.Has(bearer.Header{KeyID: "2030-01", Algorithm: "ES256"}), set.Has(bearer.Header{KeyID: "2030-01", Algorithm: "RS256"}))

	_, err = bearer.NewKeySet(bearer.Key{ID: "shared", Algorithm: "HS256", Public: []byte("too short")})
	fmt.Println(err)
	// Output:
	// key set of 1 <nil>
	// true false
	// authkey: invalid: key number 1, "shared": Public: not a key of the algorithm, or not a strong one
}

func ExampleBeside() {
	t := new(authtest.Example)
	defer t.End()
	login, ctx := authtest.NewIssuer(t), context.Background()
	set, _ := bearer.NewKeySet(bearer.Key{ID: login.Key().ID, Public: login.Key().Public()})
	tokens, err1 := bearer.New([]bearer.Issuer{{URL: login.URL(), Audiences: []string{authtest.Audience}, Keys: set, Org: "demo"}})

	format, err2 := authkey.NewFormat("acme", "live")
	store := authkey.NewMemoryStore()
	issuer, err3 := authkey.NewIssuer(store, format)
	keys, err4 := authkey.New(store, authkey.WithFormat(format))
	both, err5 := bearer.Beside(tokens, keys)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		fmt.Println(err)
		return
	}
	_, key, _ := issuer.Issue(ctx, authkey.NewKey{Org: "demo", Project: "shop"})
	token := authkey.NewPresented(login.Mint(nil))
	for _, presented := range []authkey.Presented{key, token} {
		identity, err := both.Authenticate(ctx, presented)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(identity.Method, identity.Org, identity.Project)
	}
	// Output:
	// key demo shop
	// bearer demo demo
}

func ExampleWithValidator() {
	t := new(authtest.Example)
	defer t.End()
	login := authtest.NewIssuer(t)
	set, _ := bearer.NewKeySet(bearer.Key{ID: login.Key().ID, Public: login.Key().Public()})
	closed := func(_ context.Context, identity *authkey.Identity) error {
		if identity.Project == "closed" {
			return fmt.Errorf("%w: the project is closed", authkey.ErrForbidden)
		}
		return nil
	}
	verifier, err := bearer.New([]bearer.Issuer{{URL: login.URL(), Audiences: []string{authtest.Audience}, Keys: set, Org: "demo"}},
		bearer.WithValidator(closed, 100*time.Millisecond))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = verifier.Authenticate(context.Background(), authkey.NewPresented(login.Mint(authtest.Claims{"project_id": "closed"})))
	fmt.Println(err)
	// Output: authkey: forbidden: the project is closed
}
