// Package revocations serves what is revoked of an org's bearer tokens on the admin route.
package revocations

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/bearer/revocation"
	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

// Resources is what there is to serve; a nil Store is not served. Fields are not changed after Routes.
type Resources struct{ Store *revocation.Store }

// The scopes of this package.
const (
	readRevocations  = "revocations:read"
	writeRevocations = "revocations:write"
)

// Routes returns the routes. A revocation has no path of its own: what it is known by is free text, such as a URL. And
// it has no ETag: as no other weakens it, there is nothing that a write could lose.
func (s *Resources) Routes() []rest.Route {
	return []rest.Route{{Pattern: "/orgs/{org}/revocations", Given: s.Store != nil, Operations: []rest.Operation{{
		Method: http.MethodGet, ID: "listRevocations", Summary: "List what is revoked of an org's bearer tokens, by when it ends.", Scope: readRevocations,
		Query:   []rest.Param{rest.Limit(rest.DefaultPage, authkey.MaxPage), rest.Cursor},
		Answers: map[int]any{http.StatusOK: rest.Page[tokenRevocation]{}}, Do: s.list,
	}, {
		Method: http.MethodPost, ID: "revokeTokens", Scope: writeRevocations,
		Summary: "Refuse bearer tokens from the next request on: one, or those of a subject, a session or a client. What is revoked already is never weakened.",
		Body:    new(order).fields, Repeatable: true, Replayed: true,
		Answers: map[int]any{http.StatusOK: tokenRevocation{}}, Do: s.revoke,
	}, {
		Method: http.MethodDelete, ID: "liftRevocation", Summary: "End a revocation before its time: tokens that are good otherwise pass again.", Scope: writeRevocations,
		Query: []rest.Param{
			rest.EnumParam("kind", "What value is.", kinds...),
			rest.TextParam("issuer", "The issuer, as its tokens name it."),
			rest.TextParam("value", "The jti, sub, sid or client_id, as tokens name it."),
		},
		Answers: map[int]any{http.StatusNoContent: nil}, Do: s.lift,
	}}}}
}

var kinds = []revocation.Kind{revocation.KindToken, revocation.KindSubject, revocation.KindSession, revocation.KindClient}

// tokenRevocation is a revocation.Revocation as JSON has it. One that is damaged has a name alone.
type tokenRevocation struct {
	Kind      revocation.Kind `json:"kind" enum:"token,subject,session,client" doc:"What value is."`
	Issuer    string          `json:"issuer" doc:"iss of the tokens."`
	Value     string          `json:"value" doc:"Their jti, sub, sid or client_id."`
	Before    *time.Time      `json:"before,omitempty" doc:"Tokens that were made before it are refused; absent: all."`
	Until     *time.Time      `json:"until,omitempty" doc:"When it ends: minutes after the last token that it refuses."`
	UpdatedAt *time.Time      `json:"updated_at,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Actor     string          `json:"actor,omitempty" doc:"Who wrote it last."`
	Damaged   bool            `json:"damaged,omitempty" doc:"It cannot be read, and refuses all tokens of its name until it is lifted."`
}

func show(r *revocation.Revocation) tokenRevocation {
	return tokenRevocation{
		Kind: r.Kind, Issuer: r.Issuer, Value: r.Value,
		Before: rest.TimeOrAbsent(r.Before), Until: rest.TimeOrAbsent(r.Until), UpdatedAt: rest.TimeOrAbsent(r.At),
		Reason: r.Reason, Actor: r.Actor, Damaged: r.Damaged,
	}
}

func (s *Resources) list(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	limit, err := q.Limit(rest.DefaultPage, authkey.MaxPage)
	if err != nil {
		return rest.Reply{}, err
	}
	cursor, continued := q.Given(rest.Cursor.Name)
	if continued && cursor == "" {
		return rest.Reply{}, rest.BadCursor()
	}
	all, next, err := s.Store.List(c.Context(), c.Org, cursor, limit)
	if continued && errors.Is(err, authkey.ErrInvalid) {
		return rest.Reply{}, rest.BadCursor()
	}
	if err != nil {
		return rest.Reply{}, err
	}
	return rest.Reply{Body: rest.Map(rest.Page[revocation.Revocation]{Items: all, Next: next}, show)}, nil
}

func (s *Resources) revoke(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	var o order
	if err := c.Body(o.fields()...); err != nil {
		return rest.Reply{}, err
	}
	if faults := o.faults(); len(faults) > 0 {
		return rest.Reply{}, rest.InvalidFields(faults...)
	}
	r, err := s.carryOut(c.Context(), c.Org, &o)
	if err != nil {
		return rest.Reply{}, err
	}
	c.Report(rest.Change{Action: "token.revoke", ID: idOf(o.kind, o.issuer, o.value)})
	return rest.Reply{Body: show(&r)}, nil
}

func (s *Resources) carryOut(ctx context.Context, org string, o *order) (revocation.Revocation, error) {
	switch o.kind {
	case revocation.KindToken:
		return s.Store.Revoke(ctx, org, o.issuer, o.value, o.expiresAt, o.reason)
	case revocation.KindSubject:
		return s.Store.RevokeSubject(ctx, org, o.issuer, o.value, o.before, o.reason)
	case revocation.KindSession:
		return s.Store.RevokeSession(ctx, org, o.issuer, o.value, o.before, o.reason)
	default:
		return s.Store.RevokeClient(ctx, org, o.issuer, o.value, o.before, o.reason)
	}
}

func (s *Resources) lift(c *rest.Call) (rest.Reply, error) {
	q, err := c.Query()
	if err != nil {
		return rest.Reply{}, err
	}
	kind, err := rest.OneOf(kinds...)(q["kind"])
	if err != nil {
		return rest.Reply{}, rest.BadQuery("The query parameter kind must be token, subject, session or client.")
	}
	for _, part := range []struct {
		name  string
		parse func(string) (string, error)
		want  string
	}{{"issuer", issuerOf, issuerWanted}, {"value", valueOf, valueWanted}} {
		if _, err := part.parse(q[part.name]); err != nil {
			return rest.Reply{}, rest.BadQuery("The query parameter " + part.name + " must be " + part.want + ".")
		}
	}
	if err := s.Store.Lift(c.Context(), c.Org, kind, q["issuer"], q["value"]); err != nil {
		return rest.Reply{}, err
	}
	c.Report(rest.Change{Action: "token.lift", ID: idOf(kind, q["issuer"], q["value"])})
	return rest.NoContent(), nil
}

// idOf returns what the audit trail knows a revocation by.
func idOf(kind revocation.Kind, issuer, value string) string {
	return lua.Name{Kind: lua.NameKind(kind), Issuer: issuer, Value: value}.Field()
}

// order is the body of a request to revoke.
type order struct {
	kind              revocation.Kind
	issuer, value     string
	before, expiresAt time.Time
	reason            string
}

func (o *order) fields() []strict.Field {
	return []strict.Field{
		strict.Required(strict.Parsed("kind", kindWanted, &o.kind, rest.OneOf(kinds...))),
		strict.Required(strict.Parsed("issuer", issuerWanted, &o.issuer, issuerOf)),
		strict.Required(strict.Parsed("value", valueWanted, &o.value, valueOf)),
		strict.Parsed("before", beforeWanted, &o.before, rest.ParseTime),
		strict.Parsed("expires_at", endWanted, &o.expiresAt, rest.ParseTime),
		strict.Required(strict.Parsed("reason", reasonWanted, &o.reason, reasonOf)),
	}
}
