package rival

import (
	"context"
	"time"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislimiter"

	"github.com/tollgate-go/tollgate/examples/bench/internal/contest"
)

// NameRueidis is the limiter of another client, which puts commands of concurrent callers into pipelines by itself.
const NameRueidis = "rueidislimiter"

// Rueidis checks with rueidislimiter, whose fixed window is a Lua script.
func Rueidis(p Place) contest.Contestant {
	return contest.Contestant{Name: NameRueidis, Open: func(_ context.Context, limits contest.Limits, keys int) (*contest.Running, error) {
		limit, window := 1, time.Hour
		if limits == contest.Allowing {
			limit, window = raised, time.Minute
		}
		var client rueidis.Client
		l, err := rueidislimiter.NewRateLimiter(rueidislimiter.RateLimiterOption{
			ClientOption: rueidis.ClientOption{InitAddress: p.Addrs},
			ClientBuilder: func(o rueidis.ClientOption) (c rueidis.Client, err error) {
				client, err = rueidis.NewClient(o)
				return client, err
			},
			KeyPrefix: p.Prefix, Limit: limit, Window: window,
		})
		if err != nil {
			return nil, err
		}
		names := p.names(NameRueidis, limits, keys)
		check := func(ctx context.Context, key int) (bool, error) {
			answer, err := l.Allow(ctx, names[key])
			return answer.Allowed, err
		}
		return &contest.Running{
			Caller: func() contest.Check { return check },
			Close:  func() error { client.Close(); return nil },
		}, nil
	}}
}
