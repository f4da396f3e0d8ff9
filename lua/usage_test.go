package lua_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

const usageHour = 1_700_000_000 / 3600 * 3600

func usageBatch(org string, number int64, entries ...lua.UsageEntry) lua.UsageBatch {
	return lua.UsageBatch{Org: org, Hour: usageHour, Process: "p1", Number: number, Entries: entries, Keep: time.Hour}
}

func used(project string, units int64) lua.UsageEntry {
	return lua.UsageEntry{UsageName: lua.UsageName{Project: project, Product: "stores", Kind: "search"}, Units: units}
}

// eachConn runs a test on both kinds of Redis, with an org of its own.
func eachConn(t *testing.T, test func(t *testing.T, conn *lua.Conn, org string)) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, err := lua.NewConn(rdb)
		if err != nil {
			t.Fatalf("NewConn: %v", err)
		}
		test(t, conn, redistest.Org(t))
	})
}

// usageOf reads the units of an org by project.
func usageOf(t *testing.T, conn *lua.Conn, org string) map[string]int64 {
	t.Helper()
	hours, err := conn.Usage(t.Context(), org, []int64{usageHour})
	if err != nil {
		t.Fatalf("Usage: %v", err)
	}
	got := map[string]int64{}
	for _, e := range hours[0] {
		got[e.Project] += e.Units
	}
	return got
}

func wantUsage(t *testing.T, conn *lua.Conn, org string, want map[string]int64) {
	t.Helper()
	if got := usageOf(t, conn, org); !maps.Equal(got, want) {
		t.Errorf("Usage = %v, want %v", got, want)
	}
}

func TestAddUsageOnce(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		late := usageBatch(org, 1, used("a", 1))
		for _, b := range []lua.UsageBatch{
			late,
			usageBatch(org, 2, used("a", 10), used("b", 5)),
			usageBatch(org, 2, used("a", 10), used("b", 5)), // again: the answer was lost
			usageBatch(org, 7, used("a", 100)),              // numbers may leave gaps
			late,                                            // a copy that was held up
		} {
			if err := conn.AddUsage(t.Context(), b); err != nil {
				t.Fatalf("AddUsage number %d: %v", b.Number, err)
			}
		}
		wantUsage(t, conn, org, map[string]int64{"a": 111, "b": 5})

		other := usageBatch(org, 1, used("a", 1000))
		other.Process = "p2"
		if err := conn.AddUsage(t.Context(), other); err != nil {
			t.Fatalf("AddUsage of another process: %v", err)
		}
		wantUsage(t, conn, org, map[string]int64{"a": 1111, "b": 5})
	})
}

func TestAddUsageRefusesWhole(t *testing.T) {
	field := "b:stores:search:"
	put := func(value string) func(context.Context, *lua.Conn, string) error {
		return func(ctx context.Context, conn *lua.Conn, hour string) error {
			return conn.Client().HSet(ctx, hour, field, value).Err()
		}
	}
	for _, tt := range []struct {
		name   string
		damage func(ctx context.Context, conn *lua.Conn, hour string) error
		units  int64
		place  string
	}{
		{"a text", put("many"), 1, field},
		{"empty", put(""), 1, field},
		{"negative", put("-1"), 1, field},
		{"a fraction", put("1.5"), 1, field},
		{"an exponent", put("1e3"), 1, field},
		{"a leading zero", put("007"), 1, field},
		{"hexadecimal", put("0x10"), 1, field},
		{"beyond 2^53", put("9007199254740993"), 1, field},
		{"more digits than a double", put("99999999999999999999"), 1, field},
		{"a sum of 2^53", put("9007199254740982"), 10, field},
		{"units of 0", put("1"), 0, field},
		{"units below 0", put("1"), -1, field},
		{"units above the most", put("1"), lua.MaxUsageUnits + 1, field},
		{"a list", func(ctx context.Context, conn *lua.Conn, hour string) error {
			return conn.Client().RPush(ctx, hour, "x").Err()
		}, 1, "no hash"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
				rdb, hour := conn.Client(), lua.UsageKey(org, strconv.Itoa(usageHour))
				if err := tt.damage(t.Context(), conn, hour); err != nil {
					t.Fatalf("damage: %v", err)
				}
				before := rdb.Dump(t.Context(), hour).Val()
				batch := usageBatch(org, 1, used("a", 1), used("b", tt.units), used("c", 1))
				err := conn.AddUsage(t.Context(), batch)
				if !errors.Is(err, lua.ErrUsageRefused) || !strings.Contains(err.Error(), tt.place) {
					t.Errorf("AddUsage = %v; want ErrUsageRefused naming %q", err, tt.place)
				}
				if after := rdb.Dump(t.Context(), hour).Val(); after != before {
					t.Error("a refused batch changed the hour")
				}
				// Once refused, always refused: the units are counted under another number by then.
				if err := rdb.Del(t.Context(), hour).Err(); err != nil {
					t.Fatalf("mend: %v", err)
				}
				if err := conn.AddUsage(t.Context(), batch); !errors.Is(err, lua.ErrUsageRefused) {
					t.Errorf("AddUsage again = %v; want ErrUsageRefused", err)
				}
				if err := conn.AddUsage(t.Context(), usageBatch(org, 2, used("a", 1))); err != nil {
					t.Errorf("AddUsage under the next number: %v", err)
				}
				wantUsage(t, conn, org, map[string]int64{"a": 1})
			})
		})
	}
}

func TestAddUsageReachesTheLargestSum(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		for n := range int64(9) {
			if err := conn.AddUsage(t.Context(), usageBatch(org, n+1, used("a", lua.MaxUsageUnits))); err != nil {
				t.Fatalf("AddUsage number %d: %v", n+1, err)
			}
		}
		rest := int64(1<<53 - 1 - 9*lua.MaxUsageUnits)
		// One name twice in a batch counts as its sum, for the bound too.
		if err := conn.AddUsage(t.Context(), usageBatch(org, 10, used("a", rest), used("a", 1))); !errors.Is(err, lua.ErrUsageRefused) {
			t.Errorf("AddUsage beyond 2^53-1 = %v; want ErrUsageRefused", err)
		}
		if err := conn.AddUsage(t.Context(), usageBatch(org, 11, used("a", rest-1), used("a", 1))); err != nil {
			t.Errorf("AddUsage up to 2^53-1: %v", err)
		}
		wantUsage(t, conn, org, map[string]int64{"a": 1<<53 - 1})
	})
}

func TestAddUsageSetsTTLs(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		rdb := conn.Client()
		hour, mark := lua.UsageKey(org, strconv.Itoa(usageHour)), lua.UsageMarkKey(org, "p1")
		for number := range int64(2) { // the second time repairs them
			if err := conn.AddUsage(t.Context(), usageBatch(org, number+1, used("a", 1))); err != nil {
				t.Fatalf("AddUsage: %v", err)
			}
			for key, most := range map[string]time.Duration{hour: lua.MinUsageKeep, mark: lua.UsageMarkTime} {
				if got := rdb.PTTL(t.Context(), key).Val(); got <= most-time.Minute || got > most {
					t.Errorf("TTL of %s = %v, want %v", key, got, most)
				}
				if err := rdb.Persist(t.Context(), key).Err(); err != nil {
					t.Fatalf("PERSIST: %v", err)
				}
			}
		}
		rdb.Del(t.Context(), hour, mark)
	})
}

func TestAddUsageInvalid(t *testing.T) {
	many := slices.Repeat([]lua.UsageEntry{used("a", 1)}, lua.MaxUsageEntries+1)
	for _, tt := range []struct {
		name string
		edit func(*lua.UsageBatch)
		text string
	}{
		{"no entries", func(b *lua.UsageBatch) { b.Entries = nil }, "0 entries"},
		{"too many entries", func(b *lua.UsageBatch) { b.Entries = many }, "501 entries"},
		{"number 0", func(b *lua.UsageBatch) { b.Number = 0 }, "Number 0"},
		{"negative number", func(b *lua.UsageBatch) { b.Number = -1 }, "Number -1"},
		{"keep below a millisecond", func(b *lua.UsageBatch) { b.Keep = time.Microsecond }, "Keep 1µs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
				batch := usageBatch(org, 1, used("a", 1))
				tt.edit(&batch)
				err := conn.AddUsage(t.Context(), batch)
				if err == nil || errors.Is(err, lua.ErrUsageRefused) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("AddUsage = %v; want an error with %q that is no refusal", err, tt.text)
				}
				if n := conn.Client().Exists(t.Context(), lua.UsageMarkKey(org, "p1")).Val(); n != 0 {
					t.Error("an invalid batch left a mark")
				}
			})
		})
	}
}

func TestUsageReturnsWhatWasAdded(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		want := []lua.UsageEntry{
			{UsageName: lua.UsageName{}, Units: 1},
			{UsageName: lua.UsageName{Project: "a:b", Product: "c", Kind: "d", Source: "e"}, Units: 2},
			{UsageName: lua.UsageName{Project: "a", Product: "b:c", Kind: "d", Source: "e"}, Units: 3},
			{UsageName: lua.UsageName{Project: "{x}%3A", Product: "\x00\xff\r\n", Kind: " ", Source: "ü"}, Units: lua.MaxUsageUnits},
		}
		if err := conn.AddUsage(t.Context(), usageBatch(org, 1, want...)); err != nil {
			t.Fatalf("AddUsage: %v", err)
		}
		got, err := conn.Usage(t.Context(), org, []int64{usageHour - 3600, usageHour})
		if err != nil || len(got) != 2 || len(got[0]) != 0 {
			t.Fatalf("Usage = %v, %v; want nothing in the first hour", got, err)
		}
		slices.SortFunc(got[1], func(a, b lua.UsageEntry) int { return cmp.Compare(a.Units, b.Units) })
		if !slices.Equal(got[1], want) {
			t.Errorf("Usage = %+v, want %+v", got[1], want)
		}
		if got, err := conn.Usage(t.Context(), org, nil); err != nil || len(got) != 0 {
			t.Errorf("Usage of no hours = %v, %v; want nothing", got, err)
		}
	})
}

func TestUsageOfForeignData(t *testing.T) {
	for _, tt := range []struct{ name, field, value string }{
		{"too few parts", "a:b:c", "1"},
		{"too many parts", "a:b:c:d:e", "1"},
		{"a broken escape", "a%4:b:c:d", "1"},
		{"a text", "a:b:c:d", "many"},
		{"negative", "a:b:c:d", "-1"},
		{"2^53", "a:b:c:d", "9007199254740992"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
				hour := lua.UsageKey(org, strconv.Itoa(usageHour))
				if err := conn.Client().HSet(t.Context(), hour, tt.field, tt.value).Err(); err != nil {
					t.Fatalf("HSET: %v", err)
				}
				_, err := conn.Usage(t.Context(), org, []int64{usageHour})
				if !errors.Is(err, lua.ErrReply) || !strings.Contains(err.Error(), tt.field) {
					t.Errorf("Usage = %v; want ErrReply naming %q", err, tt.field)
				}
			})
		})
	}
}
