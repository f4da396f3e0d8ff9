package keys

import (
	"net/http"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

// Resources is what there is to serve; a nil Store is not served. Fields are not changed after Routes.
type Resources struct {
	Store  authkey.Store
	Issuer *authkey.Issuer
	// AdminScopes returns the scopes that a key of the kind admin may have.
	AdminScopes func() []string
}

// The scopes of this package.
const (
	readKeys      = "keys:read"
	writeKeys     = "keys:write"
	readProjects  = "projects:read"
	writeProjects = "projects:write"
)

// WriteAdmins is the scope that it takes to issue and change keys of the kind admin, besides that of the operation.
const WriteAdmins = "admins:write"

var why = rest.TextParam("reason", "Why, for whoever reads the key later.")

// Routes returns the routes.
func (s *Resources) Routes() []rest.Route {
	const (
		projects    = "/orgs/{org}/projects"
		keys        = projects + "/{project}/keys"
		credentials = keys + "/{id}/credentials"
	)
	routes := []rest.Route{
		{Pattern: projects, Operations: []rest.Operation{{
			Method: http.MethodGet, ID: "listProjects", Summary: "List the projects of an org that have or had keys, or are set to something.", Scope: readProjects,
			Query:   []rest.Param{rest.Limit(rest.DefaultPage, authkey.MaxPage), rest.Cursor},
			Answers: map[int]any{http.StatusOK: rest.Page[project]{}}, Do: s.listProjects,
		}}},
		{Pattern: projects + "/{project}", Operations: s.projectOperations()},
		{Pattern: keys, Operations: []rest.Operation{{
			Method: http.MethodGet, ID: "listKeys", Scope: readKeys,
			Summary: "List the keys of a project. A page may be short, or empty, and have a next: go on until there is none.",
			Query:   append([]rest.Param{rest.Limit(rest.DefaultPage, authkey.MaxPage), rest.Cursor}, keyFilters...),
			Answers: map[int]any{http.StatusOK: rest.Page[key]{}}, Do: s.listKeys,
		}, {
			Method: http.MethodPost, ID: "issueKey", Summary: "Issue a key. Its secret is in this answer alone.", Scope: writeKeys,
			Body: func() []strict.Field { return newKey(new(authkey.NewKey)) }, Repeatable: true, Conflict: true,
			Tagged: true, Located: true, Answers: map[int]any{http.StatusCreated: issued{}}, Do: s.issueKey,
		}}},
		{Pattern: keys + "/{id}", Operations: s.keyOperations()},
		{Pattern: credentials, Operations: s.credentialOperations()},
		{Pattern: credentials + "/{credential}", Operations: []rest.Operation{{
			Method: http.MethodGet, ID: "getCredential", Summary: "Read a credential of a key.", Scope: readKeys,
			Tagged: true, Answers: map[int]any{http.StatusOK: credential{}}, Do: s.getCredential,
		}, {
			Method: http.MethodDelete, ID: "revokeCredential", Summary: "Revoke one credential of a key, for good.", Scope: writeKeys,
			Query: []rest.Param{why}, Conditional: true, Conflict: true,
			Answers: map[int]any{http.StatusNoContent: nil}, Do: s.revokeCredential,
		}}},
		{Pattern: "/orgs/{org}/keys:bulk-revoke", Operations: []rest.Operation{{
			Method: http.MethodPost, ID: "bulkRevokeKeys", Summary: "Revoke up to 200 keys, for good: those that are named, or all that fit.", Scope: writeKeys,
			Body: new(bulk).fields, Answers: map[int]any{http.StatusOK: revocations{}}, Do: s.bulkRevoke,
		}}},
		{Pattern: "/keys:lookup", Operations: []rest.Operation{{
			Method: http.MethodPost, ID: "lookupKey", Summary: "Tell whose a key is that somebody has found.", Scope: readKeys, EveryOrg: true,
			Body:   func() []strict.Field { return []strict.Field{presentedInto(new(authkey.Presented))} },
			Tagged: true, Answers: map[int]any{http.StatusOK: keyWith{}}, Do: s.lookupKey,
		}}},
	}
	for i := range routes {
		routes[i].Given = s.Store != nil
	}
	return routes
}

func (s *Resources) projectOperations() []rest.Operation {
	return []rest.Operation{{
		Method: http.MethodGet, ID: "getProject", Summary: "Read what a project is set to. Where nothing is, there is no ETag.", Scope: readProjects,
		Tagged: true, Answers: map[int]any{http.StatusOK: project{}}, Do: s.getProject,
	}, {
		Method: http.MethodPut, ID: "putProject", Summary: "Set a project, of which nothing else stays. If-None-Match: * is met where nothing is set.", Scope: writeProjects,
		Body: new(settings).put, Conditional: true, Creating: true, Tagged: true, Located: true,
		Answers: map[int]any{http.StatusOK: project{}, http.StatusCreated: project{}}, Do: s.putProject,
	}, {
		Method: http.MethodPatch, ID: "patchProject", Summary: "Change what a project is set to; null takes away.", Scope: writeProjects,
		Body: new(settings).patch, Patch: true, Conditional: true, Tagged: true,
		Answers: map[int]any{http.StatusOK: project{}}, Do: s.patchProject,
	}}
}

func (s *Resources) keyOperations() []rest.Operation {
	return []rest.Operation{{
		Method: http.MethodGet, ID: "getKey", Summary: "Read a key.", Scope: readKeys,
		Tagged: true, Answers: map[int]any{http.StatusOK: key{}}, Do: s.getKey,
	}, {
		Method: http.MethodPatch, ID: "changeKey", Summary: "Change a key; null takes away.", Scope: writeKeys,
		Body: new(patch).fields, Patch: true, Conditional: true, Conflict: true, Tagged: true,
		Answers: map[int]any{http.StatusOK: key{}}, Do: s.changeKey,
	}, {
		Method: http.MethodDelete, ID: "revokeKey", Summary: "Revoke a key, for good.", Scope: writeKeys,
		Query: []rest.Param{why}, Conditional: true,
		Answers: map[int]any{http.StatusNoContent: nil}, Do: s.revokeKey,
	}}
}
