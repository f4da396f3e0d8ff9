package limittest_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// traceSteps is how many steps each of a hundred traces has; TOLLGATE_TRACE_STEPS asks for more.
func traceSteps(t *testing.T) int {
	t.Helper()
	text := os.Getenv("TOLLGATE_TRACE_STEPS")
	if text == "" {
		return 250
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TOLLGATE_TRACE_STEPS=%s is no number of steps", text)
	}
	return n
}

// TestScriptIsTheModel runs random traces on the script and on the model: the same answers, the same
// texts stored, ends of life to the millisecond, and nothing touched where nothing was charged.
func TestScriptIsTheModel(t *testing.T) {
	t.Parallel()
	steps := traceSteps(t)
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		run(t, rdb, steps, nil, "expired", "stale")
	})
}

// TestScriptIsTheModelToTheMicrosecond does the same with a script whose clock the test sets, so that
// it meets the first and the last microsecond of things.
func TestScriptIsTheModelToTheMicrosecond(t *testing.T) {
	t.Parallel()
	steps := traceSteps(t)
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		run(t, rdb, steps, newClock(t, rdb), "first microsecond", "last that fits", "first that does not fit", "future")
	})
}

// run runs a hundred traces, which together must meet all kinds of things.
func run(t *testing.T, rdb redis.UniversalClient, steps int, c *clock, kinds ...string) {
	t.Helper()
	conn, err := lua.NewConn(rdb)
	if err != nil {
		t.Fatalf("NewConn: %v", err)
	}
	seen := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		tr := newTrace(rt, conn, redistest.Org(t), seen)
		tr.clock = c
		if c != nil { // what is stored until then does not expire while the test runs
			c.now = time.Now().Add(time.Hour).UnixMicro()
		}
		for range steps {
			tr.step()
		}
	})
	for _, kind := range append(kinds, "refused", "allowed", "invalid", "written", "untouched",
		"previous weighs", "monitored", "held", "settled", "not held", "renewed", "given back", "candidate", "changed", "carried") {
		if seen[kind] == 0 {
			t.Errorf("no trace met %q: %v", kind, seen)
		}
	}
}

// clock is a hook that runs another script in place of admit.lua: the same, with a TIME that the test set.
type clock struct {
	rdb    redis.UniversalClient
	frozen *redis.Script
	now    int64
}

func newClock(t *testing.T, rdb redis.UniversalClient) *clock {
	t.Helper()
	var source []byte
	for _, name := range []string{"batch", "algorithms", "state", "plain", "audit", "holds", "admit"} {
		text, err := os.ReadFile("../../lua/" + name + ".lua")
		if err != nil {
			t.Fatalf("ReadFile: %v", err)
		}
		source = append(source, text...)
	}
	const call = "redis.call('TIME')"
	if n := strings.Count(string(source), call); n != 1 {
		t.Fatalf("the script holds %s %d times, want once", call, n)
	}
	const set = "{ table.remove(ARGV, #ARGV - 1), table.remove(ARGV) }" // seconds, microseconds
	c := &clock{rdb: rdb, frozen: redis.NewScript(strings.Replace(string(source), call, set, 1))}
	rdb.AddHook(c)
	return c
}

func (c *clock) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *clock) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *clock) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		admit, ok := cmd.(interface{ NoRetry() bool })
		if !ok || !admit.NoRetry() {
			return next(ctx, cmd)
		}
		_, keys, args := redistest.Call(cmd)
		reply, err := c.frozen.Run(ctx, c.rdb, keys, append(args, c.now/1_000_000, c.now%1_000_000)...).Result()
		redistest.SetReply(cmd, reply)
		return err
	}
}
