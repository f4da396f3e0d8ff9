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
	"github.com/tollgate-go/tollgate/lua/bucket"
)

// add sends a batch of an org to usageHour, under the next number of a process.
func add(t *testing.T, conn *lua.Conn, org string, entries ...lua.UsageEntry) {
	t.Helper()
	number := conn.Client().Incr(t.Context(), "test:"+org).Val()
	if err := conn.AddUsage(t.Context(), usageBatch(org, number, entries...)); err != nil {
		t.Fatalf("AddUsage: %v", err)
	}
}

func claim(t *testing.T, conn *lua.Conn, org string, after *lua.UsageClaim, most int) *lua.UsageClaim {
	t.Helper()
	c, err := conn.ClaimUsage(t.Context(), lua.UsageHour{Org: org, Hour: usageHour}, after, most)
	if err != nil {
		t.Fatalf("ClaimUsage: %v", err)
	}
	return c
}

func settle(t *testing.T, conn *lua.Conn, c *lua.UsageClaim) {
	t.Helper()
	done, err := conn.SettleUsage(t.Context(), c)
	if err != nil {
		t.Fatalf("SettleUsage: %v", err)
	}
	if gone := listed(t, conn, c.Org) == 0; done && !gone {
		t.Errorf("SettleUsage = %t, and the hour is still due", done)
	}
}

// wantRanges compares a claim with "project from-to" and whether it is the last.
func wantRanges(t *testing.T, c *lua.UsageClaim, last bool, want ...string) {
	t.Helper()
	got := map[string]bool{}
	for _, r := range c.Ranges {
		got[fmt.Sprintf("%s %d-%d", r.Project, r.From, r.To)] = true
	}
	for _, w := range want {
		if !got[w] {
			t.Errorf("the claim lacks %q", w)
		}
	}
	if len(c.Ranges) != len(want) || c.Last != last {
		t.Errorf("the claim is %+v, want %q, last %t", c, want, last)
	}
}

// listed tells since when an hour of an org is due; 0 if it is not in the index.
func listed(t *testing.T, conn *lua.Conn, org string) int64 {
	t.Helper()
	member := strconv.Itoa(usageHour) + ":" + org
	since, err := conn.Client().ZScore(t.Context(), lua.UsageDueKey(bucket.Of(org)), member).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("ZSCORE: %v", err)
	}
	return int64(since)
}

func wantListed(t *testing.T, conn *lua.Conn, org string, want bool) {
	t.Helper()
	if got := listed(t, conn, org); (got != 0) != want {
		t.Errorf("the hour is in the index since %d, want it there: %t", got, want)
	}
}

func TestClaimStaysAsItIs(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		add(t, conn, org, used("a", 10), used("b", 5))
		first := claim(t, conn, org, nil, 10)
		wantRanges(t, first, true, "a 0-10", "b 0-5")

		// More comes before it is settled: another exporter gets the same, and then the rest.
		add(t, conn, org, used("a", 7), used("c", 1))
		second := claim(t, conn, org, nil, 10)
		wantRanges(t, second, false, "a 0-10", "b 0-5", "c 0-1")
		settle(t, conn, first)
		wantListed(t, conn, org, true)
		settle(t, conn, second)
		settle(t, conn, second) // its answer was lost
		rest := claim(t, conn, org, second, 10)
		wantRanges(t, rest, true, "a 10-17")
		settle(t, conn, rest)
		wantListed(t, conn, org, false)

		// A copy that was held up changes nothing, and what is late is a range of its own.
		settle(t, conn, first)
		wantRanges(t, claim(t, conn, org, nil, 10), true)
		add(t, conn, org, used("b", 1))
		wantListed(t, conn, org, true)
		late := claim(t, conn, org, nil, 10)
		wantRanges(t, late, true, "b 5-6")
		settle(t, conn, late)
		wantListed(t, conn, org, false)
		wantUsage(t, conn, org, map[string]int64{"a": 17, "b": 6, "c": 1})
	})
}

func TestClaimInPages(t *testing.T) {
	for _, tt := range []struct{ names, most int }{{40, 7}, {1200, 500}, {1200, 11}, {1, 1}, {500, 500}} {
		t.Run(fmt.Sprintf("%d by %d", tt.names, tt.most), func(t *testing.T) {
			eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
				for i := 0; i < tt.names; i += 100 {
					var entries []lua.UsageEntry
					for j := i; j < min(i+100, tt.names); j++ {
						entries = append(entries, used(strconv.Itoa(j), int64(j+1)))
					}
					add(t, conn, org, entries...)
				}
				got, sum := map[string]int64{}, int64(0)
				var c *lua.UsageClaim
				for pages := 0; c == nil || !c.Last; pages++ {
					c = claim(t, conn, org, c, tt.most)
					if len(c.Ranges) > tt.most || pages > 3*tt.names {
						t.Fatalf("page %d has %d ranges", pages, len(c.Ranges))
					}
					for _, r := range c.Ranges {
						if _, twice := got[r.Project]; twice || r.From != 0 {
							t.Errorf("%+v comes twice", r)
						}
						got[r.Project] = r.To
						sum += r.To
					}
					wantListed(t, conn, org, true)
					settle(t, conn, c)
				}
				if n := int64(tt.names); len(got) != tt.names || sum != n*(n+1)/2 {
					t.Errorf("%d names with %d units were claimed, want %d with %d", len(got), sum, n, n*(n+1)/2)
				}
				wantListed(t, conn, org, false)
			})
		})
	}
}

func TestSettleKeepsAnHourThatIsWrittenTo(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		add(t, conn, org, used("a", 1))
		first := claim(t, conn, org, nil, 10)
		add(t, conn, org, used("a", 1)) // its name was looked at already
		settle(t, conn, first)
		wantListed(t, conn, org, true)
		second := claim(t, conn, org, nil, 10)
		wantRanges(t, second, true, "a 1-2")
		settle(t, conn, second)
		wantListed(t, conn, org, false)
	})
}

func TestClaimOfAnHourThatBeganAnew(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		rdb, hour := conn.Client(), lua.UsageKey(org, strconv.Itoa(usageHour))
		add(t, conn, org, used("a", 10))
		begun := claim(t, conn, org, nil, 10)
		if err := rdb.Del(t.Context(), hour).Err(); err != nil {
			t.Fatalf("DEL: %v", err)
		}
		add(t, conn, org, used("a", 3))
		settle(t, conn, begun)
		wantListed(t, conn, org, true)
		anew := claim(t, conn, org, nil, 10)
		wantRanges(t, anew, true, "a 0-3")
		settle(t, conn, anew)
		wantListed(t, conn, org, false)

		add(t, conn, org, used("a", 1))
		if err := rdb.Del(t.Context(), hour).Err(); err != nil {
			t.Fatalf("DEL: %v", err)
		}
		gone := claim(t, conn, org, nil, 10)
		wantRanges(t, gone, true)
		settle(t, conn, gone)
		wantListed(t, conn, org, false)
		if n := rdb.Exists(t.Context(), lua.UsageExportKey(org, strconv.Itoa(usageHour))).Val(); n != 0 {
			t.Error("what is exported of an hour outlives it")
		}
	})
}

func TestClaimPassesOverWhatIsOdd(t *testing.T) {
	for _, tt := range []struct {
		name         string
		field, value string
		exported     string
	}{
		{"units that are a text", "b:stores:search:", "many", ""},
		{"units below 0", "b:stores:search:", "-1", ""},
		{"units beyond 2^53", "b:stores:search:", "9007199254740993", ""},
		{"a name of three parts", "b:stores:search", "1", ""},
		{"a broken escape", "b%4:stores:search:", "1", ""},
		{"an export that is a text", "b:stores:search:", "5", "none"},
		{"a range that ends before it begins", "b:stores:search:", "5", "4-3"},
		{"a range that ends beyond 2^53", "b:stores:search:", "5", "1-9007199254740993"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
				rdb, text := conn.Client(), strconv.Itoa(usageHour)
				add(t, conn, org, used("a", 1), used("c", 2))
				if err := rdb.HSet(t.Context(), lua.UsageKey(org, text), tt.field, tt.value).Err(); err != nil {
					t.Fatalf("HSET: %v", err)
				}
				if tt.exported != "" {
					if err := rdb.HSet(t.Context(), lua.UsageExportKey(org, text), tt.field, tt.exported).Err(); err != nil {
						t.Fatalf("HSET: %v", err)
					}
				}
				for _, ranges := range [][]string{{"a 0-1", "c 0-2"}, {}} {
					c := claim(t, conn, org, nil, 10)
					wantRanges(t, c, true, ranges...)
					if c.Odd != tt.field {
						t.Errorf("Odd = %q, want %q", c.Odd, tt.field)
					}
					settle(t, conn, c)
					wantListed(t, conn, org, true)
				}
			})
		})
	}
}

func TestClaimLivesAsLongAsTheHour(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		rdb, text := conn.Client(), strconv.Itoa(usageHour)
		hour, exported := lua.UsageKey(org, text), lua.UsageExportKey(org, text)
		for range 2 { // the second time repairs it
			add(t, conn, org, used("a", 1))
			claim(t, conn, org, nil, 10)
			if got, want := rdb.PTTL(t.Context(), exported).Val(), rdb.PTTL(t.Context(), hour).Val(); (got-want).Abs() > time.Second || got <= 0 {
				t.Errorf("TTL of what is exported = %v, of the hour %v", got, want)
			}
			if err := rdb.Persist(t.Context(), exported).Err(); err != nil {
				t.Fatalf("PERSIST: %v", err)
			}
		}
		add(t, conn, org, used("a", 1)) // and so does usage that comes
		if got := rdb.PTTL(t.Context(), exported).Val(); got <= 0 || got > lua.MinUsageKeep {
			t.Errorf("TTL of what is exported = %v, want %v", got, lua.MinUsageKeep)
		}
	})
}

func TestClaimInvalid(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		for _, most := range []int{-1, 0, lua.MaxUsageRanges + 1} {
			if _, err := conn.ClaimUsage(t.Context(), lua.UsageHour{Org: org}, nil, most); err == nil || !strings.Contains(err.Error(), "1 to 500") {
				t.Errorf("ClaimUsage of %d = %v; want an error with the bounds", most, err)
			}
		}
		batch := usageBatch(org, 1, used("a", 1))
		batch.Hour = -7200
		if err := conn.AddUsage(t.Context(), batch); err == nil || !strings.Contains(err.Error(), "Hour -7200") {
			t.Errorf("AddUsage = %v; want an error that names the hour", err)
		}
	})
}
