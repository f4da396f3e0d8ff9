package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// harms are what may be found under a key that is none of ours.
var harms = map[string]func(ctx context.Context, rdb redis.UniversalClient, key string) error{
	"text": func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.Set(ctx, key, "abc", 0).Err()
	},
	"empty": func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.Set(ctx, key, "", 0).Err()
	},
	"largest": func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.Set(ctx, key, "9223372036854775807", 0).Err()
	},
	"least": func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.Set(ctx, key, "-9223372036854775808", 0).Err()
	},
	"state": func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.Set(ctx, key, "s:1:0:1:0:1:1:1:1", 0).Err()
	},
	"list": func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.RPush(ctx, key, "a").Err()
	},
	"hash": func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.HSet(ctx, key, "keys", "x", "limits", "-1").Err()
	},
	"set": func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.ZAdd(ctx, key, redis.Z{Member: "a"}).Err()
	},
}

// TestDamageIsNotShared damages what one request reads, and has it travel with others in one call: these are decided as
// ever, and it is decided or told that it was not.
func TestDamageIsNotShared(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for name, harm := range harms {
			for _, what := range []string{"state", "count", "epoch"} {
				t.Run(what+" is "+name, func(t *testing.T) {
					c := newCrowd(t, rdb)
					p := ratelimit.PerHour(100)
					good, bad := c.request(1, p, p.Fixed().Named("fixed"), p.Bucket(100).Named("bucket")), c.request(1, p)
					bad.Org = orgIn(t, bucket.Of(c.org))
					for range 3 { // so that there are frames
						c.admit(good)
						c.admit(bad)
					}
					_, open := c.hold(good)
					key := lua.LimitKey(bad.Org, "project", "shop", endpoint, "requests", lua.Sliding)
					switch what {
					case "count":
						key = lua.CountKey(key)
					case "epoch":
						key = lua.EpochKey(bad.Org)
					}
					must(t, rdb.Del(t.Context(), key).Err())
					must(t, harm(t.Context(), rdb, key))
					before, _ := c.valve.count()
					var well []*decided
					for range 4 {
						well = append(well, c.ask(t.Context(), good))
						ill := c.ask(t.Context(), bad)
						defer func() {
							if ill.err != nil && !errors.Is(ill.err, ratelimit.ErrUnavailable) {
								t.Errorf("the damaged: %v, %v", ill.Decision, ill.err)
							}
						}()
					}
					open()
					for i, d := range well {
						if d.err != nil || !d.Allowed {
							t.Fatalf("neighbour %d: %v, %v", i, d.Decision, d.err)
						}
						for _, result := range d.Results {
							if result.Used != int64(5+i) {
								t.Errorf("neighbour %d: %d used of %s, want %d", i, result.Used, result.Policy, 5+i)
							}
						}
					}
					// The first; one call for all; and what the damaged ask again.
					if calls, _ := c.valve.count(); calls > before+2+8 {
						t.Errorf("%d calls: they did not travel together", calls-before)
					}
					if what != "epoch" {
						if d := c.admit(bad); !d.Allowed || d.Results[0].Used > 9 {
							t.Errorf("the damaged afterwards: %v", d)
						}
					}
				})
			}
		}
	})
}

// TestInvalidIsNotShared: a number that is out of bounds is its request's alone, and is not even sent.
func TestInvalidIsNotShared(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newCrowd(t, rdb)
		good := c.request(1, ratelimit.PerHour(100))
		first, open := c.hold(good)
		second := c.ask(t.Context(), good)
		for _, cost := range []int64{-1, ratelimit.MaxLimit + 1} {
			bad := c.request(cost, ratelimit.PerHour(100))
			if _, err := c.limiter.Admit(t.Context(), bad); !errors.Is(err, ratelimit.ErrInvalid) {
				t.Errorf("cost %d: %v, want ErrInvalid", cost, err)
			}
		}
		open()
		for _, d := range []*decided{first, second} {
			if d.err != nil || !d.Allowed {
				t.Errorf("beside it: %v, %v", d.Decision, d.err)
			}
		}
	})
}

// TestBrokenBatchIsAlone has one bucket's batch in a pipeline meet a script that fails, or that the server does not
// know. The others are decided, and what is unknown is sent again with its text.
func TestBrokenBatchIsAlone(t *testing.T) {
	t.Parallel()
	rdb := redistest.Cluster(t)
	var buckets []string // of one server
	for b := range bucket.All() {
		if masterOf(t, rdb, "{"+b+"}") == masterOf(t, rdb, "{00}") && len(buckets) < 4 {
			buckets = append(buckets, b)
		}
	}
	const script = "return redis.error_reply('ERR of a test')"
	must(t, rdb.(*redis.ClusterClient).ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
		return node.ScriptLoad(ctx, script).Err()
	}))
	failing := redis.NewScript(script).Hash()
	for name, digest := range map[string]string{"fails": failing, "is not known": fmt.Sprintf("%040d", 7)} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, rdb)
			var requests []ratelimit.Request
			for _, b := range buckets {
				r := c.request(1, ratelimit.PerHour(100))
				r.Org = orgIn(t, b)
				requests = append(requests, r)
			}
			c.warm(requests...)
			_, open := c.hold(requests[0])
			var all []*decided
			for i := range 12 {
				all = append(all, c.ask(t.Context(), requests[i%len(requests)]))
			}
			c.valve.mu.Lock()
			c.valve.alter = func(batches []redis.Cmder) {
				for _, cmd := range batches {
					if _, keys, _ := redistest.Call(cmd); len(batches) == len(buckets) && lua.BucketOf(keys[0]) == lua.BucketOf("tg1:{"+buckets[1]+"}") {
						cmd.Args()[1] = digest
					}
				}
			}
			c.valve.mu.Unlock()
			open()
			for i, d := range all {
				if i%len(requests) == 1 && name == "fails" {
					if !errors.Is(d.err, ratelimit.ErrUnavailable) {
						t.Errorf("request %d: %v, %v; want ErrUnavailable", i, d.Decision, d.err)
					}
				} else if d.err != nil || !d.Allowed {
					t.Errorf("request %d: %v, %v", i, d.Decision, d.err)
				}
			}
			want := int64(3)
			if name == "fails" {
				want = 0
			}
			if used := c.used(rdb, requests[1])[0]; used != want {
				t.Errorf("%d used of the broken, want %d", used, want)
			}
		})
	}
}
