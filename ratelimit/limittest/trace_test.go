package limittest_test

import (
	"maps"
	"math/big"
	"reflect"
	"strconv"

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
	model limittest.Model
	seen  map[string]int
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
	algorithms = rapid.SampledFrom([]lua.Algorithm{lua.Fixed, lua.Sliding, lua.Calendar, lua.GCRA})
)

func newTrace(t *rapid.T, conn *lua.Conn, org string, seen map[string]int) *trace {
	tr := &trace{T: t, conn: conn, model: limittest.Model{}, seen: seen}
	for i := range 4 {
		key := lua.LimitKey(org, "project", strconv.Itoa(i), "GET /", "requests", lua.Fixed)
		tr.keys = append(tr.keys, key)
		base := lua.Charge{
			Key: key, Algorithm: algorithms.Draw(t, "algorithm"), Limit: limits.Draw(t, "limit"),
			Window: windows.Draw(t, "window"), Enforced: rapid.IntRange(0, 4).Draw(t, "enforced") > 0,
		}
		tr.bases = append(tr.bases, tr.complete(base, 0))
	}
	return tr
}

// complete draws what only some algorithms have.
func (tr *trace) complete(c lua.Charge, now int64) lua.Charge {
	c.Start, c.Burst = 0, 0
	switch c.Algorithm {
	case lua.Calendar:
		if now > 0 && tr.one(2, "caller's window") {
			c.Start = max(1, now-rapid.Int64Range(0, min(c.Window, 10_000)).Draw(tr.T, "since"))
		}
	case lua.GCRA:
		c.Limit = min(c.Limit, lua.MaxWindow)
		most := new(big.Int).Mul(big.NewInt(c.Limit), big.NewInt(lua.MaxWindow))
		bound := int64(lua.MaxTime)
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
	checks := make([]lua.Check, rapid.IntRange(1, 3).Draw(tr.T, "checks"))
	for i := range checks {
		checks[i] = tr.check(now)
	}
	answers, err := tr.conn.Admit(tr.Context(), checks)
	if err != nil {
		tr.Fatalf("Admit(%+v): %v", checks, err)
	}
	held := maps.Clone(tr.model)
	for i, got := range answers {
		want := tr.model.Admit(got.Now, checks[i])
		if !reflect.DeepEqual(got, want) {
			tr.Fatalf("check %d: %+v\nheld  %v\ngot  %+v\nwant %+v", i, checks[i], held, got, want)
		}
		tr.note(checks[i], got)
	}
	after, end := tr.snapshot()
	for i, key := range tr.keys {
		tr.compare(held[key], tr.model[key], before[i], after[i], end)
	}
}

// tick sets the clock: a little later, or to where something stored begins or ends.
func (tr *trace) tick() int64 {
	now := tr.clock.now + rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, 20_000)).Draw(tr.T, "tick")
	if i := rapid.IntRange(0, len(tr.keys)).Draw(tr.T, "edge"); i < len(tr.keys) {
		a := tr.model.Admit(now, lua.Check{Charges: []lua.Charge{tr.bases[i]}, Peek: true})
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
func (tr *trace) compare(held, want limittest.Entry, before, after stored, now int64) {
	what := "untouched"
	if want != held {
		what = "written"
		before = stored{value: want.Value, expires: (want.End + 999) / 1000}
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

func (tr *trace) note(check lua.Check, a lua.Answer) {
	tr.seen[[...]string{"refused", "allowed", "stale", "invalid"}[a.Status]]++
	for i, s := range a.States {
		if s.Previous > 0 && a.Now > s.Start {
			tr.seen["previous weighs"]++
		}
		if s.Start > a.Now {
			tr.seen["future"]++
		}
		if a.Status == lua.Allowed && !s.Fits && !check.Charges[i].Enforced {
			tr.seen["monitored"]++
		}
	}
}

// check draws one of one to three policies with different keys.
func (tr *trace) check(now int64) lua.Check {
	check := lua.Check{Peek: tr.one(5, "peek")}
	if tr.one(15, "bounded") {
		check.From = max(0, now+rapid.Int64Range(-2000, 2000).Draw(tr.T, "from"))
		check.Until = check.From + rapid.Int64Range(0, 4000).Draw(tr.T, "until")
	}
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(tr.keys)-1), 1, 3, rapid.ID).Draw(tr.T, "keys") {
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
		if b := &tr.bases[i]; c.Algorithm != b.Algorithm || c.Limit != b.Limit || c.Window != b.Window || tr.one(8, "change extra") {
			c = tr.complete(c, now)
		}
		if tr.one(8, "keep") {
			tr.bases[i] = c
		}
		most := min(capacity(c), lua.MaxUnits)
		c.Cost = rapid.OneOf(
			rapid.SampledFrom([]int64{1, 1, 1, 2, 0, lua.MaxUnits, most, min(most+1, lua.MaxUnits)}),
			rapid.Int64Range(0, most),
		).Draw(tr.T, "cost")
		if room := most - tr.model.Used(now, c); tr.clock != nil && room > 0 && tr.one(3, "brim") {
			beyond := rapid.Int64Range(0, 1).Draw(tr.T, "beyond")
			c.Cost = min(room+beyond, lua.MaxUnits)
			tr.seen[[...]string{"last that fits", "first that does not fit"}[beyond]]++
		}
		if tr.one(60, "invalid") {
			*rapid.SampledFrom([]*int64{&c.Limit, &c.Window, &c.Cost}).Draw(tr.T, "which") =
				rapid.SampledFrom([]int64{-1, lua.MaxUnits + 1, lua.MaxTime + 1}).Draw(tr.T, "bad")
		}
		check.Charges = append(check.Charges, c)
	}
	return check
}

// craft stores what no charge stored: states of other times and sizes, and damage.
func (tr *trace) craft(now int64) {
	i := rapid.IntRange(0, len(tr.keys)-1).Draw(tr.T, "key")
	key, ctx, rdb := tr.keys[i], tr.Context(), tr.conn.Client()
	var err error
	switch rapid.IntRange(0, 5).Draw(tr.T, "kind") {
	case 0:
		err = rdb.Persist(ctx, key).Err()
	case 1:
		delete(tr.model, key)
		if err = rdb.Del(ctx, key).Err(); err == nil {
			err = rdb.LPush(ctx, key, "not", "ours").Err()
		}
	case 2:
		text := rapid.OneOf(
			rapid.String(),
			rapid.SampledFrom([]string{
				"", "f", "f:1:2:3", "f:1:2:3:4:5", "s:-1:1:1:1", "s:1:0:1:1", "f:nan:1:1:1", "f:inf:1:1:1", "s:1e9:1:1:1",
				"f:1.5:1000:1:1", "s:99999999999999999999999999:1000:1:1", "f: 1:1000:1:1", "x:1:1000:1:1", "f:1:1000:1:1\n",
			}),
		).Draw(tr.T, "garbage")
		tr.model[key] = limittest.Entry{Value: text}
		err = rdb.Set(ctx, key, text, 0).Err()
	default:
		text := tr.state(tr.bases[i], now)
		tr.model[key] = limittest.Entry{Value: text}
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
	current, previous := count.Draw(tr.T, "current"), count.Draw(tr.T, "previous")
	switch c.Algorithm {
	case lua.Calendar:
		previous = max(0, now+rapid.Int64Range(-5000, window).Draw(tr.T, "end"))
	case lua.GCRA:
		previous = rapid.SampledFrom([]int64{c.Limit, c.Limit, c.Limit + 1, 7, 0, lua.MaxWindow, lua.MaxWindow + 1}).Draw(tr.T, "stored limit")
		current = rapid.Int64Range(0, max(previous, 0)).Draw(tr.T, "parts")
	}
	text := string(c.Algorithm)
	for _, n := range []int64{max(at, 0), window, current, previous} {
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
