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
}

// The scopes of this package.
const (
	readKeys     = "keys:read"
	writeKeys    = "keys:write"
	readProjects = "projects:read"
)

// Routes returns the routes.
func (s *Resources) Routes() []rest.Route {
	return []rest.Route{
		{Pattern: "/orgs/{org}/projects", Given: s.Store != nil, Operations: []rest.Operation{{
			Method: http.MethodGet, ID: "listProjects", Summary: "List the projects of an org that have or had keys, or are set to something.", Scope: readProjects,
			Query:   []rest.Param{rest.Limit(rest.DefaultPage, authkey.MaxPage), rest.Cursor},
			Answers: map[int]any{http.StatusOK: rest.Page[project]{}}, Do: s.listProjects,
		}}},
		{Pattern: "/orgs/{org}/projects/{project}", Given: s.Store != nil, Operations: []rest.Operation{{
			Method: http.MethodGet, ID: "getProject", Summary: "Read what a project is set to.", Scope: readProjects,
			Tagged: true, Answers: map[int]any{http.StatusOK: project{}}, Do: s.getProject,
		}}},
		{Pattern: "/orgs/{org}/projects/{project}/keys", Given: s.Store != nil, Operations: []rest.Operation{{
			Method: http.MethodGet, ID: "listKeys", Summary: "List the keys of a project.", Scope: readKeys,
			Query:   []rest.Param{rest.Limit(rest.DefaultPage, authkey.MaxPage), rest.Cursor},
			Answers: map[int]any{http.StatusOK: rest.Page[key]{}}, Do: s.listKeys,
		}, {
			Method: http.MethodPost, ID: "issueKey", Summary: "Issue a key. Its secret is in this answer alone.", Scope: writeKeys,
			Body: func() []strict.Field { return new(newKey).fields() }, Repeatable: true, Conflict: true, Located: true,
			Answers: map[int]any{http.StatusCreated: key{}}, Do: s.issueKey,
		}}},
		{Pattern: "/orgs/{org}/projects/{project}/keys/{id}", Given: s.Store != nil, Operations: []rest.Operation{{
			Method: http.MethodGet, ID: "getKey", Summary: "Read a key.", Scope: readKeys,
			Answers: map[int]any{http.StatusOK: key{}}, Do: s.getKey,
		}, {
			Method: http.MethodDelete, ID: "revokeKey", Summary: "Revoke a key, for good.", Scope: writeKeys,
			Query:   []rest.Param{rest.TextParam("reason", "Why, for whoever reads the key later.")},
			Answers: map[int]any{http.StatusNoContent: nil}, Do: s.revokeKey,
		}}},
	}
}
