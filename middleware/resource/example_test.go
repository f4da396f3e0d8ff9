package resource_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/resource"
)

// nobody is an Authenticator that knows no credential.
type nobody struct{}

func (nobody) Authenticate(context.Context, authkey.Presented) (*authkey.Identity, error) {
	return nil, authkey.ErrUnknown
}

func (nobody) Refresh(context.Context, authkey.Presented, *authkey.Identity) (*authkey.Identity, error) {
	return nil, authkey.ErrUnknown
}

func ExampleNew() {
	document, err := resource.New(resource.Metadata{
		Resource:             "https://api.example.com/v1",
		AuthorizationServers: []string{"https://login.example.com"},
		Scopes:               []string{"read", "write"},
		BearerMethods:        []string{"header"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	auth := middleware.Authenticate(nobody{}, middleware.WithResourceMetadata(document.URL()))
	mux := http.NewServeMux()
	mux.Handle(document.Path(), document)
	mux.Handle("GET /v1/items", httpkit.Middleware(auth)(http.NotFoundHandler()))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/items", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))

	w = httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-protected-resource/v1", nil))
	fmt.Println(w.Code, w.Body)
	// Output:
	// 401 Bearer realm="api", resource_metadata="https://api.example.com/.well-known/oauth-protected-resource/v1"
	// 200 {"resource":"https://api.example.com/v1","authorization_servers":["https://login.example.com"],"scopes_supported":["read","write"],"bearer_methods_supported":["header"]}
}
