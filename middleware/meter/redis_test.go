package meter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
	"github.com/tollgate-go/tollgate/lua/redistest"
)

// wire is the network between a client and Redis, with faults.
type wire struct {
	down atomic.Bool // nothing can be sent, and nobody connects
	lose atomic.Bool // what a script answers is lost, and its connection with it
	lost atomic.Int64
	loss func() // called when one is lost, if it is not nil
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if w.down.Load() {
		return nil, errDown
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &faultyConn{Conn: conn, wire: w}, err
}

type faultyConn struct {
	net.Conn
	wire   *wire
	script atomic.Bool // a script was sent last
}

func (c *faultyConn) Write(p []byte) (int, error) {
	if c.wire.down.Load() {
		return 0, errDown
	}
	c.script.Store(bytes.Contains(p, []byte("evalsha")) || bytes.Contains(p, []byte("eval\r\n")))
	return c.Conn.Write(p)
}

func (c *faultyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	// Redis answered, so the script has run. NOSCRIPT proves the contrary and is let through.
	if err == nil && c.script.Load() && c.wire.lose.Load() && !bytes.Contains(p[:n], []byte("NOSCRIPT")) {
		c.wire.lost.Add(1)
		if c.wire.loss != nil {
			c.wire.loss()
		}
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// eachWire runs a test on both kinds of Redis, with a client whose network is the test's, and an org of
// its own.
func eachWire(t *testing.T, test func(t *testing.T, w *wire, rdb redis.UniversalClient, org string)) {
	t.Parallel()
	for _, kind := range []struct {
		name  string
		addrs func(testing.TB) []string
	}{
		{"standalone", func(tb testing.TB) []string { return []string{redistest.StandaloneAddr(tb)} }},
		{"cluster", redistest.ClusterAddrs},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			var w wire
			rdb := redis.NewUniversalClient(&redis.UniversalOptions{
				Addrs: kind.addrs(t), IsClusterMode: kind.name == "cluster", Dialer: w.dial,
			})
			t.Cleanup(func() {
				if err := rdb.Close(); err != nil {
					t.Errorf("close the client: %v", err)
				}
			})
			test(t, &w, rdb, redistest.Org(t))
		})
	}
}

func newMeter(t *testing.T, rdb redis.UniversalClient, opts ...Option) *Meter {
	t.Helper()
	m, err := New(rdb, append([]Option{WithInterval(time.Hour), WithTimeout(30 * time.Second)}, opts...)...)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = m.Close(ctx)
	})
	return m
}

// total returns the units of an org in the hour of noon, as another process sees them.
func total(t *testing.T, rdb redis.UniversalClient, org string) int64 {
	t.Helper()
	r, err := NewReader(rdb, WithTimeout(30*time.Second))
	if err != nil {
		t.Fatalf("NewReader: %v", err)
	}
	items, err := r.Usage(t.Context(), Query{Org: org, From: noon, To: noon.Add(time.Hour)})
	if err != nil {
		t.Fatalf("Usage: %v", err)
	}
	var sum int64
	for _, item := range items {
		sum += item.Units
	}
	return sum
}

func wantTotal(t *testing.T, rdb redis.UniversalClient, org string, want int64) {
	t.Helper()
	if got := total(t, rdb, org); got != want {
		t.Errorf("Redis has %d units, want %d", got, want)
	}
}

func TestRedisCountsManyGoroutines(t *testing.T) {
	eachWire(t, func(t *testing.T, _ *wire, rdb redis.UniversalClient, org string) {
		m := newMeter(t, rdb, WithInterval(10*time.Millisecond))
		var group sync.WaitGroup
		for i := range 1000 {
			group.Go(func() {
				u := usage(org, 1)
				u.Source = strconv.Itoa(i % 10)
				for range 10 {
					m.Record(u)
				}
			})
		}
		group.Wait()
		if err := m.Close(t.Context()); err != nil {
			t.Fatalf("Close: %v", err)
		}
		wantTotal(t, rdb, org, 10_000)
	})
}

func TestRedisAddsUpMeters(t *testing.T) {
	eachWire(t, func(t *testing.T, _ *wire, rdb redis.UniversalClient, org string) {
		one, two := newMeter(t, rdb), newMeter(t, rdb)
		for i := range int64(3) {
			one.Record(usage(org, 1+i))
			two.Record(usage(org, 10+i))
			flush(t, one)
			flush(t, two)
		}
		wantTotal(t, rdb, org, 39)
	})
}

func TestRedisReplyLost(t *testing.T) {
	eachWire(t, func(t *testing.T, w *wire, rdb redis.UniversalClient, org string) {
		m := newMeter(t, rdb)
		m.Record(usage(org, 1))
		flush(t, m) // connections are open and the script is loaded
		m.Record(usage(org, 10))
		w.lose.Store(true)
		for range 3 {
			if err := m.Flush(t.Context()); !errors.Is(err, ErrNotFlushed) {
				t.Fatalf("Flush = %v; want ErrNotFlushed", err)
			}
			m.Record(usage(org, 100))
		}
		w.lose.Store(false)
		if got := w.lost.Load(); got != 3 {
			t.Fatalf("%d replies were lost, want 3: a client may not repeat the script by itself", got)
		}
		wantTotal(t, rdb, org, 11)
		flush(t, m)
		wantTotal(t, rdb, org, 311)
		wantStats(t, m, Stats{Recorded: 311, Flushed: 311, Failures: map[lua.Class]uint64{lua.ClassUnavailable: 3}})
	})
}

func TestRedisDownAndBack(t *testing.T) {
	eachWire(t, func(t *testing.T, w *wire, rdb redis.UniversalClient, org string) {
		m := newMeter(t, rdb)
		m.Record(usage(org, 1))
		flush(t, m)
		w.down.Store(true)
		for i := range uint64(2) {
			m.Record(usage(org, 10))
			if err := m.Flush(t.Context()); !errors.Is(err, ErrNotFlushed) {
				t.Fatalf("Flush = %v; want ErrNotFlushed", err)
			}
			if got := m.Stats(); got.Pending != 10*(i+1) || got.Failures[lua.ClassUnavailable] != i+1 {
				t.Errorf("Stats = %+v; want %d pending, %d failures", got, 10*(i+1), i+1)
			}
		}
		w.down.Store(false)
		if err := m.Close(t.Context()); err != nil {
			t.Fatalf("Close: %v", err)
		}
		wantTotal(t, rdb, org, 21)
	})
}

func TestRedisDamaged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(ctx context.Context, rdb redis.UniversalClient, hour string) error
	}{
		{"a text", func(ctx context.Context, rdb redis.UniversalClient, hour string) error {
			return rdb.HSet(ctx, hour, "shop:stores:search:", "many").Err()
		}},
		{"a list", func(ctx context.Context, rdb redis.UniversalClient, hour string) error {
			return rdb.RPush(ctx, hour, "x").Err()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachWire(t, func(t *testing.T, _ *wire, rdb redis.UniversalClient, org string) {
				m := newMeter(t, rdb)
				hour := lua.UsageKey(org, strconv.FormatInt(noon.Truncate(time.Hour).Unix(), 10))
				if err := tt.damage(t.Context(), rdb, hour); err != nil {
					t.Fatalf("damage: %v", err)
				}
				before := rdb.Dump(t.Context(), hour).Val()
				beside, same := usage(org, 2), neighbour(org)
				beside.Kind = "suggest"
				m.Record(usage(org, 1))
				m.Record(beside)
				m.Record(usage(same, 4))
				if err := m.Flush(t.Context()); !errors.Is(err, lua.ErrUsageRefused) {
					t.Errorf("Flush = %v; want ErrUsageRefused", err)
				}
				if rdb.Dump(t.Context(), hour).Val() != before {
					t.Error("a part of the refused batch was counted")
				}
				wantTotal(t, rdb, same, 4)
				wantStats(t, m, Stats{Recorded: 7, Flushed: 4, Pending: 3, Entries: 2, Failures: map[lua.Class]uint64{lua.ClassConfig: 1}})
				_, err := m.Usage(t.Context(), Query{Org: org, From: noon, To: noon.Add(time.Hour)})
				if !errors.Is(err, ErrUnavailable) {
					t.Errorf("Usage of what is damaged = %v; want ErrUnavailable", err)
				}

				if err := rdb.Del(t.Context(), hour).Err(); err != nil {
					t.Fatalf("mend: %v", err)
				}
				flush(t, m)
				wantTotal(t, rdb, org, 3)
			})
		})
	}
}

func TestRedisForgotTheScript(t *testing.T) {
	// An embedded server may be flushed; the shared ones may not.
	t.Setenv(redistest.EnvStandalone, "")
	t.Setenv(redistest.EnvRequire, "")
	rdb := redistest.Standalone(t, redistest.OrEmbedded())
	m := newMeter(t, rdb)
	for range 2 {
		m.Record(usage("acme", 1))
		flush(t, m)
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatalf("SCRIPT FLUSH: %v", err)
		}
	}
	wantTotal(t, rdb, "acme", 2)
}

func TestRedisKeepsUsageForTheRetention(t *testing.T) {
	eachWire(t, func(t *testing.T, _ *wire, rdb redis.UniversalClient, org string) {
		hour := lua.UsageKey(org, strconv.FormatInt(noon.Truncate(time.Hour).Unix(), 10))
		for _, tt := range []struct {
			opts []Option
			want time.Duration
		}{
			{nil, 400 * day},
			{[]Option{WithRetention(20 * day)}, 400 * day}, // what is kept stays so
		} {
			m := newMeter(t, rdb, tt.opts...)
			m.Record(usage(org, 1))
			flush(t, m)
			if got := rdb.PTTL(t.Context(), hour).Val(); got > tt.want || got < tt.want-time.Hour {
				t.Errorf("TTL = %v, want %v", got, tt.want)
			}
		}
	})
}
