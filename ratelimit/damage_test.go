package ratelimit_test

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestDamagedStampIsMended: a list does not show times that no JSON can hold, and to set it again mends it.
func TestDamagedStampIsMended(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, damage := range []string{`{"limit":"1","revision":"9000000000000000000"}`, `{"limit":"1","created":"9000000000000000000"}`, `{"limit":"1","created":"-1"}`, "{}"} {
			g := newGate(t, rdb)
			stored := g.set(ratelimit.Override{Limit: new(int64(1))})
			if err := rdb.HSet(t.Context(), lua.OverridesKey(g.org), stored.ID, damage).Err(); err != nil {
				t.Fatalf("HSET: %v", err)
			}
			if _, err := g.overrides.List(t.Context(), g.org); !errors.Is(err, ratelimit.ErrUnavailable) {
				t.Errorf("%s: List: %v, want ErrUnavailable", damage, err)
			}
			g.set(ratelimit.Override{Limit: new(int64(2))})
			all, err := g.overrides.List(t.Context(), g.org)
			if err != nil || len(all) != 1 || all[0].CreatedAt.Before(stored.CreatedAt) {
				t.Errorf("%s: mended: %+v, %v", damage, all, err)
			}
		}
	}, redistest.OrEmbedded())
}
