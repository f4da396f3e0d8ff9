package lua_test

import (
	"errors"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

var proofKey = regexp.MustCompile(`^tg1:proof:[A-Za-z0-9_-]{43}$`)

func TestProofKeysNeverMeet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		thumbprint, id := part.Draw(t, "thumbprint"), part.Draw(t, "id")
		otherThumbprint, otherID := part.Draw(t, "other thumbprint"), part.Draw(t, "other id")
		if rapid.Bool().Draw(t, "cut elsewhere") {
			both := thumbprint + ":" + id
			at := rapid.IntRange(0, len(both)-1).Draw(t, "at")
			otherThumbprint, otherID = both[:at], both[at+1:]
		}
		a, b := lua.ProofKey(thumbprint, id), lua.ProofKey(otherThumbprint, otherID)
		if same := thumbprint == otherThumbprint && id == otherID; (a == b) != same {
			t.Errorf("%q and %q give %q, %q and %q give %q", thumbprint, id, a, otherThumbprint, otherID, b)
		}
		if !proofKey.MatchString(a) {
			t.Errorf("ProofKey(%q, %q) = %q, want one without a hash tag", thumbprint, id, a)
		}
	})
}

func TestUseProof(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, key := connOf(t, rdb), redistest.Org(t)
		if err := conn.UseProof(t.Context(), key, "p", time.Minute); err != nil {
			t.Fatalf("first use: %v", err)
		}
		if ttl := rdb.PTTL(t.Context(), lua.ProofKey(key, "p")).Val(); ttl <= 0 || ttl > time.Minute {
			t.Errorf("the mark lasts %v, want up to a minute", ttl)
		}
		if err := conn.UseProof(t.Context(), key, "p", time.Hour); !errors.Is(err, lua.ErrProofUsed) {
			t.Errorf("second use: %v, want %v", err, lua.ErrProofUsed)
		}
		if ttl := rdb.PTTL(t.Context(), lua.ProofKey(key, "p")).Val(); ttl > time.Minute {
			t.Errorf("the mark lasts %v after a second use, want no more than before", ttl)
		}
		if err := conn.UseProof(t.Context(), key, "q", time.Minute); err != nil {
			t.Errorf("another id: %v", err)
		}
		if err := conn.UseProof(t.Context(), key+"-2", "p", time.Minute); err != nil {
			t.Errorf("the same id by another key: %v", err)
		}
		if err := conn.UseProof(t.Context(), key, "short", 0); err != nil {
			t.Errorf("a life below a millisecond: %v", err)
		}
		// What is not ours under our key is no leave to pass.
		if err := rdb.RPush(t.Context(), lua.ProofKey(key, "list"), "x").Err(); err != nil {
			t.Fatal(err)
		}
		rdb.PExpire(t.Context(), lua.ProofKey(key, "list"), time.Minute)
		if err := conn.UseProof(t.Context(), key, "list", time.Minute); !errors.Is(err, lua.ErrProofUsed) {
			t.Errorf("a list in its place: %v, want %v", err, lua.ErrProofUsed)
		}
	})
}

func TestOneUseOfMany(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, key := connOf(t, rdb), redistest.Org(t)
		var passed atomic.Int32
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				switch err := conn.UseProof(t.Context(), key, "p", time.Minute); {
				case err == nil:
					passed.Add(1)
				case !errors.Is(err, lua.ErrProofUsed):
					t.Errorf("UseProof: %v", err)
				}
			})
		}
		all.Wait()
		if passed.Load() != 1 {
			t.Errorf("%d uses passed, want 1", passed.Load())
		}
	})
}
