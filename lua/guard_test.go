package lua

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/audit"
	"github.com/tollgate-go/tollgate/lua/breaker"
	"github.com/tollgate-go/tollgate/lua/bucket"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// ear notes what breakers tell.
type ear struct {
	mu   sync.Mutex
	told []string
}

func (e *ear) changed(server string, open bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = append(e.told, fmt.Sprint(server, " ", open))
}

func (e *ear) wants(t *testing.T, told ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.told, told) {
		t.Errorf("told %q, want %q", e.told, told)
	}
}

func guardedConn(t *testing.T, rdb redis.UniversalClient) (*Conn, *ear) {
	t.Helper()
	plain, err := NewConn(rdb)
	if err != nil {
		t.Fatal(err)
	}
	e := new(ear)
	return plain.Guarded(e.changed), e
}

// process returns the pid of a server.
func process(t *testing.T, rdb *redis.Client) int {
	t.Helper()
	info, err := rdb.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(info, "process_id:")
	pid, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(after, "\n", 2)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestHungServerCostsOneTimeoutPerProbe has 200 callers on a pool of 10 ask a server that is stopped.
func TestHungServerCostsOneTimeoutPerProbe(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t), PoolSize: 10})
	t.Cleanup(func() { rdb.Close() })
	conn, told := guardedConn(t, rdb)
	server, pid := rdb.Options().Addr, process(t, rdb)
	if _, err := conn.Epoch(t.Context(), "org"); err != nil {
		t.Fatal(err)
	}
	signal(t, pid, syscall.SIGSTOP)
	for conn.OpenBreakers() == 0 {
		if _, err := conn.Epoch(within(t, 20*time.Millisecond), "org"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a stopped server: %v", err)
		}
	}
	began := time.Now()
	var asked, refused atomic.Int64
	var callers sync.WaitGroup
	for range 200 {
		callers.Go(func() {
			for range 20 {
				_, err := conn.Epoch(within(t, 50*time.Millisecond), "org")
				if errors.Is(err, breaker.ErrOpen) {
					refused.Add(1)
				} else {
					asked.Add(1)
				}
			}
		})
	}
	callers.Wait()
	if most := int64(time.Since(began)/(200*time.Millisecond)) + 1; asked.Load() > most || refused.Load() == 0 {
		t.Errorf("%d of %d were let through in %v, want at most %d", asked.Load(), asked.Load()+refused.Load(), time.Since(began), most)
	}
	if err := conn.PutProject(within(t, 20*time.Millisecond), "org", ProjectReading{Name: "p", Record: "{}"}, 0, false, audit.Line{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a write while it is open: %v, want that it is tried", err)
	}
	told.wants(t, server+" true")

	signal(t, pid, syscall.SIGCONT)
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := conn.Epoch(within(t, 5*time.Second), "org")
		if err == nil {
			break
		}
		if !errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("the first probe of a server that is back: %v", err)
		}
	}
	told.wants(t, server+" true", server+" false")
	if n := conn.OpenBreakers(); n != 0 {
		t.Errorf("%d are open", n)
	}
}

// road leads to a server, and can be blocked.
type road struct {
	mu      sync.Mutex
	blocked bool
	conns   []net.Conn
}

func (r *road) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocked {
		return nil, syscall.ECONNREFUSED
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	r.conns = append(r.conns, conn)
	return conn, nil
}

func (r *road) block() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocked = true
	for _, conn := range r.conns {
		conn.Close()
	}
}

func (r *road) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocked = false
}

// TestDeadMasterStopsNoOther has a client that reaches all masters of a cluster but one.
func TestDeadMasterStopsNoOther(t *testing.T) {
	t.Parallel()
	addrs := redistest.ClusterAddrs(t)
	gone, way := addrs[0], new(road)
	rdb := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, PoolSize: 10,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == gone {
				return way.dial(ctx, network, addr)
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	t.Cleanup(func() { rdb.Close() })
	conn, told := guardedConn(t, rdb)
	where := make(map[string][]string) // orgs by the server that has them
	for b := range bucket.All() {
		org := redistest.Org(t)
		for bucket.Of(org) != b {
			org = redistest.Org(t)
		}
		server, err := conn.server(t.Context(), EpochKey(org))
		if err != nil {
			t.Fatal(err)
		}
		where[addrOf(server)] = append(where[addrOf(server)], org)
	}
	if len(where) < 2 {
		t.Fatalf("the cluster has %d masters, want more", len(where))
	}
	way.block()
	var group sync.WaitGroup
	for server, orgs := range where {
		group.Go(func() {
			refused := 0
			for i := range 60 {
				_, err := conn.Epoch(within(t, 5*time.Second), orgs[i%len(orgs)])
				if server != gone && err != nil {
					t.Errorf("of %s, which is well: %v", server, err)
				}
				if server == gone && err == nil {
					t.Errorf("%s, which is dead, answered", server)
				}
				if errors.Is(err, breaker.ErrOpen) {
					refused++
				}
			}
			if (refused > 0) != (server == gone) {
				t.Errorf("%s refused %d", server, refused)
			}
		})
	}
	group.Wait()
	told.wants(t, gone+" true")
	if n := conn.OpenBreakers(); n != 1 {
		t.Errorf("%d are open, want 1", n)
	}
	way.clear()
	for deadline := time.Now().Add(10 * time.Second); conn.OpenBreakers() != 0; {
		if time.Now().After(deadline) {
			t.Fatal("still open")
		}
		_, _ = conn.Epoch(within(t, time.Second), where[gone][0])
	}
	told.wants(t, gone+" true", gone+" false")
}

// TestNoServerOfTheClusterIsKnown asks a cluster that was never reached.
func TestNoServerOfTheClusterIsKnown(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:  []string{"127.0.0.1:1"},
		Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED },
	})
	t.Cleanup(func() { rdb.Close() })
	conn, told := guardedConn(t, rdb)
	for range 5 {
		if _, err := conn.Breaker(within(t, 20*time.Millisecond), "{00}"); err == nil || errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("nobody tells where a key lies: %v", err)
		}
	}
	if _, err := conn.Epoch(t.Context(), "org"); !errors.Is(err, breaker.ErrOpen) || Classify(err) != ClassUnavailable {
		t.Errorf("got %v of class %q", err, Classify(err))
	}
	told.wants(t, "cluster true")
}

// TestAnswersAreNoFailures gives every caller a refusal that is an answer.
func TestAnswersAreNoFailures(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		conn, told := guardedConn(t, rdb)
		org := redistest.Org(t)
		if err := rdb.Set(t.Context(), EpochKey(org), "not an epoch", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		for i := range 12 {
			if err := conn.UseProof(t.Context(), org, "id", time.Minute); errors.Is(err, ErrProofUsed) != (i > 0) {
				t.Fatalf("proof: %v", err)
			}
			if _, err := conn.Epoch(t.Context(), org); Classify(err) != ClassConfig {
				t.Fatalf("a key of another kind: %v", err)
			}
			if _, err := conn.Epoch(canceled, org); Classify(err) != ClassCanceled {
				t.Fatalf("a caller who went away: %v", err)
			}
			if _, err := conn.DigestID(t.Context(), org); !errors.Is(err, ErrKeyNotFound) {
				t.Fatalf("nobody's digest: %v", err)
			}
			token := &Token{Org: org, Issuer: "i", ID: "t"}
			if _, err := conn.Admit(t.Context(), []Check{{Mode: Peek, Token: token}}); err != nil {
				t.Fatalf("a token: %v", err)
			}
		}
		told.wants(t)
	})
}

func TestBreakerOfAServer(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1", "b": "127.0.0.1:2"}, HeartbeatFrequency: time.Hour})
	single := redis.NewClient(&redis.Options{Addr: "127.0.0.1:3"})
	t.Cleanup(func() { ring.Close(); single.Close() })
	for _, row := range []struct {
		name string
		rdb  redis.UniversalClient
		want int
	}{{"a ring of two", ring, 2}, {"one server", single, 1}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			conn, _ := guardedConn(t, row.rdb)
			seen := make(map[*breaker.Breaker]bool)
			for b := range bucket.All() {
				one, err := conn.Breaker(t.Context(), "{"+b+"}")
				again, errAgain := conn.Breaker(t.Context(), "tg1:{"+b+"}:more")
				if err != nil || errAgain != nil || one == nil || one != again {
					t.Fatalf("bucket %s: %p, %v, then %p, %v", b, one, err, again, errAgain)
				}
				seen[one] = true
			}
			if len(seen) != row.want {
				t.Errorf("%d breakers, want %d", len(seen), row.want)
			}
		})
	}
	conn, err := NewConn(single)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := conn.Breaker(t.Context(), "{00}"); b != nil || err != nil || conn.OpenBreakers() != 0 {
		t.Errorf("a Conn that is not Guarded: %v, %v, %d open", b, err, conn.OpenBreakers())
	}
}

// TestIdleServersAreNotOpen has a server fail that is never asked again, as one that was replaced.
func TestIdleServersAreNotOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &Conn{guards: &guards{byServer: make(map[string]*guarded)}}
		for range 5 {
			_ = c.guards.of("gone").Do(func() error { return errors.New("refused") })
			_ = c.guards.of("there").Do(func() error { return nil })
		}
		for _, row := range []struct {
			after time.Duration
			want  int
		}{{0, 1}, {59 * time.Second, 1}, {time.Second, 0}} {
			time.Sleep(row.after)
			if got := c.OpenBreakers(); got != row.want {
				t.Errorf("after %v more: %d are open, want %d", row.after, got, row.want)
			}
		}
		c.guards.of("gone")
		if got := c.OpenBreakers(); got != 1 {
			t.Errorf("asked again: %d are open, want 1", got)
		}
	})
}
