package ratelimit_test

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/ratelimit"
)

// valve is a hook that holds the calls that decide back while it is shut, and counts them.
type valve struct {
	mu    sync.Mutex
	calls int                         // commands that were let through, each a batch
	alter func(batches []redis.Cmder) // is called before they go
	shut  chan struct{}
	most  int // how many are still to be held back; below 0: all
	held  int // how many are
}

// newValve returns an open valve on a client of its own.
func newValve(t *testing.T, rdb redis.UniversalClient) (*valve, redis.UniversalClient) {
	t.Helper()
	v := &valve{}
	return v, client(t, rdb, v)
}

// close holds back the next calls, or all where most is below 0, until the valve is opened.
func (v *valve) close(t *testing.T, most int) (open func()) {
	t.Helper()
	shut := make(chan struct{})
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut, v.most = shut, most
	open = sync.OnceFunc(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		close(shut)
		v.shut = nil
	})
	t.Cleanup(open)
	return open
}

// count returns how many batches went through, and how many calls are held back.
func (v *valve) count() (calls, held int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls, v.held
}

func (v *valve) pass(cmds []redis.Cmder) {
	batches := slices.DeleteFunc(slices.Clone(cmds), func(cmd redis.Cmder) bool {
		_, decides := cmd.(interface{ Val() []int64 })
		return !decides || !strings.HasPrefix(cmd.Name(), "eval")
	})
	if len(batches) == 0 {
		return
	}
	v.mu.Lock()
	shut := v.shut
	if v.most == 0 {
		shut = nil
	}
	v.most--
	if shut != nil {
		v.held++
		v.mu.Unlock()
		<-shut
		v.mu.Lock()
		v.held--
	}
	v.calls += len(batches)
	alter := v.alter
	v.mu.Unlock()
	if alter != nil {
		alter(batches)
	}
}

func (v *valve) DialHook(next redis.DialHook) redis.DialHook { return next }

func (v *valve) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		v.pass([]redis.Cmder{cmd})
		return next(ctx, cmd)
	}
}

func (v *valve) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		v.pass(cmds)
		return next(ctx, cmds)
	}
}

// until waits for what others are about to do.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("not in 30 seconds: %s", what)
		}
	}
}

// crowd is requests that are made at the same time.
type crowd struct {
	gate

	valve *valve
	group sync.WaitGroup
	sent  int // those that wait
}

func newCrowd(t *testing.T, rdb redis.UniversalClient, opts ...ratelimit.Option) *crowd {
	t.Helper()
	v, rdb := newValve(t, rdb)
	g := newGate(t, rdb)
	limiter, err := ratelimit.New(rdb, append([]ratelimit.Option{ratelimit.WithTimeout(time.Minute), ratelimit.WithInFlight(1)}, opts...)...)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	g.limiter = limiter
	return &crowd{gate: g, valve: v}
}

// decided is what became of a request.
type decided struct {
	ratelimit.Decision

	err  error
	done chan struct{} // closed when it is known
}

// begin makes a request.
func (c *crowd) begin(ctx context.Context, r ratelimit.Request) *decided {
	d := &decided{done: make(chan struct{})}
	c.group.Go(func() {
		defer close(d.done)
		d.Decision, d.err = c.limiter.Admit(ctx, r)
	})
	return d
}

// warm has all requests decided once, for no units, so that what they need is in memory.
func (c *crowd) warm(requests ...ratelimit.Request) {
	c.Helper()
	for _, r := range requests {
		r.Charges = slices.Clone(r.Charges)
		for i := range r.Charges {
			r.Charges[i].Cost = 0
		}
		c.admit(r)
	}
}

// ask makes a request, and returns when it waits behind those before.
func (c *crowd) ask(ctx context.Context, r ratelimit.Request) *decided {
	c.Helper()
	d := c.begin(ctx, r)
	c.sent++
	until(c.T, "the request waits", func() bool { return c.limiter.Waiting() == c.sent })
	return d
}

// hold has a request hang on its way to Redis, so that those after it wait.
func (c *crowd) hold(r ratelimit.Request) (first *decided, open func()) {
	c.Helper()
	c.warm(r)
	shut := c.valve.close(c.T, 1)
	first = c.begin(c.Context(), r)
	until(c.T, "the first request is on its way", func() bool {
		_, held := c.valve.count()
		return held == 1
	})
	c.sent = 0
	return first, func() { shut(); c.group.Wait() }
}

// used returns what counts, by another limiter.
func (c *crowd) used(rdb redis.UniversalClient, r ratelimit.Request) (all []int64) {
	c.Helper()
	g := newGate(c.T, rdb)
	r.Peek, r.Epoch, r.Token = true, 0, nil
	for _, result := range g.admit(r).Results {
		all = append(all, result.Used)
	}
	return all
}
