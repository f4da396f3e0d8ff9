package lua_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// One script reads the holds and their end at one moment.
var holdsScript = redis.NewScript(`
local reply = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
reply[#reply + 1] = tostring(redis.call('PEXPIRETIME', KEYS[1]))
return reply`)

// sumOfHolds fails the test unless the sum that is stored is that of the holds, and the key ends with the last.
func sumOfHolds(t *testing.T, rdb redis.UniversalClient, key string) {
	t.Helper()
	reply, err := holdsScript.Run(t.Context(), rdb, []string{key}).StringSlice()
	if err != nil {
		t.Errorf("script: %v", err)
		return
	}
	end := number(t, reply[len(reply)-1])
	if reply = reply[:len(reply)-1]; len(reply) == 0 {
		return // nothing is held, and nothing stored
	}
	sum, last := int64(0), int64(0)
	for i := 0; i < len(reply); i += 2 {
		score := number(t, reply[i+1])
		if reply[i] == "held" {
			sum += score
			continue
		}
		units, _, _ := strings.Cut(reply[i], ":")
		sum, last = sum+number(t, units), max(last, score)
	}
	if sum != 0 || end != (last+999)/1000 {
		t.Errorf("%v ends at %d: the sum is wrong by %d, or the end", reply, end, sum)
	}
}

// TestSumOfHolds has many hold, renew, settle and forget at random, for long and for moments, by Redis's clock.
// After each call what is stored adds up, and in the end all of it can be held again.
func TestSumOfHolds(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, algorithm := range []lua.Algorithm{lua.Sliding, lua.Concurrency} {
			t.Run(string(algorithm), func(t *testing.T) {
				t.Parallel()
				conn, c := connOf(t, rdb), one(redistest.Org(t), "shop")
				c.Algorithm, c.Limit, c.Holds = algorithm, 20, true
				key := c.Key
				if algorithm == lua.Sliding {
					key = lua.HoldsKey(key)
				}
				var group sync.WaitGroup
				for caller := range 6 {
					group.Go(func() {
						random := rand.New(rand.NewPCG(1, uint64(caller)))
						for range 150 {
							c := c
							c.Units, c.Held, c.Lease = random.Int64N(4), random.Int64N(4), []int64{1, 2000, 60_000_000}[random.IntN(3)]
							mode := []lua.Mode{lua.Take, lua.Take, lua.Take, lua.Renew, lua.Settle, lua.Settle, lua.Peek}[random.IntN(7)]
							if mode == lua.Settle { // or what was taken soon leaves no room
								c.Units = 0
							}
							if random.IntN(60) == 0 {
								mode = lua.Reset
							}
							check := lua.Check{Mode: mode, ID: strconv.Itoa(random.IntN(12)), Charges: []lua.Charge{c}}
							answers, err := conn.Admit(t.Context(), []lua.Check{check})
							if err != nil || answers[0].Status > lua.Allowed || answers[0].States[0].Held > c.Limit {
								t.Errorf("%s: %+v, %v", mode, answers, err)
								return
							}
							sumOfHolds(t, rdb, key)
						}
					})
				}
				group.Wait()
				for id := range 12 {
					for units := range int64(4) {
						c.Held, c.Units, c.Lease = units, 0, 1
						admit(t, conn, lua.Check{Mode: lua.Settle, ID: strconv.Itoa(id), Charges: []lua.Charge{c}})
					}
				}
				c.Units, c.Held, c.Lease = c.Limit, c.Limit, 60_000_000 // which removes what had ended by then
				if got := admit(t, conn, lua.Check{ID: "all", Charges: []lua.Charge{c}})[0]; got.Status != lua.Allowed {
					t.Errorf("%+v, want room for all when nothing is held", got)
				}
				c.Units = 0
				admit(t, conn, lua.Check{Mode: lua.Settle, ID: "all", Charges: []lua.Charge{c}})
				if n := rdb.Exists(t.Context(), key).Val(); n != 0 {
					t.Errorf("%v is left when all was settled", rdb.ZRangeWithScores(t.Context(), key, 0, -1).Val())
				}
			})
		}
	})
}

// TestCostOfHolds counts the commands of a check on a Redis of its own: as many beside ten thousand holds as
// beside none, and as many when thousands of them have ended at once.
func TestCostOfHolds(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { rdb.Close() })
	f := newFrozen(t, rdb)
	f.begin(t, reserved)
	f.charge.Limit, f.charge.Units, f.charge.Held, f.charge.Lease = 100_000, 1, 1, 1_000_000
	commands := func(check lua.Check) (n int) {
		t.Helper()
		if err := rdb.ConfigResetStat(t.Context()).Err(); err != nil {
			t.Fatalf("CONFIG RESETSTAT: %v", err)
		}
		if got := f.do(check, f.charge); got.Status != lua.Allowed || got.States[0].Done != 1 {
			t.Fatalf("%s: %+v", check.Mode, got)
		}
		text, err := rdb.Info(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatalf("INFO: %v", err)
		}
		for line := range strings.Lines(text) {
			if _, calls, ok := strings.Cut(line, "calls="); ok && !strings.HasPrefix(line, "cmdstat_config") {
				calls, _, _ = strings.Cut(calls, ",")
				n += int(number(t, calls))
			}
		}
		return n
	}
	f.do(lua.Check{ID: "first"}, f.charge) // which also loads the script
	beside := map[lua.Mode]int{}
	for _, mode := range []lua.Mode{lua.Take, lua.Renew, lua.Peek, lua.Settle} {
		beside[mode] = commands(lua.Check{Mode: mode, ID: "one"})
	}
	for i := range 100 {
		checks := make([]lua.Check, 100)
		for j := range checks {
			checks[j] = lua.Check{ID: fmt.Sprint(i, "/", j), Charges: []lua.Charge{f.charge}}
		}
		f.now = int64(i)
		admit(t, f.conn, checks...)
	}
	if n := rdb.ZCard(t.Context(), f.keys()[1]).Val(); n != 10_002 {
		t.Fatalf("%d members, want ten thousand holds, the first and the sum", n)
	}
	for _, mode := range []lua.Mode{lua.Take, lua.Renew, lua.Peek, lua.Settle} {
		if n := commands(lua.Check{Mode: mode, ID: "one"}); n != beside[mode] || n > 15 {
			t.Errorf("%s: %d commands beside ten thousand holds, %d beside one", mode, n, beside[mode])
		}
	}
	f.now = f.charge.Lease + 60 // when most of them have ended
	if n := commands(lua.Check{ID: "late"}); n > beside[lua.Take]+2 {
		t.Errorf("%d commands when thousands have ended, %d before", n, beside[lua.Take])
	}
	if n := rdb.ZCard(t.Context(), f.keys()[1]).Val(); n != 3902 {
		t.Errorf("%d members, want the 39 hundred that have not ended, a new one and the sum", n)
	}
}
