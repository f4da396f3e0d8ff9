package rival

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-chi/httprate"
	httprateredis "github.com/go-chi/httprate-redis"
	"github.com/redis/go-redis/v9"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/goredisstore.v9"
	"github.com/ulule/limiter/v3"
	ululeredis "github.com/ulule/limiter/v3/drivers/store/redis"

	"github.com/tollgate-go/tollgate/examples/bench/internal/contest"
)

// onGoRedis makes a contestant whose callers are all alike.
func onGoRedis(p Place, name string, open func(redis.UniversalClient, contest.Limits) (func(context.Context, string) (bool, error), error)) contest.Contestant {
	return contest.Contestant{Name: name, Open: func(_ context.Context, limits contest.Limits, keys int) (*contest.Running, error) {
		rdb, names := p.Client(), p.names(name, limits, keys)
		ask, err := open(rdb, limits)
		if err != nil {
			return nil, errors.Join(err, rdb.Close())
		}
		check := func(ctx context.Context, key int) (bool, error) { return ask(ctx, names[key]) }
		return &contest.Running{Caller: func() contest.Check { return check }, Close: rdb.Close}, nil
	}}
}

// Throttled checks with throttled, whose GCRA reads, computes and compares-and-swaps.
func Throttled(p Place) contest.Contestant {
	return onGoRedis(p, "throttled", func(rdb redis.UniversalClient, limits contest.Limits) (func(context.Context, string) (bool, error), error) {
		store, err := goredisstore.NewCtx(rdb, "")
		if err != nil {
			return nil, err
		}
		quota := throttled.RateQuota{MaxRate: throttled.PerHour(1)}
		if limits == contest.Allowing {
			quota = throttled.RateQuota{MaxRate: throttled.PerSec(never), MaxBurst: never}
		}
		l, err := throttled.NewGCRARateLimiterCtx(store, quota)
		return func(ctx context.Context, name string) (bool, error) {
			limited, _, err := l.RateLimitCtx(ctx, name, 1)
			return !limited, err
		}, err
	})
}

// Ulule checks with ulule/limiter, whose fixed window is a Lua script.
func Ulule(p Place) contest.Contestant {
	return onGoRedis(p, "ulule/limiter", func(rdb redis.UniversalClient, limits contest.Limits) (func(context.Context, string) (bool, error), error) {
		store, err := ululeredis.NewStore(rdb)
		if err != nil {
			return nil, err
		}
		rate := limiter.Rate{Period: time.Hour, Limit: 1}
		if limits == contest.Allowing {
			rate = limiter.Rate{Period: time.Minute, Limit: raised}
		}
		l := limiter.New(store, rate)
		return func(ctx context.Context, name string) (bool, error) {
			answer, err := l.Get(ctx, name)
			return !answer.Reached, err
		}, nil
	})
}

// Httprate checks with httprate on httprate-redis, whose sliding window reads and then counts.
func Httprate(p Place) contest.Contestant {
	return onGoRedis(p, "httprate", func(rdb redis.UniversalClient, limits contest.Limits) (func(context.Context, string) (bool, error), error) {
		client, ok := rdb.(*redis.Client)
		if !ok {
			return nil, errors.New("httprate-redis takes one server alone")
		}
		requests, window := 1, time.Hour
		if limits == contest.Allowing {
			requests, window = raised, time.Minute
		}
		l := httprate.NewRateLimiter(requests, window,
			httprateredis.WithRedisLimitCounter(&httprateredis.Config{Client: client, PrefixKey: p.Prefix, FallbackDisabled: true}),
			httprate.WithErrorHandler(func(w http.ResponseWriter, _ *http.Request, err error) {
				if s, ok := w.(*silent); ok {
					s.err = err
				}
			}))
		return func(ctx context.Context, name string) (bool, error) {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
			if err != nil {
				return false, err
			}
			w := &silent{header: make(http.Header)}
			limited := l.OnLimit(w, r, name)
			return !limited, w.err
		}, nil
	})
}

// silent takes what httprate tells a client.
type silent struct {
	header http.Header
	err    error
}

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) Write(b []byte) (int, error) { return len(b), nil }
func (s *silent) WriteHeader(int)             {}
