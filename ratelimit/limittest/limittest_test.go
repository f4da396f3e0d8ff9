package limittest_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
	"github.com/tollgate-go/tollgate/ratelimit/limittest"
)

func TestLimiter(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		limittest.Run(t, func(t *testing.T) limittest.Limiter {
			// A thousand at once, under the race detector, are no test of speed.
			limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(time.Minute))
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			return limiter
		})
	}, redistest.OrEmbedded())
}
