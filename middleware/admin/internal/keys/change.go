package keys

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/rest"
	"github.com/tollgate-go/tollgate/middleware/admin/internal/strict"
)

// patch is what a merge patch (RFC 7396) says of a key. What it does not name is left as it is.
type patch struct {
	authkey.Changes

	scopes, products, origins []string
	networks                  []netip.Prefix
	meta                      map[string]*string // nil: as it is; with noMeta: of none
	noMeta                    bool
}

// fields lets null take away what a key may be without. The id, the org, the project, the kind and the credentials of a
// key are not to be changed, and to revoke it is a request of its own.
func (p *patch) fields() []strict.Field {
	text := func(name string, into **string) strict.Field {
		return strict.Nullable(strict.Parsed(name, "a string", into, pointer(asIs)), func() { *into = new(string) })
	}
	list := func(name string, into *[]string) strict.Field {
		return strict.Nullable(strict.Texts(name, into), func() { *into = []string{} })
	}
	return []strict.Field{
		text("name", &p.Name), text("owner", &p.Owner), text("plan", &p.Plan),
		list("scopes", &p.scopes), list("products", &p.products), list("origins", &p.origins),
		strict.Nullable(strict.ParsedTexts("networks", networkWanted, &p.networks, networkOf), func() { p.networks = []netip.Prefix{} }),
		strict.Nullable(strict.PairsOrNull("meta", &p.meta), func() { p.meta, p.noMeta = map[string]*string{}, true }),
		strict.Nullable(strict.Parsed("not_before", timeWanted, &p.NotBefore, pointer(rest.ParseTime)), zero(&p.NotBefore)),
		strict.Nullable(strict.Parsed("expires_at", endWanted, &p.ExpiresAt, pointer(rest.ParseTimeOrNever)), zero(&p.ExpiresAt)),
		strict.Parsed("state", `"active" or "disabled"; to revoke a key, delete it`, &p.State, pointer(rest.OneOf(authkey.StateActive, authkey.StateDisabled))),
		strict.Nullable(strict.Parsed("reason", reasonWanted, &p.Reason, pointer(reasonOf)), zero(&p.Reason)),
	}
}

func zero[T any](into **T) func() { return func() { *into = new(T) } }

// changesOf returns what a patch comes to for a key as it is.
func (p *patch) changesOf(now *authkey.Record) authkey.Changes {
	changes := p.Changes
	changes.Scopes = unlessEqual(p.scopes, now.Scopes)
	changes.Products = unlessEqual(p.products, now.Products)
	changes.Origins = unlessEqual(p.origins, now.Origins)
	changes.Networks = unlessEqual(p.networks, now.Networks)
	if p.meta != nil {
		meta := map[string]string{}
		if !p.noMeta {
			maps.Copy(meta, now.Meta)
		}
		for name, value := range p.meta {
			if delete(meta, name); value != nil {
				meta[name] = *value
			}
		}
		if !maps.Equal(meta, now.Meta) {
			changes.Meta = &meta
		}
	}
	if p.State != nil && *p.State != now.State && p.Reason == nil { // the reason was one for another state
		changes.Reason = new(string)
	}
	return changes
}

// unlessEqual returns a list that is given, if it is another than there is. An empty one is equal to none.
func unlessEqual[T comparable](given, now []T) *[]T {
	if given == nil || slices.Equal(given, now) {
		return nil
	}
	return &given
}

func (s *Resources) changeKey(c *rest.Call) (rest.Reply, error) {
	if _, err := c.Query(); err != nil {
		return rest.Reply{}, err
	}
	condition, err := c.Condition()
	if err != nil {
		return rest.Reply{}, err
	}
	var body patch
	if err := c.Body(body.fields()...); err != nil {
		return rest.Reply{}, err
	}
	var record authkey.Record
	changed := false
	err = s.edit(c, condition, func(ctx context.Context, now *authkey.Record) error {
		changes := body.changesOf(now)
		if err := s.mayChange(c, now, &changes); err != nil {
			return err
		}
		if record, err = s.change(ctx, now, changes); err != nil {
			return err
		}
		changed = record.Revision != now.Revision
		return nil
	})
	if err != nil {
		return rest.Reply{}, err
	}
	if changed {
		c.Report(rest.Change{Action: "key.change", Project: c.Project, ID: c.ID})
	}
	return rest.Reply{Body: keyOf(&record), Revision: record.Revision}, nil
}

// change tells the audit trail of a key that is disabled or enabled by the name of that.
func (s *Resources) change(ctx context.Context, now *authkey.Record, changes authkey.Changes) (authkey.Record, error) {
	state, reason := changes.State, changes.Reason
	others := changes
	if others.State, others.Reason = nil, nil; others == (authkey.Changes{}) && state != nil && *state != now.State && now.State != authkey.StateRevoked {
		return s.Issuer.SetState(ctx, now.Org, now.ID, now.Revision, *state, *reason)
	}
	return s.Issuer.Change(ctx, now.Org, now.ID, now.Revision, changes)
}

// mayChange returns why an actor may not make changes to a key.
func (s *Resources) mayChange(c *rest.Call, now *authkey.Record, changes *authkey.Changes) error {
	if changes.Plan != nil && *changes.Plan != now.Plan && c.Actor.Org != "" {
		return planForbidden()
	}
	if err := mayAdminister(c, now, now.Scopes...); err != nil {
		return err
	}
	if now.Kind == authkey.KindAdmin && changes.Scopes != nil {
		return s.mayGrant(c, *changes.Scopes)
	}
	return nil
}
