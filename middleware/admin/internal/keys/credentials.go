package keys

import (
	"context"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

func (s *Resources) listCredentials(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	record, err := s.Find(c.Context(), c.Org, c.Project, c.ID)
	if err != nil {
		return rest.Reply{}, err
	}
	return rest.Reply{Body: rest.Page[credential]{Items: credentialsOf(&record)}, Revision: record.Revision}, nil
}

func (s *Resources) getCredential(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	record, err := s.Find(c.Context(), c.Org, c.Project, c.ID)
	if err != nil {
		return rest.Reply{}, err
	}
	for _, shown := range credentialsOf(&record) {
		if shown.ID == c.Request.PathValue("credential") {
			return rest.Reply{Body: shown, Revision: record.Revision}, nil
		}
	}
	return rest.Reply{}, authkey.ErrUnknown
}

// rotation is the body that a rotation takes.
type rotation struct {
	overlap *time.Duration
	authkey.Rotation
}

func (r *rotation) fields() []strict.Field {
	return []strict.Field{
		strict.Required(strict.Parsed("overlap", overlapWanted, &r.overlap, pointer(time.ParseDuration))),
		strict.Parsed("expires_at", endWanted, &r.ExpiresAt, rest.ParseTimeOrNever),
		strict.Parsed("reason", reasonWanted, &r.Reason, reasonOf),
	}
}

const overlapWanted = `a duration such as "24h", for which the others go on; "0s" ends them now`

// rotateKey honours If-Match, and never demands it: a new credential is nothing that somebody else has changed.
func (s *Resources) rotateKey(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	var condition rest.Condition
	if len(c.Request.Header.Values("If-Match"))+len(c.Request.Header.Values("If-None-Match")) > 0 {
		var err error
		if condition, err = c.Condition(); err != nil {
			return rest.Reply{}, err
		}
	}
	var body rotation
	if err := c.Body(body.fields()...); err != nil {
		return rest.Reply{}, err
	}
	if body.overlap == nil { // how long a secret that may have leaked goes on is nobody's default
		return rest.Reply{}, rest.InvalidFields(strict.Fault{Pointer: "/overlap", Code: strict.CodeRequired, Message: "want " + overlapWanted})
	}
	body.Overlap = *body.overlap
	var record authkey.Record
	var presented authkey.Presented
	err := s.edit(c, condition, func(ctx context.Context, now *authkey.Record) (err error) {
		if err := mayAdminister(c, now, now.Scopes...); err != nil {
			return err
		}
		body.Revision = now.Revision
		record, presented, err = s.Issuer.Rotate(ctx, c.Org, c.ID, body.Rotation)
		return err
	})
	if err != nil {
		return rest.Reply{}, err
	}
	c.Report(rest.Change{Action: "key.rotate", Project: c.Project, ID: c.ID})
	return secretOf(&record, presented, c.Path("projects", c.Project, "keys", c.ID, "credentials", record.Credentials[0].ID)), nil
}

// revokeCredential answers a repeat as revokeKey does. Of a revoked key all credentials are.
func (s *Resources) revokeCredential(c *rest.Call) (rest.Reply, error) {
	condition, reason, err := deletion(c)
	if err != nil {
		return rest.Reply{}, err
	}
	id := c.Request.PathValue("credential")
	record, err := s.Find(c.Context(), c.Org, c.Project, c.ID)
	if err != nil {
		return rest.Reply{}, err
	}
	old := record.Credential(id)
	if old == nil {
		return rest.Reply{}, authkey.ErrUnknown
	}
	if !old.RevokedAt.IsZero() || record.State == authkey.StateRevoked {
		return rest.NoContent(), nil
	}
	err = s.edit(c, condition, func(ctx context.Context, now *authkey.Record) error {
		if err := mayAdminister(c, now); err != nil {
			return err
		}
		_, err := s.Issuer.RevokeCredential(ctx, c.Org, c.ID, id, now.Revision, reason)
		return err
	})
	if err != nil {
		return rest.Reply{}, err
	}
	c.Report(rest.Change{Action: "credential.revoke", Project: c.Project, ID: c.ID})
	return rest.NoContent(), nil
}

func (s *Resources) credentialOperations() []rest.Operation {
	return []rest.Operation{{
		Method: http.MethodGet, ID: "listCredentials", Summary: "List the credentials of a key, the newest first.", Scope: readKeys,
		Tagged: true, Answers: map[int]any{http.StatusOK: rest.Page[credential]{}}, Do: s.listCredentials,
	}, {
		Method: http.MethodPost, ID: "rotateKey", Scope: writeKeys,
		Summary: "Rotate a key: give it a new credential, whose secret is in this answer alone, and let the others end after an overlap.",
		Body:    func() []strict.Field { return new(rotation).fields() }, Conditional: true, Repeatable: true, Conflict: true,
		Tagged: true, Located: true, Answers: map[int]any{http.StatusCreated: issued{}}, Do: s.rotateKey,
	}}
}
