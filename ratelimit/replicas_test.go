package ratelimit_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

var errNoRedis = errors.New("there is no Redis")

// away is a client that reaches no Redis, and needs no network to find that out.
type away struct{ redis.UniversalClient }

func (away) Process(context.Context, redis.Cmder) error { return errNoRedis }

func nowhere() redis.UniversalClient { return away{} }

// member returns a limiter of a group.
func member(t *testing.T, rdb redis.UniversalClient, group string, assume int, opts ...ratelimit.Option) *ratelimit.Limiter {
	t.Helper()
	l := newLimiter(t, rdb, append([]ratelimit.Option{ratelimit.WithReplicas(group, assume)}, opts...)...)
	t.Cleanup(func() { closed(t, l) })
	return l
}

func closed(t *testing.T, l *ratelimit.Limiter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestReplicas has processes come and go: all of a group know how many they are.
func TestReplicas(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		beat := ratelimit.WithHeartbeat(100 * time.Millisecond)
		group := redistest.Org(t)
		all := make([]*ratelimit.Limiter, 3)
		for i := range all {
			all[i] = member(t, rdb, group, 7, beat)
			if n := all[i].Replicas(); n != 7 {
				t.Errorf("Replicas = %d before anything was told, want the 7 that are assumed", n)
			}
		}
		other := member(t, rdb, group+"-2", 1, beat)
		for _, l := range all {
			until(t, "three are known", func() bool { return l.Replicas() == 3 && l.Stats().Replicas == 3 })
		}
		closed(t, all[0])
		if n := rdb.ZCard(t.Context(), lua.ReplicasKey(group)).Val(); n != 2 {
			t.Errorf("%d are listed after one was closed, want 2", n)
		}
		for _, l := range all[1:] {
			until(t, "two are known", func() bool { return l.Replicas() == 2 })
		}
		closed(t, all[0])
		if n := other.Replicas(); n != 1 {
			t.Errorf("Replicas of another group = %d, want 1", n)
		}
	})
}

// TestReplicasOutliveRedis kills the server: what was told last is known on.
func TestReplicasOutliveRedis(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t), MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	a, b := member(t, rdb, "g", 9, ratelimit.WithHeartbeat(20*time.Millisecond)), member(t, rdb, "g", 9, ratelimit.WithHeartbeat(20*time.Millisecond))
	until(t, "two are known", func() bool { return a.Replicas() == 2 && b.Replicas() == 2 })
	rdb.ShutdownNoSave(t.Context())
	until(t, "Redis is away", func() bool { return rdb.Ping(t.Context()).Err() != nil })
	closed(t, b)
	if n := a.Replicas(); n != 2 {
		t.Errorf("Replicas = %d while Redis is away, want the 2 that were known", n)
	}
}

// TestReplicasNeverTold: without Redis the assumption holds, and Close is not kept waiting.
func TestReplicasNeverTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := member(t, nowhere(), "g", 5)
		time.Sleep(time.Minute)
		if n := l.Replicas(); n != 5 {
			t.Errorf("Replicas = %d, want the 5 that are assumed", n)
		}
		began := time.Now()
		closed(t, l)
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("Close took %v, want no more than the timeout", took)
		}
	})
}

func TestWithoutReplicas(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, nowhere())
	if n := l.Replicas(); n != 0 {
		t.Errorf("Replicas = %d, want 0", n)
	}
	_, err := l.AdmitLocal(t.Context(), localRequest(1, ratelimit.PerHour(1)))
	if !errors.Is(err, ratelimit.ErrUnavailable) || !strings.Contains(err.Error(), "WithReplicas") {
		t.Errorf("AdmitLocal: %v, want ErrUnavailable, and how to mend it", err)
	}
}

func TestReplicaOptions(t *testing.T) {
	t.Parallel()
	replicas, heartbeat := ratelimit.WithReplicas, ratelimit.WithHeartbeat
	for _, tt := range []struct {
		name string
		opts []ratelimit.Option
		want string
	}{
		{"no group", []ratelimit.Option{replicas("", 1)}, `WithReplicas("", 1) must have a group`},
		{"long group", []ratelimit.Option{replicas(strings.Repeat("g", 129), 1)}, "1 to 128 bytes"},
		{"none assumed", []ratelimit.Option{replicas("g", 0)}, `WithReplicas("g", 0)`},
		{"too many assumed", []ratelimit.Option{replicas("g", 1_000_001)}, "assume 1 to 1000000"},
		{"too often", []ratelimit.Option{heartbeat(time.Millisecond)}, "WithHeartbeat(1ms) must be 10ms to 1m0s"},
		{"too seldom", []ratelimit.Option{heartbeat(time.Hour)}, "WithHeartbeat(1h0m0s)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if l, err := ratelimit.New(nowhere(), tt.opts...); l != nil || !errors.Is(err, ratelimit.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, %v; want ErrInvalid that says %q", l, err, tt.want)
			}
		})
	}
}
