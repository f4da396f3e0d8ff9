package middleware_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// eachPartition is a limit of each kind that nobody reaches.
var eachPartition = []ratelimit.Policy{
	ratelimit.Per(1e9, 24*time.Hour).Fixed().By(ratelimit.ByOrg).Named("org"),
	ratelimit.Per(1e9, 24*time.Hour).Fixed().By(ratelimit.ByProject).Named("project"),
	ratelimit.Per(1e9, 24*time.Hour).Fixed().By(ratelimit.ByKey).Named("key"),
}

// A token's limits are those of its org, of the project in it, and of its subject at its issuer: two calls share what
// they have in common, and nothing else.
func TestTokenLimitsHangOnWhatItSays(t *testing.T) {
	t.Parallel()
	issuers := []*authtest.Issuer{authtest.NewIssuer(t), authtest.NewIssuer(t)}
	for _, tt := range []struct {
		name          string
		first, second authtest.Claims
		issuer        int // of the second
		apart         bool
		used          map[string]int64 // after both, by what the second hangs on
	}{
		{"another token of one subject", authtest.Claims{"jti": "one"}, authtest.Claims{"jti": "two"}, 0, false, map[string]int64{"org": 2, "project": 2, "key": 2}},
		{"by another client", authtest.Claims{"client_id": "one"}, authtest.Claims{"client_id": "two"}, 0, false, map[string]int64{"org": 2, "project": 2, "key": 2}},
		{"another subject", authtest.Claims{"sub": "one"}, authtest.Claims{"sub": "two"}, 0, false, map[string]int64{"org": 2, "project": 2, "key": 1}},
		{"one subject in another project", nil, authtest.Claims{"project_id": "other"}, 0, false, map[string]int64{"org": 2, "project": 1, "key": 2}},
		{"one subject in another org", nil, nil, 0, true, map[string]int64{"org": 1, "project": 1, "key": 1}},
		{"one subject at another issuer", nil, nil, 1, false, map[string]int64{"org": 2, "project": 2, "key": 1}},
		{"a subject and a client of one name", authtest.Claims{"sub": "one"}, authtest.Claims{"sub": authtest.Absent, "client_id": "one"}, 0, false, map[string]int64{"org": 2, "project": 2, "key": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			eachDeployment(t, func(t *testing.T, dial func(*testing.T) redis.UniversalClient) {
				s := newTokenService(t, dial, tokenSetup{issuers: issuers, policies: eachPartition})
				org := redistest.Org(t)
				s.want(t, "the first", mint(issuers[0], org, tt.first), 204)
				if tt.apart {
					org = redistest.Org(t)
				}
				s.want(t, "the second", mint(issuers[tt.issuer], org, tt.second), 204)
				caller := s.caller.Load()
				used := s.used(t, org, caller.Project, caller.Key)
				for partition, want := range tt.used {
					if used[partition] != want {
						t.Errorf("the limit by %s has used %d, want %d", partition, used[partition], want)
					}
				}
			})
		})
	}
}

// What a caller used is counted for the org and the project of the token; what is refused is for nobody.
func TestTokenUsageIsOfItsProject(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	eachDeployment(t, func(t *testing.T, dial func(*testing.T) redis.UniversalClient) {
		s := newTokenService(t, dial, tokenSetup{issuers: []*authtest.Issuer{issuer}})
		org, other := redistest.Org(t), redistest.Org(t)
		for range 3 {
			s.want(t, "shop", mint(issuer, org, nil), 204)
		}
		s.want(t, "depot", mint(issuer, org, authtest.Claims{"project_id": "depot"}), 204)
		s.want(t, "no project", mint(issuer, org, authtest.Claims{"project_id": authtest.Absent}), 204)
		s.want(t, "another org", mint(issuer, other, nil), 204)
		s.want(t, "another scope", mint(issuer, org, authtest.Claims{"scope": "other"}), 403)
		revoked(t, dial(t), org, issuer, org)
		s.want(t, "revoked", mint(issuer, org, authtest.Claims{"jti": org}), 401)
		if err := s.usage.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		for name, want := range map[string]map[string]int64{org: {"shop": 3, "depot": 1, org: 1}, other: {"shop": 1}} {
			rows, err := s.usage.Usage(t.Context(), meter.Query{Org: name, From: now.Add(-time.Hour), To: now.Add(2 * time.Hour), Step: meter.Month})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]int64{}
			for _, row := range rows {
				got[row.Project] += row.Units
				if row.Product != "stores" || row.Kind != "search" {
					t.Errorf("usage of %+v", row)
				}
			}
			if len(got) != len(want) {
				t.Errorf("usage of %v, want %v", got, want)
			}
			for project, units := range want {
				if got[project] != units {
					t.Errorf("usage of %s is %d, want %d", project, got[project], units)
				}
			}
		}
	})
}
