package lua_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
)

// TestHoldsThatAreDamaged puts what no check stored under the key of the holds. It counts as nothing, no mode
// fails by it, and the next hold replaces it.
func TestHoldsThatAreDamaged(t *testing.T) {
	t.Parallel()
	const later = epoch + 10_000
	damages := map[string]func(ctx context.Context, rdb redis.UniversalClient, key string) error{
		"a list": func(ctx context.Context, rdb redis.UniversalClient, key string) error {
			return rdb.LPush(ctx, key, "x").Err()
		},
		"a text": func(ctx context.Context, rdb redis.UniversalClient, key string) error {
			return rdb.Set(ctx, key, "3:a", 0).Err()
		},
		"a hash": func(ctx context.Context, rdb redis.UniversalClient, key string) error {
			return rdb.HSet(ctx, key, "held", -3, "3:a", later).Err()
		},
	}
	for name, sum := range map[string]float64{
		"infinite": math.Inf(-1), "infinite the other way": math.Inf(1), "a fraction": -0.5, "above zero": 4, "too large": -1e15, "huge": -1e300,
	} {
		damages["a sum that is "+name] = func(ctx context.Context, rdb redis.UniversalClient, key string) error {
			return rdb.ZAdd(ctx, key, redis.Z{Score: sum, Member: "held"}, redis.Z{Score: later, Member: "7:z"}).Err()
		}
	}
	damages["no sum"] = func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.ZAdd(ctx, key, redis.Z{Score: later, Member: "7:z"}).Err()
	}
	freeze(t, func(t *testing.T, f *frozen) {
		for name, damage := range damages {
			for _, charge := range []lua.Charge{reserved, {
				Algorithm: lua.Concurrency, Limit: 10, Window: 20_000, Role: lua.Enforced, Change: lua.NoChange, Lease: 20_000,
			}} {
				t.Run(fmt.Sprintf("%s, algorithm %s", name, charge.Algorithm), func(t *testing.T) {
					f.begin(t, charge)
					if err := damage(t.Context(), f.rdb, f.keys()[1]); err != nil {
						t.Fatalf("damage: %v", err)
					}
					before := f.bytes()
					for _, mode := range []lua.Mode{lua.Peek, lua.Renew, lua.Settle} {
						charge.Units, charge.Held = 10, 3
						got := f.do(lua.Check{Mode: mode, ID: "a"}, charge)
						if got.Status != lua.Allowed || got.States[0].Held != 0 || (got.States[0].Done == 1) != (mode == lua.Peek) {
							t.Errorf("%s: %+v, want nothing held, and room for all", mode, got)
						}
					}
					if after := f.bytes(); after != before {
						t.Errorf("%s became %s, want nothing written", before, after)
					}
					got := f.do(lua.Check{ID: "a"}, charge)
					if _, holds := f.stored(); got.Status != lua.Allowed || got.States[0].Held != 10 || holds != "held -10, 10:a 20000 until 20" {
						t.Errorf("hold: %+v, stored %q, want ten held and nothing else", got, holds)
					}
				})
			}
		}
	})
}

// TestHoldsOfTheFuture sets the clock back, as a failover to another server may. What was held a little later
// still counts; what no lease can explain is forgotten, so that nobody who crashed locks a tenant out.
func TestHoldsOfTheFuture(t *testing.T) {
	t.Parallel()
	const second, day = 1_000_000, 24 * 3600 * 1_000_000
	freeze(t, func(t *testing.T, f *frozen) {
		for _, tt := range []struct {
			name        string
			lease, back int64
			counts      bool
		}{
			{"by a microsecond", 20 * second, 1, true},
			{"by an hour", 20 * second, 3600 * second, true},
			{"the longest lease, by a second", lua.MaxLease, second, true},
			{"the longest lease, by as much", lua.MaxLease, lua.MaxLease, true},
			{"the longest lease, by more", lua.MaxLease, lua.MaxLease + 1, false},
			{"by years", 20 * second, 3650 * day, false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				f.begin(t, reserved)
				c := f.charge
				c.Units, c.Held, c.Lease = 10, 10, tt.lease
				f.now = tt.back
				f.do(lua.Check{ID: "a"}, c)
				f.now = 0
				renewed := c
				renewed.Lease = 20 * second
				if got := f.do(lua.Check{Mode: lua.Peek}, c); got.States[0].Held != map[bool]int64{true: 10}[tt.counts] {
					t.Errorf("%d held, want all: %t", got.States[0].Held, tt.counts)
				}
				if got := f.do(lua.Check{Mode: lua.Renew, ID: "a"}, renewed); (got.States[0].Done == 1) != tt.counts {
					t.Errorf("renewed: %+v, want it: %t", got.States[0], tt.counts)
				}
				if got := f.do(lua.Check{Mode: lua.Settle, ID: "a"}, c); (got.States[0].Done == 1) != tt.counts {
					t.Errorf("settled: %+v, want it: %t", got.States[0], tt.counts)
				}
				if tt.counts {
					return
				}
				renewed.Units = 4
				f.do(lua.Check{ID: "b"}, renewed)
				if _, holds := f.stored(); holds != "held -4, 4:b 20000000 until 20000" {
					t.Errorf("stored %q, want the new hold alone", holds)
				}
			})
		}
		t.Run("for ever", func(t *testing.T) {
			f.begin(t, reserved)
			err := f.rdb.ZAdd(t.Context(), f.keys()[1], redis.Z{Score: -10, Member: "held"}, redis.Z{Score: math.Inf(1), Member: "10:z"}).Err()
			if err != nil {
				t.Fatalf("ZADD: %v", err)
			}
			f.charge.Units = 3
			got := f.do(lua.Check{ID: "a"}, f.charge)
			if _, holds := f.stored(); got.Status != lua.Allowed || holds != "held -3, 3:a 20000 until 20" {
				t.Errorf("%+v, stored %q, want the new hold alone", got, holds)
			}
		})
	})
}

// TestHoldsByAnyName holds under names that differ where texts of C end, or read like other holds.
func TestHoldsByAnyName(t *testing.T) {
	t.Parallel()
	names := []string{"a", "a\x00", "a\x00b", "\x00", ":", "1:a", "held", "-", "%s", "{a}", "\xff\xfe", "a\nb", " "}
	freeze(t, func(t *testing.T, f *frozen) {
		f.begin(t, reserved)
		f.charge.Limit, f.charge.Units, f.charge.Held = 100, 2, 2
		for i, name := range names {
			if got := f.do(lua.Check{ID: name}, f.charge).States[0]; got.Done != 1 || got.Held != int64(2*(i+1)) {
				t.Errorf("%q: %+v, want a hold of its own", name, got)
			}
		}
		for i, name := range names {
			for _, want := range []int64{1, 0} {
				if got := f.do(lua.Check{Mode: lua.Settle, ID: name}, f.charge).States[0]; got.Done != want {
					t.Errorf("settled %q: %+v, want done %d", name, got, want)
				}
			}
			if got := f.do(lua.Check{Mode: lua.Peek}, f.charge).States[0].Held; got != int64(2*(len(names)-i-1)) {
				t.Errorf("%d held after %q was settled", got, name)
			}
			f.charge.Units = 0
		}
	})
}
