package openapi_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/openapi"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

type inner struct {
	Count *int64 `json:"count,omitempty"`
	At    time.Time
}

type thing struct {
	inner

	Name   string            `json:"name" doc:"For people."`
	State  string            `json:"state" enum:"on,off"`
	At     time.Time         `json:"at"`
	Tags   []string          `json:"tags"`
	Meta   map[string]string `json:"meta,omitempty"`
	Hidden string            `json:"-"`
	Raw    json.RawMessage   `json:"raw,omitzero"`
}

func routes(answer any) []rest.Route {
	return []rest.Route{
		{Pattern: "/things/{id}", Given: true, Operations: []rest.Operation{{
			Method: http.MethodPut, ID: "putThing", Scope: "things:write", Conditional: true, Creating: true, Tagged: true, Located: true,
			Query: []rest.Param{rest.TextParam("reason", "Why.")}, Answers: map[int]any{http.StatusOK: answer, http.StatusNoContent: nil},
			Body: func() []strict.Field { return []strict.Field{strict.Text("name", new(string))} },
		}, {
			Method: http.MethodGet, ID: "describe", Public: true, Answers: map[int]any{http.StatusOK: rest.Page[thing]{}},
		}}},
		{Pattern: "/nothing"},
	}
}

// at walks a document.
func at(t *testing.T, document any, path ...string) any {
	t.Helper()
	for _, name := range path {
		object, ok := document.(map[string]any)
		if !ok || object[name] == nil {
			t.Fatalf("there is no %q of %q", name, path)
		}
		document = object[name]
	}
	return document
}

func TestDocument(t *testing.T) {
	t.Parallel()
	var document any
	if err := json.Unmarshal(openapi.Document("/admin", routes(thing{})), &document); err != nil {
		t.Fatal(err)
	}
	object := func(text string) (value any) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		return value
	}
	for name, row := range map[string]struct {
		path []string
		want string
	}{
		"the schema of a type": {[]string{"components", "schemas", "Thing"}, `{"type":"object","required":["at","name","state","tags"],"properties":{
			"count":{"type":"integer"},"name":{"type":"string","description":"For people."},"state":{"type":"string","enum":["on","off"]},
			"at":{"type":"string","format":"date-time"},"tags":{"type":"array","items":{"type":"string"}},
			"meta":{"type":"object","additionalProperties":{"type":"string"}},"raw":{}}}`},
		"a page": {[]string{"paths", "/things/{id}", "get", "responses", "200", "content", "application/json", "schema", "properties", "items"},
			`{"type":"array","items":{"$ref":"#/components/schemas/Thing"}}`},
		"a body": {[]string{"paths", "/things/{id}", "put", "requestBody"},
			`{"content":{"application/json":{"schema":{"type":"object","additionalProperties":false,"properties":{"name":{"type":"string"}}}}}}`},
		"the scope":           {[]string{"paths", "/things/{id}", "put", "security"}, `[{"bearer":["things:write"]}]`},
		"what needs none":     {[]string{"paths", "/things/{id}", "get", "security"}, `[]`},
		"headers":             {[]string{"paths", "/things/{id}", "put", "responses", "204", "headers", "Location"}, `{"$ref":"#/components/headers/Location"}`},
		"the path's own part": {[]string{"paths", "/things/{id}", "parameters"}, `[{"name":"id","in":"path","required":true,"schema":{"type":"string","minLength":1,"maxLength":128}}]`},
		"where it is served":  {[]string{"servers"}, `[{"url":"/admin/v1"}]`},
	} {
		if got, want := at(t, document, row.path...), object(row.want); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\nwant %v", name, got, want)
		}
	}
	if paths := at(t, document, "paths").(map[string]any); len(paths) != 1 {
		t.Errorf("what is not served is described: %v", paths)
	}
	for _, status := range []string{"400", "401", "403", "404", "412", "415", "422", "428", "500", "503"} {
		at(t, document, "paths", "/things/{id}", "put", "responses", status, "content", "application/problem+json")
	}
}

func TestDocumentPanics(t *testing.T) {
	t.Parallel()
	type Thing struct{}
	for name, answer := range map[string]any{"two types of one name": Thing{}, "a type without a schema": struct {
		F func() `json:"f"`
	}{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			openapi.Document("", routes(answer))
		})
	}
}
