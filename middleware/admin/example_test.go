package admin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gin-gonic/gin"    //nolint:depguard // an example of mounting
	"github.com/labstack/echo/v4" //nolint:depguard // an example of mounting

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// handlerWithKeys serves keys under /admin.
func handlerWithKeys(authorizer admin.Authorizer) *admin.Handler {
	store := authkey.NewMemoryStore()
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		panic(err)
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		panic(err)
	}
	handler, err := admin.New(authorizer, admin.WithPrefix("/admin"), admin.WithKeys(store, issuer))
	if err != nil {
		panic(err)
	}
	return handler
}

// get asks for the keys of a project, and prints status and body.
func get(handler http.Handler) {
	r := httptest.NewRequest(http.MethodGet, "/admin/v1/orgs/demo/projects/shop/keys", nil)
	r.Header.Set("Authorization", "Bearer an-admin-token-of-16-or-more")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
}

func ExampleNew() {
	handler := handlerWithKeys(admin.BearerToken("an-admin-token-of-16-or-more"))
	mux := http.NewServeMux()
	mux.Handle("/admin/", handler)
	get(mux)
	// Output: 200 {"items":[]}
}

func ExampleNew_gin() {
	handler := handlerWithKeys(admin.BearerToken("an-admin-token-of-16-or-more"))
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Any("/admin/*path", gin.WrapH(handler))
	get(router)
	// Output: 200 {"items":[]}
}

func ExampleNew_echo() {
	handler := handlerWithKeys(admin.BearerToken("an-admin-token-of-16-or-more"))
	router := echo.New()
	router.Any("/admin/*", echo.WrapHandler(handler))
	get(router)
	// Output: 200 {"items":[]}
}

func ExampleNew_nobody() {
	_, err := admin.New(nil)
	fmt.Println(err)
	// Output: admin: invalid authorizer: it is nil, and nobody may administer unasked; use BearerToken or your own
}

// An authorizer that lets a team read, and only its own org.
func ExampleAuthorizerFunc() {
	team := admin.AuthorizerFunc(func(r *http.Request) (admin.Actor, error) {
		name, password, ok := r.BasicAuth()
		switch {
		case !ok:
			return admin.Actor{}, admin.ErrMissing
		case name != "demo" || password != "looked up and compared in constant time":
			return admin.Actor{}, fmt.Errorf("%.20q gave a wrong password", name)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			return admin.Actor{}, admin.ErrForbidden
		}
		return admin.Actor{Name: name, Org: "demo"}, nil
	})
	handler := handlerWithKeys(team)
	for _, method := range []string{"GET", "POST"} {
		for _, org := range []string{"demo", "other"} {
			r := httptest.NewRequest(method, "/admin/v1/orgs/"+org+"/projects/shop/keys", nil)
			r.SetBasicAuth("demo", "looked up and compared in constant time")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			fmt.Println(method, org, w.Code)
		}
	}
	// Output:
	// GET demo 200
	// GET other 404
	// POST demo 403
	// POST other 403
}

func ExampleTokens() {
	handler := handlerWithKeys(admin.Tokens(
		admin.Token{Name: "ops", Secret: "a-secret-of-operations", Scopes: []string{admin.ScopeAll}},
		admin.Token{Name: "billing", Secret: "a-secret-of-billing", Scopes: []string{"usage:read"}},
	))
	for _, secret := range []string{"a-secret-of-operations", "a-secret-of-billing", "a-secret-of-nobody"} {
		r := httptest.NewRequest(http.MethodGet, "/admin/v1/orgs/demo/projects/shop/keys", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 403
	// 401
}

func ExampleKeys() {
	ctx := context.Background()
	store := authkey.NewMemoryStore()
	format, err := authkey.NewFormat("acme", "live")
	if err != nil {
		panic(err)
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		panic(err)
	}
	verifier, err := authkey.New(store, authkey.WithFormat(format), authkey.WithKinds(authkey.KindAdmin))
	if err != nil {
		panic(err)
	}
	// A key of an org that may read its keys, and nothing else.
	record, key, err := issuer.Issue(ctx, authkey.NewKey{Org: "demo", Project: "shop", Kind: authkey.KindAdmin, Scopes: []string{"keys:read"}})
	if err != nil {
		panic(err)
	}
	handler, err := admin.New(admin.Keys(verifier), admin.WithKeys(store, issuer))
	if err != nil {
		panic(err)
	}
	ask := func(method, org string) {
		r := httptest.NewRequest(method, "/v1/orgs/"+org+"/projects/shop/keys", nil)
		r.Header.Set("Authorization", "Bearer "+key.Reveal())
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(method, org, w.Code)
	}
	ask(http.MethodGet, "demo")
	ask(http.MethodPost, "demo")
	ask(http.MethodGet, "another")
	if _, err := issuer.SetState(ctx, "demo", record.ID, 0, authkey.StateRevoked, "lost"); err != nil {
		panic(err)
	}
	ask(http.MethodGet, "demo")
	// Output:
	// GET demo 200
	// POST demo 403
	// GET another 404
	// GET demo 401
}
