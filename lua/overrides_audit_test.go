package lua_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

func lineOf(t *testing.T, e audit.Entry) audit.Line {
	t.Helper()
	line, err := audit.NewLine(t.Context(), nil, e)
	if err != nil {
		t.Fatalf("NewLine: %v", err)
	}
	return line
}

func trailOf(t *testing.T, conn *lua.Conn, org string) []lua.TrailEntry {
	t.Helper()
	entries, err := conn.Trail(t.Context(), org, lua.TrailRange{Count: 100_000})
	if err != nil {
		t.Fatalf("Trail: %v", err)
	}
	return entries
}

// step is a call, and whether the trail has an entry of it afterwards.
type step struct {
	name  string
	call  func(audit.Line) error
	want  error
	found bool
}

// checkTrail takes steps, and holds after each that the trail of an org has its line if it should, and after all that
// the entries are chained. Where other tests write to it too, it looks at its own lines alone.
func checkTrail(t *testing.T, conn *lua.Conn, org string, steps []step) {
	t.Helper()
	var want []audit.Line
	for _, s := range steps {
		line := lineOf(t, audit.Entry{Action: s.name, Org: org, ID: redistest.Org(t)})
		if err := s.call(line); !errors.Is(err, s.want) {
			t.Fatalf("%s: %v, want %v", s.name, err, s.want)
		}
		if s.found {
			want = append(want, line)
		}
		var got []audit.Line
		for _, e := range trailOf(t, conn, org) {
			if org != "" || e.Line == line || slices.Contains(want, e.Line) {
				got = append(got, e.Line)
			}
		}
		if len(got) != len(want) || len(want) > 0 && got[len(got)-1] != want[len(want)-1] {
			t.Fatalf("%s: the trail has %d lines, want %d", s.name, len(got), len(want))
		}
	}
	if org == "" {
		return
	}
	link := ""
	for i, e := range trailOf(t, conn, org) {
		link = audit.Link(link, int64(i+1), e.Line.Sum)
		if e.Damaged || e.Seq != int64(i+1) || e.Link != link {
			t.Errorf("entry %d is %+v, want the link %s", i+1, e, link)
		}
	}
}

// TestOverrideChangesAreOnTheTrail holds for each way to change an override, and for each that changes nothing.
func TestOverrideChangesAreOnTheTrail(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		set := func(id string, expected lua.Expected, json string, until int64) func(audit.Line) error {
			return func(line audit.Line) error {
				_, err := conn.SetOverride(t.Context(), org, id, expected, json, until, line)
				return err
			}
		}
		remove := func(expected lua.Expected) func(audit.Line) error {
			return func(line audit.Line) error { return conn.DeleteOverride(t.Context(), org, "a", expected, line) }
		}
		purge := func(project string) func(audit.Line) error {
			return func(line audit.Line) error {
				_, err := conn.ClearOverrides(t.Context(), org, project, line)
				return err
			}
		}
		checkTrail(t, conn, org, []step{
			{"delete none", remove(lua.AnyRevision), lua.ErrOverrideNotFound, false},
			{"clear none", purge("shop"), nil, false},
			{"set", set("a", lua.NoRevision, override, 0), nil, true},
			{"set what is there", set("a", lua.NoRevision, override, 0), lua.ErrOverrideRevision, false},
			{"set what has ended", set("b", lua.AnyRevision, override, 1), lua.ErrOverrideEnded, false},
			{"replace", set("a", lua.AnyRevision, override, 0), nil, true},
			{"delete another revision", remove(5), lua.ErrOverrideRevision, false},
			{"delete", remove(lua.AnyRevision), nil, true},
			{"delete again", remove(lua.AnyRevision), lua.ErrOverrideNotFound, false},
			{"set again", set("a", lua.AnyRevision, override, 0), nil, true},
			{"clear another project", purge("other"), nil, false},
			{"clear", purge("shop"), nil, true},
		})
		if _, err := conn.SetOverride(t.Context(), org, "a", lua.AnyRevision, override, 0, audit.Line{}); err != nil {
			t.Errorf("SetOverride without a line: %v", err)
		}
		if n := len(trailOf(t, conn, org)); n != 5 {
			t.Errorf("%d entries, want none for a change without a line", n)
		}
	})
}

// TestPlanChangesAreOnTheTrail: each change has one entry, although it is made in every bucket.
func TestPlanChangesAreOnTheTrail(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, name := connOf(t, rdb), planName(t, rdb)
		set := func(expected lua.Expected) func(audit.Line) error {
			return func(line audit.Line) error {
				_, err := conn.SetPlan(t.Context(), name, expected, `{"rules":[]}`, line)
				return err
			}
		}
		remove := func(line audit.Line) error { return conn.DeletePlan(t.Context(), name, lua.AnyRevision, line) }
		checkTrail(t, conn, "", []step{
			{"delete none", remove, lua.ErrOverrideNotFound, false},
			{"set", set(lua.NoRevision), nil, true},
			{"set what is there", set(lua.NoRevision), lua.ErrOverrideRevision, false},
			{"replace", set(lua.AnyRevision), nil, true},
			{"copy", func(audit.Line) error { return conn.CopyPlan(t.Context(), name, `{"rules":[]}`, 1, 1) }, nil, false},
			{"delete", remove, nil, true},
			{"delete again", remove, lua.ErrOverrideNotFound, false},
		})
	})
}

// TestResetIsOnTheTrail: an entry for what was taken or held, none where there was nothing to forget.
func TestResetIsOnTheTrail(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		charge := one(org, "shop")
		charge.Holds, charge.Units, charge.Lease = true, 3, 0
		held := charge
		held.Lease = lua.MaxLease
		reset := func(line audit.Line) error {
			admit(t, conn, lua.Check{Mode: lua.Reset, Charges: []lua.Charge{charge}, Trail: lua.AuditKey(org), Line: line})
			return nil
		}
		stale := func(line audit.Line) error {
			check := lua.Check{Mode: lua.Reset, Charges: []lua.Charge{charge}, Trail: lua.AuditKey(org), Line: line, Until: 1}
			if answers, err := conn.Admit(t.Context(), []lua.Check{check}); err != nil || answers[0].Status != lua.Stale {
				t.Errorf("a reset out of time: %+v, %v", answers, err)
			}
			return nil
		}
		checkTrail(t, conn, org, []step{
			{"nothing", reset, nil, false},
			{"take", func(audit.Line) error { admit(t, conn, lua.Check{Charges: []lua.Charge{charge}}); return nil }, nil, false},
			{"stale", stale, nil, false},
			{"taken", reset, nil, true},
			{"again", reset, nil, false},
			{"hold", func(audit.Line) error { admit(t, conn, lua.Check{ID: "a", Charges: []lua.Charge{held}}); return nil }, nil, false},
			{"held", reset, nil, true},
		})
		// Two resets of a call: each has its own arguments.
		admit(t, conn, lua.Check{Charges: []lua.Charge{charge}})
		line := lineOf(t, audit.Entry{Action: "both"})
		answers, err := conn.Admit(t.Context(), []lua.Check{
			{Mode: lua.Reset, Charges: []lua.Charge{one(org, "other")}},
			{Mode: lua.Reset, Charges: []lua.Charge{charge}, Trail: lua.AuditKey(org), Line: line},
			{Mode: lua.Peek, Charges: []lua.Charge{charge}},
		})
		if err != nil || answers[2].Status != lua.Allowed || answers[2].States[0].Current != 0 {
			t.Errorf("two resets and a peek: %+v, %v", answers, err)
		}
		if all := trailOf(t, conn, org); len(all) != 3 || all[2].Line != line {
			t.Errorf("the trail %+v, want the line %+v last", all, line)
		}
	})
}

// TestNoChangeWithoutItsEntry: where the trail cannot be written, nothing is changed.
func TestNoChangeWithoutItsEntry(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		charge := one(org, "shop")
		charge.Units = 3
		admit(t, conn, lua.Check{Charges: []lua.Charge{charge}})
		setOverride(t, conn, org, "a", override)
		if err := rdb.Set(t.Context(), lua.AuditKey(org), "not ours", 0).Err(); err != nil {
			t.Fatalf("SET: %v", err)
		}
		keys := []string{lua.EpochKey(org), lua.OverridesKey(org), lua.AuditKey(org), charge.Key}
		before, line := dumps(t, rdb, keys), lineOf(t, audit.Entry{Action: "x"})
		_, setErr := conn.SetOverride(t.Context(), org, "b", lua.AnyRevision, override, 0, line)
		_, clearErr := conn.ClearOverrides(t.Context(), org, "shop", line)
		_, resetErr := conn.Admit(t.Context(), []lua.Check{{Mode: lua.Reset, Charges: []lua.Charge{charge}, Trail: lua.AuditKey(org), Line: line}})
		for name, err := range map[string]error{
			"set": setErr, "delete": conn.DeleteOverride(t.Context(), org, "a", lua.AnyRevision, line), "clear": clearErr, "reset": resetErr,
		} {
			if lua.Classify(err) != lua.ClassConfig {
				t.Errorf("%s: %v, want an error of class %q", name, err, lua.ClassConfig)
			}
		}
		if after := dumps(t, rdb, keys); after != before {
			t.Errorf("%q became %q", before, after)
		}
	})
}

// TestTrailRanges reads parts of a trail from both ends, and what is damaged.
func TestTrailRanges(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		add := func(id, fields string) {
			if err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: lua.AuditKey(org), ID: id, Values: strings.Fields(fields)}).Err(); err != nil {
				t.Fatalf("XADD: %v", err)
			}
		}
		if all := trailOf(t, conn, org); len(all) != 0 {
			t.Errorf("a trail of nothing: %+v", all)
		}
		add("5-0", "seq 1 link l entry e sum s seal m")
		add("5-1", "link l seq 2 entry e sum s seal m")
		add("7-0", "seq 3 link l entry e sum s seal m")
		for i, damage := range []string{
			"seq 4 link l entry e sum s", "seq 04 link l entry e sum s seal m", "seq 4 link l entry e sum s seal m more m", "seq 0 link l entry e sum s seal m",
			"seq 4 link l entry e sum s other m", "seq 1e3 link l entry e sum s seal m", "seq 4 link l entry e sum s seal m seal m", "seq -4 link l entry e sum s seal m",
		} {
			add("9-"+string(rune('0'+i)), damage)
		}
		for _, tt := range []struct {
			name string
			part lua.TrailRange
			want string
		}{
			{"oldest", lua.TrailRange{Count: 2}, "5-0 5-1"},
			{"newest", lua.TrailRange{Count: 2, To: "8", Newest: true}, "7-0 5-1"},
			{"within", lua.TrailRange{From: "5", To: "5", Count: 9}, "5-0 5-1"},
			{"after", lua.TrailRange{From: "(5-0", To: "(7-0", Count: 9}, "5-1"},
			{"before", lua.TrailRange{To: "(5-1", Count: 9, Newest: true}, "5-0"},
			{"none", lua.TrailRange{From: "6", To: "6", Count: 9}, ""},
		} {
			got, err := conn.Trail(t.Context(), org, tt.part)
			var ids []string
			for _, e := range got {
				ids = append(ids, e.ID)
			}
			if err != nil || strings.Join(ids, " ") != tt.want {
				t.Errorf("%s: %v, %v; want %s", tt.name, ids, err, tt.want)
			}
		}
		all := trailOf(t, conn, org)
		want := lua.TrailEntry{ID: "5-1", Seq: 2, Link: "l", Line: audit.Line{Text: "e", Sum: "s", Seal: "m"}}
		if len(all) != 11 || all[1] != want {
			t.Fatalf("%d entries, the second %+v, want %+v", len(all), all[1], want)
		}
		for _, e := range all[3:] {
			if e != (lua.TrailEntry{ID: e.ID, Damaged: true}) {
				t.Errorf("%+v, want it damaged", e)
			}
		}
		if err := rdb.Set(t.Context(), lua.AuditKey(org), "x", 0).Err(); err != nil {
			t.Fatalf("SET: %v", err)
		}
		if _, err := conn.Trail(t.Context(), org, lua.TrailRange{Count: 1}); lua.Classify(err) != lua.ClassConfig {
			t.Errorf("what is no stream: %v", err)
		}
	})
}
