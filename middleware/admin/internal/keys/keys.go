// Package keys serves keys, their credentials and their projects on the admin route.
package keys

import (
	"context"
	"errors"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// key is an authkey.Record as JSON has it: no digest, and no secret.
type key struct {
	ID           string            `json:"id"`
	Org          string            `json:"org"`
	Project      string            `json:"project"`
	ProjectState string            `json:"project_state" enum:"active,suspended" doc:"What the project of the key is; it does not count in the ETag."`
	Name         string            `json:"name"`
	Owner        string            `json:"owner,omitempty"`
	Kind         string            `json:"kind" enum:"secret,publishable,admin"`
	Plan         string            `json:"plan,omitempty"`
	Scopes       []string          `json:"scopes"`
	Products     []string          `json:"products"`
	Networks     []string          `json:"networks" doc:"Where it may be used from; anywhere when empty."`
	Origins      []string          `json:"origins" doc:"Of which pages; any when empty."`
	Meta         map[string]string `json:"meta"`
	State        string            `json:"state" enum:"active,disabled,revoked"`
	Reason       string            `json:"reason,omitempty"`
	NotBefore    *time.Time        `json:"not_before,omitempty"`
	ExpiresAt    string            `json:"expires_at" doc:"A time, or never."`
	CreatedAt    time.Time         `json:"created_at"`
	RevokedAt    *time.Time        `json:"revoked_at,omitempty"`
	Revision     int64             `json:"revision"`
	Credentials  []credential      `json:"credentials" doc:"The newest first."`
}

// credential is an authkey.Credential as JSON has it.
type credential struct {
	ID            string     `json:"id"`
	CreatedAt     time.Time  `json:"created_at"`
	SupersededAt  *time.Time `json:"superseded_at,omitempty" doc:"When a rotation gave the key a newer one."`
	ExpiresAt     string     `json:"expires_at" doc:"A time, or never. It ends with its key at the latest."`
	RevokedAt     *time.Time `json:"revoked_at,omitempty"`
	Reason        string     `json:"reason,omitempty"`
	LastUsedAt    *time.Time `json:"last_used_at,omitempty" doc:"Absent where nobody noted that; it does not count in the ETag."`
	Foreign       bool       `json:"foreign" doc:"Made elsewhere and imported."`
	PepperVersion string     `json:"pepper_version,omitempty"`
}

// keyWith is a key and which of its credentials an answer is about.
type keyWith struct {
	key

	Credential string `json:"credential"`
}

// issued is a key with a secret of it.
type issued struct {
	keyWith

	Secret string `json:"secret" doc:"What callers send. It is in this answer alone."`
}

func keyOf(r *authkey.Record) key {
	shown := key{
		ID: r.ID, Org: r.Org, Project: r.Project, ProjectState: string(authkey.StateActive), Name: r.Name, Owner: r.Owner,
		Kind: string(r.Kind), Plan: r.Plan,
		Scopes: append([]string{}, r.Scopes...), Products: append([]string{}, r.Products...),
		Networks: make([]string, len(r.Networks)), Origins: append([]string{}, r.Origins...), Meta: r.Meta,
		State: string(r.State), Reason: r.Reason, NotBefore: rest.TimeOrAbsent(r.NotBefore), ExpiresAt: rest.TimeOrNever(r.ExpiresAt),
		CreatedAt: r.CreatedAt, RevokedAt: rest.TimeOrAbsent(r.RevokedAt), Revision: r.Revision, Credentials: credentialsOf(r),
	}
	if r.Within.State != "" {
		shown.ProjectState = string(r.Within.State)
	}
	for i, network := range r.Networks {
		shown.Networks[i] = network.String()
	}
	if shown.Meta == nil {
		shown.Meta = map[string]string{}
	}
	return shown
}

func credentialsOf(r *authkey.Record) []credential {
	all := make([]credential, len(r.Credentials))
	for i := range r.Credentials {
		c := &r.Credentials[i]
		all[i] = credential{
			ID: c.ID, CreatedAt: c.CreatedAt, SupersededAt: rest.TimeOrAbsent(c.SupersededAt), ExpiresAt: rest.TimeOrNever(c.ExpiresAt),
			RevokedAt: rest.TimeOrAbsent(c.RevokedAt), Reason: c.Reason, LastUsedAt: rest.TimeOrAbsent(c.LastUsedAt),
			Foreign: c.Foreign, PepperVersion: c.PepperVersion,
		}
	}
	return all
}

func (s *Resources) getKey(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	record, err := s.Find(c.Context(), c.Org, c.Project, c.ID)
	if err != nil {
		return rest.Reply{}, err
	}
	return rest.Reply{Body: keyOf(&record), Revision: record.Revision}, nil
}

// Find returns a key of a project. One that belongs elsewhere is as unknown as one that never was: authkey.ErrUnknown.
func (s *Resources) Find(ctx context.Context, org, project, id string) (authkey.Record, error) {
	record, err := s.Issuer.Find(ctx, org, id)
	if errors.Is(err, authkey.ErrInvalid) || err == nil && record.Project != project {
		return authkey.Record{}, authkey.ErrUnknown
	}
	return record, err
}

// edit changes the key of a call from what it is now, under a condition; again while others come between, where that
// allows. The change is told the revision that it starts from by the record.
func (s *Resources) edit(c *rest.Call, condition rest.Condition, change func(ctx context.Context, now *authkey.Record) error) error {
	find := func(ctx context.Context) (authkey.Record, error) { return s.Find(ctx, c.Org, c.Project, c.ID) }
	look := func(ctx context.Context) (int64, error) {
		now, err := find(ctx)
		return now.Revision, err
	}
	return condition.Meet(c.Context(), look, func(ctx context.Context, p ratelimit.Precondition) error {
		return again(ctx, p, func() error {
			now, err := find(ctx)
			if err != nil {
				return err
			}
			if p != ratelimit.Always && int64(p) != now.Revision {
				return authkey.ErrConflict
			}
			return change(ctx, &now)
		})
	})
}

// deletion reads what a request to revoke says: under which condition, and why.
func deletion(c *rest.Call) (rest.Condition, string, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Condition{}, "", err
	}
	reason, err := reasonOf(q["reason"])
	if err != nil {
		return rest.Condition{}, "", rest.BadQuery("The query parameter reason must be " + reasonWanted + ".")
	}
	condition, err := c.Condition()
	return condition, reason, err
}

// revokeKey answers a repeat as it did at first, whatever its precondition (RFC 9110, section 13.1.1).
func (s *Resources) revokeKey(c *rest.Call) (rest.Reply, error) {
	condition, reason, err := deletion(c)
	if err != nil {
		return rest.Reply{}, err
	}
	record, err := s.Find(c.Context(), c.Org, c.Project, c.ID)
	if err != nil {
		return rest.Reply{}, err
	}
	if record.State == authkey.StateRevoked {
		return rest.NoContent(), nil
	}
	err = s.edit(c, condition, func(ctx context.Context, now *authkey.Record) error {
		if err := mayAdminister(c, now); err != nil {
			return err
		}
		_, err := s.Issuer.SetState(ctx, c.Org, c.ID, now.Revision, authkey.StateRevoked, reason)
		return err
	})
	if err != nil {
		return rest.Reply{}, err
	}
	c.Report(rest.Change{Action: "key.revoke", Project: c.Project, ID: c.ID})
	return rest.NoContent(), nil
}

// lookupKey finds a key by what callers send. It is in the body, since paths are logged, and goes no further.
func (s *Resources) lookupKey(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	var presented authkey.Presented
	if err := c.Body(presentedInto(&presented)); err != nil {
		return rest.Reply{}, err
	}
	if presented.IsZero() {
		return rest.Reply{}, rest.InvalidFields(strict.Fault{Pointer: "/key", Code: strict.CodeRequired, Message: "want " + presentedWanted})
	}
	record, id, err := s.Issuer.Lookup(c.Context(), presented)
	if errors.Is(err, authkey.ErrMalformed) || err == nil && c.Actor.Org != "" && c.Actor.Org != record.Org {
		err = authkey.ErrUnknown
	}
	if err != nil {
		return rest.Reply{}, err
	}
	return rest.Reply{Body: keyWith{keyOf(&record), id}, Revision: record.Revision}, nil
}
