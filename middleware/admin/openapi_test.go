package admin_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"github.com/tollgate-go/tollgate/middleware/admin"
)

// document returns what a handler of all parts serves to whoever asks.
func document(t *testing.T, opts ...admin.Option) (text []byte, paths map[string]map[string]any) {
	t.Helper()
	h := newHandler(t, append(append(withAll(t), admin.WithPlans(noPlans(t)), admin.WithAuditLog(newAuditLog(t, noRedis(t)))), opts...)...)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/openapi.json", nil))
	var parsed struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &parsed); w.Code != http.StatusOK || err != nil {
		t.Fatalf("%d: %v", w.Code, err)
	}
	return w.Body.Bytes(), parsed.Paths
}

func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	text, _ := document(t)
	parsed, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	v, faults := validator.NewValidator(parsed)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if ok, wrong := v.ValidateDocument(); !ok {
		t.Errorf("%v", wrong)
	}
}

// What is described is there, and what is there is described, with the scope that it needs.
func TestDocumentHasEachOperation(t *testing.T) {
	t.Parallel()
	_, paths := document(t)
	h := as(t, admin.Actor{})
	fill := strings.NewReplacer("{org}", "o", "{project}", "p", "{id}", "x", "{credential}", "y")
	scopes := map[string]string{} // the scope, by method and path
	for pattern, path := range paths {
		for method, operation := range path {
			if method == "parameters" {
				continue
			}
			security := operation.(map[string]any)["security"].([]any)
			if len(security) == 0 {
				continue
			}
			at := strings.ToUpper(method) + " /v1" + fill.Replace(pattern)
			scopes[at] = security[0].(map[string]any)["bearer"].([]any)[0].(string)
			a := serve(t, h, request(strings.ToUpper(method), "/v1"+fill.Replace(pattern), ""))
			if a.status == 405 || a.object["detail"] == "There is nothing here." || a.object["code"] == "not_served" {
				t.Errorf("%s is described, and answers %d", at, a.status)
			}
		}
	}
	for _, row := range operations {
		path, _, _ := strings.Cut(row.path, "?")
		at := row.method + " " + path
		if scopes[at] != row.scope {
			t.Errorf("%s needs %q, described is %q", at, row.scope, scopes[at])
		}
		delete(scopes, at)
	}
	for at := range scopes {
		t.Errorf("%s is described, and in no test", at)
	}
}

// Only what is served is described.
func TestDocumentOfParts(t *testing.T) {
	t.Parallel()
	h := newHandler(t)
	for _, r := range []*http.Request{
		request("GET", "/v1/openapi.json", ""), request("GET", "/v1/openapi.json", "", "Authorization", ""),
		request("GET", "/v1/openapi.json", "", "Authorization", "Bearer nonsense"),
	} {
		a := serve(t, h, r).want(t, 200, "")
		if paths := a.object["paths"].(map[string]any); len(paths) != 1 || paths["/openapi.json"] == nil {
			t.Errorf("paths %v", paths)
		}
	}
	serve(t, h, request("GET", "/v1/openapi.json?x=1", "")).want(t, 400, "invalid_query")
	serve(t, h, request("POST", "/v1/openapi.json", "")).want(t, 405, "method_not_allowed")
	serve(t, h, request("GET", "/v1/openapi.json", "", "Sec-Fetch-Site", "cross-site")).want(t, 403, "cross_site")
}
