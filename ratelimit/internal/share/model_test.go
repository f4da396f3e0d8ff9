package share_test

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/ratelimit/internal/share"
	"github.com/tollgate-go/tollgate/ratelimit/limittest"
)

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
	roles      = rapid.SampledFrom([]lua.Role{lua.Enforced, lua.Enforced, lua.Enforced, lua.Monitored, lua.Candidate})
	changes    = rapid.SampledFrom([]lua.Change{lua.NoChange, lua.NoChange, lua.KeepUsed, lua.Proportional, lua.Additive, lua.ResetUsed})
	leases     = rapid.OneOf(rapid.Int64Range(500, 6000), rapid.SampledFrom([]int64{1, 1_000_000, lua.MaxLease}))
	modes      = rapid.SampledFrom([]lua.Mode{lua.Take, lua.Take, lua.Take, "", lua.Peek, lua.Settle, lua.Settle, lua.Renew, lua.Refund})
)

// fleet is a history of one process of several, with the model beside it.
type fleet struct {
	*rapid.T
	table    *share.Table
	model    *limittest.Model
	now      int64
	policies []lua.Charge // as they are for all
	seen     *sightings
}

// sightings counts what histories met.
type sightings struct {
	mu  sync.Mutex
	all map[string]int
}

func (s *sightings) note(what string, is bool) {
	if !is {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[what]++
}

// TestTableIsTheModel runs random histories on a table and on the model, each policy with the share of one process of
// some: the same answers, states and all. Limits, windows and the number of processes change meanwhile, and time goes
// back a little now and then.
func TestTableIsTheModel(t *testing.T) {
	t.Parallel()
	seen := &sightings{all: map[string]int{}}
	rapid.Check(t, func(rt *rapid.T) {
		f := &fleet{T: rt, table: share.NewTable(1 << 20), model: limittest.NewModel(), now: 1_700_000_000_000_000, seen: seen}
		for range 4 {
			f.policies = append(f.policies, f.policy())
		}
		for range 50 {
			f.step()
		}
	})
	for _, what := range []string{
		"refused", "allowed", "monitored", "candidate", "held", "settled", "not held", "renewed", "given back", "changed", "carried",
		"previous weighs", "future", "last that fits", "first that does not fit", "first microsecond", "least share", "burst",
	} {
		if seen.all[what] == 0 {
			t.Errorf("no history met %q: %v", what, seen.all)
		}
	}
}

// policy draws one that is within its bounds.
func (f *fleet) policy() lua.Charge {
	c := lua.Charge{
		Algorithm: algorithms.Draw(f.T, "algorithm"), Limit: limits.Draw(f.T, "limit"), Window: windows.Draw(f.T, "window"),
		Role: roles.Draw(f.T, "role"), Change: lua.NoChange, Holds: f.one(3, "holds"),
	}
	if c.Holds || c.Algorithm == lua.Concurrency {
		c.Lease = leases.Draw(f.T, "lease")
	}
	f.bound(&c)
	c.Key = strconv.Itoa(len(f.policies)) + string(c.Algorithm)
	return c
}

// bound draws a burst that leaks within the longest window.
func (f *fleet) bound(c *lua.Charge) {
	c.Burst = 0
	if c.Algorithm != lua.GCRA {
		return
	}
	c.Limit = min(c.Limit, lua.MaxWindow)
	bound := int64(lua.MaxUnits)
	if longest := new(big.Int).Mul(big.NewInt(c.Limit), big.NewInt(lua.MaxWindow)); c.Limit > 0 {
		if longest.Div(longest, big.NewInt(c.Window)); longest.IsInt64() {
			bound = min(bound, longest.Int64())
		}
	}
	c.Burst = rapid.OneOf(rapid.Int64Range(1, min(bound, 20)), rapid.Int64Range(1, bound)).Draw(f.T, "burst")
}

func (f *fleet) one(n int, label string) bool { return rapid.IntRange(1, n).Draw(f.T, label) == n }

func (f *fleet) step() {
	f.tick()
	n := rapid.SampledFrom([]int{1, 1, 2, 3, 3, 3, 7, 1000}).Draw(f.T, "processes")
	check := lua.Check{Mode: modes.Draw(f.T, "mode"), ID: rapid.SampledFrom([]string{"a", "b", "c:d"}).Draw(f.T, "id"), At: f.now}
	if check.Mode == lua.Refund {
		check.At -= rapid.Int64Range(0, 20_000).Draw(f.T, "ago")
	}
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(f.policies)-1), 1, 3, rapid.ID).Draw(f.T, "policies") {
		check.Charges = append(check.Charges, f.charge(i, n, &check))
	}
	got, err := f.table.Do(f.now, &check)
	if err != nil {
		f.Fatalf("Do(%d, %+v): %v", f.now, check, err)
	}
	want := f.model.Admit(f.now, check)
	if got.Status != want.Status || got.Now != want.Now || got.Fits != want.Fits || !slices.Equal(got.States, want.States) {
		f.Fatalf("Do(%d, %+v)\ngot  %+v\nwant %+v", f.now, check, got, want)
	}
	f.note(&check, &got)
}

// charge draws one for a policy's share, or for one that somebody changed.
func (f *fleet) charge(i, n int, check *lua.Check) lua.Charge {
	c := f.policies[i]
	if f.one(8, "change limit") {
		c.Limit = limits.Draw(f.T, "limit")
		f.bound(&c)
	}
	if f.one(10, "change window") {
		c.Window = windows.Draw(f.T, "window")
		f.bound(&c)
	}
	if f.one(6, "how it changes") {
		c.Change = changes.Draw(f.T, "change")
	}
	if f.one(8, "keep") {
		f.policies[i] = c
	}
	if c.Algorithm == lua.Calendar && f.one(2, "caller's window") {
		c.Start = f.now - rapid.Int64Range(0, min(c.Window, 10_000)).Draw(f.T, "since")
	}
	whole := c.Limit
	c.Limit, c.Burst = share.Of(c.Limit, c.Burst, c.Window, n)
	f.seen.note("least share", whole > 0 && whole < int64(n))
	f.seen.note("burst", c.Burst > 1 && n > 1)
	most := c.Limit
	if c.Algorithm == lua.GCRA && c.Limit > 0 {
		most = c.Burst
	}
	c.Units = rapid.OneOf(rapid.SampledFrom([]int64{1, 1, 2, 0, most, min(most+1, lua.MaxUnits)}), rapid.Int64Range(0, most)).Draw(f.T, "cost")
	if room := most - f.model.Used(f.now, c); room > 0 && f.one(3, "brim") {
		beyond := rapid.Int64Range(0, 1).Draw(f.T, "beyond")
		c.Units = min(room+beyond, lua.MaxUnits)
		f.seen.note([]string{"last that fits", "first that does not fit"}[beyond], true)
	}
	if check.Mode == lua.Settle || check.Mode == lua.Renew {
		c.Held = f.held(&c, check.ID)
	}
	if c.Holds && c.Algorithm != lua.Concurrency && f.one(4, "at once") {
		c.Lease = 0
	}
	return c
}

// held returns what is held of a policy under an id, or any number.
func (f *fleet) held(c *lua.Charge, id string) int64 {
	key := c.Key
	if c.Algorithm != lua.Concurrency {
		key = lua.HoldsKey(key)
	}
	var all []int64
	for member := range f.model.Holds[key] {
		if text, of, _ := strings.Cut(member, ":"); of == id {
			n, _ := strconv.ParseInt(text, 10, 64)
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return rapid.Int64Range(0, 3).Draw(f.T, "not held")
	}
	return slices.Min(all)
}

// tick sets the clock: a little later, or to where something begins or ends.
func (f *fleet) tick() {
	now := f.now + rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, 20_000)).Draw(f.T, "tick")
	if i := rapid.IntRange(0, len(f.policies)).Draw(f.T, "edge"); i < len(f.policies) {
		a := f.model.Admit(now, lua.Check{Charges: []lua.Charge{f.policies[i]}, Mode: lua.Peek})
		at := a.States[0].Start + a.States[0].Window*rapid.Int64Range(-1, 2).Draw(f.T, "windows") + rapid.Int64Range(-1, 1).Draw(f.T, "beside")
		if soon := at - f.now; soon > -10_000 && soon < 10_000_000 {
			now = at
			f.seen.note("first microsecond", true)
		}
	}
	if f.one(40, "another clock") { // as a failover may set it
		now += rapid.Int64Range(-3*lua.MaxLease, 3*lua.MaxLease).Draw(f.T, "set")
	}
	f.now = now
}

func (f *fleet) note(check *lua.Check, a *lua.Answer) {
	f.seen.note("refused", a.Status == lua.Refused)
	f.seen.note("allowed", a.Status == lua.Allowed)
	take := check.Mode == "" || check.Mode == lua.Take
	for i, s := range a.States {
		c := &check.Charges[i]
		f.seen.note("monitored", take && a.Status == lua.Allowed && s.Done == 0 && c.Role == lua.Monitored)
		f.seen.note("candidate", take && a.Status == lua.Refused && s.Done == 1 && c.Role == lua.Candidate && c.Units > 0)
		f.seen.note("held", s.Held > 0)
		f.seen.note("settled", check.Mode == lua.Settle && s.Done == 1 && c.Units > 0)
		f.seen.note("renewed", check.Mode == lua.Renew && s.Done == 1)
		f.seen.note("not held", check.Mode == lua.Settle && s.Done == 0)
		f.seen.note("given back", check.Mode == lua.Refund && s.Done > 0)
		f.seen.note("changed", s.Was != c.Limit)
		f.seen.note("carried", s.Change > lua.KeepUsed)
		f.seen.note("previous weighs", s.Previous > 0 && a.Now > s.Start && c.Algorithm == lua.Sliding)
		f.seen.note("future", s.Start > a.Now && c.Algorithm != lua.GCRA)
	}
}
