package lua_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// wide is a policy far from its limit.
var wide = lua.Charge{Algorithm: lua.Fixed, Limit: 1_000_000, Window: 86_400_000_000}

// asks puts checks into a batch, as far as they fit, and asks it.
func asks(t *testing.T, conn *lua.Conn, checks []lua.Check, times []int) []lua.Answer {
	t.Helper()
	batch, answers := new(lua.Batch), make([]lua.Answer, len(checks))
	for i := range checks {
		n := 1
		if times != nil {
			n = times[i]
		}
		if !batch.Add(&checks[i], n, &answers[i]) {
			t.Fatalf("check %d of %d does not fit", i, len(checks))
		}
	}
	if err := conn.AdmitBatch(t.Context(), batch); err != nil {
		t.Fatalf("AdmitBatch: %v", err)
	}
	return answers
}

// TestBatchGivesEachItsOwn asks as many checks as fit, of all kinds, good and bad: each gets its own answer.
func TestBatchGivesEachItsOwn(t *testing.T) {
	t.Parallel()
	kinds := []struct {
		name   string
		change func(t *testing.T, rdb redis.UniversalClient, org string, check *lua.Check)
		status lua.Status
		taken  int64
	}{
		{"plain", func(*testing.T, redis.UniversalClient, string, *lua.Check) {}, lua.Allowed, 7},
		{"with a frame that never was", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) {
			c.Charges[0].Frame = &lua.Frame{Generation: 5, Before: 6}
		}, lua.Allowed, 7},
		{"corrupt", func(t *testing.T, rdb redis.UniversalClient, _ string, c *lua.Check) {
			c.Charges[0].Frame = &lua.Frame{Generation: 5, Before: 6}
			for _, key := range countKeys(c.Charges...) {
				if err := rdb.LPush(t.Context(), key, "x").Err(); err != nil {
					t.Fatalf("LPUSH: %v", err)
				}
			}
		}, lua.Allowed, 7},
		{"stale", func(_ *testing.T, _ redis.UniversalClient, org string, c *lua.Check) {
			c.Epochs = []lua.Held{{Key: lua.EpochKey(org), Keys: 9}}
		}, lua.Stale, 0},
		{"out of its time", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) { c.Until = 1 }, lua.Stale, 0},
		{"limit out of bounds", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) { c.Charges[0].Limit = -1 }, lua.Invalid, 0},
		{"units out of bounds", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) {
			c.Charges[0].Units, c.Charges[0].Frame = -7, &lua.Frame{Generation: 5, Before: 6}
		}, lua.Invalid, 0},
		{"units beyond numbers", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) {
			c.Charges[0].Units = lua.MaxTime + 1
		}, lua.Invalid, 0},
		{"start out of bounds", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) {
			c.Charges[0].Algorithm, c.Charges[0].Start = lua.Calendar, lua.MaxTime+1
		}, lua.Invalid, 0},
		{"change out of bounds", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) { c.Charges[0].Change = 4 }, lua.Invalid, 0},
		{"no algorithm", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) { c.Charges[0].Algorithm = "" }, lua.Invalid, 0},
		{"refused", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) { c.Charges[0].Limit = 6 }, lua.Refused, 0},
		{"peek", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) { c.Mode = lua.Peek }, lua.Allowed, 0},
		{"monitored", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) { c.Charges[0].Role = lua.Monitored }, lua.Allowed, 7},
		{"no mode", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) { c.Mode = "nonsense" }, lua.Invalid, 0},
		{"too many policies", func(_ *testing.T, _ redis.UniversalClient, _ string, c *lua.Check) {
			for len(c.Charges) <= lua.MaxPolicies {
				c.Charges = append(c.Charges, c.Charges[0])
			}
		}, lua.Invalid, 0},
	}
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		conn, org := connOf(t, rdb), redistest.Org(t)
		checks := make([]lua.Check, lua.MaxBatch)
		for i := range checks {
			checks[i].Charges = []lua.Charge{named(t, rdb, org, wide, 7)}
			kinds[i%len(kinds)].change(t, rdb, org, &checks[i])
		}
		for i, a := range asks(t, conn, checks, nil) {
			kind := kinds[i%len(kinds)]
			if a.Status != kind.status || a.Err != nil || (kind.status <= lua.Allowed) != (len(a.States) == 1 && a.States[0].Current == kind.taken) {
				t.Errorf("%d, %s: %+v, want status %d with %d taken", i, kind.name, a, kind.status, kind.taken)
			}
			if n := rdb.Exists(t.Context(), checks[i].Charges[0].Key).Val(); (n == 1) != (kind.taken > 0) {
				t.Errorf("%d, %s: %d states stored", i, kind.name, n)
			}
		}
	})
}

// TestBatchIsFull fills a batch with as many checks, epochs and policies as it takes. What does not fit is not in it, and
// what is in it is decided, the last as the first.
func TestBatchIsFull(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		most   int
		change func(check *lua.Check, i int)
	}{
		"checks": {lua.MaxBatch, func(*lua.Check, int) {}},
		"epochs": {255, func(c *lua.Check, i int) {
			c.Epochs = []lua.Held{{Key: strings.TrimSuffix(c.Charges[0].Key, "requests:f") + fmt.Sprint(i)}}
			if i == 254 {
				c.Epochs[0].Limits = 1
			}
		}},
		"terms": {255, func(c *lua.Check, i int) { c.Charges[0].Limit = int64(i) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				conn, org := connOf(t, rdb), redistest.Org(t)
				checks, batch, answers := make([]lua.Check, 300), new(lua.Batch), make([]lua.Answer, 300)
				in := 0
				for i := range checks {
					checks[i].Charges = []lua.Charge{named(t, rdb, org, wide, 255)}
					tt.change(&checks[i], i)
					if added := batch.Add(&checks[i], 1, &answers[i]); added != (i < tt.most) {
						t.Fatalf("Add of number %d: %t", i, added)
					} else if added {
						in++
					}
				}
				if err := conn.AdmitBatch(t.Context(), batch); err != nil || batch.Len() != in {
					t.Fatalf("AdmitBatch of %d: %v, want %d", batch.Len(), err, in)
				}
				for i, a := range answers {
					want := lua.Allowed
					switch {
					case i >= in:
						want = lua.Refused // it was never asked: the zero answer
					case name == "epochs" && i == 254:
						want = lua.Stale
					case name == "terms" && i < 255:
						want = lua.Refused
					}
					if a.Status != want || (a.Now == 0) != (i >= in) || want == lua.Allowed && a.States[0].Current != 255 {
						t.Errorf("number %d: %+v, want status %d", i, a, want)
					}
				}
			})
		})
	}
}

// TestBatchOfBytesAtTheirEnds asks units and times that a byte just holds, or just does not.
func TestBatchOfBytesAtTheirEnds(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		conn, org := connOf(t, rdb), redistest.Org(t)
		for _, units := range []int64{0, 1, 255, 256, 1 << 32} {
			for _, times := range []int{1, 254, 255} {
				c := named(t, rdb, org, wide, units)
				c.Limit = units*(lua.MaxTimes-1) + 1 // which leaves the last out
				c.Frame = new(lua.Frame)
				a := asks(t, conn, []lua.Check{{Charges: []lua.Charge{c}}}, []int{times})[0]
				fits := int64(times)
				if units > 1 {
					fits = min(fits, lua.MaxTimes-1)
				}
				if a.Fits != fits || a.States[0].Current != units*fits || a.States[0].Done != fits {
					t.Errorf("%d units, %d times: %+v, want %d to fit", units, times, a, fits)
				}
			}
		}
	})
}

// TestCommandsOfABatch counts what Redis carries out for a call, apart from the call.
func TestCommandsOfABatch(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { _ = rdb.Close() })
	conn := connOf(t, rdb)
	admit(t, conn, lua.Check{Mode: lua.Peek}) // loads the script
	for name, tt := range map[string]struct {
		known, warm      bool // by a frame; by a state
		policies, checks int
		epochs           int // of how many the checks hold one
		want             map[string]int
	}{
		"by a frame":                    {true, true, 1, 1, 0, map[string]int{"time": 1, "incrby": 1}},
		"by a frame, and an epoch":      {true, true, 1, 1, 1, map[string]int{"time": 1, "incrby": 1, "hmget": 1}},
		"by three frames":               {true, true, 3, 1, 1, map[string]int{"time": 1, "incrby": 3, "hmget": 1}},
		"many by frames, of two epochs": {true, true, 1, 64, 2, map[string]int{"time": 1, "incrby": 64, "hmget": 2}},
		"the first of a state":          {false, false, 1, 1, 1, map[string]int{"time": 1, "get": 1, "set": 1, "hmget": 1}},
		"one more of a state":           {false, true, 1, 1, 0, map[string]int{"time": 1, "get": 1, "set": 1}},
		"of three states":               {false, true, 3, 1, 0, map[string]int{"time": 1, "get": 3, "set": 3}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, kind := range []lua.Algorithm{lua.Fixed, lua.Sliding, lua.Calendar, lua.GCRA} {
				org, checks := redistest.Org(t), make([]lua.Check, tt.checks)
				for i := range checks {
					if tt.epochs > 0 {
						checks[i].Epochs = []lua.Held{{Key: lua.EpochKey(fmt.Sprint(org, i%tt.epochs))}}
					}
					for range tt.policies {
						c := wide
						c.Algorithm, c.Limit, c.Burst, c.Window = kind, 1000, 1000, 500_000_000
						c = named(t, rdb, org, c, 1)
						if tt.known {
							told(t, conn, &c)
						} else if tt.warm {
							admit(t, conn, lua.Check{Charges: []lua.Charge{c}})
						}
						checks[i].Charges = append(checks[i].Charges, c)
					}
				}
				if err := rdb.ConfigResetStat(t.Context()).Err(); err != nil {
					t.Fatalf("CONFIG RESETSTAT: %v", err)
				}
				admit(t, conn, checks...)
				if got := commandsOf(t, rdb); !maps.Equal(got, tt.want) {
					t.Errorf("%s: %v, want %v", kind, got, tt.want)
				}
			}
		})
	}
}

// commandsOf returns how many commands a server has carried out, apart from those that count and that run scripts.
func commandsOf(t *testing.T, rdb redis.UniversalClient) map[string]int {
	t.Helper()
	text, err := rdb.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatalf("INFO: %v", err)
	}
	all := map[string]int{}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if calls, _, _ := strings.Cut(rest, ","); ok && !strings.HasPrefix(name, "config") && name != "evalsha" && name != "info" {
			all[name] = int(number(t, calls))
		}
	}
	return all
}
