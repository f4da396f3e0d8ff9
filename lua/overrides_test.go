package lua_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

const override = `{"project":"shop","until":"0","note":"\u003cé\u0000/"}`

func setOverride(t *testing.T, conn *lua.Conn, org, id, text string) lua.OverrideChange {
	t.Helper()
	change, err := conn.SetOverride(t.Context(), org, id, lua.AnyRevision, text, 0, audit.Line{})
	if err != nil {
		t.Fatalf("SetOverride: %v", err)
	}
	return change
}

func overridesOf(t *testing.T, conn *lua.Conn, org string) (lua.Epoch, map[string]string) {
	t.Helper()
	epoch, all, err := conn.Overrides(t.Context(), org)
	if err != nil {
		t.Fatalf("Overrides: %v", err)
	}
	return epoch, all
}

// TestOverrideChangesRaiseTheEpoch holds for each way to change an override that the stamp rises with it, and
// with nothing else.
func TestOverrideChangesRaiseTheEpoch(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		first := setOverride(t, conn, org, "a", override)
		if !first.Created || first.Revision < first.Now || first.CreatedAt != first.Now {
			t.Errorf("first change %+v", first)
		}
		last, _ := overridesOf(t, conn, org)
		if last.Limits != first.Revision {
			t.Errorf("stamp %d, want the revision %d", last.Limits, first.Revision)
		}
		for _, step := range []struct {
			name   string
			change func() error
			want   error
			rises  bool
		}{
			{"read", func() error { _, _, err := conn.Overrides(t.Context(), org); return err }, nil, false},
			{"another revision", func() error {
				_, err := conn.SetOverride(t.Context(), org, "a", lua.Expected(first.Revision+1), override, 0, audit.Line{})
				return err
			}, lua.ErrOverrideRevision, false},
			{"not absent", func() error {
				_, err := conn.SetOverride(t.Context(), org, "a", lua.NoRevision, override, 0, audit.Line{})
				return err
			}, lua.ErrOverrideRevision, false},
			{"ended", func() error {
				_, err := conn.SetOverride(t.Context(), org, "a", lua.AnyRevision, override, last.Now, audit.Line{})
				return err
			}, lua.ErrOverrideEnded, false},
			{"replace", func() error {
				got, err := conn.SetOverride(t.Context(), org, "a", lua.Expected(first.Revision), override, 0, audit.Line{})
				if got.Created || got.CreatedAt != first.CreatedAt || got.Revision <= first.Revision {
					t.Errorf("second change %+v after %+v", got, first)
				}
				return err
			}, nil, true},
			{"replaced meanwhile", func() error {
				return conn.DeleteOverride(t.Context(), org, "a", lua.Expected(first.Revision), audit.Line{})
			}, lua.ErrOverrideRevision, false},
			{"delete", func() error { return conn.DeleteOverride(t.Context(), org, "a", lua.AnyRevision, audit.Line{}) }, nil, true},
			{"delete again", func() error { return conn.DeleteOverride(t.Context(), org, "a", lua.AnyRevision, audit.Line{}) }, lua.ErrOverrideNotFound, false},
			{"of a revision that is gone", func() error {
				_, err := conn.SetOverride(t.Context(), org, "a", lua.Expected(first.Revision), override, 0, audit.Line{})
				return err
			}, lua.ErrOverrideRevision, false},
			{"if absent", func() error {
				_, err := conn.SetOverride(t.Context(), org, "a", lua.NoRevision, override, 0, audit.Line{})
				return err
			}, nil, true},
			{"clear another project", func() error { _, err := conn.ClearOverrides(t.Context(), org, "other", audit.Line{}); return err }, nil, false},
			{"clear", func() error {
				n, err := conn.ClearOverrides(t.Context(), org, "shop", audit.Line{})
				if n != 1 {
					t.Errorf("%d cleared, want 1", n)
				}
				return err
			}, nil, true},
		} {
			if err := step.change(); !errors.Is(err, step.want) {
				t.Errorf("%s: %v, want %v", step.name, err, step.want)
			}
			now, _ := overridesOf(t, conn, org)
			if rose := now.Limits > last.Limits; rose != step.rises || now.Limits < last.Limits || now.Keys != last.Keys {
				t.Errorf("%s: epoch %+v after %+v, want the limits stamp to rise: %t", step.name, now, last, step.rises)
			}
			last = now
		}
	})
}

func TestOverrideTextIsKept(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		change := setOverride(t, conn, org, "a", override)
		_, all := overridesOf(t, conn, org)
		for _, want := range []string{
			`"project":"shop"`, `"until":"0"`, fmt.Sprintf(`"revision":"%d"`, change.Revision), fmt.Sprintf(`"created":"%d"`, change.CreatedAt),
		} {
			if len(all) != 1 || !strings.Contains(all["a"], want) {
				t.Errorf("stored %v, want it to hold %s", all, want)
			}
		}
		if _, err := conn.SetOverride(t.Context(), org, "b", lua.AnyRevision, "{", 0, audit.Line{}); err == nil {
			t.Error("SetOverride took what is no JSON")
		}
		if _, all := overridesOf(t, conn, org); len(all) != 1 {
			t.Errorf("%d overrides stored, want 1", len(all))
		}
	})
}

// TestOverrideStampsAlwaysRise holds when the clock was set back, and when the stamp was damaged.
func TestOverrideStampsAlwaysRise(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, stored := range []string{"4102444800000000", "x", "-1", "1e300", "nan", "inf", "9007199254740991"} {
			conn, org := connOf(t, rdb), redistest.Org(t)
			if err := rdb.HSet(t.Context(), lua.EpochKey(org), "limits", stored).Err(); err != nil {
				t.Fatalf("HSET: %v", err)
			}
			change := setOverride(t, conn, org, "a", override)
			want := change.Now
			if stored == "4102444800000000" { // the year 2100
				want = 4102444800000001
			}
			if epoch, _ := overridesOf(t, conn, org); change.Revision != want || epoch.Limits != want {
				t.Errorf("after stamp %s: revision %d, stamp %d, want %d", stored, change.Revision, epoch.Limits, want)
			}
		}
	})
}

// TestDamagedOverrideCanBeMended holds for what another program left: it can be replaced, deleted and
// cleared, and keeps no other from that.
func TestDamagedOverrideCanBeMended(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, damage := range []string{"", "{", "5", `"text"`, "null", "[]", "{}", `{"revision":null,"until":null,"project":null,"created":null}`} {
			t.Run(damage, func(t *testing.T) {
				conn, org := connOf(t, rdb), redistest.Org(t)
				put := func() {
					if err := rdb.HSet(t.Context(), lua.OverridesKey(org), "bad", damage).Err(); err != nil {
						t.Fatalf("HSET: %v", err)
					}
				}
				put()
				if err := conn.DeleteOverride(t.Context(), org, "bad", lua.Expected(5), audit.Line{}); !errors.Is(err, lua.ErrOverrideRevision) {
					t.Errorf("DeleteOverride of a revision: %v, want ErrOverrideRevision", err)
				}
				if err := conn.DeleteOverride(t.Context(), org, "bad", lua.AnyRevision, audit.Line{}); err != nil {
					t.Errorf("DeleteOverride: %v", err)
				}
				put()
				if change := setOverride(t, conn, org, "bad", override); change.Created || change.CreatedAt != change.Now {
					t.Errorf("SetOverride = %+v, want it replaced", change)
				}
				put()
				before := setOverride(t, conn, org, "good", override)
				if n, err := conn.ClearOverrides(t.Context(), org, "shop", audit.Line{}); err != nil || n != 1 {
					t.Errorf("ClearOverrides = %d, %v; want 1", n, err)
				}
				if epoch, all := overridesOf(t, conn, org); epoch.Limits <= before.Revision || len(all) != 1 {
					t.Errorf("stamp %d after %d, and %v; want it higher and the damaged one alone", epoch.Limits, before.Revision, all)
				}
			})
		}
	})
}

// TestOverrideScriptWritesLast holds that nothing changes where the epoch cannot be raised.
func TestOverrideScriptWritesLast(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		setOverride(t, conn, org, "a", override)
		if err := rdb.Set(t.Context(), lua.EpochKey(org), "not ours", 0).Err(); err != nil {
			t.Fatalf("SET: %v", err)
		}
		_, setErr := conn.SetOverride(t.Context(), org, "b", lua.AnyRevision, override, 0, audit.Line{})
		_, clearErr := conn.ClearOverrides(t.Context(), org, "shop", audit.Line{})
		for name, err := range map[string]error{
			"set": setErr, "delete": conn.DeleteOverride(t.Context(), org, "a", lua.AnyRevision, audit.Line{}), "clear": clearErr,
		} {
			if lua.Classify(err) != lua.ClassConfig {
				t.Errorf("%s: %v, want an error of class %q", name, err, lua.ClassConfig)
			}
		}
		if ids, err := rdb.HKeys(t.Context(), lua.OverridesKey(org)).Result(); err != nil || len(ids) != 1 || ids[0] != "a" {
			t.Errorf("overrides %v (%v), want the first alone", ids, err)
		}
	})
}

func TestTooManyOverrides(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		fields := make([]any, 0, 2*lua.MaxOverrides)
		for i := range lua.MaxOverrides {
			fields = append(fields, strconv.Itoa(i), override)
		}
		if err := rdb.HSet(t.Context(), lua.OverridesKey(org), fields...).Err(); err != nil {
			t.Fatalf("HSET: %v", err)
		}
		if _, err := conn.SetOverride(t.Context(), org, "new", lua.AnyRevision, override, 0, audit.Line{}); !errors.Is(err, lua.ErrOverrideTooMany) {
			t.Errorf("SetOverride of one more: %v, want ErrOverrideTooMany", err)
		}
		if change := setOverride(t, conn, org, "0", override); change.Created {
			t.Errorf("SetOverride = %+v, want it replaced", change)
		}
		// Those that have ended make room; those that are active or have not begun stay.
		at := func(d time.Duration) int64 { return time.Now().Add(d).UnixMicro() }
		past := fmt.Sprintf(`{"project":"shop","from":"%d","until":"%d"}`, at(-2*time.Hour), at(-time.Hour))
		active := fmt.Sprintf(`{"project":"shop","from":"%d","until":"%d"}`, at(-time.Hour), at(time.Hour))
		next := fmt.Sprintf(`{"project":"shop","from":"%d","until":"%d"}`, at(time.Hour), at(2*time.Hour))
		then := fmt.Sprintf(`{"project":"shop","from":"%d","until":"0"}`, at(time.Hour))
		if err := rdb.HSet(t.Context(), lua.OverridesKey(org), "1", past, "2", past, "3", active, "4", next, "5", then).Err(); err != nil {
			t.Fatalf("HSET: %v", err)
		}
		setOverride(t, conn, org, "new", override)
		_, all := overridesOf(t, conn, org)
		for id, want := range map[string]string{"1": "", "2": "", "3": active, "4": next, "5": then} {
			if all[id] != want {
				t.Errorf("override %s is %q, want %q", id, all[id], want)
			}
		}
		if n, err := rdb.HLen(t.Context(), lua.OverridesKey(org)).Result(); err != nil || n != lua.MaxOverrides-1 {
			t.Errorf("%d overrides (%v), want %d", n, err, lua.MaxOverrides-1)
		}
		if n, err := conn.ClearOverrides(t.Context(), org, "shop", audit.Line{}); err != nil || n != lua.MaxOverrides-1 {
			t.Errorf("ClearOverrides = %d, %v; want all", n, err)
		}
	})
}
