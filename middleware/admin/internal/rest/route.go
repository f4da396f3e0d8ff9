// Package rest is the frame of the admin route: a table of routes becomes a mux, and each request becomes a
// [Call] that an [Action] answers. The frame authorizes, checks the path, the scope and the precondition,
// counts repeats by Idempotency-Key, and writes answers and problems; actions are left with what they are about.
// Package openapi describes the same table.
//
//	mux := server.Handler([]rest.Route{{
//		Pattern: "/orgs/{org}/things", Given: things != nil,
//		Operations: []rest.Operation{{
//			Method: http.MethodGet, ID: "listThings", Scope: "things:read", Query: []rest.Param{rest.Limit(200), rest.Cursor},
//			Answers: map[int]any{http.StatusOK: rest.Page[thing]{}}, Do: listThings,
//		}},
//	}})
//
// It is for this one API and its conventions, not for services at large.
package rest

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

// Actor is who sends a request, once that is known.
type Actor struct {
	Name   string
	Org    string   // the only org that he may touch; "": all, and what belongs to no org
	Scopes []string // nil: all
}

// ScopeAll is the scope that stands for all of them.
const ScopeAll = "*"

// Change is what an action has changed.
type Change struct {
	Action, Project, ID, Endpoint, Policy string
}

// Server holds what all routes have in common. Fields are set before Handler, and not changed after.
type Server struct {
	Prefix    string // of the paths
	Authorize func(*http.Request) (Actor, error)
	// Observe returns the context that an action of a known actor runs in; nil: the request's own.
	Observe func(*Call) context.Context
	Report  func(*Call, Change)
	Log     *slog.Logger
	Claims  *lua.Conn // remembers requests with an Idempotency-Key; nil: such are refused
	// RequirePreconditions refuses a conditional operation without If-Match and If-None-Match.
	RequirePreconditions bool
}

// Route is one pattern below /v1 and what can be done there.
type Route struct {
	Pattern    string
	Given      bool // else all of it is answered with 404 "not_served"
	Operations []Operation
	// Handler serves the route instead of the frame, which then only describes the operations; nil: the frame does.
	Handler http.Handler
}

// Operation is what a method of a route does, as it is served and as it is described.
type Operation struct {
	Method, ID, Summary string
	Scope               string // that the actor needs
	Public              bool   // needs no credential, and so no Scope
	// EveryOrg opens a path without {org} to actors of one org too. The action then keeps them to theirs.
	EveryOrg bool

	Query []Param
	// Body makes the fields of the body, for the description alone; nil: there is no body.
	Body func() []strict.Field
	// BodyOf is an example of a body that Body cannot describe.
	BodyOf any
	// Patch also takes the body as application/merge-patch+json (RFC 7396).
	Patch bool

	Conditional bool // honours If-Match; demanded where Server.RequirePreconditions says so
	Creating    bool // honours If-None-Match: *
	Repeatable  bool // honours Idempotency-Key
	Replayed    bool // answers a repeat as it did at first, from memory: no answer may have a secret
	Tagged      bool // answers with an ETag
	Located     bool // answers with a Location
	Conflict    bool // may be 409

	// Answers has an example, of the right type, for each status of success; nil where there is no body.
	Answers map[int]any
	Do      Action
}

// Action does what an operation is for. Errors may be any that Explain knows.
type Action func(c *Call) (Reply, error)

// Reply is what an action answers with: 200 and a body, unless it says otherwise. 204 has no body.
type Reply struct {
	Status   int
	Body     any
	Location string
	Revision int64 // becomes the ETag; 0: none
	// Key and Credential say whose secret is in the body. A repeat of the request is told them alone, unless the operation
	// is Replayed.
	Key, Credential string
}

// NoContent is the reply of a deletion.
func NoContent() Reply { return Reply{Status: http.StatusNoContent} }

// Handler returns the mux for the routes. It panics where two of them conflict.
func (s *Server) Handler(routes []Route) http.Handler {
	mux := http.NewServeMux()
	for _, route := range routes {
		e := &endpoint{Server: s, operations: map[string]*Operation{}, parts: Parts(route.Pattern)}
		for i := range route.Operations {
			e.operations[route.Operations[i].Method] = &route.Operations[i]
		}
		if !route.Given {
			e.absent = NotServed
		}
		if route.Given && route.Handler != nil {
			mux.Handle(s.Prefix+"/v1"+route.Pattern, route.Handler)
			continue
		}
		mux.Handle(s.Prefix+"/v1"+route.Pattern, e)
	}
	mux.Handle("/", s.Nowhere())
	return mux
}

// Nowhere answers 404 to whoever may know.
func (s *Server) Nowhere() http.Handler {
	return &endpoint{Server: s, absent: func() *Error {
		return NewProblem(http.StatusNotFound, CodeNotFound, "There is nothing here.")
	}}
}

var pathPart = regexp.MustCompile(`\{([a-z]+)\}`)

// Parts returns the names of the wildcards of a pattern.
func Parts(pattern string) []string {
	var parts []string
	for _, match := range pathPart.FindAllStringSubmatch(pattern, -1) {
		parts = append(parts, match[1])
	}
	return parts
}
