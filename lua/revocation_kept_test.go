package lua_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// plant writes entries past the script, all with one end.
func plant(t *testing.T, rdb redis.UniversalClient, org, value string, n int, until int64) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		var entries []any
		var ends []redis.Z
		for i := from; i < min(from+1000, n); i++ {
			field := lua.Name{Kind: lua.NameToken, Value: fmt.Sprint(value, i)}.Field()
			entries = append(entries, field, fmt.Sprintf("1 %d 1 {}", until))
			ends = append(ends, redis.Z{Score: float64(until), Member: field})
		}
		_, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			p.HSet(t.Context(), lua.RevokedKey(org), entries...)
			p.ZAdd(t.Context(), lua.RevokedUntilKey(org), ends...)
			return nil
		})
		if err != nil {
			t.Fatalf("HSET, ZADD: %v", err)
		}
	}
	t.Cleanup(func() {
		if err := rdb.Unlink(context.WithoutCancel(t.Context()), lua.RevokedKey(org), lua.RevokedUntilKey(org)).Err(); err != nil {
			t.Errorf("UNLINK: %v", err)
		}
	})
}

// storedRevocations returns how many entries and ends are stored.
func storedRevocations(t *testing.T, rdb redis.UniversalClient, org string) [2]int64 {
	t.Helper()
	entries, err := rdb.HLen(t.Context(), lua.RevokedKey(org)).Result()
	ends, endsErr := rdb.ZCard(t.Context(), lua.RevokedUntilKey(org)).Result()
	if err := errors.Join(err, endsErr); err != nil {
		t.Fatalf("HLEN, ZCARD: %v", err)
	}
	return [2]int64{entries, ends}
}

// TestRevocationsArePruned: each change removes a hundred that have ended, and none that has not.
func TestRevocationsArePruned(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		plant(t, rdb, org, "ended", 250, time.Now().Add(-time.Hour).UnixMicro())
		plant(t, rdb, org, "live", 50, time.Now().Add(time.Hour).UnixMicro())
		if all, next, err := conn.Revocations(t.Context(), org, "", 100); len(all) != 50 || next != "" || err != nil {
			t.Errorf("%d listed, %q, %v; want 50 at once", len(all), next, err)
		}
		for i, want := range []int64{201, 101, 51, 51} { // the first adds one
			revoke(t, conn, org, lua.Revocation{Name: subject})
			if got := storedRevocations(t, rdb, org); got != [2]int64{want, want} {
				t.Errorf("change %d: %d stored, want %d", i, got, want)
			}
		}
		plant(t, rdb, org, "more", 100, time.Now().Add(-time.Hour).UnixMicro())
		if err := conn.LiftRevocation(t.Context(), org, subject, audit.Line{}); err != nil {
			t.Errorf("LiftRevocation: %v", err)
		}
		if got := storedRevocations(t, rdb, org); got != [2]int64{50, 50} {
			t.Errorf("%d stored after a lift, want 50", got)
		}
	})
}

// TestRevocationsAreBounded: a hundred thousand, of which those that have ended make room.
func TestRevocationsAreBounded(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		live := time.Now().Add(time.Hour).UnixMicro()
		plant(t, rdb, org, "live", lua.MaxRevocations-1, live)
		other := subject
		other.Value = "noah"
		_, err := conn.Revoke(t.Context(), org, lua.Revocation{Name: subject}, 1e12, audit.Line{})
		if err != nil {
			t.Errorf("the last: %v", err)
		}
		line := lineOf(t, audit.Entry{Action: "x"})
		_, err = conn.Revoke(t.Context(), org, lua.Revocation{Name: other}, 1e12, line)
		if got := storedRevocations(t, rdb, org); !errors.Is(err, lua.ErrRevocationTooMany) || got[0] != lua.MaxRevocations || len(trailOf(t, conn, org)) != 0 {
			t.Errorf("one more: %v, %d stored; want %v", err, got, lua.ErrRevocationTooMany)
		}
		revoke(t, conn, org, lua.Revocation{Name: subject})
		plant(t, rdb, org, "live", 1, time.Now().Add(-time.Hour).UnixMicro()) // the first of them ended
		revoke(t, conn, org, lua.Revocation{Name: other})
		if got := storedRevocations(t, rdb, org); got[0] != lua.MaxRevocations || got[1] != got[0] {
			t.Errorf("%d stored, want as many as may be", got)
		}
		if got := admit(t, conn, lua.Check{Token: bearer(org)}); got[0].Status != lua.Revoked {
			t.Errorf("among so many: %+v, want it revoked", got[0])
		}
	})
}

// TestRevocationsOutlive: the TTLs never end before an entry does, in whatever order entries are written.
func TestRevocationsOutlive(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		keys := []string{lua.RevokedKey(org), lua.RevokedUntilKey(org)}
		latest := int64(0)
		check := func(what string) {
			t.Helper()
			for _, key := range keys {
				at, err := rdb.PExpireTime(t.Context(), key).Result()
				if got := at.Microseconds(); err != nil || got < latest || got > latest+2000 {
					t.Errorf("%s: %s ends %v after its last entry (%v), want 0 to 2 ms", what, key, time.Duration(got-latest)*time.Microsecond, err)
				}
			}
		}
		for i, keep := range []time.Duration{time.Hour, 48 * time.Hour, time.Minute, 400 * 24 * time.Hour, time.Hour} {
			name := subject
			name.Value = fmt.Sprint(i)
			r, err := conn.Revoke(t.Context(), org, lua.Revocation{Name: name}, keep.Microseconds(), audit.Line{})
			if err != nil {
				t.Fatalf("Revoke: %v", err)
			}
			latest = max(latest, r.Until)
			check(fmt.Sprint("kept for ", keep))
		}
		for _, key := range keys {
			if err := rdb.Persist(t.Context(), key).Err(); err != nil {
				t.Fatalf("PERSIST: %v", err)
			}
		}
		revoke(t, conn, org, lua.Revocation{Name: subject})
		check("persisted")
		// The ends alone are lost: what is left refuses as long as before.
		if err := rdb.Del(t.Context(), keys[1]).Err(); err != nil {
			t.Fatalf("DEL: %v", err)
		}
		keys = keys[:1]
		revoke(t, conn, org, lua.Revocation{Name: subject})
		check("the ends are lost")
	})
}

func tokenName(value string) lua.Name {
	return lua.Name{Kind: lua.NameToken, Issuer: "i:", Value: value}
}

// TestRevocationPages: a page goes on where the one before ended, whatever became of its last entry meanwhile.
func TestRevocationPages(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn := connOf(t, rdb)
		for what, change := range map[string]func(t *testing.T, org string){
			"nothing": func(*testing.T, string) {},
			"lifted": func(t *testing.T, org string) {
				if err := conn.LiftRevocation(t.Context(), org, tokenName("b"), audit.Line{}); err != nil {
					t.Errorf("LiftRevocation: %v", err)
				}
			},
			"revoked again, for longer": func(t *testing.T, org string) {
				revoke(t, conn, org, lua.Revocation{Name: tokenName("b"), Until: time.Now().Add(3 * time.Hour).UnixMicro()})
			},
		} {
			t.Run(what, func(t *testing.T) {
				org, at := redistest.Org(t), time.Now().Add(time.Hour).UnixMicro()
				for i, value := range []string{"a", "b", "c", "d"} {
					revoke(t, conn, org, lua.Revocation{Name: tokenName(value), Until: at + int64(i)})
				}
				page, next, err := conn.Revocations(t.Context(), org, "", 2)
				if err != nil || len(page) != 2 || page[1].Name != tokenName("b") || next == "" {
					t.Fatalf("%+v, %q, %v", page, next, err)
				}
				change(t, org)
				page, next, err = conn.Revocations(t.Context(), org, next, 2)
				if err != nil || len(page) != 2 || page[0].Name != tokenName("c") || page[1].Name != tokenName("d") || (next == "") == (what == "revoked again, for longer") {
					t.Errorf("%+v, %q, %v; want c and d", page, next, err)
				}
			})
		}
		for _, bad := range []string{"x", ":", "5", "5:", "x:token:i:v", "-5:token:i:v", "99999999999999999999:token:i:v", "9007199254740992:a"} {
			if _, _, err := conn.Revocations(t.Context(), redistest.Org(t), bad, 5); !errors.Is(err, lua.ErrCursor) {
				t.Errorf("after %q: %v, want ErrCursor", bad, err)
			}
		}
	})
}

// TestRevocationPagesOfOneEnd: whoever stands among many that end at one moment, when the last that he saw is lifted,
// sees some again and misses none.
func TestRevocationPagesOfOneEnd(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org, at, seen := connOf(t, rdb), redistest.Org(t), time.Now().Add(time.Hour).UnixMicro(), map[string]int{}
		for _, value := range []string{"a", "b", "c", "d", "e"} {
			revoke(t, conn, org, lua.Revocation{Name: tokenName(value), Until: at})
		}
		for after, pages := "", 0; pages == 0 || after != ""; pages++ {
			page, next, err := conn.Revocations(t.Context(), org, after, 2)
			if err != nil || pages > 5 {
				t.Fatalf("page %d: %v", pages, err)
			}
			for _, r := range page {
				seen[r.Name.Value]++
			}
			if after = next; pages == 0 {
				if err := conn.LiftRevocation(t.Context(), org, tokenName("b"), audit.Line{}); err != nil {
					t.Fatalf("LiftRevocation: %v", err)
				}
			}
		}
		if len(seen) != 5 || seen["e"] != 1 {
			t.Errorf("seen %v, want all", seen)
		}
	})
}

// TestRevocationPagesLeaveOut an end without its entry, which refuses nobody, and what is no name of a token.
func TestRevocationPagesLeaveOut(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org, at := connOf(t, rdb), redistest.Org(t), time.Now().Add(time.Hour).UnixMicro()
		for _, value := range []string{"a", "b", "c"} {
			revoke(t, conn, org, lua.Revocation{Name: tokenName(value), Until: at})
		}
		if err := rdb.HDel(t.Context(), lua.RevokedKey(org), tokenName("c").Field()).Err(); err != nil {
			t.Fatalf("HDEL: %v", err)
		}
		for _, field := range []string{"tenant:i:v", "token:i", "token:%69:v", "token:i:v:w"} {
			if err := rdb.HSet(t.Context(), lua.RevokedKey(org), field, fmt.Sprint("1 ", at, " 1 {}")).Err(); err != nil {
				t.Fatalf("HSET: %v", err)
			}
			if err := rdb.ZAdd(t.Context(), lua.RevokedUntilKey(org), redis.Z{Score: float64(at), Member: field}).Err(); err != nil {
				t.Fatalf("ZADD: %v", err)
			}
		}
		if all, next, err := conn.Revocations(t.Context(), org, "", 20); err != nil || len(all) != 2 || next != "" {
			t.Errorf("%+v, %q, %v; want a and b", all, next, err)
		}
	})
}
