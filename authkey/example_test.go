package authkey_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
)

func Example() {
	ctx := context.Background()
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		panic(err)
	}
	store := authkey.NewMemoryStore()
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		panic(err)
	}
	verifier, err := authkey.New(store, authkey.WithFormat(format))
	if err != nil {
		panic(err)
	}

	record, key, err := issuer.Issue(ctx, authkey.NewKey{Org: "demo", Project: "shop", Scopes: []string{authkey.ScopeWrite}})
	if err != nil {
		panic(err)
	}
	identity, err := verifier.Authenticate(ctx, key)
	fmt.Println(identity.Org, identity.Project, identity.HasScope(authkey.ScopeWrite), err)

	_, err = issuer.SetState(ctx, "demo", record.ID, 0, authkey.StateRevoked, "leaked")
	if err != nil {
		panic(err)
	}
	_, err = verifier.Refresh(ctx, key, identity)
	fmt.Println(errors.Is(err, authkey.ErrRevoked))
	// Output:
	// demo shop true <nil>
	// true
}

func ExampleNewFormat() {
	format, err := authkey.NewFormat("acme", "live")
	fmt.Println(format, err)
	_, err = authkey.NewFormat("my_app", "live")
	fmt.Println(errors.Is(err, authkey.ErrInvalid))
	// Output:
	// acme_live <nil>
	// true
}

func ExampleParse() {
	parsed, err := authkey.Parse("acme_live_073kTMd9Qx2LpA_0123456789ABCDEFGHIJKLMNOPQRSTUV3TPDdh")
	fmt.Println(parsed, err)
	_, err = authkey.Parse("acme_live_073kTMd9Qx2LpA_0123456789ABCDEFGHIJKLMNOPQRSTUV3TPDdx")
	fmt.Println(err)
	// Output:
	// acme_live_073kTMd9Qx2LpA_**** <nil>
	// authkey: malformed credential
}

func ExampleNewPresented() {
	key := authkey.NewPresented("a secret")
	fmt.Printf("%v %+v %#v %q\n", key, key, key, key)
	fmt.Println(key.Reveal())
	// Output:
	// [redacted] [redacted] [redacted] [redacted]
	// a secret
}

func ExampleNewHasher() {
	current := authkey.NewPepper("2026-11", []byte("32 random bytes from the vault.."))
	hasher, err := authkey.NewHasher(current, authkey.Pepper{}) // the zero one: keys from before there was a pepper
	if err != nil {
		panic(err)
	}
	digest, version := hasher.Digest(authkey.NewPresented("a key"))
	fmt.Println(digest, version, current)
	// Output:
	// [redacted] 2026-11 pepper "2026-11" [redacted]
}

func ExampleIssuer_Import() {
	ctx := context.Background()
	store := authkey.NewMemoryStore()
	format, _ := authkey.NewFormat("acme", "live")
	issuer, _ := authkey.NewIssuer(store, format)
	verifier, _ := authkey.New(store, authkey.WithForeignKeys())

	old := authkey.NewPresented("5f2c9f0e-key-of-the-old-system")
	_, err := issuer.Import(ctx, old, authkey.NewKey{Org: "demo", Project: "shop"})
	fmt.Println(err)
	identity, err := verifier.Authenticate(ctx, old)
	fmt.Println(identity.Project, err)
	// Output:
	// <nil>
	// shop <nil>
}

func ExampleIssuer_ImportAll() {
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		panic(err)
	}
	issuer, err := authkey.NewIssuer(authkey.NewMemoryStore(), format)
	if err != nil {
		panic(err)
	}
	file := func() io.Reader {
		return strings.NewReader(`{"source":"api_keys 17","key":"5f2c9f0e-key-of-the-old-system","org":"demo","project":"shop"}
{"source":"api_keys 18","sha256":"2c1b48c002f4cd36004b8473fd235127e12c866dd30be8129371818624ddef79","org":"demo","project":"shop"}
{"source":"api_keys 19","key":"short","org":"demo","project":"shop"}
`)
	}
	for range 2 {
		counts, err := issuer.ImportAll(context.Background(), authkey.ImportLines(file()), func(r authkey.ImportResult) {
			if r.Err != nil {
				fmt.Printf("line %d, %s: %s\n", r.Position, r.Source, r.Status)
			}
		})
		fmt.Println(counts, err)
	}
	// Output:
	// line 3, api_keys 19: invalid
	// map[imported:2 invalid:1] <nil>
	// line 3, api_keys 19: invalid
	// map[invalid:1 skipped:2] <nil>
}
