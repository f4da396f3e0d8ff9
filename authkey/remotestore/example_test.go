package remotestore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/remotestore"
)

func ExampleNew() {
	// What a team has already: it knows one key.
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		body := make([]byte, 64)
		n, _ := r.Body.Read(body)
		if string(body[:n]) != `{"key":"woos-1234"}` {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"code":"unknown"}`)
			return
		}
		fmt.Fprint(w, `{"org":"acme","project":"shop","key":"k1","kind":"publishable","products":["maps"]}`)
	}))
	defer service.Close()

	who, err := remotestore.New(service.URL, remotestore.WithTransport(service.Client().Transport))
	if err != nil {
		panic(err)
	}
	identity, err := who.Authenticate(context.Background(), authkey.NewPresented("woos-1234"))
	fmt.Println(identity.Org, identity.Project, identity.HasProduct("maps"), err)
	_, err = who.Authenticate(context.Background(), authkey.NewPresented("woos-9999"))
	fmt.Println(errors.Is(err, authkey.ErrUnknown))
	// Output:
	// acme shop true <nil>
	// true
}
