package admin_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// An admin key that is for some networks opens nothing from elsewhere, whatever a client says of itself.
func TestAdminKeysKeepToTheirNetworks(t *testing.T) {
	t.Parallel()
	bound := &authkey.Identity{
		Org: "mine", Key: "k1", Kind: authkey.KindAdmin, Scopes: []string{"*"}, Networks: []netip.Prefix{netip.MustParsePrefix("::ffff:198.51.100.0/120")},
	}
	keys := keyring{"good": bound, "good, anew": bound}
	for _, row := range []struct {
		name, peer, forwarded string
		trusted               []netip.Prefix
		want                  error
	}{
		{"from its network", "198.51.100.7:1", "", nil, nil},
		{"from it, inside IPv6", "[::ffff:198.51.100.7]:1", "", nil, nil},
		{"from elsewhere", "192.0.2.1:1", "", nil, admin.ErrForbidden},
		{"from elsewhere, saying otherwise", "192.0.2.1:1", "198.51.100.7", nil, admin.ErrForbidden},
		{"through a proxy", "192.0.2.1:1", "203.0.113.9, 198.51.100.7", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, nil},
		{"through a proxy from elsewhere", "192.0.2.1:1", "198.51.100.7, 203.0.113.9", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, admin.ErrForbidden},
		{"through a proxy that does not say", "192.0.2.1:1", "", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, admin.ErrForbidden},
		{"from nowhere", "", "", nil, admin.ErrForbidden},
	} {
		r := request("GET", "/v1/orgs/mine/usage", "", "Authorization", "Bearer good")
		r.RemoteAddr = row.peer
		if row.forwarded != "" {
			r.Header.Set("X-Forwarded-For", row.forwarded)
		}
		if _, err := admin.Keys(keys, row.trusted...).Authorize(r); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
	}
}

func TestAuditKnowsWhoIsBehindAProxy(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newService(t, rdb, admin.WithAuditLog(newAuditLog(t, rdb)), admin.WithTrustedProxies(netip.MustParsePrefix("192.0.2.0/24")))
		org := "/v1/orgs/" + redistest.Org(t)
		serve(t, s.admin, request("PUT", org+"/overrides", `{"limit":1}`, "X-Forwarded-For", "10.0.0.1, 203.0.113.9")).want(t, 201, "")
		if items := serve(t, s.admin, request("GET", org+"/audit", "")).want(t, 200, "").items(t); len(items) != 1 || items[0]["address"] != "203.0.113.9" {
			t.Errorf("entries %v", items)
		}
	})
}

func TestTrustedProxiesAreNetworks(t *testing.T) {
	t.Parallel()
	for _, networks := range [][]netip.Prefix{nil, make([]netip.Prefix, 1), {netip.MustParsePrefix("0.0.0.0/0")}, {netip.MustParsePrefix("::ffff:0:0/96")}} {
		if _, err := admin.New(admin.BearerToken(token), admin.WithTrustedProxies(networks...)); !errors.Is(err, admin.ErrInvalid) {
			t.Errorf("WithTrustedProxies(%v): %v", networks, err)
		}
		if len(networks) == 0 {
			continue
		}
		if _, err := admin.New(admin.Keys(keyring{}, networks...)); !errors.Is(err, admin.ErrInvalid) {
			t.Errorf("Keys(%v): %v", networks, err)
		}
	}
}
