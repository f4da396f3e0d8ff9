package admin

import (
	"errors"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
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
		State: string(r.State), NotBefore: timeOrAbsent(r.NotBefore), ExpiresAt: timeOrNever(r.ExpiresAt),
		CreatedAt: r.CreatedAt, RevokedAt: timeOrAbsent(r.RevokedAt), Reason: r.Reason,
	}
}

func (h *Handler) listKeys(c *call) (reply, error) {
	q, err := c.query("limit", "cursor")
	if err != nil {
		return reply{}, err
	}
	limit, err := q.page(defaultPage, authkey.MaxPage)
	if err != nil {
		return reply{}, err
	}
	cursor, given := q.given("cursor")
	if given && cursor == "" {
		return reply{}, badCursor()
	}
	records, next, err := h.store.List(c.r.Context(), c.org, c.project, cursor, limit)
	if errors.Is(err, authkey.ErrInvalid) && given {
		return reply{}, badCursor()
	}
	if err != nil {
		return reply{}, err
	}
	items := make([]key, len(records))
	for i := range records {
		items[i] = keyOf(&records[i])
	}
	return reply{body: page[key]{items, next}}, nil
}

func (h *Handler) issueKey(c *call) (reply, error) {
	if _, err := c.query(); err != nil {
		return reply{}, err
	}
	wanted := authkey.NewKey{Org: c.org, Project: c.project}
	kind := string(authkey.KindSecret)
	if err := c.body(true,
		strict.Text("name", &wanted.Name), strict.Text("kind", &kind), strict.Text("plan", &wanted.Plan),
		strict.Texts("scopes", &wanted.Scopes), strict.Texts("products", &wanted.Products),
		strict.Parsed("not_before", "a time as RFC 3339 has it", &wanted.NotBefore, parseTime),
		strict.Parsed("expires_at", `a time as RFC 3339 has it, or "never"`, &wanted.ExpiresAt, parseTimeOrNever)); err != nil {
		return reply{}, err
	}
	if wanted.Kind = authkey.Kind(kind); kind == "" { // the issuer would take that for its default
		return reply{}, invalidFields([]strict.Fault{{Pointer: "/kind", Code: strict.CodeValue, Message: `want "secret" or "publishable"`}})
	}
	if wanted.Plan != "" && c.actor.Org != "" { // whoever sees one org alone does not choose what it pays for
		return reply{}, problemOf(http.StatusForbidden, codeForbidden, "You may issue keys, but not give them a plan.")
	}
	record, presented, err := h.issuer.Issue(c.r.Context(), wanted)
	if err != nil {
		return reply{}, err
	}
	h.report(c, "key.issue", c.project, record.ID)
	c.w.Header().Set("Location", c.path(h.prefix, "projects", c.project, "keys", record.ID))
	issued := keyOf(&record)
	issued.Secret = presented.Reveal() // the one place where a key goes out
	return reply{status: http.StatusCreated, body: issued}, nil
}

func (h *Handler) getKey(c *call) (reply, error) {
	if _, err := c.query(); err != nil {
		return reply{}, err
	}
	record, err := h.findKey(c, c.id)
	if err != nil {
		return reply{}, err
	}
	return reply{body: keyOf(&record)}, nil
}

// findKey returns a key of the project of the path. One that belongs elsewhere is as unknown as one that never was.
func (h *Handler) findKey(c *call, id string) (authkey.Record, error) {
	record, err := h.store.Find(c.r.Context(), id)
	if errors.Is(err, authkey.ErrInvalid) || err == nil && (record.Org != c.org || record.Project != c.project) {
		return authkey.Record{}, authkey.ErrUnknown
	}
	return record, err
}

// findNamed returns the key that the parameter key names, which must be the project's as far as anybody knows; the
// zero Record where there is none, or no store.
func (h *Handler) findNamed(c *call, key string) (authkey.Record, error) {
	if key == "" || h.store == nil {
		return authkey.Record{}, nil
	}
	return h.findKey(c, key)
}

func (h *Handler) revokeKey(c *call) (reply, error) {
	q, err := c.query("reason")
	if err != nil {
		return reply{}, err
	}
	reason := q["reason"]
	if authkey.StateRevoked.Validate(reason) != nil {
		return reply{}, badQuery("The query parameter reason must be at most 256 bytes without control characters.")
	}
	record, err := h.findKey(c, c.id)
	if err != nil {
		return reply{}, err
	}
	if _, err := h.store.SetState(c.r.Context(), c.org, c.id, authkey.StateRevoked, reason); err != nil {
		return reply{}, err
	}
	if record.State != authkey.StateRevoked {
		h.report(c, "key.revoke", c.project, c.id)
	}
	return reply{status: http.StatusNoContent}, nil
}
