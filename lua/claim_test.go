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
	"github.com/tollgate-go/tollgate/lua/redistest"
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
	if err := conn.SettleUsage(t.Context(), c); err != nil {
		t.Fatalf("SettleUsage: %v", err)
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
		if got := rdb.PTTL(t.Context(), exported).Val(); got <= 0 || got > time.Hour {
			t.Errorf("TTL of what is exported = %v, want an hour", got)
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

// own returns a Conn on a Redis of the test's own.
func own(t *testing.T) *lua.Conn {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { _ = rdb.Close() })
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatalf("NewConn: %v", err)
	}
	return conn
}

func TestDueUsage(t *testing.T) {
	t.Parallel()
	conn := own(t)
	rdb, org := conn.Client(), "acme"
	b := bucket.Of(org)
	now, err := rdb.Time(t.Context()).Result()
	if err != nil {
		t.Fatalf("TIME: %v", err)
	}
	hour := now.Unix() - now.Unix()%3600
	for i, at := range []int64{hour, hour - 3600, hour - 7200, hour - 100*3600} {
		batch := usageBatch(org, int64(i+1), used("a", 1))
		batch.Hour = at
		if err := conn.AddUsage(t.Context(), batch); err != nil {
			t.Fatalf("AddUsage: %v", err)
		}
	}
	// All but the first are late, by being written now; they are due since now, and in the order of their names.
	for _, tt := range []struct {
		grace       time.Duration
		skip, count int
		all         int
		want        []int64
	}{
		{0, 0, 10, 3, []int64{hour - 100*3600, hour - 7200, hour - 3600}},
		{0, 1, 1, 3, []int64{hour - 7200}},
		{0, 3, 10, 3, nil},
		{15 * time.Minute, 0, 10, 0, nil},
	} {
		due, err := conn.DueUsage(t.Context(), b, tt.grace, tt.skip, tt.count)
		if err != nil {
			t.Fatalf("DueUsage: %v", err)
		}
		var got []int64
		for i, h := range due.Hours {
			got = append(got, h.Hour)
			if h.Org != org || due.Since[i] < now.Unix() || due.Since[i] > due.Now {
				t.Errorf("%+v is due since %d, want %q since %d", h, due.Since[i], org, now.Unix())
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) || due.All != tt.all {
			t.Errorf("DueUsage(%v, %d, %d) = %d of %d, want %d of %d", tt.grace, tt.skip, tt.count, got, due.All, tt.want, tt.all)
		}
	}

	if err := rdb.ZAdd(t.Context(), lua.UsageDueKey(b), redis.Z{Score: 1, Member: "what"}).Err(); err != nil {
		t.Fatalf("ZADD: %v", err)
	}
	if _, err := conn.DueUsage(t.Context(), b, 0, 0, 10); !errors.Is(err, lua.ErrReply) || !strings.Contains(err.Error(), `"what"`) {
		t.Errorf("DueUsage of a foreign member = %v; want ErrReply that names it", err)
	}
}

func TestDueIndexIsBounded(t *testing.T) {
	t.Parallel()
	conn := own(t)
	rdb, org := conn.Client(), "acme"
	index := lua.UsageDueKey(bucket.Of(org))
	past := time.Now().Add(-lua.UsageMarkTime - time.Minute).Unix()
	for i := range 25 {
		if err := rdb.ZAdd(t.Context(), index, redis.Z{Score: float64(past), Member: fmt.Sprintf("%d:acme", i)}).Err(); err != nil {
			t.Fatalf("ZADD: %v", err)
		}
	}
	if err := rdb.ZAdd(t.Context(), index, redis.Z{Score: float64(past + 120), Member: "100:acme"}).Err(); err != nil {
		t.Fatalf("ZADD: %v", err)
	}
	for i, want := range []int64{17, 8, 4, 5} { // each removes ten that are old, and comes itself
		batch := usageBatch(org, int64(i+1), used("a", 1))
		batch.Hour += 3600 * int64(i)
		if err := conn.AddUsage(t.Context(), batch); err != nil {
			t.Fatalf("AddUsage: %v", err)
		}
		if got := rdb.ZCard(t.Context(), index).Val(); got != want {
			t.Errorf("the index has %d members, want %d", got, want)
		}
	}
}

func TestAddUsageToADamagedIndex(t *testing.T) {
	t.Parallel()
	conn := own(t)
	rdb, org := conn.Client(), "acme"
	for _, key := range []string{lua.UsageDueKey(bucket.Of(org)), lua.UsageExportKey(org, strconv.Itoa(usageHour))} {
		if err := rdb.Set(t.Context(), key, "x", 0).Err(); err != nil {
			t.Fatalf("SET: %v", err)
		}
		if err := conn.AddUsage(t.Context(), usageBatch(org, 1, used("a", 1))); lua.Classify(err) != lua.ClassConfig {
			t.Errorf("AddUsage = %v; want an error of class config", err)
		}
		wantUsage(t, conn, org, map[string]int64{}) // it is open, and counts when that is mended
		if err := rdb.Del(t.Context(), key).Err(); err != nil {
			t.Fatalf("DEL: %v", err)
		}
	}
	if err := conn.AddUsage(t.Context(), usageBatch(org, 1, used("a", 1))); err != nil {
		t.Fatalf("AddUsage: %v", err)
	}
	wantUsage(t, conn, org, map[string]int64{"a": 1})
	wantListed(t, conn, org, true)
}
