package keys

import (
	"net/http"
	"slices"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

// newKey is the fields of a key that is issued.
func newKey(k *authkey.NewKey) []strict.Field {
	return []strict.Field{
		strict.Text("name", &k.Name), strict.Text("owner", &k.Owner), strict.Text("plan", &k.Plan),
		strict.Parsed("kind", `"secret", "publishable" or "admin"`, &k.Kind, rest.OneOf(authkey.KindSecret, authkey.KindPublishable, authkey.KindAdmin)),
		strict.Texts("scopes", &k.Scopes), strict.Texts("products", &k.Products),
		strict.ParsedTexts("networks", networkWanted, &k.Networks, networkOf), strict.Texts("origins", &k.Origins),
		strict.Pairs("meta", &k.Meta),
		strict.Parsed("not_before", timeWanted, &k.NotBefore, rest.ParseTime),
		strict.Parsed("expires_at", endWanted, &k.ExpiresAt, rest.ParseTimeOrNever),
	}
}

func (s *Resources) issueKey(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	wanted := authkey.NewKey{Org: c.Org, Project: c.Project, Kind: authkey.KindSecret}
	if err := c.OptionalBody(newKey(&wanted)...); err != nil {
		return rest.Reply{}, err
	}
	if wanted.Plan != "" && c.Actor.Org != "" {
		return rest.Reply{}, planForbidden()
	}
	if wanted.Kind == authkey.KindAdmin {
		if err := s.mayGrant(c, wanted.Scopes); err != nil {
			return rest.Reply{}, err
		}
	}
	record, presented, err := s.Issuer.Issue(c.Context(), wanted)
	if err != nil {
		return rest.Reply{}, err
	}
	c.Report(rest.Change{Action: "key.issue", Project: c.Project, ID: record.ID})
	return secretOf(&record, presented, c.Path("projects", c.Project, "keys", record.ID)), nil
}

// secretOf answers with the newest credential of a key: the one place where a secret goes out.
func secretOf(record *authkey.Record, presented authkey.Presented, location string) rest.Reply {
	id := record.Credentials[0].ID
	return rest.Reply{
		Status: http.StatusCreated, Body: issued{keyWith{keyOf(record), id}, presented.Reveal()},
		Location: location, Revision: record.Revision, Key: record.ID, Credential: id,
	}
}

// planForbidden answers whoever sees one org alone: he does not choose what it pays for.
func planForbidden() *rest.Error {
	return rest.Forbidden("You may write it, but not give it another plan.")
}

// mayAdminister returns why an actor may not change a key: one for the admin route is not for actors of one org, and
// with its secret nobody gets what he has not.
func mayAdminister(c *rest.Call, record *authkey.Record, scopes ...string) error {
	if record.Kind != authkey.KindAdmin {
		return nil
	}
	if c.Actor.Org != "" || !c.Actor.Has(WriteAdmins) {
		return rest.Forbidden("Keys of the kind admin are for actors of all orgs with the scope " + WriteAdmins + ".")
	}
	if slices.ContainsFunc(scopes, func(scope string) bool { return !c.Actor.Has(scope) }) {
		return rest.Forbidden("A key of the kind admin has no scope that you do not have.")
	}
	return nil
}

// mayGrant returns why an actor may not give scopes to a key of the kind admin.
func (s *Resources) mayGrant(c *rest.Call, scopes []string) error {
	if err := mayAdminister(c, &authkey.Record{Kind: authkey.KindAdmin}, scopes...); err != nil {
		return err
	}
	if slices.ContainsFunc(scopes, func(scope string) bool { return !slices.Contains(s.AdminScopes(), scope) }) {
		return rest.InvalidFields(strict.Fault{Pointer: "/scopes", Code: strict.CodeValue, Message: "want scopes of the admin route for a key of the kind admin"})
	}
	return nil
}
