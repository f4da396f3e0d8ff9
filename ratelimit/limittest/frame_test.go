package limittest_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit/limittest"
)

const (
	// century is where the clock of a film starts, so that nothing expires while a test runs: the first moment of 2100.
	century = 4_102_444_800_000_000
	// frameLife is how long a client shows a frame, in microseconds (lua.Frame).
	frameLife = 1_000_000
	// bucketLife is how much longer than it counts a bucket that has a frame is kept (state.lua).
	bucketLife = 3_000_000
)

// TestFramesAreTheModel runs random histories of two clients that show frames, and whatever else can be done to a
// state, on the script and on the model, which knows no frames and no merged checks: the same answers, and the same
// stored. Only the time of the last charge may be that of the last which wrote the state; then the model takes it over,
// so that what comes of it is judged as exactly.
func TestFramesAreTheModel(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		conn, err := lua.NewConn(rdb)
		if err != nil {
			t.Fatalf("NewConn: %v", err)
		}
		wire := new(wire)
		rdb.AddHook(wire)
		c, seen := newClock(t, rdb), map[string]int{}
		rapid.Check(t, func(rt *rapid.T) {
			f := newFilm(rt, conn, c, wire, redistest.Org(t), seen)
			defer f.forget()
			for range 60 {
				f.step()
			}
		})
		for _, kind := range []string{
			"s framed", "f framed", "c framed", "g framed", "refused by frame", "some fit", "in vain", "several by frames", "merged",
			"kept the time", "ended", "refund", "reset", "settle", "peek", "monitored", "changed", "carried", "stale", "invalid", "back", "far",
		} {
			if seen[kind] == 0 {
				t.Errorf("no history met %q: %v", kind, seen)
			}
		}
	})
}

// wire is a hook that keeps the last reply of admit.lua.
type wire struct{ reply []int64 }

func (w *wire) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *wire) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (w *wire) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if numbers, ok := cmd.(interface{ Val() []int64 }); ok {
			w.reply = numbers.Val()
		}
		return err
	}
}

// film is one history of a few policies.
type film struct {
	*rapid.T
	conn    *lua.Conn
	clock   *clock
	wire    *wire
	model   *limittest.Model
	bases   [3][2]lua.Charge // of each policy, the limits that clients know
	clients [2][3][]told
	seen    map[string]int
}

// told is a frame that a client knows, and since when.
type told struct {
	lua.Frame
	at int64
}

// scene is a check of a film.
type scene struct {
	check    lua.Check
	client   int
	policies []int
	times    int
	answer   lua.Answer
	status   int64 // on the wire
}

func newFilm(t *rapid.T, conn *lua.Conn, c *clock, w *wire, org string, seen map[string]int) *film {
	f := &film{T: t, conn: conn, clock: c, wire: w, model: limittest.NewModel(), seen: seen}
	c.now = century + rapid.Int64Range(0, 100_000_000).Draw(t, "start")
	for i := range f.bases {
		base := lua.Charge{
			Algorithm: rapid.SampledFrom([]lua.Algorithm{lua.Fixed, lua.Sliding, lua.Calendar, lua.GCRA}).Draw(t, "algorithm"), Role: lua.Enforced,
		}
		base.Key = lua.LimitKey(org, "project", strconv.Itoa(i), "GET /", "requests", base.Algorithm)
		f.bases[i][0] = f.limited(base)
		f.bases[i][1] = f.bases[i][0]
		if rapid.Bool().Draw(t, "two limits") {
			f.bases[i][1] = f.limited(base)
		}
	}
	return f
}

// limited draws a limit.
func (f *film) limited(c lua.Charge) lua.Charge {
	c.Window = rapid.SampledFrom([]int64{1000, 6000, 10_000, 1_000_000, 4_000_000, 60_000_000, 3_600_000_000}).Draw(f.T, "window")
	c.Limit = rapid.OneOf(rapid.SampledFrom([]int64{0, 1, 2, 5, 10, 100}), rapid.Int64Range(1, 200), rapid.SampledFrom([]int64{1 << 30, 1<<30 + 1, lua.MaxUnits})).Draw(f.T, "limit")
	c.Change = rapid.SampledFrom([]lua.Change{lua.NoChange, lua.NoChange, lua.KeepUsed, lua.Proportional, lua.Additive, lua.ResetUsed}).Draw(f.T, "change")
	switch c.Algorithm {
	case lua.GCRA:
		c.Limit = min(c.Limit, c.Window)
		c.Burst = rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64Range(0, 1000)).Draw(f.T, "burst")
	case lua.Calendar:
		if rapid.Bool().Draw(f.T, "calendar") {
			c.Start = f.clock.now - rapid.Int64Range(0, min(c.Window, 10_000_000)).Draw(f.T, "since")
		}
	}
	return c
}

// tick sets the clock: mostly a little later, or to where a window ends, sometimes far on, or back.
func (f *film) tick() {
	c := f.clock
	switch rapid.IntRange(0, 19).Draw(f.T, "tick") {
	case 0:
		c.now += rapid.Int64Range(0, 10_000_000_000).Draw(f.T, "far")
		f.seen["far"]++
	case 1:
		c.now = max(century, c.now-rapid.OneOf(rapid.Int64Range(1, 3000), rapid.Int64Range(1, 3_000_000), rapid.Int64Range(1, 10_000_000_000)).Draw(f.T, "back"))
		f.seen["back"]++
	case 2, 3, 4:
		base := f.bases[rapid.IntRange(0, 2).Draw(f.T, "whose")][0]
		s := f.model.Admit(c.now, lua.Check{Charges: []lua.Charge{base}, Mode: lua.Peek}).States[0]
		at := s.Start + s.Window*rapid.Int64Range(0, 2).Draw(f.T, "windows") + rapid.Int64Range(-1, 1).Draw(f.T, "beside")
		if at > c.now && at < c.now+5_000_000 {
			c.now = at
		}
	case 5, 6:
		c.now += rapid.Int64Range(0, 1_500_000).Draw(f.T, "second")
	case 7, 8, 9, 10:
		c.now += rapid.Int64Range(0, 20_000).Draw(f.T, "while")
	default:
		c.now += rapid.Int64Range(0, 300).Draw(f.T, "moment")
	}
}

// step asks a few checks in one call.
func (f *film) step() {
	f.tick()
	scenes := make([]*scene, rapid.IntRange(1, 4).Draw(f.T, "checks"))
	batch := new(lua.Batch)
	for i := range scenes {
		s := f.scene()
		scenes[i] = s
		if !batch.Add(&s.check, s.times, &s.answer) {
			f.Fatalf("a batch of %d is full", len(scenes))
		}
	}
	if err := f.conn.AdmitBatch(context.Background(), batch); err != nil {
		f.Fatalf("AdmitBatch: %v", err)
	}
	for _, s := range f.played(scenes) {
		f.judge(s)
	}
	for i := range f.bases {
		f.compare(i)
	}
}

// scene draws a check.
func (f *film) scene() *scene {
	s := &scene{client: rapid.IntRange(0, 1).Draw(f.T, "client"), times: 1}
	s.policies = rapid.SliceOfNDistinct(rapid.IntRange(0, 2), 1, 3, rapid.ID).Draw(f.T, "policies")
	plain := rapid.IntRange(0, 4).Draw(f.T, "plain") > 0
	if !plain {
		s.check.Mode = rapid.SampledFrom([]lua.Mode{lua.Take, lua.Peek, lua.Refund, lua.Reset, lua.Settle, lua.Renew}).Draw(f.T, "mode")
		s.check.ID = "id"
		if s.check.Mode == lua.Refund && rapid.Bool().Draw(f.T, "ago") {
			s.check.At = f.clock.now - rapid.Int64Range(0, 2_000_000).Draw(f.T, "taken")
		}
	}
	if rapid.IntRange(0, 30).Draw(f.T, "bounded") == 0 {
		s.check.From = f.clock.now + rapid.Int64Range(-10, 1).Draw(f.T, "from")
	}
	for _, i := range s.policies {
		s.check.Charges = append(s.check.Charges, f.charge(s, i, plain))
	}
	if s.check.Mergeable() && rapid.Bool().Draw(f.T, "merge") {
		s.times = rapid.IntRange(1, 5).Draw(f.T, "times")
	}
	return s
}

func (f *film) charge(s *scene, i int, plain bool) lua.Charge {
	c := f.bases[i][0]
	if rapid.IntRange(0, 9).Draw(f.T, "other limit") == 0 {
		c = f.bases[i][1]
	}
	if rapid.IntRange(0, 40).Draw(f.T, "new limit") == 0 {
		c = f.limited(c)
		f.bases[i][rapid.IntRange(0, 1).Draw(f.T, "which")] = c
	}
	if c.Start > 0 { // the caller's window is the one of this time
		since := f.clock.now - c.Start
		c.Start += since - (since%c.Window+c.Window)%c.Window
	}
	room := capacity(c) - f.model.Used(f.clock.now, c)
	c.Units = max(0, rapid.OneOf(
		rapid.SampledFrom([]int64{1, 1, 1, 1, 2, 3, 0, room, room + 1}), rapid.Int64Range(0, max(1, min(capacity(c), 300))),
	).Draw(f.T, "units"))
	if rapid.IntRange(0, 150).Draw(f.T, "invalid") == 0 {
		*rapid.SampledFrom([]*int64{&c.Limit, &c.Window, &c.Units}).Draw(f.T, "field") = rapid.SampledFrom([]int64{-1, lua.MaxTime + 1}).Draw(f.T, "bad")
	}
	if !plain {
		c.Role = rapid.SampledFrom([]lua.Role{lua.Enforced, lua.Monitored, lua.Candidate}).Draw(f.T, "role")
		c.Holds = rapid.Bool().Draw(f.T, "holds")
		if c.Holds {
			c.Lease, c.Held = rapid.SampledFrom([]int64{0, 5000, lua.MaxLease}).Draw(f.T, "lease"), 1
			if s.check.Mode == lua.Take {
				c.Units = 1
			}
		} else if c.Role == lua.Enforced && s.check.Mode == lua.Take {
			c.Role = lua.Monitored
		}
		return c
	}
	if rapid.IntRange(0, 7).Draw(f.T, "no frame") > 0 {
		c.Frame = f.shown(s.client, i)
	}
	return c
}

// shown draws one of the frames that a client may show, or none but a wish.
func (f *film) shown(client, i int) *lua.Frame {
	var known []told
	for _, k := range f.clients[client][i] {
		if f.clock.now >= k.at && f.clock.now < k.at+frameLife { // one told later than now, as after a step back, is none either
			known = append(known, k)
		}
	}
	f.clients[client][i] = known
	if len(known) == 0 {
		return new(lua.Frame)
	}
	last := len(known) - 1
	frame := known[last].Frame
	if rapid.IntRange(0, 3).Draw(f.T, "outdated") == 0 {
		frame = known[rapid.IntRange(0, last).Draw(f.T, "frame")].Frame
	}
	return &frame
}

// played returns the scenes in the order in which they were decided: those that a frame alone answers, those left then,
// and what is not plain.
func (f *film) played(scenes []*scene) []*scene {
	reply := f.wire.reply[1:]
	var first, left, other []*scene
	next := func(s *scene, behind bool) {
		s.status = reply[0]
		n := len(s.policies)
		reply = reply[1+map[int64]int{5: n, 6: 1 + 2*n}[s.status]:]
		if s.status == 7 && behind {
			reply = reply[1+10*n:]
		}
	}
	for _, s := range scenes {
		if place(&s.check) == 1 {
			other = append(other, s)
			continue
		}
		if next(s, false); s.status == 7 {
			left = append(left, s)
		} else {
			first = append(first, s)
		}
	}
	for _, s := range left {
		next(s, true)
	}
	return append(append(first, left...), other...)
}

// judge compares an answer with those of the model, to as many checks as it stands for.
func (f *film) judge(s *scene) {
	if s.answer.Err != nil {
		f.Fatalf("%+v: %v", s.check, s.answer.Err)
	}
	check := s.check
	times := make([]int64, len(check.Charges))
	for i := range check.Charges {
		times[i] = f.at(check.Charges[i].Key)
	}
	var nth lua.Answer
	for n := range int64(s.times) {
		want := f.model.Admit(f.clock.now, check)
		s.answer.Nth(n, check.Charges, &nth)
		got := nth
		got.States = append([]lua.State(nil), nth.States...)
		for i := range got.States {
			got.States[i].Frame = lua.Frame{}
		}
		if got.Status == lua.Stale || got.Status == lua.Invalid {
			got.Fits = want.Fits
		}
		got.Epochs, want.Epochs = nil, nil
		if len(got.States) == 0 {
			got.States = nil
		}
		if place(&check) == 1 { // Nth is for those that are plain
			got.Fits, got.Status = want.Fits, s.answer.Status
			got.States = s.answer.States
		}
		if !same(got, want) {
			f.Fatalf("at %d, number %d of %d, status %d, of %s\n got %+v\nwant %+v", f.clock.now, n, s.times, s.status, f.text(&check), got, want)
		}
	}
	for i, state := range s.answer.States {
		switch {
		case check.Charges[i].Algorithm == lua.GCRA && state.Frame.Generation != 0:
			f.takeOver(&check.Charges[i], state.Frame.Before)
		case s.status == 5 || s.status == 6:
			f.takeOver(&check.Charges[i], times[i])
		}
	}
	f.note(s)
	f.learn(s)
}

func (f *film) text(check *lua.Check) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q from %d", check.Mode, check.From)
	for _, c := range check.Charges {
		fmt.Fprintf(&b, "\n%+v frame %+v\n  before %+v", c, c.Frame, f.model.States[c.Key])
	}
	return b.String()
}

// learn remembers frames as a client does.
func (f *film) learn(s *scene) {
	if place(&s.check) == 1 {
		return
	}
	for i, state := range s.answer.States {
		known := &f.clients[s.client][s.policies[i]]
		shown := s.check.Charges[i].Frame
		switch {
		case state.Frame.Generation == 0 && !rapid.Bool().Draw(f.T, "forget"):
			f.seen["ended"]++
		case state.Frame.Generation == 0:
			*known = nil
		case shown == nil || *shown != state.Frame:
			*known = append(*known, told{state.Frame, f.clock.now})
		}
	}
}

// note counts what the history met.
func (f *film) note(s *scene) {
	a := &s.answer
	for i := range a.States {
		c := &s.check.Charges[i]
		if s.status == 5 || s.status == 6 {
			f.seen[string(c.Algorithm)+" framed"]++
		} else if c.Frame != nil && c.Frame.Generation != 0 {
			f.seen["in vain"]++
		}
		for what, is := range map[string]bool{
			"changed": a.States[i].Was != capacity(*c), "carried": a.States[i].Change > lua.KeepUsed,
			"monitored": a.Status == lua.Allowed && s.check.Mode == lua.Take && place(&s.check) == 1 && a.States[i].Done == 0,
		} {
			if is {
				f.seen[what]++
			}
		}
	}
	for what, is := range map[string]bool{
		"refused by frame": s.status == 6 && a.Fits == 0, "some fit": s.status == 6 && a.Fits > 0, "merged": s.times > 1 && a.Fits > 1,
		"several by frames": s.status == 5 && len(s.policies) > 1, "stale": a.Status == lua.Stale, "invalid": a.Status == lua.Invalid,
		"refund": s.check.Mode == lua.Refund && a.Status == lua.Allowed && a.States[0].Done > 0, "reset": s.check.Mode == lua.Reset,
		"settle": s.check.Mode == lua.Settle, "peek": s.check.Mode == lua.Peek,
	} {
		if is {
			f.seen[what]++
		}
	}
}
