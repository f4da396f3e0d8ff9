package lua_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/lua"
)

// TestSettleKeepsAnHourWhoseClaimIsForgotten holds that an hour stays due if Redis, after a failover, does not know that
// the ranges were claimed.
func TestSettleKeepsAnHourWhoseClaimIsForgotten(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		exported := lua.UsageExportKey(org, strconv.Itoa(usageHour))
		add(t, conn, org, used("a", 1), used("b", 2))
		first := claim(t, conn, org, nil, 10)
		if err := conn.Client().HDel(t.Context(), exported, "b:stores:search:").Err(); err != nil {
			t.Fatalf("HDEL: %v", err)
		}
		settle(t, conn, first)
		wantListed(t, conn, org, true)
		second := claim(t, conn, org, nil, 10)
		wantRanges(t, second, true, "b 0-2")
		settle(t, conn, second)
		wantListed(t, conn, org, false)
	})
}

// TestClaimTellsWhenTheHourBegan holds that the time comes from the index, and so is the same though Redis forgot a
// claim; an hour whose usage came in time has none.
func TestClaimTellsWhenTheHourBegan(t *testing.T) {
	eachConn(t, func(t *testing.T, conn *lua.Conn, org string) {
		rdb, exported := conn.Client(), lua.UsageExportKey(org, strconv.Itoa(usageHour))
		add(t, conn, org, used("a", 1))
		first := claim(t, conn, org, nil, 10)
		if err := rdb.Del(t.Context(), exported).Err(); err != nil {
			t.Fatalf("DEL: %v", err)
		}
		second := claim(t, conn, org, nil, 10)
		third := claim(t, conn, org, nil, 10)
		if first.Began.IsZero() || !second.Began.Equal(first.Began) || !third.Began.Equal(first.Began) {
			t.Errorf("the hour began at %v, %v and %v; want one time", first.Began, second.Began, third.Began)
		}
		settle(t, conn, third)
		add(t, conn, org, used("a", 1))
		if late := claim(t, conn, org, nil, 10); !late.Began.Equal(first.Began) {
			t.Errorf("after late usage the hour began at %v, want %v", late.Began, first.Began)
		}

		batch := usageBatch(org, 1, used("a", 1))
		batch.Process = "p2"
		batch.Hour = time.Now().Add(time.Hour).Truncate(time.Hour).Unix()
		if err := conn.AddUsage(t.Context(), batch); err != nil {
			t.Fatalf("AddUsage: %v", err)
		}
		c, err := conn.ClaimUsage(t.Context(), lua.UsageHour{Org: org, Hour: batch.Hour}, nil, 10)
		if err != nil || len(c.Ranges) != 1 || !c.Began.IsZero() {
			t.Errorf("ClaimUsage of an hour that is not over = %+v, %v; want a range and no time", c, err)
		}
	})
}
