package lua_test

import (
	"testing"

	"github.com/tollgate-go/tollgate/lua"
)

// reserved is ten units in a fixed window of 90 ms, held for 20 ms.
var reserved = lua.Charge{Algorithm: lua.Fixed, Limit: 10, Window: 90_000, Role: lua.Enforced, Change: lua.NoChange, Holds: true, Lease: 20_000}

// TestHold plays histories of one policy, and knows what is stored after each deed.
func TestHold(t *testing.T) {
	t.Parallel()
	freeze(t, func(t *testing.T, f *frozen) {
		for name, deeds := range map[string][]deed{
			"again under the same id counts once and lasts longer": {
				{mode: lua.Take, id: "a", units: 3, done: 1, holding: 3, holds: "held -3, 3:a 20000 until 20"},
				{at: 5001, mode: lua.Take, id: "a", units: 3, done: 1, holding: 3, holds: "held -3, 3:a 25001 until 26"},
				{at: 5001, mode: lua.Settle, id: "a", held: 3, done: 1},
			},
			"by many": {
				{mode: lua.Take, id: "a", units: 3, done: 1, holding: 3, holds: "held -3, 3:a 20000 until 20"},
				{at: 1000, mode: lua.Take, id: "b", units: 2, lease: 5000, done: 1, holding: 5, holds: "held -5, 2:b 6000, 3:a 20000 until 20"},
				{at: 1000, mode: lua.Take, id: "c", units: 6, holding: 5, refused: true, holds: "held -5, 2:b 6000, 3:a 20000 until 20"},
				{at: 1000, mode: lua.Take, id: "c", units: 5, done: 1, holding: 10, holds: "held -10, 2:b 6000, 3:a 20000, 5:c 21000 until 21"},
				{at: 2000, mode: lua.Settle, id: "c", held: 5, done: 1, holding: 5, holds: "held -5, 2:b 6000, 3:a 20000 until 20"},
				{at: 2000, mode: lua.Settle, id: "a", held: 3, done: 1, holding: 2, holds: "held -2, 2:b 6000 until 6"},
				{at: 2000, mode: lua.Settle, id: "b", held: 2, done: 1},
			},
			"ends with its lease": {
				{mode: lua.Take, id: "a", units: 10, done: 1, holding: 10, holds: "held -10, 10:a 20000 until 20"},
				{at: 19_999, mode: lua.Take, id: "b", units: 1, holding: 10, refused: true, holds: "held -10, 10:a 20000 until 20"},
				{at: 20_000, mode: lua.Peek, id: "b", units: 10, done: 1, holds: "held -10, 10:a 20000 until 20"},
				{at: 20_000, mode: lua.Take, id: "b", units: 10, done: 1, holding: 10, holds: "held -10, 10:b 40000 until 40"},
			},
			"of what others left": {
				{mode: lua.Take, units: 8, lease: -1, done: 1, state: "f:0:90000:10:0:8:0:0 until 90"},
				{mode: lua.Take, id: "a", units: 3, refused: true, state: "f:0:90000:10:0:8:0:0 until 90"},
				{mode: lua.Take, id: "a", units: 2, done: 1, holding: 2, state: "f:0:90000:10:0:8:0:0 until 90", holds: "held -2, 2:a 20000 until 20"},
				{mode: lua.Take, units: 1, lease: -1, holding: 2, refused: true, state: "f:0:90000:10:0:8:0:0 until 90", holds: "held -2, 2:a 20000 until 20"},
				{mode: lua.Settle, id: "a", held: 2, units: 1, done: 1, state: "f:0:90000:10:0:9:0:0 until 90"},
				{mode: lua.Take, units: 1, lease: -1, done: 1, state: "f:0:90000:10:0:10:0:0 until 90"},
			},
			"of nothing, or without room, writes nothing": {
				{mode: lua.Take, id: "a", done: 1},
				{mode: lua.Take, id: "a", units: 11, refused: true},
				{mode: lua.Take, id: "a", units: 1, capacity: -1, refused: true},
				{mode: lua.Peek, id: "a", units: 3, done: 1},
			},
		} {
			t.Run(name, func(t *testing.T) {
				f.begin(t, reserved)
				f.play(deeds)
			})
		}
	})
}

func TestSettle(t *testing.T) {
	t.Parallel()
	const held = "held -3, 3:a 20000 until 20"
	hold := deed{mode: lua.Take, id: "a", units: 3, done: 1, holding: 3, holds: held}
	freeze(t, func(t *testing.T, f *frozen) {
		for name, deeds := range map[string][]deed{
			"for less, and again": {
				hold,
				{at: 6000, mode: lua.Settle, id: "a", held: 3, units: 2, done: 1, state: "f:6000:90000:10:0:2:0:0 until 96"},
				{at: 6000, mode: lua.Settle, id: "a", held: 3, units: 2, state: "f:6000:90000:10:0:2:0:0 until 96"},
				{at: 6000, mode: lua.Settle, id: "a", held: 3, state: "f:6000:90000:10:0:2:0:0 until 96"},
			},
			"for more than is left": {
				hold,
				{at: 6000, mode: lua.Settle, id: "a", held: 3, units: 15, done: 1, state: "f:6000:90000:10:0:15:0:0 until 96"},
				{at: 6000, mode: lua.Take, units: 1, lease: -1, refused: true, state: "f:6000:90000:10:0:15:0:0 until 96"},
			},
			"for the most there is": {
				hold,
				{mode: lua.Settle, id: "a", held: 3, units: lua.MaxUnits, done: 1, state: "f:0:90000:10:0:999999999999999:0:0 until 90"},
			},
			"for nothing":               {hold, {at: 1, mode: lua.Settle, id: "a", held: 3, done: 1}},
			"in the last microsecond":   {hold, {at: 19_999, mode: lua.Settle, id: "a", held: 3, done: 1}},
			"after the lease":           {hold, {at: 20_000, mode: lua.Settle, id: "a", held: 3, units: 3, holds: held}},
			"of an unknown id":          {hold, {mode: lua.Settle, id: "b", held: 3, units: 3, holding: 3, holds: held}},
			"of other units":            {hold, {mode: lua.Settle, id: "a", held: 4, units: 3, holding: 3, holds: held}},
			"where nothing was held":    {{mode: lua.Settle, id: "a", held: 3, units: 3}},
			"without a lease":           {hold, {mode: lua.Settle, id: "a", held: 3, units: 1, lease: -1, done: 1, state: "f:0:90000:10:0:1:0:0 until 90"}},
			"under a limit of zero":     {hold, {mode: lua.Settle, id: "a", held: 3, units: 3, capacity: -1, done: 1}},
			"under a limit that is low": {hold, {mode: lua.Settle, id: "a", held: 3, units: 3, capacity: 1, done: 1, state: "f:0:90000:1:0:3:0:0 until 90"}},
			"removes what has ended": {
				hold,
				{at: 10_000, mode: lua.Take, id: "b", units: 2, done: 1, holding: 5, holds: "held -5, 3:a 20000, 2:b 30000 until 30"},
				{at: 25_000, mode: lua.Peek, units: 8, done: 1, holding: 2, holds: "held -5, 3:a 20000, 2:b 30000 until 30"},
				{at: 25_000, mode: lua.Settle, id: "b", held: 2, done: 1},
			},
			"leaves others": {
				hold,
				{at: 10_000, mode: lua.Take, id: "b", units: 2, done: 1, holding: 5, holds: "held -5, 3:a 20000, 2:b 30000 until 30"},
				{at: 15_000, mode: lua.Take, id: "c", units: 1, done: 1, holding: 6, holds: "held -6, 3:a 20000, 2:b 30000, 1:c 35000 until 35"},
				{at: 25_000, mode: lua.Settle, id: "c", held: 1, units: 4, done: 1, holding: 2, state: "f:25000:90000:10:0:4:0:0 until 115", holds: "held -2, 2:b 30000 until 30"},
			},
		} {
			t.Run(name, func(t *testing.T) {
				f.begin(t, reserved)
				f.play(deeds)
			})
		}
	})
}

func TestRenew(t *testing.T) {
	t.Parallel()
	const held = "held -3, 3:a 20000 until 20"
	hold := deed{mode: lua.Take, id: "a", units: 3, done: 1, holding: 3, holds: held}
	freeze(t, func(t *testing.T, f *frozen) {
		for name, deeds := range map[string][]deed{
			"of what is held": {
				hold,
				{at: 19_999, mode: lua.Renew, id: "a", held: 3, done: 1, holding: 3, holds: "held -3, 3:a 39999 until 40"},
				{at: 39_998, mode: lua.Renew, id: "a", held: 3, units: 7, done: 1, holding: 3, holds: "held -3, 3:a 59998 until 60"},
			},
			"at the end of the lease":    {hold, {at: 20_000, mode: lua.Renew, id: "a", held: 3, holds: held}},
			"of an unknown id":           {hold, {mode: lua.Renew, id: "b", held: 3, holding: 3, holds: held}},
			"of other units":             {hold, {mode: lua.Renew, id: "a", held: 2, holding: 3, holds: held}},
			"without a lease":            {hold, {at: 1, mode: lua.Renew, id: "a", held: 3, lease: -1, holding: 3, holds: held}},
			"where nothing was held":     {{mode: lua.Renew, id: "a", held: 3}},
			"for a shorter lease":        {hold, {at: 5000, mode: lua.Renew, id: "a", held: 3, lease: 1000, done: 1, holding: 3, holds: "held -3, 3:a 6000 until 6"}},
			"after the limit was closed": {hold, {at: 5000, mode: lua.Renew, id: "a", held: 3, capacity: -1, done: 1, holding: 3, holds: "held -3, 3:a 25000 until 25"}},
			"after it was settled":       {hold, {mode: lua.Settle, id: "a", held: 3, done: 1}, {mode: lua.Renew, id: "a", held: 3}},
			"removes what has ended, and leaves others": {
				hold,
				{at: 1000, mode: lua.Take, id: "b", units: 2, lease: 60_000, done: 1, holding: 5, holds: "held -5, 3:a 20000, 2:b 61000 until 61"},
				{at: 19_000, mode: lua.Take, id: "c", units: 1, done: 1, holding: 6, holds: "held -6, 3:a 20000, 1:c 39000, 2:b 61000 until 61"},
				{at: 30_000, mode: lua.Renew, id: "c", held: 1, done: 1, holding: 3, holds: "held -3, 1:c 50000, 2:b 61000 until 61"},
			},
		} {
			t.Run(name, func(t *testing.T) {
				f.begin(t, reserved)
				f.play(deeds)
			})
		}
	})
}

// TestConcurrency has a policy that does nothing but hold. Its key holds no state.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	slots := lua.Charge{Algorithm: lua.Concurrency, Limit: 2, Window: 20_000, Role: lua.Enforced, Change: lua.NoChange, Lease: 20_000}
	freeze(t, func(t *testing.T, f *frozen) {
		f.begin(t, slots)
		f.play([]deed{
			{mode: lua.Take, id: "a", units: 1, done: 1, holding: 1, holds: "held -1, 1:a 20000 until 20"},
			{at: 1000, mode: lua.Take, id: "b", units: 1, done: 1, holding: 2, holds: "held -2, 1:a 20000, 1:b 21000 until 21"},
			{at: 1000, mode: lua.Take, id: "c", units: 1, holding: 2, refused: true, holds: "held -2, 1:a 20000, 1:b 21000 until 21"},
			{at: 2000, mode: lua.Settle, id: "a", held: 1, units: 5, done: 1, holding: 1, holds: "held -1, 1:b 21000 until 21"},
			{at: 2000, mode: lua.Settle, id: "a", held: 1, holding: 1, holds: "held -1, 1:b 21000 until 21"},
			{at: 2000, mode: lua.Refund, units: 1, taken: 2000, holding: 1, holds: "held -1, 1:b 21000 until 21"},
			{at: 3000, mode: lua.Renew, id: "b", held: 1, done: 1, holding: 1, holds: "held -1, 1:b 23000 until 23"},
			{at: 23_000, mode: lua.Take, id: "d", units: 2, done: 1, holding: 2, holds: "held -2, 2:d 43000 until 43"},
			{at: 23_000, mode: lua.Reset, done: 1},
			{at: 23_000, mode: lua.Settle, id: "d", held: 2},
		})
	})
}

// TestReset forgets what was taken and what is held, whatever it is, and what it is asked for.
func TestReset(t *testing.T) {
	t.Parallel()
	freeze(t, func(t *testing.T, f *frozen) {
		f.begin(t, reserved)
		f.play([]deed{
			{mode: lua.Reset, done: 1},
			{mode: lua.Take, units: 4, lease: -1, done: 1, state: "f:0:90000:10:0:4:0:0 until 90"},
			{mode: lua.Take, id: "a", units: 3, done: 1, holding: 3, state: "f:0:90000:10:0:4:0:0 until 90", holds: "held -3, 3:a 20000 until 20"},
			{at: 1000, mode: lua.Reset, units: 7, lease: -1, done: 1},
			{at: 1000, mode: lua.Settle, id: "a", held: 3, units: 3},
			{at: 2000, mode: lua.Take, units: 10, lease: -1, done: 1, state: "f:2000:90000:10:0:10:0:0 until 92"},
			{at: 2000, mode: lua.Reset, capacity: -1, done: 1},
		})
		for _, key := range f.keys() { // and what is not ours
			if err := f.rdb.LPush(t.Context(), key, "x").Err(); err != nil {
				t.Fatalf("LPUSH: %v", err)
			}
		}
		if got := f.do(lua.Check{Mode: lua.Reset}, f.charge); got.Status != lua.Allowed || got.States[0].Done != 1 {
			t.Errorf("reset of lists: %+v", got)
		}
		for _, key := range f.keys() {
			if n := f.rdb.Exists(t.Context(), key).Val(); n != 0 {
				t.Errorf("%s is there after a reset", key)
			}
		}
	})
}
