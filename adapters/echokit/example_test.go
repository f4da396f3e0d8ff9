package echokit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/labstack/echo/v4"

	"github.com/tollgate-go/tollgate/adapters/echokit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
)

// demo returns a stage that knows one key, and the key.
func demo() (*middleware.Authenticated, string) {
	store := authkey.NewMemoryStore()
	format, err := authkey.NewFormat("acme", "test")
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
	verifier, err := authkey.New(store)
	if err != nil {
		panic(err)
	}
	return middleware.Authenticate(verifier), key.Reveal()
}

// call prints the answer to a request with a key.
func call(h http.Handler, key string) {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/v1/stores/7", http.NoBody)
	r.Header.Set("X-API-Key", key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code == http.StatusOK {
		fmt.Println(w.Code, w.Body)
	} else {
		fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	}
}

func ExampleMiddleware() {
	auth, key := demo()

	e := echo.New()
	e.GET("/v1/stores/:id", func(c echo.Context) error {
		admission, _ := middleware.FromContext(c.Request().Context())
		return c.String(http.StatusOK, admission.Identity().Project+" calls "+admission.Endpoint())
	}, echokit.Middleware(auth))

	call(e, "")
	call(e, key)
	// Output:
	// 401 Bearer realm="api"
	// 200 shop calls GET /v1/stores/{id}
}
