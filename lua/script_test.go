package lua

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testCheck(org string) Check {
	return Check{Charges: []Charge{{
		Key: LimitKey(org, "project", "shop", "GET /", "requests", Sliding), Algorithm: Sliding,
		Limit: 100, Window: MaxWindow, Units: 1, Role: Enforced,
	}}}
}

// counted asks Redis, past all proxies, how much was charged.
func counted(t *testing.T, rdb redis.UniversalClient, check Check) int64 {
	t.Helper()
	check.Mode = Peek
	answers, err := (&Conn{rdb: rdb}).Admit(t.Context(), []Check{check})
	if err != nil {
		t.Fatalf("Admit: %v", err)
	}
	return answers[0].States[0].Current
}

// TestLostReplyIsChargedOnce cuts the connection after Redis has charged and before it can say so, with
// connections warm and every later attempt free to succeed.
func TestLostReplyIsChargedOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		client, proxies := throughProxies(t, rdb, nil)
		conn, check := &Conn{rdb: client}, testCheck(redistest.Org(t))
		for want := int64(1); want <= 9; want += 2 {
			if _, err := conn.Admit(t.Context(), []Check{check}); err != nil { // warms the pool
				t.Fatalf("Admit: %v", err)
			}
			for _, p := range proxies {
				p.set(1, false)
			}
			answers, err := conn.Admit(t.Context(), []Check{check})
			for _, p := range proxies {
				p.set(0, false)
			}
			if err == nil {
				t.Errorf("Admit = %+v, though its reply was lost", answers)
			}
			if class := Classify(err); class != ClassUnavailable {
				t.Errorf("Classify(%v) = %q, want %q", err, class, ClassUnavailable)
			}
			if got := counted(t, rdb, check); got != want+1 {
				t.Fatalf("%d units counted, want %d: a lost reply was charged %d times", got, want+1, got-want)
			}
		}
	})
}

// commands is a hook that writes down the names of commands.
type commands struct {
	mu    sync.Mutex
	names []string
}

func (c *commands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.mu.Lock()
		c.names = append(c.names, cmd.Name())
		c.mu.Unlock()
		return next(ctx, cmd)
	}
}

// TestForgottenScriptIsLoadedOnce runs a script that no server has seen, as after SCRIPT FLUSH: one
// repetition with the text, and the digest from then on. Other tests keep what they have loaded.
func TestForgottenScriptIsLoadedOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		var seen commands
		rdb.AddHook(&seen)
		conn, check := &Conn{rdb: rdb}, testCheck(redistest.Org(t))
		fresh := newScript(admitScript.source + "\n-- " + rand.Text())
		keys, args := appendCheck(nil, []any{"", 0, 0}, &check) // no plain checks
		for want := int64(1); want <= 3; want++ {
			if _, err := conn.run(t.Context(), fresh, keys, args); err != nil {
				t.Fatalf("run: %v", err)
			}
			if got := counted(t, rdb, check); got != want {
				t.Errorf("%d units counted after %d calls", got, want)
			}
		}
		run := slices.DeleteFunc(seen.names, func(name string) bool { return name == "cluster" || name == "command" })
		if len(run) < 2 || run[0] != "evalsha" || run[1] != "eval" {
			t.Fatalf("commands %v, want an evalsha that fails and an eval", run)
		}
		// The peeks of counted may have to load admit.lua itself, once.
		if n := len(slices.DeleteFunc(run, func(name string) bool { return name == "evalsha" })); n > 2 {
			t.Errorf("%d evals of %v, want one for each script at most", n, seen.names)
		}
	})
}

// TestRunEndsWithItsContext holds that no setting of the client makes a caller wait for a server that
// does not answer. What was sent still counts, once.
func TestRunEndsWithItsContext(t *testing.T) {
	for _, obeys := range []bool{false, true} {
		t.Run(fmt.Sprintf("ContextTimeoutEnabled=%t", obeys), func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				client, proxies := throughProxies(t, rdb, func(o *redis.UniversalOptions) {
					o.ContextTimeoutEnabled, o.ReadTimeout = obeys, -1
				})
				conn, check := &Conn{rdb: client}, testCheck(redistest.Org(t))
				for _, end := range []string{"deadline", "cancel"} {
					if _, err := conn.Admit(t.Context(), []Check{check}); err != nil { // warms the pool
						t.Fatalf("Admit: %v", err)
					}
					before := counted(t, rdb, check)
					lost := make(chan struct{})
					for _, p := range proxies {
						p.set(0, true)
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					want, class := context.Canceled, ClassCanceled
					if end == "deadline" {
						ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
						want, class = context.DeadlineExceeded, ClassTimeout
					} else {
						go func() { <-anyLost(proxies, lost); cancel() }()
					}
					_, err := conn.Admit(ctx, []Check{check})
					cancel()
					close(lost)
					// A client that obeys deadlines may be the first to see this one.
					if got := Classify(err); got != class || !errors.Is(err, want) && !obeys {
						t.Errorf("%s: Admit: %v, class %q; want %v", end, err, got, want)
					}
					for _, p := range proxies {
						p.set(0, false)
					}
					if got := counted(t, rdb, check); got > before+1 {
						t.Errorf("%s: %d units counted, want at most one more than %d", end, got, before)
					}
				}
			})
		})
	}
}

// anyLost returns a channel that closes when a proxy has lost a reply, or when stop closes.
func anyLost(proxies []*proxy, stop <-chan struct{}) <-chan struct{} {
	first := make(chan struct{})
	var once sync.Once
	for _, p := range proxies {
		go func() {
			select {
			case <-p.lost:
			case <-stop:
			}
			once.Do(func() { close(first) })
		}()
	}
	return first
}

func TestNewConn(t *testing.T) {
	t.Parallel()
	for name, rdb := range map[string]redis.UniversalClient{
		"nil": nil, "nil client": (*redis.Client)(nil), "nil cluster": (*redis.ClusterClient)(nil), "nil ring": (*redis.Ring)(nil),
	} {
		if conn, err := NewConn(rdb); err == nil || conn != nil {
			t.Errorf("NewConn of %s = %v, %v; want an error", name, conn, err)
		}
	}
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	if conn, err := NewConn(rdb); err != nil || conn.Client() != redis.UniversalClient(rdb) {
		t.Errorf("NewConn = %v, %v; want a Conn on its client", conn, err)
	}
}

type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}

type timeoutError struct{}

func (timeoutError) Error() string { return "i/o timeout" }
func (timeoutError) Timeout() bool { return true }

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want Class
	}{
		{nil, ClassNone},
		{context.Canceled, ClassCanceled},
		{fmt.Errorf("a: %w", context.Canceled), ClassCanceled},
		{errors.Join(context.DeadlineExceeded, context.Canceled), ClassCanceled},
		{context.DeadlineExceeded, ClassTimeout},
		{fmt.Errorf("a: %w", timeoutError{}), ClassTimeout},
		{&net.OpError{Op: "read", Err: timeoutError{}}, ClassTimeout},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, ClassUnavailable},
		{io.EOF, ClassUnavailable},
		{redis.ErrClosed, ClassUnavailable},
		{redis.ErrPoolTimeout, ClassOverloaded},
		{redis.ErrPoolExhausted, ClassOverloaded},
		{redisError("ERR max number of clients reached"), ClassOverloaded},
		{redisError("OOM command not allowed when used memory > 'maxmemory'."), ClassOverloaded},
		{redisError("BUSY Redis is busy running a script."), ClassOverloaded},
		{redisError("LOADING Redis is loading the dataset in memory"), ClassUnavailable},
		{redisError("READONLY You can't write against a read only replica."), ClassUnavailable},
		{redisError("CLUSTERDOWN The cluster is down"), ClassUnavailable},
		{redisError("TRYAGAIN Multiple keys request during rehashing of slot"), ClassUnavailable},
		{redisError("NOAUTH Authentication required."), ClassConfig},
		{redisError("WRONGPASS invalid username-password pair"), ClassConfig},
		{redisError("NOPERM this user has no permissions"), ClassConfig},
		{redisError("WRONGTYPE Operation against a key"), ClassConfig},
		{redisError("CROSSSLOT Keys in request don't hash to the same slot"), ClassConfig},
		{redisError("NOSCRIPT No matching script."), ClassConfig},
		{redisError("ERR unknown command"), ClassConfig},
		{fmt.Errorf("a: %w", redisError("NOPERM no")), ClassConfig},
		{fmt.Errorf("%w: odd", ErrReply), ClassConfig},
		{errors.New("ERR is no reply of Redis here"), ClassUnavailable},
	} {
		t.Run(fmt.Sprint(tt.err), func(t *testing.T) {
			t.Parallel()
			if got := Classify(tt.err); got != tt.want {
				t.Errorf("Classify = %q, want %q", got, tt.want)
			}
		})
	}
}
