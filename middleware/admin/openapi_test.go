package admin_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"github.com/tollgate-go/tollgate/middleware/admin"
)

// descriptions are the validators of documents, by their text: handlers of equal parts share one.
var descriptions = struct {
	sync.Mutex
	of map[string]func() (validator.Validator, error)
}{of: map[string]func() (validator.Validator, error){}}

// description asks a handler for its document and returns a validator of it; nil where the request is not for a
// handler that has one.
func description(t *testing.T, h http.Handler, r *http.Request) validator.Validator {
	t.Helper()
	prefix, _, found := strings.Cut(r.URL.Path, "/v1/")
	if !found {
		return nil
	}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, prefix+"/v1/openapi.json", nil)); w.Code != http.StatusOK {
		return nil
	}
	text := w.Body.String()
	descriptions.Lock()
	made, ok := descriptions.of[text]
	if !ok {
		made = sync.OnceValues(func() (validator.Validator, error) { return validatorOf(text) })
		descriptions.of[text] = made
	}
	descriptions.Unlock()
	validate, err := made()
	if err != nil {
		t.Fatalf("document: %v", err)
	}
	return validate
}

// validatorOf returns a validator of a document, under which answers have no other members than described.
func validatorOf(text string) (validator.Validator, error) {
	var document any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		return nil, err
	}
	forbidOthers(document)
	strictly, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	parsed, err := libopenapi.NewDocument(strictly)
	if err != nil {
		return nil, err
	}
	v, faults := validator.NewValidator(parsed)
	if len(faults) > 0 {
		return nil, faults[0]
	}
	return v, nil
}

// forbidOthers closes every object schema that names its members.
func forbidOthers(part any) {
	switch part := part.(type) {
	case map[string]any:
		for _, inner := range part {
			forbidOthers(inner)
		}
		if _, named := part["properties"].(map[string]any); named && part["type"] == "object" {
			part["additionalProperties"] = false
		}
	case []any:
		for _, inner := range part {
			forbidOthers(inner)
		}
	}
}

// undescribed are the statuses of what no operation answered: no such path, a path or a credential that is none, or a
// page of another site.
var undescribed = []int{400, 401, 403, 404}

// checkDescribed holds an answer against the document that its own handler serves.
func checkDescribed(t *testing.T, h http.Handler, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	if r.Method == http.MethodHead || w.Code == http.StatusMethodNotAllowed {
		return
	}
	v := description(t, h, r)
	if v == nil {
		return
	}
	result := w.Result()
	result.Body = io.NopCloser(strings.NewReader(w.Body.String()))
	r = r.Clone(t.Context())
	r.Body = http.NoBody
	if ok, faults := v.ValidateHttpResponse(r, result); !ok {
		for _, fault := range faults {
			if fault.IsPathMissingError() || fault.IsOperationMissingError() {
				if slices.Contains(undescribed, w.Code) {
					return
				}
			}
			t.Errorf("%s %s: %d is not as described: %s: %s %v\n%s", r.Method, r.URL, w.Code, fault.Message, fault.Reason, fault.SchemaValidationErrors, w.Body)
		}
	}
}

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
	described := map[string]string{} // the scope, by method and path
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
			described[at] = security[0].(map[string]any)["bearer"].([]any)[0].(string)
			a := serve(t, h, request(strings.ToUpper(method), "/v1"+fill.Replace(pattern), ""))
			if a.status == 405 || a.object["detail"] == "There is nothing here." || a.object["code"] == "not_served" {
				t.Errorf("%s is described, and answers %d", at, a.status)
			}
		}
	}
	for _, row := range operations {
		path, _, _ := strings.Cut(row.path, "?")
		at := row.method + " " + path
		if described[at] != row.scope {
			t.Errorf("%s needs %q, described is %q", at, row.scope, described[at])
		}
		delete(described, at)
	}
	for at := range described {
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
