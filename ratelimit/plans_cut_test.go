package ratelimit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// client returns another client of the same servers, with a hook.
func client(t *testing.T, rdb redis.UniversalClient, hook redis.Hook) redis.UniversalClient {
	t.Helper()
	c := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrsOf(t, rdb), IsClusterMode: isCluster(rdb)})
	t.Cleanup(func() { c.Close() })
	c.AddHook(hook)
	return c
}

// TestCutPlanIsToldAndMended lets one bucket fail, before the change or after it, and repeats each change under
// the precondition that it had.
func TestCutPlanIsToldAndMended(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, broken := range []string{"00", "41"} {
			for _, lost := range []bool{false, true} {
				t.Run(fmt.Sprintf("bucket %s, done %t", broken, lost), func(t *testing.T) {
					cut := &cutPlan{T: t, broken: broken, lost: lost, good: newPlans(t, rdb), gate: newGate(t, rdb), name: planName(t, rdb)}
					fail := func(cmd redis.Cmder) error {
						if in(cmd, broken) {
							return errors.New("cut")
						}
						return nil
					}
					hook := wire{before: fail}
					if lost {
						hook = wire{after: fail}
					}
					cut.bad = newPlans(t, client(t, rdb, hook))
					cut.run()
				})
			}
		}
	})
}

type cutPlan struct {
	*testing.T
	broken, name string
	lost         bool
	good, bad    *ratelimit.Plans
	gate         gate
}

func (c *cutPlan) run() {
	revision := ratelimit.IfAbsent
	for i, always := range []bool{false, false, true} {
		pre, limit := revision, int64(5+i)
		if always {
			pre = ratelimit.Always
		}
		set := func(plans *ratelimit.Plans) error {
			p, _, err := plans.Set(c.Context(), limited(c.name, limit), pre)
			revision = ratelimit.Precondition(p.Revision)
			return err
		}
		c.both(fmt.Sprintf("set %d", i), set, limit-1, limit)
	}
	c.both("delete", func(plans *ratelimit.Plans) error {
		err := plans.Delete(c.Context(), c.name, revision)
		if errors.Is(err, ratelimit.ErrNotFound) && plans == c.good && (c.broken != "00" || c.lost) {
			return nil // it was deleted where that is decided
		}
		return err
	}, 7, 1000)
}

// both makes a change that is cut, and repeats it.
func (c *cutPlan) both(what string, change func(*ratelimit.Plans) error, before, after int64) {
	c.Helper()
	if before == 4 {
		before = 1000
	}
	err := change(c.bad)
	if !errors.Is(err, ratelimit.ErrUnavailable) || c.broken != "00" && !strings.Contains(fmt.Sprint(err), "for some orgs only; do it again") {
		c.Fatalf("%s: %v, want ErrUnavailable that tells how to mend it", what, err)
	}
	for _, at := range []string{"00", "41", "63"} {
		changed := c.broken != "00" && (at != c.broken || c.lost) || c.broken == "00" && at == "00" && c.lost
		want := before
		if changed {
			want = after
		}
		c.limit(what+", cut", at, want)
	}
	if err := change(c.good); err != nil {
		c.Fatalf("%s again: %v", what, err)
	}
	for b := range bucket.All() {
		c.limit(what+", mended", b, after)
	}
}

func (c *cutPlan) limit(when, in string, want int64) {
	c.Helper()
	c.gate.org = orgIn(c.T, in)
	if got := c.gate.found(c.name).Limit; got != want {
		c.Errorf("%s: limit %d in bucket %s, want %d", when, got, in, want)
	}
}

// copies returns what each bucket has of a plan.
func copies(t *testing.T, rdb redis.UniversalClient, name string) map[string]int {
	t.Helper()
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatalf("NewConn: %v", err)
	}
	all := map[string]int{}
	for b := range bucket.All() {
		_, text, err := conn.Plan(t.Context(), b, name)
		if err != nil {
			t.Fatalf("Plan: %v", err)
		}
		var stored struct {
			Revision, Deleted string
			Rules             any
		}
		if err := json.Unmarshal([]byte(text), &stored); err != nil {
			t.Fatalf("bucket %s holds %q: %v", b, text, err)
		}
		all[fmt.Sprint(stored)]++
	}
	return all
}

// TestPlanWritersConverge lets many change one plan at once, whose copies arrive late and out of order.
func TestPlanWritersConverge(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		const writers, writes = 4, 6
		name := planName(t, rdb)
		var group sync.WaitGroup
		for w := range writers {
			random := rand.New(rand.NewPCG(uint64(w), 7))
			var mu sync.Mutex
			plans := newPlans(t, client(t, rdb, wire{before: func(redis.Cmder) error {
				mu.Lock()
				wait := time.Duration(random.IntN(3)) * time.Millisecond
				mu.Unlock()
				time.Sleep(wait) // a slow network; nothing waits for it
				return nil
			}}))
			group.Go(func() {
				for i := range writes {
					var err error
					if (w+i)%4 == 3 {
						err = plans.Delete(t.Context(), name, ratelimit.Always)
					} else {
						_, _, err = plans.Set(t.Context(), limited(name, int64(10*w+i)), ratelimit.Always)
					}
					if err != nil && !errors.Is(err, ratelimit.ErrNotFound) {
						t.Errorf("writer %d: %v", w, err)
					}
				}
			})
		}
		group.Wait()
		if all := copies(t, rdb, name); len(all) != 1 {
			t.Errorf("buckets hold %v, want one revision", all)
		}
	})
}

// TestLateCopyOfAPlan holds back the copies of one change until another has ended.
func TestLateCopyOfAPlan(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, tt := range []struct {
			name        string
			late, quick func(ctx context.Context, plans *ratelimit.Plans, plan string) error
			limit       int64
		}{
			{"an older one", setTo(5), setTo(6), 6},
			{"of what was deleted", setTo(5), remove, 1000},
			{"of a deletion", remove, setTo(7), 7},
		} {
			t.Run(tt.name, func(t *testing.T) {
				plans, name := newPlans(t, rdb), planName(t, rdb)
				setPlan(t, plans, limited(name, 4))
				decided, release := make(chan struct{}), make(chan struct{})
				slow := newPlans(t, client(t, rdb, wire{
					before: func(cmd redis.Cmder) error {
						if strings.HasPrefix(cmd.Name(), "eval") && !in(cmd, "00") {
							<-release
						}
						return nil
					},
					after: func(cmd redis.Cmder) error {
						if in(cmd, "00") {
							select {
							case <-decided:
							default:
								close(decided)
							}
						}
						return nil
					},
				}))
				done := make(chan error, 1)
				go func() { done <- tt.late(t.Context(), slow, name) }()
				<-decided
				if err := tt.quick(t.Context(), plans, name); err != nil {
					t.Errorf("the quick one: %v", err)
				}
				close(release)
				if err := <-done; err != nil {
					t.Errorf("the late one: %v", err)
				}
				if all := copies(t, rdb, name); len(all) != 1 {
					t.Errorf("buckets hold %v, want one revision", all)
				}
				g := newGate(t, rdb)
				if got := g.found(name); got.Limit != tt.limit {
					t.Errorf("limit %d, want %d", got.Limit, tt.limit)
				}
			})
		}
	})
}

func setTo(limit int64) func(context.Context, *ratelimit.Plans, string) error {
	return func(ctx context.Context, plans *ratelimit.Plans, plan string) error {
		_, _, err := plans.Set(ctx, limited(plan, limit), ratelimit.Always)
		return err
	}
}

func remove(ctx context.Context, plans *ratelimit.Plans, plan string) error {
	return plans.Delete(ctx, plan, ratelimit.Always)
}

// TestPlansOfALostBucket has a server lose what it held of one bucket: its epoch, and what it is the epoch of.
func TestPlansOfALostBucket(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { rdb.Close() })
	plans, g := newPlans(t, rdb), newGate(t, rdb)
	stored := setPlan(t, plans, limited("gold", 5))
	g.org = orgIn(t, "41")
	lose := func(keys ...string) {
		t.Helper()
		if n, err := rdb.Del(t.Context(), keys...).Result(); err != nil || n != int64(len(keys)) {
			t.Fatalf("DEL %v: %d, %v", keys, n, err)
		}
	}
	if got := g.found("gold"); got.Limit != 5 {
		t.Fatalf("before: %+v", got)
	}
	lose(lua.PlansEpochKey("41"))
	if got := g.found("gold"); got.Limit != 5 || g.limiter.Stats().Stale != 1 {
		t.Errorf("without its epoch: %+v, %+v; want it read again", got, g.limiter.Stats())
	}
	lose(lua.PlansEpochKey("41"), lua.PlansKey("41"))
	if got := g.found("gold"); got.Limit != 1000 {
		t.Errorf("without its plans: %+v, want the policy as coded", got)
	}
	if again, _, err := plans.Set(t.Context(), limited("gold", 5), ratelimit.Precondition(1)); err != nil || again.Revision != stored.Revision {
		t.Errorf("Set of the same = %+v, %v; want revision %d", again, err, stored.Revision)
	}
	if got := g.found("gold"); got.Limit != 5 {
		t.Errorf("mended: %+v", got)
	}
	// The bucket that decides is set back to before the last change, by a clock that is behind too.
	const future = "4102444800000000"
	if err := rdb.HSet(t.Context(), lua.PlansKey("41"), "gold", `{"rules":[{"limit":"9"}],"revision":"`+future+`","created":"1"}`).Err(); err != nil {
		t.Fatalf("HSET: %v", err)
	}
	_, _, err := plans.Set(t.Context(), limited("gold", 6), ratelimit.Always)
	if !errors.Is(err, ratelimit.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "bucket 00, which must have lost it") {
		t.Errorf("Set of an older revision: %v, want ErrUnavailable", err)
	}
}
