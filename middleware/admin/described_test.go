package admin_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	faults "github.com/pb33f/libopenapi-validator/errors"
)

// described is the document that a handler serves.
type described struct {
	sync.Mutex // a validator may not be used by two at once: it keeps hashes where it finds schemas

	validator.Validator

	Paths map[string]map[string]struct {
		Responses map[string]struct {
			Headers map[string]any `json:"headers"`
		} `json:"responses"`
	} `json:"paths"`
}

// documents has the documents that were met, by their text: handlers of equal parts share one.
var documents = struct {
	sync.Mutex
	of map[string]func() (*described, error)
}{of: map[string]func() (*described, error){}}

// documentOf asks a handler for its document; nil where the request is not for a handler that has one.
func documentOf(t *testing.T, h http.Handler, r *http.Request) *described {
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
	documents.Lock()
	made, ok := documents.of[text]
	if !ok {
		made = sync.OnceValues(func() (*described, error) { return describe(text) })
		documents.of[text] = made
	}
	documents.Unlock()
	d, err := made()
	if err != nil {
		t.Fatalf("document: %v", err)
	}
	return d
}

// describe reads a document, under which answers have no other members than described.
func describe(text string) (*described, error) {
	d := &described{}
	var all map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, err
	}
	forbidOthers(all)
	for _, path := range all["paths"].(map[string]any) {
		delete(path.(map[string]any), "parameters") // those of the path are for checkPath
	}
	paths, err := json.Marshal(map[string]any{"paths": all["paths"]})
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(paths, d); err != nil {
		return nil, err
	}
	strictly, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	parsed, err := libopenapi.NewDocument(strictly)
	if err != nil {
		return nil, err
	}
	v, wrong := validator.NewValidator(parsed)
	d.Validator = v
	if len(wrong) > 0 {
		return nil, wrong[0]
	}
	return d, nil
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

// check holds an answer, and the request that was accepted, against the document.
func (d *described) check(t *testing.T, r *http.Request, body []byte, w *httptest.ResponseRecorder) {
	t.Helper()
	d.Lock()
	defer d.Unlock()
	r = r.Clone(t.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	result := w.Result()
	result.Body = io.NopCloser(bytes.NewReader(w.Body.Bytes()))
	report := func(ok bool, wrong []*faults.ValidationError) {
		t.Helper()
		for _, fault := range wrong {
			if !ok && !((fault.IsPathMissingError() || fault.IsOperationMissingError()) && slices.Contains(undescribed, w.Code)) {
				t.Errorf("%s %s: %d is not as described: %s: %s %v\n%s", r.Method, r.URL, w.Code, fault.Message, fault.Reason, fault.SchemaValidationErrors, w.Body)
			}
		}
	}
	report(d.ValidateHttpResponse(r, result))
	d.checkHeader(t, r, w)
	if w.Code >= 300 {
		return
	}
	report(d.GetParameterValidator().ValidateQueryParams(r))
	report(d.GetParameterValidator().ValidateHeaderParams(r))
	if len(body) > 0 {
		report(d.GetRequestBodyValidator().ValidateRequestBody(r))
	}
}

// checkHeader holds that of some fields exactly those that are described are there.
func (d *described) checkHeader(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	operation, ok := d.Paths[d.template(r.URL.EscapedPath())][strings.ToLower(r.Method)]
	if !ok {
		return
	}
	headers := operation.Responses[strconv.Itoa(w.Code)].Headers
	for _, name := range []string{"ETag", "Location", "Retry-After", "WWW-Authenticate", "X-Request-Id"} {
		_, named := headers[name]
		given := w.Header().Get(name) != ""
		// A challenge comes with some of the 403, a time to wait with some of the 409, and a tag with a project that
		// something is set for.
		optional := w.Code == http.StatusForbidden || w.Code == http.StatusConflict ||
			name == "ETag" && d.template(r.URL.EscapedPath()) == "/orgs/{org}/projects/{project}"
		if given && !named || named && !given && !optional {
			t.Errorf("%s %s: %d: %s is described: %v, and there: %v", r.Method, r.URL, w.Code, name, named, given)
		}
	}
}

// template returns the path of the document that a path is of: the one with the fewest parameters.
func (d *described) template(path string) string {
	_, path, _ = strings.Cut(path, "/v1/")
	given := strings.Split("/"+path, "/")
	best, least := "", len(given)+1
	for template := range d.Paths {
		parts := strings.Split(template, "/")
		if len(parts) != len(given) {
			continue
		}
		parameters := 0
		for i := range parts {
			if strings.HasPrefix(parts[i], "{") {
				parameters++
			} else if parts[i] != given[i] {
				parameters = least
			}
		}
		if parameters < least {
			best, least = template, parameters
		}
	}
	return best
}
