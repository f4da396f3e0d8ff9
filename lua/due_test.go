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
	// All but the first are late, by being written now; they are due since now, in the order of their coming.
	for _, tt := range []struct {
		grace       time.Duration
		skip, count int
		all         int
		want        []int64
	}{
		{0, 0, 10, 3, []int64{hour - 3600, hour - 7200, hour - 100*3600}},
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

// TestHoursOutliveTheGrace holds that an hour is there when it may be exported, however short it is kept, and that
// nobody makes its life shorter.
func TestHoursOutliveTheGrace(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		for i, tt := range []struct{ keep, want time.Duration }{
			{time.Millisecond, lua.MinUsageKeep}, {30 * 24 * time.Hour, 30 * 24 * time.Hour}, {time.Hour, 30 * 24 * time.Hour},
		} {
			batch := usageBatch(org, int64(i+1), used("a", 1))
			batch.Keep = tt.keep
			if err := conn.AddUsage(t.Context(), batch); err != nil {
				t.Fatalf("AddUsage: %v", err)
			}
			got := conn.Client().PTTL(t.Context(), lua.UsageKey(org, strconv.Itoa(usageHour))).Val()
			if got > tt.want || got < tt.want-time.Hour {
				t.Errorf("TTL after a batch that is kept for %v = %v, want %v", tt.keep, got, tt.want)
			}
		}
	})
}

func TestDueIndexIsBounded(t *testing.T) {
	t.Parallel()
	conn := own(t)
	rdb, org := conn.Client(), "acme"
	index := lua.UsageDueKey(bucket.Of(org))
	past := time.Now().Add(-lua.MinUsageKeep - time.Minute).Unix()
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

// TestDueIndexKeepsWhatOthersKeep holds that who keeps hours for a short time takes none from the index that others keep.
func TestDueIndexKeepsWhatOthersKeep(t *testing.T) {
	t.Parallel()
	conn, org := own(t), "acme"
	rdb, index := conn.Client(), lua.UsageDueKey(bucket.Of(org))
	batch := usageBatch(org, 0, used("a", 1))
	add := func(keep time.Duration) {
		t.Helper()
		batch.Number++
		batch.Hour += 3600
		batch.Keep = keep
		if err := conn.AddUsage(t.Context(), batch); err != nil {
			t.Fatalf("AddUsage: %v", err)
		}
	}
	wantIndex := func(want int64) {
		t.Helper()
		if got := rdb.ZCard(t.Context(), index).Val(); got != want {
			t.Errorf("the index has %d members, want %d", got, want)
		}
	}
	add(400 * 24 * time.Hour)
	old := redis.Z{Score: float64(time.Now().Add(-lua.MinUsageKeep - time.Hour).Unix()), Member: strconv.FormatInt(batch.Hour, 10) + ":" + org}
	if err := rdb.ZAdd(t.Context(), index, old).Err(); err != nil {
		t.Fatalf("ZADD: %v", err)
	}
	add(24 * time.Hour)
	wantIndex(2)
	longest := lua.UsageKeepKey(bucket.Of(org))
	if got := rdb.PTTL(t.Context(), longest).Val(); got < 399*24*time.Hour {
		t.Errorf("that hours are kept for 400 days is known for %v", got)
	}
	if err := rdb.Del(t.Context(), longest).Err(); err != nil { // it has expired
		t.Fatalf("DEL: %v", err)
	}
	add(24 * time.Hour)
	wantIndex(2)
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
