package lua_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// TestRoles puts a charge of each role beside an enforced one that fits or does not, before it and after it.
func TestRoles(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, tt := range []struct {
			role       lua.Role
			holds      bool
			beside     int64 // units of the other, of ten
			units      int64
			status     lua.Status
			done       int64
			used, held int64
		}{
			{lua.Enforced, false, 1, 4, lua.Allowed, 1, 4, 0},
			{lua.Enforced, false, 11, 4, lua.Refused, 1, 0, 0},
			{lua.Enforced, false, 1, 11, lua.Refused, 0, 0, 0},
			{lua.Enforced, true, 1, 4, lua.Allowed, 1, 0, 4},
			{lua.Enforced, true, 11, 4, lua.Refused, 1, 0, 0},
			{lua.Monitored, false, 1, 4, lua.Allowed, 1, 4, 0},
			{lua.Monitored, false, 11, 4, lua.Refused, 1, 0, 0},
			{lua.Monitored, false, 1, 11, lua.Allowed, 0, 0, 0},
			{lua.Monitored, true, 1, 4, lua.Allowed, 1, 0, 4},
			{lua.Monitored, true, 11, 4, lua.Refused, 1, 0, 0},
			{lua.Monitored, true, 1, 11, lua.Allowed, 0, 0, 0},
			{lua.Candidate, false, 1, 4, lua.Allowed, 1, 4, 0},
			{lua.Candidate, false, 11, 4, lua.Refused, 1, 4, 0},
			{lua.Candidate, false, 1, 11, lua.Allowed, 0, 0, 0},
			{lua.Candidate, true, 1, 4, lua.Allowed, 1, 0, 4},
			{lua.Candidate, true, 11, 4, lua.Refused, 1, 0, 0},
			{lua.Candidate, true, 1, 11, lua.Allowed, 0, 0, 0},
		} {
			for at := range 2 {
				t.Run(fmt.Sprintf("role %d holds %t, %d beside %d, at %d", tt.role, tt.holds, tt.units, tt.beside, at), func(t *testing.T) {
					t.Parallel()
					conn, org := connOf(t, rdb), redistest.Org(t)
					charges := []lua.Charge{one(org, "a"), one(org, "b")}
					other := 1 - at
					charges[other].Units, charges[at].Units, charges[at].Role = tt.beside, tt.units, tt.role
					if tt.holds {
						charges[at].Holds, charges[at].Lease = true, lua.MaxLease
					}
					got := admit(t, conn, lua.Check{ID: "a", Charges: charges})[0]
					if s := got.States[at]; got.Status != tt.status || s.Done != tt.done || s.Current != tt.used || s.Held != tt.held {
						t.Errorf("%+v, want status %d, done %d, %d used, %d held", got, tt.status, tt.done, tt.used, tt.held)
					}
					taken := int64(0)
					if tt.status == lua.Allowed {
						taken = tt.beside
					}
					if s := got.States[other]; s.Current != taken || s.Held != 0 {
						t.Errorf("beside it: %+v, want %d used", s, taken)
					}
				})
			}
		}
	})
}
