// Package openapi describes a table of routes as OpenAPI 3.1 does, so that what is described is what is served.
//
//	text := openapi.Document("/admin", routes)
//
// Schemas of answers are made from the types of the examples in the table: members by their json tag, required
// unless omitempty, with the tags doc, enum ("a,b") and format. Schemas of bodies are made from their fields.
package openapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

type object = map[string]any

const problemType = "application/problem+json"

// Document returns the description of the given routes below a prefix, as JSON. It panics for a type that it cannot
// describe, or two of one name.
func Document(prefix string, routes []rest.Route) []byte {
	s := schemas{components: object{}, types: map[string]reflect.Type{}}
	s.problem()
	paths := object{}
	for i := range routes {
		if !routes[i].Given {
			continue
		}
		path := object{}
		if parameters := pathParameters(routes[i].Pattern); len(parameters) > 0 {
			path["parameters"] = parameters
		}
		for j := range routes[i].Operations {
			operation := &routes[i].Operations[j]
			path[strings.ToLower(operation.Method)] = s.operation(&routes[i], operation)
		}
		paths[routes[i].Pattern] = path
	}
	text, err := json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Admin route", "version": "1",
			"description": "Keys, limits, revocations of tokens, usage and the audit trail. HEAD works wherever GET does.",
			"license":     object{"name": "MIT", "identifier": "MIT"},
		},
		"servers":  []object{{"url": prefix + "/v1"}},
		"security": []object{{"bearer": []string{}}},
		"paths":    paths,
		"components": object{
			"schemas": s.components, "headers": headers(),
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer", "description": "A static token or a key of the admin kind; an operation names the scope that it needs."}},
		},
	})
	if err != nil {
		panic("openapi: " + err.Error())
	}
	return text
}

func headers() object {
	text := func(description string) object {
		return object{"description": description, "schema": object{"type": "string"}}
	}
	return object{
		"ETag":             text("The revision (RFC 9110, section 8.8.3)."),
		"Location":         text("The path of what was written."),
		"Retry-After":      object{"description": "When to ask again, in seconds.", "schema": object{"type": "integer", "minimum": 1}},
		"WWW-Authenticate": text("What is wrong with the credential (RFC 6750)."),
		"X-Request-Id":     text("Names the request in logs and in the audit trail."),
	}
}

func pathParameters(pattern string) []object {
	var parameters []object
	for _, name := range rest.Parts(pattern) {
		parameters = append(parameters, object{
			"name": name, "in": "path", "required": true, "schema": object{"type": "string", "minLength": 1, "maxLength": rest.MaxPath},
		})
	}
	return parameters
}

func (s *schemas) operation(route *rest.Route, o *rest.Operation) object {
	described := object{"operationId": o.ID, "summary": o.Summary, "responses": s.responses(route, o)}
	if parameters := parametersOf(o); len(parameters) > 0 {
		described["parameters"] = parameters
	}
	switch {
	case o.Public:
		described["security"] = []object{}
	case o.Scope != "":
		described["security"] = []object{{"bearer": []string{o.Scope}}}
	}
	if o.Body != nil {
		content := object{}
		for _, media := range o.Media() {
			content[media] = object{"schema": strict.Schema(o.Body()...)}
		}
		body := object{"content": content}
		if strict.HasRequired(o.Body()) {
			body["required"] = true
		}
		described["requestBody"] = body
	}
	if o.BodyOf != nil {
		described["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.of(reflect.TypeOf(o.BodyOf))}}}
	}
	return described
}

func parametersOf(o *rest.Operation) []object {
	var parameters []object
	for _, p := range o.Query {
		parameters = append(parameters, object{"name": p.Name, "in": "query", "description": p.Doc, "schema": p.Schema})
	}
	header := func(given bool, name, description string, schema object) {
		if given {
			schema["type"] = "string"
			parameters = append(parameters, object{"name": name, "in": "header", "description": description, "schema": schema})
		}
	}
	header(o.Conditional, "If-Match", "ETags in quotes, or *: what is there must be one of them. May be required.", object{})
	header(o.Creating, "If-None-Match", "*: nothing may be there.", object{"const": "*"})
	header(!o.Creating && o.Tagged && o.Method == http.MethodGet, "If-None-Match", "ETags in quotes, or *: what the client has.", object{})
	header(o.Repeatable, "Idempotency-Key", "A word of the client's, the same for each repeat of the request.", object{"minLength": 1, "maxLength": rest.MaxIdempotencyKey, "pattern": "^[!-~]+$"})
	return parameters
}

func (s *schemas) responses(route *rest.Route, o *rest.Operation) object {
	described := object{}
	for status, example := range o.Answers {
		names := []string{"X-Request-Id"}
		if o.Tagged {
			names = append(names, "ETag")
		}
		if o.Located {
			names = append(names, "Location")
		}
		answer := response(status, names...)
		if example != nil {
			answer["content"] = object{"application/json": object{"schema": s.of(reflect.TypeOf(example))}}
		}
		described[strconv.Itoa(status)] = answer
	}
	if o.Tagged && o.Method == http.MethodGet {
		described[strconv.Itoa(http.StatusNotModified)] = response(http.StatusNotModified, "X-Request-Id", "ETag")
	}
	if route.Handler != nil {
		foreign(described)
		return described
	}
	for _, status := range failures(route, o) {
		names := []string{"X-Request-Id"}
		switch status {
		case http.StatusUnauthorized, http.StatusForbidden:
			names = append(names, "WWW-Authenticate")
		case http.StatusServiceUnavailable, http.StatusConflict:
			names = append(names, "Retry-After")
		}
		answer := response(status, names...)
		answer["content"] = object{problemType: object{"schema": reference("Problem")}}
		described[strconv.Itoa(status)] = answer
	}
	return described
}

// foreign adds the problems of a handler that is not the frame's, whose codes are its own.
func foreign(described object) {
	for _, status := range []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestEntityTooLarge,
		http.StatusInternalServerError, http.StatusServiceUnavailable,
	} {
		names := []string{"X-Request-Id"}
		switch status {
		case http.StatusServiceUnavailable:
			names = append(names, "Retry-After")
		case http.StatusUnauthorized:
			names = append(names, "WWW-Authenticate")
		}
		members := object{"status": object{"const": status}}
		for _, name := range []string{"type", "title", "detail", "code", "request_id"} {
			members[name] = object{"type": "string"}
		}
		answer := response(status, names...)
		answer["content"] = object{problemType: object{"schema": object{
			"type": "object", "properties": members, "required": slices.Sorted(maps.Keys(members)),
		}}}
		described[strconv.Itoa(status)] = answer
	}
}

func response(status int, headers ...string) object {
	named := object{}
	for _, name := range headers {
		named[name] = object{"$ref": "#/components/headers/" + name}
	}
	return object{"description": http.StatusText(status), "headers": named}
}

// failures returns the statuses of the problems that an operation may answer with.
func failures(route *rest.Route, o *rest.Operation) []int {
	may := map[int]bool{
		http.StatusBadRequest: true, http.StatusForbidden: true, http.StatusInternalServerError: true, http.StatusServiceUnavailable: true,
		http.StatusUnauthorized:         !o.Public,
		http.StatusNotFound:             !o.Public,
		http.StatusConflict:             o.Conflict || o.Repeatable,
		http.StatusPreconditionFailed:   o.Conditional || o.Changes(),
		http.StatusUnsupportedMediaType: o.Body != nil,
		http.StatusUnprocessableEntity:  o.Body != nil || len(rest.Parts(route.Pattern)) > 0,
		http.StatusPreconditionRequired: o.Conditional,
	}
	maps.DeleteFunc(may, func(_ int, yes bool) bool { return !yes })
	return slices.Sorted(maps.Keys(may))
}
