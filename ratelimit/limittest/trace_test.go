package limittest_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit/limittest"
)

// trace is one history of a few keys, and the model beside it.
type trace struct {
	*rapid.T
	conn  *lua.Conn
	clock *clock
	keys  []string
	bases []lua.Charge
	model *limittest.Model
	seen  map[string]int
	// garbage tells which keys hold something that no charge stored and the model does not know.
	garbage map[string]bool
}

var (
	windows = rapid.OneOf(
		rapid.Int64Range(1000, 6000), rapid.Int64Range(1, 20_000),
		rapid.SampledFrom([]int64{1_000_000, 3_600_000_000, 86_400_000_000, lua.MaxWindow - 1, lua.MaxWindow}),
		rapid.Int64Range(1, lua.MaxWindow),
	)
	limits = rapid.OneOf(
		rapid.Int64Range(0, 12), rapid.Int64Range(0, 1000),
		rapid.SampledFrom([]int64{lua.MaxUnits, lua.MaxUnits - 1, 0}), rapid.Int64Range(0, lua.MaxUnits),
	)
	algorithms = rapid.SampledFrom([]lua.Algorithm{lua.Fixed, lua.Sliding, lua.Calendar, lua.GCRA, lua.Concurrency})
	leases     = rapid.OneOf(rapid.Int64Range(500, 6000), rapid.SampledFrom([]int64{1, 1_000_000, lua.MaxLease}))
	modes      = rapid.SampledFrom([]lua.Mode{lua.Take, lua.Take, lua.Take, "", lua.Peek, lua.Settle, lua.Settle, lua.Renew, lua.Refund, lua.Reset})
)

func newTrace(t *rapid.T, conn *lua.Conn, org string, seen map[string]int) *trace {
	tr := &trace{T: t, conn: conn, model: limittest.NewModel(), seen: seen, garbage: map[string]bool{}}
	for i := range 4 {
		key := lua.LimitKey(org, "project", strconv.Itoa(i), "GET /", "requests", lua.Fixed)
		tr.keys = append(tr.keys, key, lua.HoldsKey(key), key+":h")
		base := lua.Charge{
			Key: key, Algorithm: algorithms.Draw(t, "algorithm"), Limit: limits.Draw(t, "limit"),
			Window: windows.Draw(t, "window"), Role: rapid.SampledFrom([]lua.Role{lua.Enforced, lua.Enforced, lua.Enforced, lua.Monitored, lua.Candidate}).Draw(t, "role"),
			Change: lua.NoChange, Holds: tr.one(3, "holds"),
		}
		tr.bases = append(tr.bases, tr.complete(base, 0))
	}
	return tr
}

// complete draws what only some algorithms have.
func (tr *trace) complete(c lua.Charge, now int64) lua.Charge {
	c.Start, c.Burst = 0, 0
	c.Key = strings.TrimSuffix(c.Key, ":h")
	if c.Algorithm == lua.Concurrency { // its key holds something else, and so has another name
		c.Key += ":h"
	}
	if c.Holds || c.Algorithm == lua.Concurrency {
		c.Lease = leases.Draw(tr.T, "lease")
	}
	switch c.Algorithm {
	case lua.Calendar:
		if now > 0 && tr.one(2, "caller's window") {
			c.Start = max(1, now-rapid.Int64Range(0, min(c.Window, 10_000)).Draw(tr.T, "since"))
		}
	case lua.GCRA:
		c.Limit = min(c.Limit, lua.MaxWindow)
		most := new(big.Int).Mul(big.NewInt(c.Limit), big.NewInt(lua.MaxWindow))
		bound := int64(lua.MaxUnits)
		if most.Div(most, big.NewInt(c.Window)); most.IsInt64() && c.Limit > 0 {
			bound = min(bound, most.Int64())
		}
		c.Burst = rapid.OneOf(rapid.Int64Range(0, min(bound, 20)), rapid.Int64Range(0, min(bound, c.Limit)), rapid.Int64Range(0, bound)).Draw(tr.T, "burst")
	}
	return c
}

// capacity is the most units that a charge can take at once.
func capacity(c lua.Charge) int64 {
	if c.Algorithm == lua.GCRA && c.Limit > 0 {
		return c.Burst
	}
	return c.Limit
}

// one reports true once in n times.
func (tr *trace) one(n int, label string) bool { return rapid.IntRange(1, n).Draw(tr.T, label) == n }

func (tr *trace) step() {
	before, now := tr.snapshot()
	if tr.clock != nil {
		now = tr.tick()
	}
	if tr.one(5, "craft") {
		tr.craft(now)
		before, _ = tr.snapshot()
	}
	most := 1
	if tr.clock != nil { // else what ends within the millisecond may be gone before the second check
		most = 3
	}
	checks := make([]lua.Check, rapid.IntRange(1, most).Draw(tr.T, "checks"))
	for i := range checks {
		checks[i] = tr.check(now)
	}
	slices.SortStableFunc(checks, func(a, b lua.Check) int { return cmp.Compare(place(&a), place(&b)) })
	answers, err := tr.conn.Admit(tr.Context(), checks)
	if err != nil {
		tr.Fatalf("Admit(%+v): %v", checks, err)
	}
	held := tr.stored()
	clear(tr.model.Written)
	for i, got := range answers {
		want := tr.model.Admit(got.Now, checks[i])
		if !same(got, want) {
			tr.Fatalf("check %d: %+v\nheld  %v\ngot  %+v\nwant %+v", i, checks[i], held, got, want)
		}
		tr.note(&checks[i], &got)
	}
	after, end := tr.snapshot()
	kept := tr.stored()
	for i, key := range tr.keys {
		tr.compare(tr.model.Written[key], kept[key], before[i], after[i], end)
	}
}

// same compares answers in which nothing is wrong.
func same(a, b lua.Answer) bool {
	return a.Status == b.Status && a.Now == b.Now && a.Fits == b.Fits && a.Err == nil && b.Err == nil &&
		slices.Equal(a.Epochs, b.Epochs) && slices.Equal(a.States, b.States)
}

// place tells whether a check is done with the plain ones, or after them.
func place(check *lua.Check) int {
	if check.Mode != lua.Take && check.Mode != "" || slices.ContainsFunc(check.Charges, func(c lua.Charge) bool {
		return c.Role != lua.Enforced || c.Holds || c.Algorithm == lua.Concurrency
	}) {
		return 1
	}
	return 0
}

// stored tells what the model holds, as snapshot tells it of Redis.
func (tr *trace) stored() map[string]limittest.Entry {
	all := maps.Clone(tr.model.States)
	for key, holds := range tr.model.Holds {
		var units, end int64
		members := slices.Collect(maps.Keys(holds))
		slices.SortFunc(members, func(a, b string) int { return cmp.Or(cmp.Compare(holds[a], holds[b]), cmp.Compare(a, b)) })
		text := ""
		for _, member := range members {
			n, _, _ := strings.Cut(member, ":")
			held, _ := strconv.ParseInt(n, 10, 64)
			units, end = units+held, max(end, holds[member])
			text += fmt.Sprintf(" %s %d", member, holds[member])
		}
		all[key] = limittest.Entry{Value: fmt.Sprintf("held %d", -units) + text, End: end}
	}
	for key := range tr.garbage {
		if _, ok := all[key]; !ok {
			all[key] = limittest.Entry{Value: "garbage"}
		}
	}
	return all
}

// tick sets the clock: a little later, or to where something stored begins or ends.
func (tr *trace) tick() int64 {
	now := tr.clock.now + rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, 20_000)).Draw(tr.T, "tick")
	if i := rapid.IntRange(0, len(tr.bases)).Draw(tr.T, "edge"); i < len(tr.bases) {
		a := tr.model.Admit(now, lua.Check{Charges: []lua.Charge{tr.bases[i]}, Mode: lua.Peek})
		at := a.States[0].Start + a.States[0].Window*rapid.Int64Range(-1, 2).Draw(tr.T, "windows") +
			rapid.Int64Range(-1, 1).Draw(tr.T, "beside")
		if soon := at - tr.clock.now; soon > -10_000 && soon < 10_000_000 { // some way back, as a failover may set it
			now = at
			tr.seen["first microsecond"]++
		}
	}
	tr.clock.now = now
	return now
}

// compare checks what is stored under one key before and after a call.
func (tr *trace) compare(written bool, want limittest.Entry, before, after stored, now int64) {
	what := "untouched"
	if written {
		what = "written"
		before = stored{value: want.Value, expires: (want.End + 999) / 1000}
		if want == (limittest.Entry{}) {
			before.expires = absent
			tr.seen["removed"]++
		}
		after.dump = ""
	}
	if after.expires == absent && before.expires > 0 && now >= before.expires*1000 {
		what, after = "expired", before
	}
	if after != before {
		tr.Fatalf("%s: stored %+v, want %+v, at %d", what, after, before, now)
	}
	tr.seen[what]++
}

func (tr *trace) note(check *lua.Check, a *lua.Answer) {
	tr.seen[[...]string{"refused", "allowed", "stale", "invalid"}[a.Status]]++
	for i, s := range a.States {
		c := &check.Charges[i]
		if check.Mode == lua.Reset {
			delete(tr.garbage, c.Key)
			if c.Holds && c.Algorithm != lua.Concurrency {
				delete(tr.garbage, lua.HoldsKey(c.Key))
			}
		}
		for what, is := range map[string]bool{
			"previous weighs": s.Previous > 0 && a.Now > s.Start,
			"future":          s.Start > a.Now && c.Algorithm != lua.GCRA,
			"monitored":       a.Status == lua.Allowed && s.Done == 0 && c.Role == lua.Monitored && (check.Mode == "" || check.Mode == lua.Take),
			"candidate":       a.Status == lua.Refused && s.Done == 1 && c.Role == lua.Candidate && c.Units > 0,
			"held":            s.Held > 0,
			"settled":         check.Mode == lua.Settle && s.Done == 1 && c.Units > 0,
			"renewed":         check.Mode == lua.Renew && s.Done == 1,
			"not held":        check.Mode == lua.Settle && s.Done == 0,
			"given back":      check.Mode == lua.Refund && s.Done > 0,
			"changed":         s.Was != capacity(*c),
			"carried":         s.Change > lua.KeepUsed,
		} {
			if is {
				tr.seen[what]++
			}
		}
	}
	for key := range tr.garbage {
		if _, ok := tr.model.States[key]; ok || tr.model.Holds[key] != nil {
			delete(tr.garbage, key)
		}
	}
}

// check draws one of one to three policies with different keys.
func (tr *trace) check(now int64) lua.Check {
	check := lua.Check{Mode: modes.Draw(tr.T, "mode"), ID: rapid.SampledFrom([]string{"a", "b", "c", "d:e", "{f}"}).Draw(tr.T, "id")}
	if tr.one(15, "bounded") {
		check.From = max(0, now+rapid.Int64Range(-2000, 2000).Draw(tr.T, "from"))
		check.Until = check.From + rapid.Int64Range(0, 4000).Draw(tr.T, "until")
	}
	if check.Mode == lua.Refund && !tr.one(4, "at once") {
		check.At = max(0, now-rapid.Int64Range(0, 20_000).Draw(tr.T, "ago"))
	}
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(tr.bases)-1), 1, 3, rapid.ID).Draw(tr.T, "policies") {
		check.Charges = append(check.Charges, tr.charge(i, now, &check))
	}
	return check
}

// charge draws a charge like the one that a policy was given last, or one that somebody changed.
func (tr *trace) charge(i int, now int64, check *lua.Check) lua.Charge {
	c := tr.bases[i]
	if tr.one(8, "change limit") {
		c.Limit = limits.Draw(tr.T, "limit")
	}
	if tr.one(8, "change window") {
		c.Window = windows.Draw(tr.T, "window")
	}
	if tr.one(12, "change algorithm") {
		c.Algorithm = algorithms.Draw(tr.T, "algorithm")
	}
	if tr.one(6, "how it changes") {
		c.Change = rapid.SampledFrom([]lua.Change{lua.NoChange, lua.KeepUsed, lua.Proportional, lua.Additive, lua.ResetUsed}).Draw(tr.T, "change")
	}
	if b := &tr.bases[i]; c.Algorithm != b.Algorithm || c.Limit != b.Limit || c.Window != b.Window || tr.one(8, "change extra") {
		c = tr.complete(c, now)
	}
	if tr.one(8, "keep") {
		tr.bases[i] = c
	}
	most := min(capacity(c), lua.MaxUnits)
	c.Units = rapid.OneOf(
		rapid.SampledFrom([]int64{1, 1, 1, 2, 0, lua.MaxUnits, most, min(most+1, lua.MaxUnits)}),
		rapid.Int64Range(0, most),
	).Draw(tr.T, "cost")
	if room := most - tr.model.Used(now, c); tr.clock != nil && room > 0 && tr.one(3, "brim") {
		beyond := rapid.Int64Range(0, 1).Draw(tr.T, "beyond")
		c.Units = min(room+beyond, lua.MaxUnits)
		tr.seen[[...]string{"last that fits", "first that does not fit"}[beyond]]++
	}
	if check.Mode == lua.Settle || check.Mode == lua.Renew {
		c.Held = tr.held(c, check.ID)
	}
	if c.Holds && c.Algorithm != lua.Concurrency && tr.one(4, "at once") {
		c.Lease = 0
	}
	if tr.one(60, "invalid") {
		*rapid.SampledFrom([]*int64{&c.Limit, &c.Window, &c.Units}).Draw(tr.T, "which") =
			rapid.SampledFrom([]int64{-1, lua.MaxUnits + 1, lua.MaxTime + 1}).Draw(tr.T, "bad")
	}
	return c
}

// held returns what is held of a policy under an id, or else any number.
func (tr *trace) held(c lua.Charge, id string) int64 {
	key := c.Key
	if c.Algorithm != lua.Concurrency {
		key = lua.HoldsKey(key)
	}
	members := slices.Sorted(maps.Keys(tr.model.Holds[key]))
	for _, member := range members {
		if units, of, _ := strings.Cut(member, ":"); of == id {
			n, _ := strconv.ParseInt(units, 10, 64)
			return n
		}
	}
	return rapid.Int64Range(0, 3).Draw(tr.T, "not held")
}

// craft stores what no charge stored: states of other times and sizes, and damage.
func (tr *trace) craft(now int64) {
	i := rapid.IntRange(0, len(tr.keys)-1).Draw(tr.T, "key")
	key, ctx, rdb := tr.keys[i], tr.Context(), tr.conn.Client()
	kind := rapid.IntRange(0, 5).Draw(tr.T, "kind")
	if i%3 != 0 { // holds
		kind = min(kind, 2)
	}
	var err error
	if kind > 0 {
		delete(tr.model.States, key)
		delete(tr.model.Holds, key)
		delete(tr.garbage, key)
		err = rdb.Del(ctx, key).Err()
	}
	switch {
	case err != nil:
	case kind == 0:
		err = rdb.Persist(ctx, key).Err()
	case kind == 1:
		tr.garbage[key] = true
		err = rdb.LPush(ctx, key, "not", "ours").Err()
	case kind == 2 && i%3 != 0: // a sum that cannot be
		tr.garbage[key] = true
		sum := rapid.SampledFrom([]float64{1, 0.5, -1e18, -0.5, math.Inf(-1)}).Draw(tr.T, "sum")
		err = rdb.ZAdd(ctx, key, redis.Z{Score: sum, Member: "held"}).Err()
	case kind == 2:
		text := rapid.OneOf(
			rapid.StringN(1, -1, -1),
			rapid.SampledFrom([]string{
				" ", "f", "f:1:2:3", "f:1:2:3:4:5:6:7:8", "s:-1:1:1:0:1:1:0", "s:1:0:1:0:1:1:0", "f:nan:1:1:0:1:0:0", "f:inf:1:1:0:1:0:0",
				"s:1e9:1:1:0:1:1:0", "f:1.5:1000:1:0:1:0:0", "s:99999999999999999999999999:1000:1:0:1:1:0", "f: 1:1000:1:0:1:0:0",
				"x:1:1000:1:0:1:0:0", "f:1:1000:1:0:1:0:0\n", "f:1:1000:0:0:1:0:0", "f:1:1000:1:4:1:0:0", "f:1:1000:1:00:1:0:0",
			}),
		).Draw(tr.T, "garbage")
		tr.model.States[key] = limittest.Entry{Value: text}
		err = rdb.Set(ctx, key, text, 0).Err()
	default:
		text := tr.state(tr.bases[i/3], now)
		tr.model.States[key] = limittest.Entry{Value: text}
		err = rdb.Set(ctx, key, text, 0).Err()
	}
	if err != nil {
		tr.Fatalf("craft: %v", err)
	}
}

// state draws a state as the algorithm could have stored it, or a little beyond.
func (tr *trace) state(c lua.Charge, now int64) string {
	window := c.Window
	if tr.one(3, "another window") {
		window = windows.Draw(tr.T, "window")
	}
	at := now + rapid.OneOf(
		rapid.Int64Range(-3*window, 3*window), rapid.Int64Range(-window, 0), rapid.Int64Range(-5000, 5000),
	).Draw(tr.T, "offset")
	count := rapid.OneOf(rapid.Int64Range(0, c.Limit), rapid.Int64Range(0, 2*lua.MaxUnits+1), rapid.Int64Range(0, 20))
	x, y, z := count.Draw(tr.T, "x"), count.Draw(tr.T, "y"), int64(0)
	full := max(1, capacity(c))
	if tr.one(3, "another capacity") {
		full = rapid.OneOf(rapid.Int64Range(1, 20), rapid.Int64Range(0, lua.MaxUnits+1)).Draw(tr.T, "capacity")
	}
	switch c.Algorithm {
	case lua.Calendar:
		y = rapid.Int64Range(0, 2*window).Draw(tr.T, "left")
	case lua.GCRA:
		x = rapid.SampledFrom([]int64{c.Limit, c.Limit, c.Limit + 1, 7, 0, lua.MaxWindow, lua.MaxWindow + 1}).Draw(tr.T, "rate")
		y = rapid.OneOf(rapid.Int64Range(0, 20_000), rapid.Int64Range(0, lua.MaxWindow+1)).Draw(tr.T, "left")
		z = rapid.Int64Range(0, max(x, 0)).Draw(tr.T, "parts")
	}
	text := string(c.Algorithm)
	for _, n := range []int64{max(at, 0), window, full, rapid.Int64Range(0, 3).Draw(tr.T, "change"), x, y, z} {
		text += ":" + strconv.FormatInt(n, 10)
	}
	return text
}

// stored is all that Redis holds under one key.
type stored struct {
	value, dump string
	expires     int64 // milliseconds; -1 never
}

// absent is what PEXPIRETIME says of a key that is not there.
const absent = -2

// One script reads it all at one moment.
var snapshotScript = redis.NewScript(`
local time = redis.call('TIME')
local reply = { time[1] * 1000000 + time[2] }
for _, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  if redis.call('TYPE', key).ok == 'zset' then value = table.concat(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES'), ' ') end
  reply[#reply + 1] = type(value) == 'string' and value or ''
  reply[#reply + 1] = redis.call('DUMP', key) or ''
  reply[#reply + 1] = redis.call('PEXPIRETIME', key)
end
return reply`)

func (tr *trace) snapshot() (all []stored, now int64) {
	reply, err := snapshotScript.Run(tr.Context(), tr.conn.Client(), tr.keys).Slice()
	if err != nil {
		tr.Fatalf("snapshot: %v", err)
	}
	for i := 1; i < len(reply); i += 3 {
		s := stored{value: reply[i].(string), dump: reply[i+1].(string), expires: reply[i+2].(int64)}
		all = append(all, s)
	}
	return all, reply[0].(int64)
}
