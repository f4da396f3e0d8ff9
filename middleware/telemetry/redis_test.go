package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/telemetry"
)

// server is a client of one server, which answers INFO as a test wants.
type server struct {
	redis.UniversalClient
	text  string
	err   error
	hang  chan struct{} // until it is closed, whatever the context says
	calls atomic.Int64
}

func (s *server) Info(ctx context.Context, _ ...string) *redis.StringCmd {
	s.calls.Add(1)
	if s.hang != nil {
		<-s.hang
	}
	cmd := redis.NewStringCmd(ctx)
	cmd.SetVal(s.text)
	cmd.SetErr(s.err)
	return cmd
}

func (s *server) evicted(n int) {
	s.text = fmt.Sprintf("maxmemory:1\r\nmaxmemory_policy:allkeys-lru\r\nevicted_keys:%d\r\n", n)
}

// ring is a client of several servers, by address.
type ring struct {
	redis.UniversalClient
	t     *testing.T
	nodes map[string]*server
}

func (r ring) ForEachShard(ctx context.Context, f func(context.Context, *redis.Client) error) error {
	for addr, s := range r.nodes {
		client := redis.NewClient(&redis.Options{
			Addr: addr, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		client.AddHook(answers{s})
		r.t.Cleanup(func() { client.Close() })
		if err := f(ctx, client); err != nil {
			return err
		}
	}
	return nil
}

// answers lets a server answer in place of a connection.
type answers struct{ *server }

func (answers) DialHook(next redis.DialHook) redis.DialHook { return next }

func (answers) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (a answers) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		cmd.(*redis.StringCmd).SetVal(a.Info(ctx).Val())
		cmd.SetErr(a.err)
		return a.err
	}
}

func mastersText(off, latent, on, unknown int) string {
	return fmt.Sprintf(`
# HELP tollgate_redis_masters Redis masters that answered, by what they do with keys when their memory is full.
# TYPE tollgate_redis_masters gauge
tollgate_redis_masters{eviction="off"} %d
tollgate_redis_masters{eviction="latent"} %d
tollgate_redis_masters{eviction="on"} %d
tollgate_redis_masters{eviction="unknown"} %d
`, off, latent, on, unknown)
}

func evictedText(n int) string {
	return `
# HELP tollgate_redis_evicted_keys_total Keys that Redis masters were seen to drop because their memory was full.
# TYPE tollgate_redis_evicted_keys_total counter
tollgate_redis_evicted_keys_total ` + strconv.Itoa(n) + "\n"
}

func errorsText(class string, n int) string {
	return fmt.Sprintf(`
# HELP tollgate_redis_errors_total Outages that a step met, by class.
# TYPE tollgate_redis_errors_total counter
tollgate_redis_errors_total{class=%q,step="info"} %d
`, class, n)
}

func TestRedis(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		want := 1
		if _, ok := rdb.(*redis.ClusterClient); ok {
			want = len(redistest.ClusterAddrs(t))
		}
		compare(t, newCollector(t, telemetry.WithRedis(rdb)), evictedText(0)+mastersText(want, 0, 0, 0),
			"tollgate_redis_masters", "tollgate_redis_evicted_keys_total", "tollgate_redis_errors_total")
	})
}

func TestRedisThatEvicts(t *testing.T) {
	t.Parallel()
	var opts []telemetry.Option
	for _, args := range [][]string{
		{"--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lfu"}, {"--maxmemory-policy", "volatile-ttl"}, {"--maxmemory", "64mb"},
	} {
		rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t, args...)})
		t.Cleanup(func() { rdb.Close() })
		opts = append(opts, telemetry.WithRedis(rdb))
	}
	compare(t, newCollector(t, append(opts, telemetry.WithRedis(&server{text: "evicted_keys:1\r\n"}))...), mastersText(1, 1, 1, 1), "tollgate_redis_masters")
}

// TestRedisIsReadNowAndThen has a storm of scrapes, and a server that changes meanwhile.
func TestRedisIsReadNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{text: "maxmemory:0\r\nmaxmemory_policy:noeviction\r\n"}
		c := newCollector(t, telemetry.WithRedis(s))
		if got := s.calls.Load(); got != 0 {
			t.Errorf("%d calls before the first scrape", got)
		}
		scrape := func(reads int64, want string) {
			t.Helper()
			var group sync.WaitGroup
			for range 50 {
				group.Go(func() { compare(t, c, want, "tollgate_redis_masters") })
			}
			group.Wait()
			if got := s.calls.Load(); got != reads {
				t.Errorf("%d calls, want %d", got, reads)
			}
		}
		scrape(1, mastersText(1, 0, 0, 0))
		s.text = "maxmemory:9\r\nmaxmemory_policy:volatile-lru\r\n"
		time.Sleep(30*time.Second - time.Nanosecond)
		scrape(1, mastersText(1, 0, 0, 0))
		time.Sleep(time.Nanosecond)
		scrape(2, mastersText(0, 0, 1, 0))
	})
}

// TestRedisThatHangs: no scrape waits longer than a second, and no more than one in 30 seconds waits at all.
func TestRedisThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		defer close(hang)
		c := newCollector(t, telemetry.WithRedis(&server{hang: hang}), telemetry.WithRedis(&server{hang: hang}),
			telemetry.WithRedis(&server{text: "maxmemory:0\r\nmaxmemory_policy:noeviction\r\n"}))
		for i, want := range []time.Duration{time.Second, 0, 0} {
			began := time.Now()
			compare(t, c, mastersText(1, 0, 0, 0)+errorsText("timeout", 2), "tollgate_redis_masters", "tollgate_redis_errors_total")
			if took := time.Since(began); took != want {
				t.Errorf("scrape %d took %v, want %v", i+1, took, want)
			}
			time.Sleep(9 * time.Second)
		}
		time.Sleep(3 * time.Second)
		compare(t, c, errorsText("timeout", 4), "tollgate_redis_errors_total")
	})
}

// TestRedisErrors: a server that refuses is counted by class, and what it told before is gone.
func TestRedisErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{text: "maxmemory:0\r\nmaxmemory_policy:noeviction\r\n"}
		c := newCollector(t, telemetry.WithRedis(s))
		compare(t, c, mastersText(1, 0, 0, 0), "tollgate_redis_masters", "tollgate_redis_errors_total")
		s.text = "evicted_keys:none\r\n"
		time.Sleep(time.Minute)
		compare(t, c, mastersText(0, 0, 0, 0)+errorsText("config", 1), "tollgate_redis_masters", "tollgate_redis_errors_total")
	})
}

// TestRedisEvictedKeys: the counter never falls, and counts only what was dropped while it was watched.
func TestRedisEvictedKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const first, second, third = "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1" // nobody looks up a number
		a, b := &server{}, &server{}
		servers := ring{t: t, nodes: map[string]*server{first: a, second: b}}
		c := newCollector(t, telemetry.WithRedis(servers))
		for _, step := range []struct {
			name   string
			change func()
			want   int
		}{
			{"history is not ours", func() { a.evicted(1000); b.evicted(50) }, 0},
			{"both drop keys", func() { a.evicted(1001); b.evicted(52) }, 3},
			{"one restarts", func() { a.evicted(4) }, 7},
			{"one does not answer", func() { a.err = errors.New("no route"); b.evicted(53) }, 8},
			{"it comes back", func() { a.err = nil; a.evicted(6) }, 10},
			{"one does not tell", func() { a.text = "maxmemory:0\r\n" }, 10},
			{"one leaves", func() { delete(servers.nodes, second) }, 10},
			{"a new one has a history", func() { a.evicted(6); servers.nodes[third] = &server{}; servers.nodes[third].evicted(900) }, 10},
			{"it comes back as another", func() { servers.nodes[second] = b; b.evicted(7000) }, 10},
			{"all drop keys", func() { a.evicted(7); b.evicted(7001); servers.nodes[third].evicted(901) }, 13},
		} {
			step.change()
			time.Sleep(30 * time.Second)
			if err := testutil.CollectAndCompare(c, strings.NewReader(evictedText(step.want)), "tollgate_redis_evicted_keys_total"); err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
		}
	})
}
