package lua_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestClaims(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		claim := func(request, body, owner string) lua.Claimed {
			t.Helper()
			got, err := conn.Claim(t.Context(), org, request, body, owner, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		lasts := func(request string, least, most time.Duration) {
			t.Helper()
			if ttl := rdb.PTTL(t.Context(), lua.IdempotencyKey(org, request)).Val(); ttl < least || ttl > most {
				t.Errorf("%s lasts %v, want %v to %v", request, ttl, least, most)
			}
		}
		if got := claim("r", "b", "1"); got != (lua.Claimed{State: lua.ClaimTaken}) {
			t.Fatalf("first: %+v", got)
		}
		lasts("r", time.Second, time.Minute)
		if got := claim("r", "b", "2"); got.State != lua.ClaimUnderWay || got.Wait <= 0 || got.Wait > time.Minute {
			t.Errorf("under way: %+v", got)
		}
		if got := claim("r", "c", "2"); got != (lua.Claimed{State: lua.ClaimMismatch}) {
			t.Errorf("another body: %+v", got)
		}
		if got := claim("other", "b", "2"); got.State != lua.ClaimTaken {
			t.Errorf("another request: %+v", got)
		}
		if err := conn.FinishClaim(t.Context(), org, "r", "b", "2", "k", "c", time.Hour); !errors.Is(err, lua.ErrClaimLost) {
			t.Errorf("finish of another's: %v", err)
		}
		if err := conn.ReleaseClaim(t.Context(), org, "r", "2"); !errors.Is(err, lua.ErrClaimLost) {
			t.Errorf("release of another's: %v", err)
		}
		if err := conn.FinishClaim(t.Context(), org, "r", "b", "1", "k", "c", time.Hour); err != nil {
			t.Errorf("finish: %v", err)
		}
		lasts("r", 59*time.Minute, time.Hour)
		if got := claim("r", "b", "3"); got != (lua.Claimed{State: lua.ClaimFinished, Key: "k", Credential: "c"}) {
			t.Errorf("finished: %+v", got)
		}
		if got := claim("r", "c", "3"); got != (lua.Claimed{State: lua.ClaimMismatch}) {
			t.Errorf("another body after the end: %+v", got)
		}
		if err := conn.ReleaseClaim(t.Context(), org, "r", "1"); !errors.Is(err, lua.ErrClaimLost) {
			t.Errorf("release of what is finished: %v", err)
		}
		if err := conn.ReleaseClaim(t.Context(), org, "other", "2"); err != nil {
			t.Errorf("release: %v", err)
		}
		if got := claim("other", "c", "4"); got.State != lua.ClaimTaken {
			t.Errorf("after release: %+v", got)
		}
		// A claim that ended by itself is finished nevertheless, unless somebody else has it.
		if err := conn.FinishClaim(t.Context(), org, "late", "b", "1", "k", "c", time.Hour); err != nil {
			t.Errorf("late finish: %v", err)
		}
		if got := claim("late", "b", "2"); got.State != lua.ClaimFinished {
			t.Errorf("after a late finish: %+v", got)
		}
	})
}

func TestOneOfManyClaims(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		var taken atomic.Int32
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				got, err := conn.Claim(t.Context(), org, "r", "b", string(rune('a'+i)), time.Minute)
				if err != nil {
					t.Errorf("Claim: %v", err)
				}
				if got.State == lua.ClaimTaken {
					taken.Add(1)
				}
			})
		}
		all.Wait()
		if taken.Load() != 1 {
			t.Errorf("%d took it", taken.Load())
		}
	})
}

// A hash that lost its owner is damage, and must not lock anybody out.
func TestDamagedClaimIsNone(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, org := connOf(t, rdb), redistest.Org(t)
		if err := rdb.HSet(t.Context(), lua.IdempotencyKey(org, "r"), "body", "b", "key", "k").Err(); err != nil {
			t.Fatal(err)
		}
		got, err := conn.Claim(t.Context(), org, "r", "b", "1", time.Minute)
		if err != nil || got != (lua.Claimed{State: lua.ClaimTaken}) {
			t.Errorf("%+v, %v", got, err)
		}
		if err := rdb.Set(t.Context(), lua.IdempotencyKey(org, "text"), "x", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Claim(t.Context(), org, "text", "b", "1", time.Minute); lua.Classify(err) != lua.ClassConfig {
			t.Errorf("a text: %v", err)
		}
	})
}
