package lua_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// BenchmarkAdmitBatch charges 64 projects of 16 orgs a call, of 1,000. us/check is the CPU of a Redis of its own.
func BenchmarkAdmitBatch(b *testing.B) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(b)})
	defer rdb.Close()
	conn, err := lua.NewConn(rdb)
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []struct {
		name   string
		frames bool
		charge lua.Charge
	}{
		{"sliding, framed", true, lua.Charge{Algorithm: lua.Sliding, Limit: 1e8, Window: 60e6}},
		{"fixed, framed", true, lua.Charge{Algorithm: lua.Fixed, Limit: 1e8, Window: 60e6}},
		{"GCRA, framed", true, lua.Charge{Algorithm: lua.GCRA, Limit: 1e6, Burst: 1e6, Window: 1e6}},
		{"sliding", false, lua.Charge{Algorithm: lua.Sliding, Limit: 1e8, Window: 60e6}},
		{"GCRA", false, lua.Charge{Algorithm: lua.GCRA, Limit: 1e6, Burst: 1e6, Window: 1e6}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			checks, answers := make([]lua.Check, 1024), make([]lua.Answer, 1024)
			for i := range checks {
				org := fmt.Sprintf("org%d", i%16)
				c := kind.charge
				c.Key, c.Units, c.Role, c.Change = lua.LimitKey(org, "project", fmt.Sprint(i), "GET /", "requests", c.Algorithm), 1, lua.Enforced, lua.NoChange
				if kind.frames {
					c.Frame = new(lua.Frame)
				}
				checks[i] = lua.Check{Epochs: []lua.Held{{Key: lua.EpochKey(org)}}, Charges: []lua.Charge{c}}
			}
			var batch lua.Batch
			pass := func(from, n int) {
				batch.Reset()
				for i := from; i < from+n; i++ {
					batch.Add(&checks[i], 1, &answers[i])
				}
				if err := conn.AdmitBatch(context.Background(), &batch); err != nil {
					b.Fatal(err)
				}
				for i := from; i < from+n; i++ {
					if s := &answers[i].States[0]; answers[i].Status != lua.Allowed {
						b.Fatalf("%+v", answers[i])
					} else if kind.frames {
						frame := s.Frame
						checks[i].Charges[0].Frame = &frame
					}
				}
			}
			pass(0, 64)
			before, checked := redistest.CPU(b, rdb), 0
			b.ReportAllocs()
			for b.Loop() {
				pass(checked%1024, 64)
				checked += 64
			}
			b.ReportMetric((redistest.CPU(b, rdb)-before).Seconds()*1e6/float64(checked), "redis-us/check")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(checked), "ns/check")
		})
	}
}
