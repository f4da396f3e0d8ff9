package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/cli"
	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/show"
)

// recorded is a request that a fake was asked.
type recorded struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
}

// document is what the admin route says of itself.
type document struct {
	paths   map[string]map[string]*operation // by template and method, in small letters
	schemas map[string]any
}

type operation struct {
	OperationID string
	Parameters  []struct{ In, Name string }
	RequestBody struct {
		Content map[string]struct{ Schema map[string]any }
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema map[string]any }
	}
}

// documentOf asks a service for its document, which needs no Redis.
func documentOf(t *testing.T) *document {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	text := newService(t, rdb).call(t, cli.Done, "", "openapi").stdout
	var whole struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(text), &whole); err != nil {
		t.Fatalf("the document: %v", err)
	}
	d := &document{map[string]map[string]*operation{}, whole.Components.Schemas}
	for path, methods := range whole.Paths {
		d.paths[path] = map[string]*operation{}
		for method, text := range methods {
			o := &operation{}
			if method == "parameters" {
				continue
			}
			if err := json.Unmarshal(text, o); err != nil {
				t.Fatalf("%s %s of the document: %v", method, path, err)
			}
			d.paths[path][method] = o
		}
	}
	return d
}

// find returns what serves a request. Where several templates match, it is the one with the most fixed parts.
func (d *document) find(r recorded) *operation {
	var found *operation
	most := -1
	for template, methods := range d.paths {
		if fixed := matches(template, r.path); fixed > most && methods[strings.ToLower(r.method)] != nil {
			found, most = methods[strings.ToLower(r.method)], fixed
		}
	}
	return found
}

// matches returns how many parts of a path are fixed by its template; -1 where it is not of that template.
func matches(template, path string) int {
	parts, of := strings.Split(path, "/"), strings.Split(template, "/")
	if len(parts) != len(of) {
		return -1
	}
	fixed := 0
	for i := range of {
		switch {
		case of[i] == parts[i]:
			fixed++
		case !strings.HasPrefix(of[i], "{"):
			return -1
		}
	}
	return fixed
}

func (o *operation) takes(in, name string) bool {
	for _, p := range o.Parameters {
		if p.In == in && p.Name == name {
			return true
		}
	}
	return false
}

// check holds a request against the document: the path, the parameters, the preconditions and the fields of the body.
func (d *document) check(t *testing.T, r recorded) {
	t.Helper()
	o := d.find(r)
	if o == nil {
		t.Errorf("%s %s is not served", r.method, r.path)
		return
	}
	for name := range r.query {
		if !o.takes("query", name) {
			t.Errorf("%s takes no ?%s=", o.OperationID, name)
		}
	}
	for _, name := range []string{"If-Match", "If-None-Match", "Idempotency-Key"} {
		if r.header.Get(name) != "" && !o.takes("header", name) {
			t.Errorf("%s takes no %s", o.OperationID, name)
		}
		if name != "If-None-Match" && r.header.Get(name) == "" && r.header.Get("If-None-Match") == "" && o.takes("header", name) {
			t.Errorf("%s is asked without %s", o.OperationID, name)
		}
	}
	if len(r.body) == 0 {
		return
	}
	fields := map[string]any{}
	if err := json.Unmarshal(r.body, &fields); err != nil {
		t.Fatalf("body %s: %v", r.body, err)
	}
	for name := range fields {
		if d.schemaOf(o.RequestBody.Content["application/json"].Schema, name) == nil {
			t.Errorf("%s takes no field %q", o.OperationID, name)
		}
	}
}

// schemaOf returns the schema of a field, with dots of a field within, in a schema; nil if it has none.
func (d *document) schemaOf(schema map[string]any, field string) map[string]any {
	for name := range strings.SplitSeq(field, ".") {
		if schema = d.resolve(schema); schema != nil && len(schema) == 0 {
			return schema // it may hold anything
		}
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			return nil
		}
		if schema, ok = properties[name].(map[string]any); !ok {
			return nil
		}
	}
	return d.resolve(schema)
}

func (d *document) resolve(schema map[string]any) map[string]any {
	for {
		reference, ok := schema["$ref"].(string)
		if !ok {
			return schema
		}
		schema = d.schemas[strings.TrimPrefix(reference, "#/components/schemas/")].(map[string]any)
	}
}

// The columns of tables are fields that answers have.
func TestColumns(t *testing.T) {
	t.Parallel()
	d := documentOf(t)
	for request, columns := range map[string][]show.Column{
		"GET /orgs/o/projects":             projectColumns,
		"GET /orgs/o/projects/p/keys":      keyColumns,
		"GET /orgs/o/overrides":            overrideColumns,
		"POST /orgs/o/overrides/dry-run":   previewColumns,
		"GET /orgs/o/projects/p/limits":    limitColumns,
		"DELETE /orgs/o/projects/p/limits": resetColumns,
		"GET /plans":                       planColumns,
		"GET /orgs/o/usage":                usageColumns,
		"GET /orgs/o/revocations":          revocationColumns,
		"GET /orgs/o/audit":                auditColumns,
		"POST /orgs/o/keys:bulk-revoke":    bulkColumns,
		"GET /audit":                       auditColumns,
	} {
		method, path, _ := strings.Cut(request, " ")
		o := d.find(recorded{method: method, path: path})
		if o == nil {
			t.Errorf("%s is not served", request)
			continue
		}
		list := d.schemaOf(o.Responses["200"].Content["application/json"].Schema, "items")
		item, ok := list["items"].(map[string]any)
		if !ok {
			t.Errorf("%s answers with no list", request)
			continue
		}
		for _, column := range columns {
			if d.schemaOf(item, column.Field) == nil {
				t.Errorf("items of %s have no %q", request, column.Field)
			}
		}
	}
}

// There is a command for all that the route serves to operators.
func TestEveryOperationHasACommand(t *testing.T) {
	t.Parallel()
	d := documentOf(t)
	used := map[string]bool{"listCredentials": true, "getCredential": true} // keys show has them
	for _, tt := range requests {
		for _, line := range tt.want {
			words := strings.Fields(line)
			path, _, _ := strings.Cut(words[1], "?")
			if o := d.find(recorded{method: words[0], path: path}); o != nil {
				used[o.OperationID] = true
			}
		}
	}
	for path, methods := range d.paths {
		for method, o := range methods {
			if !used[o.OperationID] {
				t.Errorf("no command of the tests asks for %s %s (%s)", method, path, o.OperationID)
			}
		}
	}
	if !slices.ContainsFunc(requests, func(tt request) bool { return tt.name == "openapi" }) {
		t.Error("the table of requests is not complete")
	}
}
