package rival

import (
	"context"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/examples/bench/internal/contest"
)

// Names of what is no limiter that one would use, but a bound.
const (
	NameEvalSha     = "EVALSHA"
	NameEvalShaAuto = "EVALSHA, AutoPipeline"
	NamePing        = "PING"
	NameNaive       = "naive, 3 round trips"
)

const usageLife = 24 * time.Hour

// minimal is the least that a limiter can be: a fixed window.
const minimal = `local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return n`

// EvalSha runs the minimal script by go-redis, a call for each check.
func EvalSha(p Place) contest.Contestant {
	return onGoRedis(p, NameEvalSha, evalSha)
}

// EvalShaAutoPipeline is EvalSha on a client that puts the commands of concurrent callers into pipelines.
func EvalShaAutoPipeline(p Place) contest.Contestant {
	return onGoRedis(p, NameEvalShaAuto, func(rdb redis.UniversalClient, limits contest.Limits) (func(context.Context, string) (bool, error), error) {
		pipeline, err := autoPipeline(rdb)
		if err != nil {
			return nil, err
		}
		return evalSha(pipeline, limits)
	})
}

func evalSha(rdb redis.UniversalClient, limits contest.Limits) (func(context.Context, string) (bool, error), error) {
	limit, window := int64(1), 3_600_000
	if limits == contest.Allowing {
		limit, window = raised, 60_000
	}
	sha, err := rdb.ScriptLoad(context.Background(), minimal).Result()
	return func(ctx context.Context, name string) (bool, error) {
		n, err := rdb.EvalSha(ctx, sha, []string{name}, window).Int64()
		return n <= limit, err
	}, err
}

// Ping limits nothing: it is what a round trip costs.
func Ping(p Place) contest.Contestant {
	return onGoRedis(p, NamePing, func(rdb redis.UniversalClient, _ contest.Limits) (func(context.Context, string) (bool, error), error) {
		return func(ctx context.Context, _ string) (bool, error) {
			err := rdb.Ping(ctx).Err()
			return err == nil, err
		}, nil
	})
}

// Naive does what services do at first: read the record of the key, ask redis_rate, count the usage.
func Naive(p Place) contest.Contestant {
	return onGoRedis(p, NameNaive, func(rdb redis.UniversalClient, limits contest.Limits) (func(context.Context, string) (bool, error), error) {
		l, limit := redis_rate.NewLimiter(rdb), redis_rate.PerHour(1)
		if limits == contest.Allowing {
			limit = redis_rate.PerSecond(never)
		}
		return func(ctx context.Context, name string) (bool, error) {
			if err := rdb.HGetAll(ctx, name+":record").Err(); err != nil {
				return false, err
			}
			answer, err := l.Allow(ctx, name, limit)
			if err != nil || answer.Allowed == 0 {
				return false, err
			}
			_, err = rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.HIncrBy(ctx, name+":usage", "checks", 1)
				pipe.Expire(ctx, name+":usage", usageLife)
				return nil
			})
			return err == nil, err
		}, nil
	})
}
