package limittest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// kind is an algorithm that a rate can be given to; limit units fit at once.
type kind struct {
	name string
	of   func(limit int64, window time.Duration) ratelimit.Policy
	used func(h history, now, limit, window int64) int64 // what counts, worked out from what was admitted
}

var kinds = []kind{
	{"sliding window", ratelimit.Per, history.slidingUsed},
	{"fixed window", func(n int64, w time.Duration) ratelimit.Policy { return ratelimit.Per(n, w).Fixed() }, history.fixedUsed},
	{"aligned window", func(n int64, w time.Duration) ratelimit.Policy { return ratelimit.Per(n, w).Aligned() }, history.alignedUsed},
	{"GCRA", func(n int64, w time.Duration) ratelimit.Policy { return ratelimit.Per(n, w).Bucket(max(n, 1)) }, history.bucketUsed},
}

// each runs a test for every kind, in a lane of its own. They share the client, so they run one by one.
func each(t *testing.T, rdb redis.UniversalClient, test func(l *lane, k kind)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(newLane(t, rdb), k) })
	}
}

// frozen does the same with a clock that the test sets.
func frozen(t *testing.T, rdb redis.UniversalClient, test func(l *lane, k kind)) {
	t.Helper()
	c := newClock(t, rdb)
	each(t, rdb, func(l *lane, k kind) {
		l.clock = c
		test(l, k)
	})
}

// lane is a limiter on a Redis, and one caller before it.
type lane struct {
	*testing.T
	rdb     redis.UniversalClient
	limiter *ratelimit.Limiter
	org     string
	clock   *clock // nil: Redis's own
}

// newLane returns a lane in whose limiter time passes as it does. What is tested here is no speed, so a
// call may take long.
func newLane(t *testing.T, rdb redis.UniversalClient) *lane {
	t.Helper()
	limiter, err := ratelimit.New(rdb, ratelimit.WithTimeout(time.Minute))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return &lane{T: t, rdb: rdb, limiter: limiter, org: redistest.Org(t)}
}

// begin sets the clock to the beginning of an aligned window about an hour from now, so that nothing
// expires while a test runs, and returns it.
func (l *lane) begin(window time.Duration) int64 {
	us := window.Microseconds()
	l.clock.now = (time.Now().Add(time.Hour).UnixMicro()/us + 1) * us
	return l.clock.now
}

// request asks for cost units of each policy. Nobody is authenticated where the test sets the clock: it
// replaces one script, and overrides are read by another.
func (l *lane) request(cost int64, policies ...ratelimit.Policy) ratelimit.Request {
	r := ratelimit.Request{Endpoint: "GET /things/{id}"}
	if l.clock == nil {
		r.Org, r.Project, r.Key = l.org, "shop", "key"
	}
	for _, p := range policies {
		c := ratelimit.Charge{Policy: p, Cost: cost}
		if l.clock != nil {
			c.Policy, c.Value = p.By("network"), l.org
		}
		r.Charges = append(r.Charges, c)
	}
	return r
}

func (l *lane) admit(r ratelimit.Request) ratelimit.Decision {
	l.Helper()
	d, err := l.limiter.Admit(l.Context(), r)
	if err != nil {
		l.Fatalf("Admit: %v", err)
	}
	return d
}

// take charges one policy and fails the test unless that is allowed as told.
func (l *lane) take(p ratelimit.Policy, cost int64, allowed bool) ratelimit.Result {
	l.Helper()
	d := l.admit(l.request(cost, p))
	if d.Allowed != allowed {
		l.Fatalf("cost %d at %v: Allowed = %t, want %t: %+v", cost, d.At, d.Allowed, allowed, d.Results[0])
	}
	return d.Results[0]
}

// override changes the limits of the lane's org.
func (l *lane) override(o ratelimit.Override) {
	l.Helper()
	overrides, err := ratelimit.NewOverrides(l.rdb, ratelimit.WithTimeout(time.Minute))
	if err != nil {
		l.Fatalf("NewOverrides: %v", err)
	}
	o.Org = l.org
	if _, _, err := overrides.Set(l.Context(), o, ratelimit.Always); err != nil {
		l.Fatalf("Set: %v", err)
	}
}

// look returns what one policy would say to a cost, and takes nothing.
func (l *lane) look(p ratelimit.Policy, cost int64) ratelimit.Result {
	l.Helper()
	r := l.request(cost, p)
	r.Peek = true
	return l.admit(r).Results[0]
}

// watch is a hook that writes down the commands that are sent, and the keys that scripts are given.
type watch struct {
	mu    sync.Mutex
	names []string
	keys  []string
	sent  map[string]bool // the commands as they were sent, each once
}

func newWatch(rdb redis.UniversalClient) *watch {
	w := &watch{sent: map[string]bool{}}
	rdb.AddHook(w)
	return w
}

func (w *watch) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *watch) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (w *watch) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		w.mu.Lock()
		w.names = append(w.names, cmd.Name())
		w.sent[sentence(cmd)] = true
		for _, key := range scriptKeys(cmd) {
			if !slices.Contains(w.keys, key) {
				w.keys = append(w.keys, key)
			}
		}
		w.mu.Unlock()
		return next(ctx, cmd)
	}
}

// scriptKeys returns the keys of a command that runs a script.
func scriptKeys(cmd redis.Cmder) []string {
	if cmd.Name() != "evalsha" && cmd.Name() != "eval" {
		return nil
	}
	_, keys, _ := redistest.Call(cmd)
	return keys
}

// sentence returns what is sent.
func sentence(cmd redis.Cmder) string {
	if cmd.Name() != "evalsha" && cmd.Name() != "eval" {
		return fmt.Sprint(cmd.Args()...)
	}
	script, keys, args := redistest.Call(cmd)
	return fmt.Sprintf("%q", append([]any{cmd.Name(), script, keys}, args...))
}

// image is all that Redis holds under a key, bit for bit.
type image struct {
	dump    string
	expires time.Duration // since 1970; -1 never
}

func (i image) String() string { return fmt.Sprintf("%x, until %v", i.dump, i.expires) }

// images returns what is stored under the keys seen so far.
func (w *watch) images(l *lane) map[string]image {
	l.Helper()
	w.mu.Lock()
	keys := slices.Clone(w.keys)
	w.mu.Unlock()
	all := make(map[string]image)
	for _, key := range keys {
		dump, err := l.rdb.Dump(l.Context(), key).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			l.Fatalf("DUMP: %v", err)
		}
		expires, err := l.rdb.PExpireTime(l.Context(), key).Result()
		if err != nil {
			l.Fatalf("PEXPIRETIME: %v", err)
		}
		all[key] = image{dump: dump, expires: expires}
	}
	return all
}
