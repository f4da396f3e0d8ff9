package service

import (
	"context"
	"net/http"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
)

// never is a limit a second that is not reached.
const never = 1_000_000

// redisRate is what people write: find the key in memory, ask redis_rate.
func redisRate(_ context.Context, s Setup) (*Service, error) {
	rdb, keys := s.Place.Client(), newKnown(s)
	limiter, limit := redis_rate.NewLimiter(rdb), redis_rate.PerSecond(never)
	return mounted(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			project, ok := keys.of(r)
			if !ok {
				http.Error(w, "unknown key", http.StatusUnauthorized)
				return
			}
			answer, err := limiter.Allow(r.Context(), s.Place.Prefix+":http:"+project, limit)
			if refused(w, answer, err) {
				return
			}
			next.ServeHTTP(w, r)
		})
	}, rdb.Close), nil
}

// naive is what people write first: a round trip for the key's record, one for the limit, one for the usage.
func naive(ctx context.Context, s Setup) (*Service, error) {
	rdb := s.Place.Client()
	limiter, limit := redis_rate.NewLimiter(rdb), redis_rate.PerSecond(never)
	if _, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, key := range s.Keys {
			pipe.HSet(ctx, s.Place.Prefix+":naive:"+key, "org", "demo", "project", s.Projects[i], "state", "active")
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return mounted(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			record, err := rdb.HGetAll(r.Context(), s.Place.Prefix+":naive:"+bearerOf(r)).Result()
			if err != nil || record["project"] == "" {
				http.Error(w, "unknown key", http.StatusUnauthorized)
				return
			}
			answer, err := limiter.Allow(r.Context(), s.Place.Prefix+":naive:"+record["project"], limit)
			if refused(w, answer, err) {
				return
			}
			next.ServeHTTP(w, r)
			usage := s.Place.Prefix + ":usage:" + record["project"]
			_, _ = rdb.Pipelined(r.Context(), func(pipe redis.Pipeliner) error { // such a service would log it
				pipe.HIncrBy(r.Context(), usage, "search", 1)
				pipe.Expire(r.Context(), usage, 24*time.Hour)
				return nil
			})
		})
	}, rdb.Close), nil
}

// refused answers where redis_rate did not let a request pass.
func refused(w http.ResponseWriter, answer *redis_rate.Result, err error) bool {
	switch {
	case err != nil:
		http.Error(w, "try again", http.StatusServiceUnavailable)
	case answer.Allowed == 0:
		http.Error(w, "too many", http.StatusTooManyRequests)
	default:
		return false
	}
	return true
}
