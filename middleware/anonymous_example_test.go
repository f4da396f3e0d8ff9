package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
)

func ExampleWithAnonymous() {
	verifier := &callers{known: map[string]*authkey.Identity{"sk_demo": {Org: "acme", Project: "shop", Kind: authkey.KindSecret, Scopes: []string{"write"}}}}
	auth := middleware.Authenticate(verifier, middleware.WithAnonymous("public", "web"))
	whose := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		a, _ := middleware.FromContext(r.Context())
		fmt.Print(a.Identity().Org, " ")
	})
	mux := http.NewServeMux()
	mux.Handle("GET /items", httpkit.Middleware(auth)(whose))
	mux.Handle("POST /items", httpkit.Middleware(auth.RequireScope("write"))(whose))

	for _, key := range []string{"", "sk_demo", "sk_wrong"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := httptest.NewRequest(method, "/items", nil)
			r.Header.Set("X-API-Key", key)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			fmt.Println(method, w.Code)
		}
	}
	// Output:
	// public GET 200
	// POST 401
	// acme GET 200
	// acme POST 200
	// GET 401
	// POST 401
}
