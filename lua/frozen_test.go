package lua_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// epoch is where the clock of a frozen starts, in microseconds: the first moment of 2100, so that nothing
// expires while a test runs. It is a multiple of every window that divides an hour.
const epoch = 4_102_444_800_000_000

// frozen is admit.lua, revocation.lua and replica.lua with a clock that the test sets, and one policy's keys.
type frozen struct {
	*testing.T
	conn    *lua.Conn
	rdb     redis.UniversalClient
	scripts map[string]*redis.Script // by the digests that they have with the clock of Redis
	now     int64                    // microseconds since epoch
	charge  lua.Charge
}

// admitSource returns the script as it is embedded.
func admitSource(t *testing.T) string {
	t.Helper()
	return sourceOf(t, "batch.lua", "algorithms.lua", "state.lua", "plain.lua", "audit.lua", "holds.lua", "admit.lua")
}

func sourceOf(t *testing.T, names ...string) string {
	t.Helper()
	var source []byte
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatalf("ReadFile: %v", err)
		}
		source = append(source, text...)
	}
	return string(source)
}

// newFrozen changes what the client sends, so a client has one frozen, used by one test at a time.
func newFrozen(t *testing.T, rdb redis.UniversalClient) *frozen {
	t.Helper()
	const call, set = "redis.call('TIME')", "{ table.remove(ARGV, #ARGV - 1), table.remove(ARGV) }" // seconds, microseconds
	f := &frozen{T: t, rdb: rdb, scripts: map[string]*redis.Script{}}
	for _, source := range []string{admitSource(t), sourceOf(t, "audit.lua", "revocation.lua"), sourceOf(t, "replica.lua")} {
		if n := strings.Count(source, call); n != 1 {
			t.Fatalf("the script holds %s %d times, want once", call, n)
		}
		f.scripts[redis.NewScript(source).Hash()] = redis.NewScript(strings.Replace(source, call, set, 1))
	}
	rdb.AddHook(f)
	f.conn = connOf(t, rdb)
	return f
}

// begin gives the frozen a policy whose keys hold nothing, at the epoch.
func (f *frozen) begin(t *testing.T, c lua.Charge) {
	t.Helper()
	f.T, f.now, f.charge = t, 0, c
	f.charge.Key = lua.LimitKey(redistest.Org(t), "project", "shop", "GET /", "requests", c.Algorithm)
	t.Cleanup(func() { // or it stays until 2100
		for _, key := range f.keys() {
			if err := f.rdb.Del(context.WithoutCancel(t.Context()), key).Err(); err != nil {
				t.Errorf("DEL: %v", err)
			}
		}
	})
}

func (f *frozen) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f *frozen) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (f *frozen) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		admit, ok := cmd.(interface{ NoRetry() bool })
		if !ok || !admit.NoRetry() {
			return next(ctx, cmd)
		}
		digest, keys, args := redistest.Call(cmd)
		script := f.scripts[digest]
		if script == nil {
			return fmt.Errorf("no frozen script has the digest %v", digest)
		}
		now := epoch + f.now
		reply, err := script.Run(ctx, f.rdb, keys, append(args, now/1_000_000, now%1_000_000)...).Result()
		redistest.SetReply(cmd, reply)
		return err
	}
}

// keys returns the key of the state and that of the holds.
func (f *frozen) keys() [2]string {
	if f.charge.Algorithm == lua.Concurrency {
		return [2]string{f.charge.Key + ":none", f.charge.Key}
	}
	return [2]string{f.charge.Key, lua.HoldsKey(f.charge.Key)}
}

// do does one check of the policy.
func (f *frozen) do(check lua.Check, c lua.Charge) lua.Answer {
	f.Helper()
	c.Key = f.charge.Key
	check.Charges = []lua.Charge{c}
	return admit(f.T, f.conn, check)[0]
}

// stored tells what is under the two keys, times counted from the epoch: "f:0:90:10:0:3:0:0 until 90" and
// "held -3, 3:a 20 until 20"; until is in milliseconds.
func (f *frozen) stored() (state, holds string) {
	f.Helper()
	keys := f.keys()
	text, err := f.rdb.Get(f.Context(), keys[0]).Result()
	if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		f.Fatalf("GET: %v", err)
	}
	if parts := strings.Split(text, ":"); len(parts) == 8 {
		parts[1] = since(f.T, parts[1], 1)
		state = strings.Join(parts, ":") + " until " + f.until(keys[0])
	}
	members, err := f.rdb.ZRangeWithScores(f.Context(), keys[1], 0, -1).Result()
	if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		f.Fatalf("ZRANGE: %v", err)
	}
	for _, m := range members {
		score := strconv.FormatFloat(m.Score, 'f', -1, 64)
		if m.Member != "held" {
			score = since(f.T, score, 1)
		}
		holds += fmt.Sprintf("%v %s, ", m.Member, score)
	}
	if holds != "" {
		holds = strings.TrimSuffix(holds, ", ") + " until " + f.until(keys[1])
	}
	return state, holds
}

func (f *frozen) until(key string) string {
	f.Helper()
	at, err := f.rdb.PExpireTime(f.Context(), key).Result()
	if err != nil {
		f.Fatalf("PEXPIRETIME: %v", err)
	}
	return since(f.T, strconv.FormatInt(at.Milliseconds(), 10), 1000)
}

// since writes a time as one since the epoch.
func since(t *testing.T, text string, unit int64) string {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return text
	}
	return strconv.FormatInt(n-epoch/unit, 10)
}

// bytes returns all that Redis holds under the keys, bit for bit.
func (f *frozen) bytes() (all string) {
	f.Helper()
	for _, key := range f.keys() {
		dump, err := f.rdb.Dump(f.Context(), key).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			f.Fatalf("DUMP: %v", err)
		}
		all += fmt.Sprintf("%x until %s\n", dump, f.until(key))
	}
	return all
}

// deed is one call of a history, and what is to come of it.
type deed struct {
	at       int64 // microseconds since the epoch
	mode     lua.Mode
	id       string
	units    int64
	lease    int64 // 0: the policy's; below zero: none, units are taken at once
	held     int64
	taken    int64 // of a refund, since the epoch
	done     int64
	holding  int64  // units held afterwards
	state    string // stored afterwards
	holds    string
	capacity int64 // of the policy; 0: ten, below zero: none
	refused  bool
}

// play does deeds one after the other. What is the same before and after is so to the last bit.
func (f *frozen) play(deeds []deed) {
	f.Helper()
	state, holds := "", ""
	for i, d := range deeds {
		before := f.bytes()
		c := f.charge
		c.Units, c.Held, c.Lease = d.units, d.held, max(cmp.Or(d.lease, c.Lease), 0)
		if d.capacity != 0 {
			c.Limit = max(d.capacity, 0)
		}
		f.now = d.at
		check := lua.Check{Mode: d.mode, ID: d.id}
		if d.mode == lua.Refund {
			check.At = epoch + d.taken
		}
		got := f.do(check, c)
		if (got.Status == lua.Refused) != d.refused || got.Status > lua.Allowed || got.States[0].Done != d.done || got.States[0].Held != d.holding {
			f.Errorf("%d: %s %q of %d: %+v, want done %d, held %d, refused: %t", i, cmp.Or(d.mode, lua.Take), d.id, d.units, got, d.done, d.holding, d.refused)
		}
		gotState, gotHolds := f.stored()
		if gotState != d.state || gotHolds != d.holds {
			f.Errorf("%d: %s %q of %d: stored %q and %q, want %q and %q", i, cmp.Or(d.mode, lua.Take), d.id, d.units, gotState, gotHolds, d.state, d.holds)
		}
		if d.state == state && d.holds == holds {
			if after := f.bytes(); after != before {
				f.Errorf("%d: %s %q: %s became %s, want nothing written", i, d.mode, d.id, before, after)
			}
		}
		state, holds = d.state, d.holds
	}
}

// freeze runs a test on a frozen of each Redis.
func freeze(t *testing.T, test func(t *testing.T, f *frozen)) {
	t.Helper()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) { test(t, newFrozen(t, rdb)) })
}
