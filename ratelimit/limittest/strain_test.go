package limittest_test

// Peers' defects that only concurrency and broken connections show.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// faults makes connections lose a reply: the next one to a request that holds the mark.
type faults struct {
	mark []byte
	next atomic.Pointer[error] // what the reader of the lost reply gets
}

func (f *faults) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &faultyConn{Conn: conn, faults: f}, err
}

type faultyConn struct {
	net.Conn
	faults *faults
	lose   *error // the reply that comes next, and all after it
}

func (c *faultyConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, c.faults.mark) {
		c.lose = c.faults.next.Swap(nil)
	}
	return c.Conn.Write(b)
}

// Read reads the reply before it loses it, so that Redis has done what it was asked for.
func (c *faultyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.lose != nil {
		_ = c.Close()
		return 0, *c.lose
	}
	return n, err
}

// through returns a limiter with a client of its own, which repeats commands as go-redis does unless told
// otherwise, and whose connections have faults.
func (l *lane) through(f *faults) *ratelimit.Limiter {
	l.Helper()
	options := &redis.UniversalOptions{Dialer: f.dial, MaxRetries: 3}
	if _, options.IsClusterMode = l.rdb.(*redis.ClusterClient); options.IsClusterMode {
		options.Addrs = redistest.ClusterAddrs(l)
	} else {
		options.Addrs = []string{redistest.StandaloneAddr(l)}
	}
	client := redis.NewUniversalClient(options)
	l.Cleanup(func() { client.Close() })
	limiter, err := ratelimit.New(client, ratelimit.WithTimeout(time.Minute))
	if err != nil {
		l.Fatalf("New: %v", err)
	}
	return limiter
}

// lostReply loses the replies of charges in several ways. They charge once, and the next one finds
// everything well again.
func lostReply(t *testing.T, rdb redis.UniversalClient) {
	each(t, rdb, func(l *lane, k kind) {
		f := &faults{mark: []byte(l.org)}
		limiter := l.through(f)
		p := k.of(10, long)
		for i, loss := range []error{io.EOF, os.ErrDeadlineExceeded, io.ErrUnexpectedEOF, net.ErrClosed} {
			if d, err := limiter.Admit(t.Context(), l.request(1, p)); err != nil || !d.Allowed { // warms the connection
				l.Fatalf("Admit = %+v, %v; want it allowed", d, err)
			}
			f.next.Store(&loss)
			if d, err := limiter.Admit(t.Context(), l.request(1, p)); !errors.Is(err, ratelimit.ErrUnavailable) || !errors.Is(err, loss) || d.Allowed {
				l.Errorf("Admit = %+v, %v; want ErrUnavailable for %v", d, err, loss)
			}
			if f.next.Load() != nil {
				l.Fatal("no reply was lost; nothing was tested")
			}
			if got, want := l.look(p, 1).Used, int64(2*i+2); got != want {
				l.Fatalf("%v: %d used, want %d", loss, got, want)
			}
		}
	})
}

// together calls f from n goroutines at once and waits for all of them.
func together(n int, f func(i int)) {
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	group.Wait()
}

// manyPeeks has 640 callers look while 50 take.
func manyPeeks(t *testing.T, rdb redis.UniversalClient) {
	each(t, rdb, func(l *lane, k kind) {
		p := k.of(100, long)
		w := newWatch(rdb)
		l.take(p, 40, true)
		before := w.images(l)
		look := func(i int) {
			r := l.request(int64(i%3), p)
			r.Peek = true
			d, err := l.limiter.Admit(t.Context(), r)
			if err != nil || !d.Allowed {
				l.Errorf("Admit = %+v, %v; want it allowed", d, err)
			}
		}
		together(640, look)
		if after := w.images(l); !maps.Equal(before, after) {
			l.Errorf("stored %v after the peeks, want %v", after, before)
		}
		together(100, func(i int) {
			if look(i); i%2 == 0 {
				if _, err := l.limiter.Admit(t.Context(), l.request(1, p)); err != nil {
					l.Errorf("Admit: %v", err)
				}
			}
		})
		if got := l.look(p, 1).Remaining; got != 10 {
			l.Errorf("%d left of 100 after 90 were taken, want 10", got)
		}
	})
}

// hotKey is the load under which optimistic locking fails.
func hotKey(t *testing.T, rdb redis.UniversalClient) {
	const callers, calls, limit = 64, 200, 10_000
	l, p := newLane(t, rdb), ratelimit.Per(limit, long)
	var allowed atomic.Int64
	together(callers, func(int) {
		for range calls {
			d, err := l.limiter.Admit(t.Context(), l.request(1, p))
			if err != nil {
				l.Errorf("Admit: %v", err)
				return
			}
			if d.Allowed {
				allowed.Add(1)
			}
		}
	})
	if got := l.look(p, 1); allowed.Load() != limit || got.Used != limit {
		l.Errorf("%d of %d calls allowed, %d used; want %d", allowed.Load(), callers*calls, got.Used, limit)
	}
}

// stall is a hook that holds up what is sent of one org, until it is let go.
type stall struct {
	org     string
	waiting chan struct{} // one for each command that is held up
	release chan struct{}
}

func (s *stall) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *stall) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s *stall) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if slices.ContainsFunc(scriptKeys(cmd), func(key string) bool { return strings.Contains(key, s.org) }) {
			s.waiting <- struct{}{}
			<-s.release
		}
		return next(ctx, cmd)
	}
}

// noLock holds up one caller's first call, in which the overrides are read, and one caller's later one.
// Meanwhile 64 others are served, through the same limiter.
func noLock(t *testing.T, rdb redis.UniversalClient) {
	for _, warm := range []bool{false, true} {
		name := map[bool]string{false: "reading overrides", true: "charging"}[warm]
		t.Run(name, func(t *testing.T) {
			slow, p := newLane(t, rdb), ratelimit.Per(10, long)
			var used int64
			if warm {
				used++
				slow.take(p, 1, true)
			}
			s := &stall{slow.org, make(chan struct{}, 10), make(chan struct{})}
			rdb.AddHook(s)
			done := make(chan ratelimit.Decision, 1)
			go func() {
				d, err := slow.limiter.Admit(t.Context(), slow.request(1, p))
				if err != nil {
					t.Errorf("Admit of the slow one: %v", err)
				}
				done <- d
			}()
			<-s.waiting
			served := make(chan struct{})
			go func() {
				defer close(served)
				together(64, func(int) {
					r := slow.request(1, p)
					r.Org = redistest.Org(t)
					for range 5 {
						if d, err := slow.limiter.Admit(t.Context(), r); err != nil || !d.Allowed {
							t.Errorf("Admit = %+v, %v; want it allowed", d, err)
						}
					}
				})
			}()
			select {
			case <-served:
			case <-time.After(10 * time.Second): // so that a lock is told, and does not hang
				t.Error("the others wait for the slow one")
			}
			if len(done) > 0 {
				t.Error("the slow call is done already; nothing was tested")
			}
			close(s.release)
			<-served
			if d := <-done; !d.Allowed || d.Results[0].Used != used+1 {
				t.Errorf("the slow one: %+v, want %d used", d, used+1)
			}
		})
	}
}
