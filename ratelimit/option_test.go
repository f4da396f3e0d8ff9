package ratelimit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	timeout, orgs := ratelimit.WithTimeout, ratelimit.WithCachedOrgs
	prepared, refusals, inFlight, queue := ratelimit.WithPrepared, ratelimit.WithRefusals, ratelimit.WithInFlight, ratelimit.WithQueue
	for _, tt := range []struct {
		name string
		rdb  redis.UniversalClient
		opts []ratelimit.Option
		want []string // what the error says; none: no error
	}{
		{"defaults", rdb, nil, nil},
		{"least", rdb, []ratelimit.Option{timeout(time.Millisecond), orgs(1)}, nil},
		{"most", rdb, []ratelimit.Option{timeout(time.Minute), orgs(1_000_000)}, nil},
		{"least of a limiter", rdb, []ratelimit.Option{prepared(1), refusals(0), inFlight(1), queue(1)}, nil},
		{"most of a limiter", rdb, []ratelimit.Option{prepared(10_000_000), refusals(time.Minute), inFlight(64), queue(1_000_000)}, nil},
		{"no client", nil, nil, []string{"client is nil"}},
		{"nil client", (*redis.Client)(nil), nil, []string{"client is nil"}},
		{"nil option", rdb, []ratelimit.Option{timeout(time.Second), nil}, []string{"number 2 is nil"}},
		{"all at once", nil, []ratelimit.Option{timeout(0), orgs(0), nil, ratelimit.WithSealer(nil), ratelimit.WithLogger(nil)},
			[]string{"client is nil", "WithTimeout(0s)", "WithCachedOrgs(0)", "number 3 is nil", "WithSealer(nil)", "WithLogger(nil)"}},
		{"too long", rdb, []ratelimit.Option{timeout(time.Minute + 1)}, []string{"WithTimeout", "1m"}},
		{"too many", rdb, []ratelimit.Option{orgs(1_000_001)}, []string{"WithCachedOrgs(1000001)"}},
		{"too few for a limiter", rdb, []ratelimit.Option{prepared(0), refusals(-1), inFlight(0), queue(0)},
			[]string{"WithPrepared(0) must be 1 to 10000000", "WithRefusals(-1ns) must be 0 to 1m", "WithInFlight(0) must be 1 to 64", "WithQueue(0) must be 1 to 1000000"}},
		{"too many for a limiter", rdb, []ratelimit.Option{prepared(10_000_001), refusals(time.Minute + 1), inFlight(65), queue(1_000_001)},
			[]string{"WithPrepared(10000001)", "WithRefusals(1m0.000000001s)", "WithInFlight(65)", "WithQueue(1000001)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			limiter, limiterErr := ratelimit.New(tt.rdb, tt.opts...)
			overrides, overridesErr := ratelimit.NewOverrides(tt.rdb, tt.opts...)
			plans, plansErr := ratelimit.NewPlans(tt.rdb, tt.opts...)
			ok := len(tt.want) == 0
			if (limiter != nil) != ok || (overrides != nil) != ok || (plans != nil) != ok {
				t.Errorf("New = %v, NewOverrides = %v, NewPlans = %v", limiter, overrides, plans)
			}
			for _, err := range []error{limiterErr, overridesErr, plansErr} {
				if (err == nil) != ok {
					t.Errorf("error %v, want one: %t", err, !ok)
				}
				for _, text := range tt.want {
					if err != nil && !strings.Contains(err.Error(), text) {
						t.Errorf("error %q does not say %q", err, text)
					}
				}
			}
		})
	}
}
