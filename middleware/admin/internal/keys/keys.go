// Package keys serves keys on the admin route.
package keys

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

// key is an authkey.Record as JSON has it: no digest, and the secret only when it is issued.
type key struct {
	ID        string     `json:"id"`
	Project   string     `json:"project"`
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`
	Plan      string     `json:"plan,omitempty"`
	Scopes    []string   `json:"scopes"`
	Products  []string   `json:"products"`
	State     string     `json:"state"`
	NotBefore *time.Time `json:"not_before,omitempty"`
	ExpiresAt string     `json:"expires_at"`
	CreatedAt time.Time  `json:"created_at"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Secret    string     `json:"secret,omitempty"`
}

func keyOf(r *authkey.Record) key {
	return key{
		ID: r.ID, Project: r.Project, Name: r.Name, Kind: string(r.Kind), Plan: r.Plan,
		Scopes: append([]string{}, r.Scopes...), Products: append([]string{}, r.Products...),
		State: string(r.State), NotBefore: rest.TimeOrAbsent(r.NotBefore), ExpiresAt: rest.TimeOrNever(r.ExpiresAt),
		CreatedAt: r.CreatedAt, RevokedAt: rest.TimeOrAbsent(r.RevokedAt), Reason: r.Reason,
	}
}

func (s *Resources) listKeys(c *rest.Call) (rest.Reply, error) {
	asked, err := pageIn(c)
	if err != nil {
		return rest.Reply{}, err
	}
	records, next, err := s.Store.List(c.Context(), c.Org, c.Project, asked.cursor, asked.limit)
	if errors.Is(err, authkey.ErrInvalid) && asked.cursor != "" {
		return rest.Reply{}, rest.BadCursor()
	}
	if err != nil {
		return rest.Reply{}, err
	}
	items := make([]key, len(records))
	for i := range records {
		items[i] = keyOf(&records[i])
	}
	return rest.Reply{Body: rest.Page[key]{Items: items, Next: next}}, nil
}

// newKey is a key while its body is read.
type newKey struct {
	authkey.NewKey

	kind string
}

func (k *newKey) fields() []strict.Field {
	return []strict.Field{
		strict.Text("name", &k.Name), strict.Text("kind", &k.kind), strict.Text("plan", &k.Plan),
		strict.Texts("scopes", &k.Scopes), strict.Texts("products", &k.Products),
		strict.Parsed("not_before", "a time as RFC 3339 has it", &k.NotBefore, rest.ParseTime),
		strict.Parsed("expires_at", `a time as RFC 3339 has it, or "never"`, &k.ExpiresAt, rest.ParseTimeOrNever),
	}
}

func (s *Resources) issueKey(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	body := newKey{kind: string(authkey.KindSecret)}
	if err := c.OptionalBody(body.fields()...); err != nil {
		return rest.Reply{}, err
	}
	wanted := body.NewKey
	wanted.Org, wanted.Project = c.Org, c.Project
	if wanted.Kind = authkey.Kind(body.kind); body.kind == "" { // the issuer would take that for its default
		return rest.Reply{}, rest.InvalidFields(strict.Fault{Pointer: "/kind", Code: strict.CodeValue, Message: `want "secret" or "publishable"`})
	}
	if wanted.Plan != "" && c.Actor.Org != "" { // whoever sees one org alone does not choose what it pays for
		return rest.Reply{}, rest.Forbidden("You may issue keys, but not give them a plan.")
	}
	record, presented, err := s.Issuer.Issue(c.Context(), wanted)
	if err != nil {
		return rest.Reply{}, err
	}
	c.Report(rest.Change{Action: "key.issue", Project: c.Project, ID: record.ID})
	issued := keyOf(&record)
	issued.Secret = presented.Reveal() // the one place where a key goes out
	return rest.Reply{
		Status: http.StatusCreated, Body: issued, Location: c.Path("projects", c.Project, "keys", record.ID),
		Key: record.ID, Credential: record.ID,
	}, nil
}

func (s *Resources) getKey(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	record, err := s.Find(c.Context(), c.Org, c.Project, c.ID)
	if err != nil {
		return rest.Reply{}, err
	}
	return rest.Reply{Body: keyOf(&record)}, nil
}

// Find returns a key of a project. One that belongs elsewhere is as unknown as one that never was: authkey.ErrUnknown.
func (s *Resources) Find(ctx context.Context, org, project, id string) (authkey.Record, error) {
	record, err := s.Store.Find(ctx, id)
	if errors.Is(err, authkey.ErrInvalid) || err == nil && (record.Org != org || record.Project != project) {
		return authkey.Record{}, authkey.ErrUnknown
	}
	return record, err
}

func (s *Resources) revokeKey(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	reason := q["reason"]
	if authkey.StateRevoked.Validate(reason) != nil {
		return rest.Reply{}, rest.BadQuery("The query parameter reason must be at most 256 bytes without control characters.")
	}
	record, err := s.Find(c.Context(), c.Org, c.Project, c.ID)
	if err != nil {
		return rest.Reply{}, err
	}
	if _, err := s.Issuer.SetState(c.Context(), c.Org, c.ID, 0, authkey.StateRevoked, reason); err != nil {
		return rest.Reply{}, err
	}
	if record.State != authkey.StateRevoked {
		c.Report(rest.Change{Action: "key.revoke", Project: c.Project, ID: c.ID})
	}
	return rest.NoContent(), nil
}
