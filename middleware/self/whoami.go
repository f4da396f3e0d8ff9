package self

import (
	"context"
	"net/netip"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
)

// identity is what a key holder is told of the key. It has no owner and no meta, which are notes of those who run the
// service.
type identity struct {
	Org          string         `json:"org,omitempty"`
	Project      string         `json:"project,omitempty"`
	Key          string         `json:"key,omitempty"`
	Credential   string         `json:"credential,omitempty"`
	Name         string         `json:"name,omitempty"`
	Plan         string         `json:"plan,omitempty"`
	Kind         authkey.Kind   `json:"kind,omitempty"`
	Method       string         `json:"method,omitempty"`
	Scopes       []string       `json:"scopes"`
	Products     []string       `json:"products"`
	Networks     []netip.Prefix `json:"networks,omitempty"` // any where absent
	Origins      []string       `json:"origins,omitempty"`  // any where absent
	ExpiresAt    *time.Time     `json:"expires_at,omitempty"`
	SupersededAt *time.Time     `json:"superseded_at,omitempty"`
}

func whoami(_ context.Context, who *authkey.Identity, _ query) (any, error) {
	told := identity{
		Key: who.Key, Credential: who.Credential, Kind: who.Kind, Method: who.Method,
		Scopes: append([]string{}, who.Scopes...), Products: append([]string{}, who.Products...),
		ExpiresAt: timeOrAbsent(who.ExpiresAt), SupersededAt: timeOrAbsent(who.SupersededAt),
	}
	if who.Kind != authkey.KindPublishable {
		told.Org, told.Project, told.Name, told.Plan = who.Org, who.Project, who.Name, who.Plan
		told.Networks, told.Origins = who.Networks, who.Origins
	}
	return told, nil
}

func timeOrAbsent(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}
