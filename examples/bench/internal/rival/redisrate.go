package rival

import (
	"context"
	"errors"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/bench/internal/contest"
)

// NameRedisRate is what others are compared with, and NameRedisRateThree what three policies in one request are.
const (
	NameRedisRate      = "redis_rate"
	NameRedisRateThree = "redis_rate, 3 calls"
)

// RedisRate checks with redis_rate, whose GCRA is a Lua script for each check.
func RedisRate(p Place) contest.Contestant {
	return redisRate(p, NameRedisRate, 1, func(rdb redis.UniversalClient) (*redis_rate.Limiter, error) {
		return redis_rate.NewLimiter(rdb), nil
	})
}

// RedisRateThree checks three limits of a request, one after the other, as its users have to.
func RedisRateThree(p Place) contest.Contestant {
	return redisRate(p, NameRedisRateThree, 3, func(rdb redis.UniversalClient) (*redis_rate.Limiter, error) {
		return redis_rate.NewLimiter(rdb), nil
	})
}

// RedisRateAutoPipeline is RedisRate on a client that puts the commands of concurrent callers into pipelines.
func RedisRateAutoPipeline(p Place) contest.Contestant {
	return redisRate(p, "redis_rate, AutoPipeline", 1, func(rdb redis.UniversalClient) (*redis_rate.Limiter, error) {
		pipeline, err := autoPipeline(rdb)
		if err != nil {
			return nil, err
		}
		return redis_rate.NewLimiter(pipeline), nil
	})
}

// autoPipeline is not a method of redis.UniversalClient. It ends with its client.
func autoPipeline(rdb redis.UniversalClient) (*redis.AutoPipeliner, error) {
	if c, ok := rdb.(interface {
		AutoPipeline() (*redis.AutoPipeliner, error)
	}); ok {
		return c.AutoPipeline()
	}
	return nil, errors.New("the client has no AutoPipeline")
}

func redisRate(p Place, name string, calls int, limiter func(redis.UniversalClient) (*redis_rate.Limiter, error)) contest.Contestant {
	return contest.Contestant{Name: name, Open: func(_ context.Context, limits contest.Limits, keys int) (*contest.Running, error) {
		rdb := p.Client()
		l, err := limiter(rdb)
		if err != nil {
			return nil, errors.Join(err, rdb.Close())
		}
		limit := redis_rate.PerHour(1)
		if limits == contest.Allowing {
			limit = redis_rate.PerSecond(never)
		}
		var names [][]string
		for i := range calls {
			names = append(names, p.names(name+string(rune('a'+i)), limits, keys))
		}
		check := func(ctx context.Context, key int) (bool, error) {
			for _, of := range names {
				answer, err := l.Allow(ctx, of[key], limit)
				if err != nil || answer.Allowed == 0 {
					return false, err
				}
			}
			return true, nil
		}
		return &contest.Running{Caller: func() contest.Check { return check }, Close: rdb.Close}, nil
	}}
}
