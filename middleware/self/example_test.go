package self_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/self"
)

// must is for what cannot fail in an example.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func ExampleNew() {
	store := authkey.NewMemoryStore()
	issuer := must(authkey.NewIssuer(store, must(authkey.NewFormat("acme", "test"))))
	_, key, err := issuer.Issue(context.Background(), authkey.NewKey{
		Org: "demo", Project: "shop", Kind: authkey.KindPublishable, Products: []string{"stores"},
	})
	if err != nil {
		panic(err)
	}
	auth := middleware.Authenticate(must(authkey.New(store)))
	handler := must(self.New(self.WithPrefix("/v1/self")))
	mux := http.NewServeMux()
	mux.Handle("/v1/self/", httpkit.Middleware(auth)(handler))

	for _, path := range []string{"/v1/self/whoami", "/v1/self/usage"} {
		r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		r.Header.Set("X-API-Key", key.Reveal())
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Cache-Control"), w.Header().Get("Content-Type"))
	}
	// Output:
	// 200 no-store application/json
	// 404 no-store application/problem+json
}
