package ratelimit_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// BenchmarkPrepared decides requests of 16 orgs by 1, 16 and 128 callers, on a Redis of its own: redis-us/op is its CPU.
func BenchmarkPrepared(b *testing.B) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(b)})
	defer rdb.Close()
	for _, kind := range []struct {
		name   string
		keys   int
		policy ratelimit.Policy
	}{
		{"strict", 1000, ratelimit.PerMinute(100_000_000)},
		{"GCRA", 1000, ratelimit.PerSecond(1_000_000).Bucket(1_000_000)},
		{"hot", 1, ratelimit.PerMinute(1_000_000_000)},
		{"ahead 100", 1000, ratelimit.PerMinute(1_000_000_000).Ahead(100)},
		{"ahead 100000", 1, ratelimit.PerMinute(1_000_000_000_000).Ahead(100_000)},
		{"refused", 1000, ratelimit.PerHour(0)},
	} {
		for _, callers := range []int{1, 16, 128} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, callers), func(b *testing.B) {
				limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(time.Second), ratelimit.WithRefusals(100*time.Millisecond))
				if err != nil {
					b.Fatal(err)
				}
				defer limiter.Close(b.Context())
				prepared := make([]*ratelimit.Prepared, kind.keys)
				for i := range prepared {
					prepared[i], err = limiter.Prepare(ratelimit.Request{
						Org: fmt.Sprint("org", i%16), Project: fmt.Sprint(i), Endpoint: "GET /v1/search", Charges: []ratelimit.Charge{{Policy: kind.policy, Cost: 1}},
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				var next atomic.Uint64
				work := func(more func() bool) {
					var d ratelimit.Decision
					for i := next.Add(7919); more(); i++ {
						if err := prepared[i%uint64(kind.keys)].Admit(b.Context(), ratelimit.Call{}, &d); err != nil {
							b.Error(err)
						}
					}
				}
				b.ReportAllocs()
				before := redistest.CPU(b, rdb)
				if callers == 1 {
					work(b.Loop)
				} else {
					b.SetParallelism(callers / 2)
					b.RunParallel(func(pb *testing.PB) { work(pb.Next) })
				}
				b.ReportMetric((redistest.CPU(b, rdb)-before).Seconds()*1e6/float64(b.N), "redis-us/op")
			})
		}
	}
}
