package ratelimit_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// loud returns requests of one tenant of which no two can be merged, more than one call to Redis takes.
func loud(c *crowd, n int) (all []ratelimit.Request) {
	for i := range n {
		r := c.request(1, ratelimit.PerHour(1e6))
		r.Endpoint = fmt.Sprint("GET /", i)
		all = append(all, r)
	}
	return all
}

// TestQuietTenantDepartsNext has a loud tenant have ten calls' worth of checks wait. One check of another tenant, which
// came last, goes with the next call.
func TestQuietTenantDepartsNext(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newCrowd(t, rdb)
		quiet := c.request(1, ratelimit.PerHour(1e6))
		quiet.Org = sameServer(t, quiet.Org)
		c.warm(quiet)
		_, open := c.hold(c.request(1, ratelimit.PerHour(1e6)))
		for _, r := range loud(c, 10*lua.MaxBatch) {
			c.ask(t.Context(), r)
		}
		d := c.ask(t.Context(), quiet)
		var departed, before atomic.Int64
		c.valve.mu.Lock()
		c.valve.alter = func([]redis.Cmder) {
			if departed.Add(1) != 3 { // after the one that is held, and the next
				return
			}
			select {
			case <-d.done:
			case <-time.After(5 * time.Second): // it is among those after
				before.Add(1)
			}
		}
		c.valve.mu.Unlock()
		open()
		if n := before.Load(); n > 0 || d.err != nil || !d.Allowed {
			t.Errorf("%v, %v: more than one call went before it", d.Decision, d.err)
		}
	})
}

// TestQuietTenantHasRoom has a loud tenant fill the queue. There is room for another.
func TestQuietTenantHasRoom(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		const room = 300
		c := newCrowd(t, rdb, ratelimit.WithQueue(room))
		quiet := c.request(1, ratelimit.PerHour(1e6))
		quiet.Org = sameServer(t, quiet.Org)
		c.warm(quiet)
		_, open := c.hold(c.request(1, ratelimit.PerHour(1e6)))
		var all []*decided
		for _, r := range loud(c, room) {
			all = append(all, c.ask(t.Context(), r))
		}
		d := c.begin(t.Context(), quiet)
		until(t, "the request is refused, or waits in the place of another", func() bool {
			select {
			case <-d.done:
				return true
			default:
			}
			for _, other := range all {
				select {
				case <-other.done:
					return true
				default:
				}
			}
			return c.limiter.Waiting() > room
		})
		open()
		if <-d.done; d.err != nil || !d.Allowed {
			t.Errorf("%v, %v: want it decided", d.Decision, d.err)
		}
		for i, other := range all {
			if other.err != nil && !errors.Is(other.err, ratelimit.ErrUnavailable) {
				t.Errorf("request %d of the loud tenant: %v", i, other.err)
			}
		}
	})
}

// sameServer returns another org of the same bucket, so that a cluster's server is the same too, which has another turn.
func sameServer(t *testing.T, org string) string {
	t.Helper()
	for i := 0; ; i++ {
		if other := fmt.Sprint(org, "-", i); bucket.Of(other) == bucket.Of(org) && ratelimit.LaneOf(other) != ratelimit.LaneOf(org) {
			return other
		}
	}
}
