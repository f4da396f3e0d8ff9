package lua_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

func connOf(t *testing.T, rdb redis.UniversalClient) *lua.Conn {
	t.Helper()
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatalf("NewConn: %v", err)
	}
	return conn
}

// one returns a charge of one unit out of ten in an hour's fixed window.
func one(org, name string) lua.Charge {
	return lua.Charge{
		Key: lua.LimitKey(org, "project", name, "GET /", "requests", lua.Fixed), Algorithm: lua.Fixed,
		Limit: 10, Window: time.Hour.Microseconds(), Units: 1, Role: lua.Enforced,
	}
}

func admit(t *testing.T, conn *lua.Conn, checks ...lua.Check) []lua.Answer {
	t.Helper()
	answers, err := conn.Admit(t.Context(), checks)
	if err != nil {
		t.Fatalf("Admit: %v", err)
	}
	return answers
}

// noPlain begins the arguments of a call in which there are no plain checks.
var noPlain = []any{"", 0, 0}

// TestAdmitRefusesNumbers sends the script what no Go type could hold. The checks before and after the
// bad one, in the same call, are decided all the same.
func TestAdmitRefusesNumbers(t *testing.T) {
	t.Parallel()
	script := redis.NewScript(admitSource(t))
	good := []any{0, 0, 0, int64(lua.MaxTime), "charge", "id", "-", 1, "f", 10, 3_600_000_000, "-", "-", "-", 1, 1}
	fields := map[string]int{
		"from": 2, "until": 3, "mode": 4, "at": 6, "algorithm": 8, "limit": 9, "window": 10, "extra": 11, "change": 12, "units": 14, "role": 15,
	}
	words := []string{
		"", "x", "-1", "nan", "-nan", "inf", "-inf", "1e300", "1.5", "0.1", "-0.5", "1e16", "9007199254740992",
		"18446744073709551617", "1 1", "1,0", "--1", "\x00",
	}
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		bad := func(name string, at int, value any) {
			t.Run(fmt.Sprintf("%s=%v", name, value), func(t *testing.T) {
				org := redistest.Org(t)
				var keys []string
				for _, name := range []string{"a", "b", "c"} {
					keys = append(keys, one(org, name).Key, lua.CountKey(one(org, name).Key))
				}
				stored := []string{keys[0], keys[2], keys[4]}
				if value == "h" { // which has no count
					keys = slices.Delete(keys, 3, 4)
				}
				args := slices.Concat(noPlain, good, good, good)
				args[len(noPlain)+len(good)+at] = value
				got, err := script.Run(t.Context(), rdb, keys, args...).Int64Slice()
				if err != nil {
					t.Fatalf("script: %v", err)
				}
				if len(got) != 1+10+1+10 || got[1] != int64(lua.Allowed) || got[11] != int64(lua.Invalid) || got[12] != int64(lua.Allowed) {
					t.Errorf("reply %v, want the second of three checks refused with status 3", got)
				}
				for i, want := range []int64{1, 0, 1} {
					if n, err := rdb.Exists(t.Context(), stored[i]).Result(); err != nil || n != want {
						t.Errorf("check %d: %d states stored (%v), want %d", i, n, err, want)
					}
				}
			})
		}
		for name, at := range fields {
			for _, word := range words {
				bad(name, at, word)
			}
		}
		bad("limit", 9, int64(lua.MaxUnits+1))
		bad("units", 14, int64(lua.MaxUnits+1))
		bad("window", 10, int64(lua.MaxWindow+1))
		bad("window", 10, 0)
		bad("change", 12, 4)
		bad("algorithm", 8, "fs")
		bad("algorithm", 8, "h") // needs a lease
	})
}

// TestAdmitBounds asks for the same through the typed call, and for the largest values that are in bounds.
func TestAdmitBounds(t *testing.T) {
	t.Parallel()
	largest := lua.Charge{Limit: lua.MaxUnits, Window: lua.MaxWindow, Units: lua.MaxUnits}
	for _, tt := range []struct {
		name   string
		change func(*lua.Check)
		want   lua.Status
	}{
		{"largest fixed", func(c *lua.Check) { change(c, lua.Fixed, largest) }, lua.Allowed},
		{"largest sliding", func(c *lua.Check) { change(c, lua.Sliding, largest) }, lua.Allowed},
		{"largest calendar", func(c *lua.Check) { change(c, lua.Calendar, largest) }, lua.Allowed},
		{"largest bucket", func(c *lua.Check) {
			change(c, lua.GCRA, lua.Charge{Limit: lua.MaxWindow, Window: lua.MaxWindow, Burst: lua.MaxWindow, Units: lua.MaxWindow})
		}, lua.Allowed},
		{"bucket beyond the longest window", func(c *lua.Check) {
			change(c, lua.GCRA, lua.Charge{Limit: 1, Window: lua.MaxWindow, Burst: 2, Units: 1})
		}, lua.Invalid},
		{"shortest window", func(c *lua.Check) { change(c, lua.Sliding, lua.Charge{Limit: 1, Window: 1, Units: 1}) }, lua.Allowed},
		{"negative limit", func(c *lua.Check) { c.Charges[1].Limit = -1 }, lua.Invalid},
		{"negative window", func(c *lua.Check) { c.Charges[1].Window = -1 }, lua.Invalid},
		{"negative cost", func(c *lua.Check) { c.Charges[1].Units = -1 }, lua.Invalid},
		{"least cost", func(c *lua.Check) { c.Charges[1].Units = math.MinInt64 }, lua.Invalid},
		{"cost too large", func(c *lua.Check) { c.Charges[1].Units = math.MaxInt64 }, lua.Invalid},
		{"no algorithm", func(c *lua.Check) { c.Charges[1].Algorithm = "" }, lua.Invalid},
		{"negative from", func(c *lua.Check) { c.From = -1 }, lua.Invalid},
		{"until too large", func(c *lua.Check) { c.Until = lua.MaxTime + 1 }, lua.Invalid},
		{"64 policies", func(c *lua.Check) { c.Charges = many(c.Charges[0], 64) }, lua.Allowed},
		{"65 policies", func(c *lua.Check) { c.Charges = many(c.Charges[0], 65) }, lua.Invalid},
		{"no policy", func(c *lua.Check) { c.Charges = nil }, lua.Allowed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				org := redistest.Org(t)
				check := lua.Check{Charges: []lua.Charge{one(org, "a"), one(org, "b")}}
				tt.change(&check)
				beside := lua.Check{Charges: []lua.Charge{one(org, "beside")}}
				got := admit(t, connOf(t, rdb), beside, check, beside)
				if got[1].Status != tt.want {
					t.Errorf("status %d, want %d", got[1].Status, tt.want)
				}
				if got[0].States[0].Current != 1 || got[2].States[0].Current != 2 {
					t.Errorf("the checks beside it: %+v, %+v; want both charged", got[0], got[2])
				}
				if n, err := rdb.Exists(t.Context(), one(org, "a").Key).Result(); err != nil || tt.want == lua.Invalid && n != 0 {
					t.Errorf("%d charged (%v), though the check is invalid", n, err)
				}
			})
		})
	}
}

func change(c *lua.Check, a lua.Algorithm, to lua.Charge) {
	for i := range c.Charges {
		to.Key, to.Algorithm, to.Role = c.Charges[i].Key, a, lua.Enforced
		c.Charges[i] = to
	}
}

func many(c lua.Charge, n int) []lua.Charge {
	all := make([]lua.Charge, n)
	for i := range all {
		all[i] = c
		all[i].Key += strconv.Itoa(i)
	}
	return all
}

// TestAdmitComparesTheEpoch goes through every way in which what a caller holds can differ from what
// is stored. Whatever is stale charges nothing.
func TestAdmitComparesTheEpoch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		stored       []any // fields of the epoch; nil: no epoch
		keys, limits int64 // as held
		want         lua.Status
		answer       lua.Stamps
	}{
		{"both equal", []any{"keys", 7, "limits", 9}, 7, 9, lua.Allowed, lua.Stamps{Keys: 7, Limits: 9}},
		{"keys alone", []any{"keys", 7, "limits", 9}, 7, 0, lua.Allowed, lua.Stamps{Keys: 7, Limits: 9}},
		{"limits alone", []any{"keys", 7, "limits", 9}, 0, 9, lua.Allowed, lua.Stamps{Keys: 7, Limits: 9}},
		{"nothing compared", []any{"keys", 7, "limits", 9}, 0, 0, lua.Allowed, lua.Stamps{Keys: 7, Limits: 9}},
		{"keys older", []any{"keys", 8, "limits", 9}, 7, 9, lua.Stale, lua.Stamps{Keys: 8, Limits: 9}},
		{"keys newer", []any{"keys", 6, "limits", 9}, 7, 9, lua.Stale, lua.Stamps{Keys: 6, Limits: 9}},
		{"limits older", []any{"keys", 7, "limits", 10}, 7, 9, lua.Stale, lua.Stamps{Keys: 7, Limits: 10}},
		{"limits newer", []any{"keys", 7, "limits", 8}, 0, 9, lua.Stale, lua.Stamps{Keys: 7, Limits: 8}},
		{"next to the largest", []any{"limits", lua.MaxTime - 1}, 0, lua.MaxTime, lua.Stale, lua.Stamps{Keys: 0, Limits: lua.MaxTime - 1}},
		{"no epoch", nil, 7, 9, lua.Stale, lua.Stamps{}},
		{"no keys", []any{"limits", 9}, 7, 9, lua.Stale, lua.Stamps{Keys: 0, Limits: 9}},
		{"no limits", []any{"keys", 7}, 7, 9, lua.Stale, lua.Stamps{Keys: 7, Limits: 0}},
		{"no number", []any{"keys", 7, "limits", "x"}, 0, 9, lua.Stale, lua.Stamps{Keys: 7, Limits: 0}},
		{"a fraction", []any{"keys", 7, "limits", "9.5"}, 0, 9, lua.Stale, lua.Stamps{Keys: 7, Limits: 0}},
		{"too large", []any{"keys", 7, "limits", "1e300"}, 0, 9, lua.Stale, lua.Stamps{Keys: 7, Limits: 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				org := redistest.Org(t)
				if tt.stored != nil {
					if err := rdb.HSet(t.Context(), lua.EpochKey(org), tt.stored...).Err(); err != nil {
						t.Fatalf("HSET: %v", err)
					}
				}
				check := lua.Check{Epochs: []lua.Held{{Key: lua.EpochKey(org), Keys: tt.keys, Limits: tt.limits}}, Charges: []lua.Charge{one(org, "a")}}
				beside := lua.Check{Charges: []lua.Charge{one(org, "beside")}}
				got := admit(t, connOf(t, rdb), beside, check, beside)
				want := []lua.Stamps{tt.answer}
				if tt.want == lua.Allowed {
					want = nil // they are as the caller holds them
				}
				if got[1].Status != tt.want || !slices.Equal(got[1].Epochs, want) {
					t.Errorf("answer %+v, want status %d and stamps %v", got[1], tt.want, want)
				}
				if n := rdb.Exists(t.Context(), check.Charges[0].Key).Val(); (n == 1) != (tt.want == lua.Allowed) {
					t.Errorf("%d states stored at status %d", n, tt.want)
				}
				if got[2].States[0].Current != 2 {
					t.Errorf("the checks beside it count %d, want 2", got[2].States[0].Current)
				}
			})
		})
	}
}

func TestAdmitMendsTheTTL(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, charge := connOf(t, rdb), one(redistest.Org(t), "a")
		admit(t, conn, lua.Check{Charges: []lua.Charge{charge}})
		if err := rdb.Persist(t.Context(), charge.Key).Err(); err != nil {
			t.Fatalf("PERSIST: %v", err)
		}
		admit(t, conn, lua.Check{Mode: lua.Peek, Charges: []lua.Charge{charge}})
		if ttl := rdb.PTTL(t.Context(), charge.Key).Val(); ttl != -1 {
			t.Errorf("TTL %v after a peek, want none: it writes nothing", ttl)
		}
		admit(t, conn, lua.Check{Charges: []lua.Charge{charge}})
		if ttl := rdb.PTTL(t.Context(), charge.Key).Val(); ttl <= 0 || ttl > time.Hour+time.Millisecond {
			t.Errorf("TTL %v after a charge, want what is left of an hour", ttl)
		}
	})
}

// TestEpochSetsWhatIsMissing holds for both readers of the epoch that nothing stored leaves an org
// stale for ever, and that what is there is kept.
func TestEpochSetsWhatIsMissing(t *testing.T) {
	t.Parallel()
	readers := map[string]func(*testing.T, *lua.Conn, string) lua.Epoch{
		"Epoch": func(t *testing.T, conn *lua.Conn, org string) lua.Epoch {
			e, err := conn.Epoch(t.Context(), org)
			if err != nil {
				t.Fatalf("Epoch: %v", err)
			}
			return e
		},
		"Overrides": func(t *testing.T, conn *lua.Conn, org string) lua.Epoch {
			e, _, err := conn.Overrides(t.Context(), org)
			if err != nil {
				t.Fatalf("Overrides: %v", err)
			}
			return e
		},
	}
	for name, read := range readers {
		for _, damage := range []any{nil, 5, "x", "", "-5", "0", "1.5", "1e300", "inf", "nan", "9007199254740993"} {
			t.Run(fmt.Sprintf("%s limits=%v", name, damage), func(t *testing.T) {
				t.Parallel()
				redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
					conn, org := connOf(t, rdb), redistest.Org(t)
					if damage != nil {
						if err := rdb.HSet(t.Context(), lua.EpochKey(org), "keys", 7, "limits", damage).Err(); err != nil {
							t.Fatalf("HSET: %v", err)
						}
					}
					e := read(t, conn, org)
					wantKeys, wantLimits := int64(7), e.Now
					switch damage {
					case nil:
						wantKeys = e.Now
					case 5:
						wantLimits = 5
					}
					if e.Keys != wantKeys || e.Limits != wantLimits || e.Now <= 0 {
						t.Errorf("epoch %+v, want keys %d and limits %d", e, wantKeys, wantLimits)
					}
					check := lua.Check{Epochs: []lua.Held{{Key: lua.EpochKey(org), Keys: e.Keys, Limits: e.Limits}}, Charges: []lua.Charge{one(org, "a")}}
					if got := admit(t, conn, check); got[0].Status != lua.Allowed {
						t.Errorf("status %d with the stamps just read, want it allowed", got[0].Status)
					}
				})
			})
		}
	}
}
