package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
)

func ExampleWithCORS() {
	verifier := &callers{known: map[string]*authkey.Identity{
		"pk_demo": {Org: "acme", Project: "shop", Kind: authkey.KindPublishable, Origins: []string{"https://*.example.com"}},
	}}
	auth := middleware.Authenticate(verifier,
		middleware.WithSources(middleware.Header("X-API-Key"), middleware.Query("key")),
		middleware.WithCORS(middleware.CORS{Origins: []string{"https://dashboard.acme.test"}}),
	)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/items", func(http.ResponseWriter, *http.Request) {})
	handler := httpkit.Middleware(auth)(mux) // around the router, so that every preflight comes by

	for _, origin := range []string{"https://www.example.com", "https://evil.test"} {
		r := httptest.NewRequest(http.MethodOptions, "/v1/items?key=pk_demo", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "GET")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Access-Control-Allow-Origin"))
	}
	// Output:
	// 204 https://www.example.com
	// 403
}

func ExampleWithTrustedProxies() {
	verifier := &callers{known: map[string]*authkey.Identity{
		"sk_demo": {Org: "acme", Project: "shop", Kind: authkey.KindSecret, Networks: prefixes("192.0.2.0/24")},
	}}
	auth := middleware.Authenticate(verifier, middleware.WithTrustedProxies(prefixes("10.0.0.0/8")...))
	handler := httpkit.Middleware(auth)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))

	for _, forwarded := range []string{"192.0.2.7", "192.0.2.7, 203.0.113.1"} { // the client made up the second's beginning
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "10.0.0.1:4711"
		r.Header.Set("X-Forwarded-For", forwarded)
		r.Header.Set("X-API-Key", "sk_demo")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 403
}
