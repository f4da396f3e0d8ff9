package rival

import (
	"context"
	"fmt"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/redisstore"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// Tenants are projects with an API key each, spread over orgs. Each org has an override, as a service that sells an API
// has: it raises the limit that Strict codes, from one that the first second would use up.
type Tenants struct {
	Identities []*authkey.Identity // of projects, as a Verifier told them
	Keys       []authkey.Presented // of the same projects
}

// raised is a limit a minute that no contestant reaches, as the override of each org says it.
const raised = 1_000_000_000

// patience is for a machine that is busy: nothing is measured yet.
const patience = 5 * time.Second

// Format is that of the tenants' keys.
func Format() (authkey.Format, error) { return authkey.NewFormat("bench", "test") }

// NewTenants writes tenants to a Redis. It takes about a second for 1,000.
func NewTenants(ctx context.Context, p Place, projects, orgs int) (*Tenants, error) {
	rdb := p.Client()
	defer func() { _ = rdb.Close() }()
	store := redisstore.New(rdb, redisstore.WithTimeout(patience))
	format, err := Format()
	if err != nil {
		return nil, err
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		return nil, err
	}
	t := new(Tenants)
	for i := range projects {
		_, key, err := issuer.Issue(ctx, authkey.NewKey{Org: orgName(p, i%orgs), Project: fmt.Sprintf("project-%04d", i)})
		if err != nil {
			return nil, err
		}
		t.Keys = append(t.Keys, key)
	}
	if err := override(ctx, p, orgs); err != nil {
		return nil, err
	}
	verifier, err := authkey.New(store, authkey.WithFormat(format), authkey.WithTimeout(patience))
	if err != nil {
		return nil, err
	}
	for _, key := range t.Keys { // after the last change, so that their epochs are the orgs'
		identity, err := verifier.Authenticate(ctx, key)
		if err != nil {
			return nil, err
		}
		t.Identities = append(t.Identities, identity)
	}
	return t, nil
}

func override(ctx context.Context, p Place, orgs int) error {
	rdb := p.Client()
	defer func() { _ = rdb.Close() }()
	overrides, err := ratelimit.NewOverrides(rdb)
	if err != nil {
		return err
	}
	for i := range orgs {
		limit := int64(raised)
		o := ratelimit.Override{Org: orgName(p, i), Policy: minute, Limit: &limit, Reason: "a customer that pays"}
		if _, _, err := overrides.Set(ctx, o, ratelimit.Always); err != nil {
			return err
		}
	}
	return nil
}

func orgName(p Place, i int) string { return fmt.Sprintf("%s-org-%03d", p.Prefix, i) }
