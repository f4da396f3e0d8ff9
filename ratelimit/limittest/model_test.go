package limittest_test

import (
	"testing"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit/limittest"
)

// The judge of the script is judged by numbers worked out by hand.
func TestModel(t *testing.T) {
	t.Parallel()
	const now = 1_000_050
	for _, tt := range []struct {
		name    string
		stored  string
		charge  lua.Charge
		status  lua.Status
		current int64
		after   string
		end     int64
	}{
		{"first of a fixed window", "", lua.Charge{Algorithm: lua.Fixed, Limit: 3, Window: 100, Units: 2}, lua.Allowed, 2, "f:1000050:100:3:0:2:0:0", 1_000_150},
		{"first of a sliding window", "", lua.Charge{Algorithm: lua.Sliding, Limit: 3, Window: 100, Units: 2}, lua.Allowed, 2, "s:1000050:100:3:0:2:0:0", 1_000_200},
		{"half of three, rounded up, is two", "s:999999:100:3:0:3:9:0", lua.Charge{Algorithm: lua.Sliding, Limit: 3, Window: 100, Units: 1}, lua.Allowed, 1, "s:1000050:100:3:0:1:3:0", 1_000_200},
		{"and two more do not fit", "s:999999:100:3:0:3:9:0", lua.Charge{Algorithm: lua.Sliding, Limit: 3, Window: 100, Units: 2}, lua.Refused, 0, "s:999999:100:3:0:3:9:0", 0},
		{"the last microsecond of a fixed window", "f:999951:100:3:0:3:0:0", lua.Charge{Algorithm: lua.Fixed, Limit: 3, Window: 100, Units: 1}, lua.Refused, 3, "f:999951:100:3:0:3:0:0", 0},
		{"the first after it", "f:999950:100:3:0:3:0:0", lua.Charge{Algorithm: lua.Fixed, Limit: 3, Window: 100, Units: 1}, lua.Allowed, 1, "f:1000050:100:3:0:1:0:0", 1_000_150},
		{"a fixed window made shorter has ended", "f:999990:100:3:0:3:0:0", lua.Charge{Algorithm: lua.Fixed, Limit: 3, Window: 60, Units: 1}, lua.Allowed, 1, "f:1000050:60:3:0:1:0:0", 1_000_110},
		{"a fixed window made longer keeps its count", "f:999990:100:3:0:3:0:0", lua.Charge{Algorithm: lua.Fixed, Limit: 4, Window: 500, Units: 1}, lua.Allowed, 4, "f:999990:500:4:0:4:0:0", 1_000_490},
		{"a sliding window made longer moves all to its last charge", "s:1000025:100:10:0:3:8:0", lua.Charge{Algorithm: lua.Sliding, Limit: 10, Window: 1000, Units: 1}, lua.Allowed, 10, "s:1000050:1000:10:0:10:0:0", 1_002_000},
		{"the far future is forgotten", "f:1000150:100:3:0:3:0:0", lua.Charge{Algorithm: lua.Fixed, Limit: 3, Window: 100, Units: 1}, lua.Allowed, 1, "f:1000050:100:3:0:1:0:0", 1_000_150},
		{"the near future counts", "f:1000149:100:3:0:3:0:0", lua.Charge{Algorithm: lua.Fixed, Limit: 3, Window: 100, Units: 1}, lua.Refused, 3, "f:1000149:100:3:0:3:0:0", 0},
		{"damage counts as nothing", "s:1:2", lua.Charge{Algorithm: lua.Sliding, Limit: 3, Window: 100, Units: 1}, lua.Allowed, 1, "s:1000050:100:3:0:1:0:0", 1_000_200},
		{"a higher limit keeps what was used", "f:999990:100:3:0:3:0:0", lua.Charge{Algorithm: lua.Fixed, Limit: 5, Window: 100, Units: 2}, lua.Allowed, 5, "f:999990:100:5:0:5:0:0", 1_000_090},
		{"or the same part of it", "f:999990:100:3:0:2:0:0", lua.Charge{Algorithm: lua.Fixed, Limit: 5, Window: 100, Units: 1, Change: lua.Proportional}, lua.Allowed, 5, "f:999990:100:5:1:5:0:0", 1_000_090},
		{"or what was available", "f:999990:100:9:0:5:0:0", lua.Charge{Algorithm: lua.Fixed, Limit: 6, Window: 100, Units: 1, Change: lua.Additive}, lua.Allowed, 3, "f:999990:100:6:2:3:0:0", 1_000_090},
		{"or nothing", "f:999990:100:3:0:3:0:0", lua.Charge{Algorithm: lua.Fixed, Limit: 2, Window: 100, Units: 1, Change: lua.ResetUsed}, lua.Allowed, 1, "f:999990:100:2:3:1:0:0", 1_000_090},
		{"and back as it came", "f:999990:100:5:1:5:0:0", lua.Charge{Algorithm: lua.Fixed, Limit: 3, Window: 100, Units: 1, Change: lua.NoChange}, lua.Refused, 5, "f:999990:100:5:1:5:0:0", 0},
		{"a faster bucket leaks so from the last charge", "g:1000000:100:10:0:10:100:0", lua.Charge{Algorithm: lua.GCRA, Limit: 20, Window: 100, Burst: 10, Units: 10}, lua.Allowed, 0, "g:1000050:100:10:0:20:50:0", 1_000_101},
		{"a slower one is as empty as it was", "g:1000000:100:10:0:10:100:0", lua.Charge{Algorithm: lua.GCRA, Limit: 1, Window: 100, Burst: 10, Units: 5}, lua.Allowed, 0, "g:1000050:100:10:0:1:1000:0", 1_001_051},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.charge.Key, tt.charge.Role = "k", lua.Enforced
			m := limittest.NewModel()
			m.States["k"] = limittest.Entry{Value: tt.stored}
			got := m.Admit(now, lua.Check{Charges: []lua.Charge{tt.charge}})
			if got.Status != tt.status || got.States[0].Current != tt.current {
				t.Errorf("Admit = status %d, %+v; want status %d, current %d", got.Status, got.States[0], tt.status, tt.current)
			}
			if want := (limittest.Entry{Value: tt.after, End: tt.end}); m.States["k"] != want {
				t.Errorf("stored %+v, want %+v", m.States["k"], want)
			}
		})
	}
}
