package lua_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// TestModesRefuseNumbers sends the script nonsense in every mode, to a policy of which some units are taken and
// some are held. It is told, and nothing is written.
func TestModesRefuseNumbers(t *testing.T) {
	t.Parallel()
	script := redis.NewScript(admitSource(t))
	words := []any{"", "x", "-1", "nan", "inf", "-inf", "1e300", "1.5", "9007199254740992", "1 1", "\x00"}
	fields := []struct {
		name string
		at   int
		more []any // out of the bounds of this one
	}{
		{"mode", 4, []any{"-", "Charge", "charges", "__index", "0"}},
		{"at", 6, nil},
		{"algorithm", 8, []any{"F", "fs", "-"}},
		{"limit", 9, []any{"-", int64(lua.MaxUnits + 1)}},
		{"window", 10, []any{"-", 0, int64(lua.MaxWindow + 1)}},
		{"extra", 11, nil},
		{"change", 12, []any{4}},
		{"lease", 13, []any{int64(lua.MaxLease + 1)}},
		{"units", 14, []any{"-", int64(lua.MaxUnits + 1)}},
		{"held or role", 15, []any{"-", int64(lua.MaxUnits + 1)}},
	}
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		for _, mode := range []lua.Mode{lua.Take, lua.Peek, lua.Settle, lua.Renew, lua.Refund, lua.Reset} {
			conn, c := connOf(t, rdb), one(redistest.Org(t), "shop")
			c.Holds, c.Units, c.Held, c.Lease = true, 3, 3, lua.MaxLease
			admit(t, conn, lua.Check{ID: "a", Charges: []lua.Charge{c}})
			c.Lease = 0
			admit(t, conn, lua.Check{Charges: []lua.Charge{c}})
			keys := []string{c.Key, lua.CountKey(c.Key), lua.HoldsKey(c.Key)}
			before := dumps(t, rdb, keys)
			good := []any{0, 0, 0, int64(lua.MaxTime), string(mode), "a", "-", 1, "f", 10, 3_600_000_000, "-", "-", 60_000_000, 3, 3}
			for _, field := range fields {
				for _, word := range slices.Concat(words, field.more) {
					args := slices.Clone(good)
					args[field.at] = word
					got, err := script.Run(t.Context(), rdb, keys, append(noPlain, args...)...).Int64Slice()
					if err != nil || len(got) != 2 || got[1] != int64(lua.Invalid) {
						t.Errorf("%s, %s=%q: %v, %v; want status 3", mode, field.name, fmt.Sprint(word), got, err)
					}
				}
			}
			if after := dumps(t, rdb, keys); after != before {
				t.Errorf("%s: %q became %q", mode, before, after)
			}
			// And what is no nonsense does what it says, unless it is a peek.
			if got, err := script.Run(t.Context(), rdb, keys, append(noPlain, good...)...).Int64Slice(); err != nil || got[1] != int64(lua.Allowed) || got[2] < 1 {
				t.Errorf("%s: %v, %v; want it done", mode, got, err)
			}
			if after := dumps(t, rdb, keys); (after == before) != (mode == lua.Peek) {
				t.Errorf("%s: %q became %q", mode, before, after)
			}
		}
	})
}

// dumps returns all that Redis holds under keys, bit for bit.
func dumps(t *testing.T, rdb redis.UniversalClient, keys []string) (all string) {
	t.Helper()
	for _, key := range keys {
		dump, _ := rdb.Dump(t.Context(), key).Result() // none: the empty one
		end, err := rdb.PExpireTime(t.Context(), key).Result()
		if err != nil {
			t.Fatalf("PEXPIRETIME: %v", err)
		}
		all += fmt.Sprintf("%x until %v, ", dump, end)
	}
	return all
}
