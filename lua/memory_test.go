package lua

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

func memoryOf(t *testing.T, rdb redis.UniversalClient) ([]Memory, error) {
	t.Helper()
	conn, err := NewConn(rdb)
	if err != nil {
		t.Fatalf("NewConn: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return conn.Memory(ctx)
}

func closeAtEnd[C redis.UniversalClient](t *testing.T, client C) C {
	t.Helper()
	t.Cleanup(func() { client.Close() })
	return client
}

// byName writes an address so that go-redis leaves it as it is where ClusterSlots tells it.
func byName(addr string) string { return strings.Replace(addr, "127.0.0.1", "localhost", 1) }

// ring and cluster make clients of servers that know nothing of each other.
func ring(t *testing.T, addrs ...string) *redis.Ring {
	t.Helper()
	shards := map[string]string{}
	for _, addr := range addrs {
		shards[addr] = addr
	}
	return closeAtEnd(t, redis.NewRing(&redis.RingOptions{Addrs: shards, HeartbeatFrequency: time.Hour}))
}

func cluster(t *testing.T, addrs ...string) *redis.ClusterClient {
	t.Helper()
	const slots = 16384
	all := make([]redis.ClusterSlot, len(addrs))
	for i, addr := range addrs {
		all[i] = redis.ClusterSlot{
			Start: i * slots / len(addrs), End: (i+1)*slots/len(addrs) - 1, Nodes: []redis.ClusterNode{{Addr: addr}},
		}
	}
	return closeAtEnd(t, redis.NewClusterClient(&redis.ClusterOptions{
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) { return all, nil },
	}))
}

func TestMemory(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		want := []string{redistest.StandaloneAddr(t)}
		if _, ok := rdb.(*redis.ClusterClient); ok {
			want = redistest.ClusterAddrs(t)
			slices.Sort(want)
		}
		got, err := memoryOf(t, rdb)
		if err != nil {
			t.Fatalf("Memory: %v", err)
		}
		var addrs []string
		for _, m := range got {
			addrs = append(addrs, m.Addr)
			if m.Policy != "noeviction" || m.MaxMemory != 0 || m.EvictedKeys != 0 || m.Eviction() != EvictionOff {
				t.Errorf("Memory: %+v, want a server as it starts", m)
			}
			if name, version, _ := strings.Cut(m.Version, " "); name != "redis" && name != "valkey" || !strings.Contains(version, ".") {
				t.Errorf("Version %q", m.Version)
			}
		}
		if !slices.Equal(addrs, want) {
			t.Errorf("Memory of %v, want of %v", addrs, want)
		}
	})
}

// TestMemoryOfEachKindOfClient has three servers, of which one evicts, one would, and one is as it should be.
func TestMemoryOfEachKindOfClient(t *testing.T) {
	t.Parallel()
	const bound = 4 << 20
	evicting := byName(redistest.Start(t, "--maxmemory", fmt.Sprint(bound), "--maxmemory-policy", "allkeys-random"))
	latent := byName(redistest.Start(t, "--maxmemory-policy", "volatile-ttl"))
	safe := byName(redistest.Start(t, "--maxmemory", fmt.Sprint(bound)))
	single := closeAtEnd(t, redis.NewClient(&redis.Options{Addr: evicting}))
	for i := range 2 * bound >> 16 {
		if err := single.Set(t.Context(), fmt.Sprint(i), strings.Repeat("x", 1<<16), 0).Err(); err != nil {
			t.Fatalf("SET: %v", err)
		}
	}
	want := map[string]Memory{
		evicting: {Policy: "allkeys-random", MaxMemory: bound},
		latent:   {Policy: "volatile-ttl"},
		safe:     {Policy: "noeviction", MaxMemory: bound},
	}
	evictions := map[string]Eviction{evicting: EvictionOn, latent: EvictionLatent, safe: EvictionOff}
	type embeds struct{ *redis.ClusterClient }
	for name, tt := range map[string]struct {
		rdb     redis.UniversalClient
		servers []string
	}{
		"standalone":       {single, []string{evicting}},
		"ring":             {ring(t, evicting, latent, safe), []string{evicting, latent, safe}},
		"cluster":          {cluster(t, evicting, latent, safe), []string{evicting, latent, safe}},
		"embedded cluster": {embeds{cluster(t, evicting, latent)}, []string{evicting, latent}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := memoryOf(t, tt.rdb)
			if err != nil || len(got) != len(tt.servers) || !slices.IsSortedFunc(got, func(a, b Memory) int { return strings.Compare(a.Addr, b.Addr) }) {
				t.Fatalf("Memory = %+v, %v; want %d servers in order", got, err, len(tt.servers))
			}
			for _, m := range got {
				w := want[m.Addr]
				if m.Policy != w.Policy || m.MaxMemory != w.MaxMemory || m.EvictedKeys > 0 != (m.Addr == evicting) || m.EvictedKeys < 0 {
					t.Errorf("Memory: %+v, want %+v, with evicted keys where the server evicts", m, w)
				}
				if got := m.Eviction(); got != evictions[m.Addr] {
					t.Errorf("Eviction of %+v: %s, want %s", m, got, evictions[m.Addr])
				}
			}
		})
	}
}

func TestMemoryBehindSentinel(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, "--maxmemory", "9mb", "--maxmemory-policy", "volatile-lru")
	sentinel := redistest.Start(t, "--sentinel")
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		t.Fatal(err)
	}
	s := redis.NewSentinelClient(&redis.Options{Addr: sentinel})
	defer s.Close()
	if err := s.Monitor(t.Context(), "limits", host, port, "1").Err(); err != nil {
		t.Fatalf("SENTINEL MONITOR: %v", err)
	}
	got, err := memoryOf(t, closeAtEnd(t, redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "limits", SentinelAddrs: []string{sentinel},
	})))
	if err != nil || len(got) != 1 || got[0].Addr != "FailoverClient" || got[0].Policy != "volatile-lru" || got[0].Eviction() != EvictionOn {
		t.Errorf("Memory = %+v, %v; want the master's", got, err)
	}
}

// TestMemoryOfSilentServer has a server that accepts and never answers. What the others say is not lost.
func TestMemoryOfSilentServer(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	t.Cleanup(func() { listener.Close() })
	silent, live := byName(listener.Addr().String()), byName(redistest.Start(t))
	for name, rdb := range map[string]redis.UniversalClient{
		"ring": ring(t, silent, live), "cluster": cluster(t, silent, live),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			got, err := (&Conn{rdb: rdb}).Memory(ctx)
			if len(got) != 1 || got[0].Addr != live || got[0].Policy != "noeviction" {
				t.Errorf("Memory = %+v, want that of %s", got, live)
			}
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), silent) || strings.Contains(err.Error(), live) {
				t.Errorf("Memory: %v, want the deadline at %s", err, silent)
			}
		})
	}
}

// TestMemoryOfClusterNotFound has a client that waits for the list of servers, and does not look at its context.
func TestMemoryOfClusterNotFound(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	rdb := closeAtEnd(t, redis.NewClusterClient(&redis.ClusterOptions{
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			select {
			case <-release:
			case <-time.After(30 * time.Second):
				t.Error("Memory still waits long after its context has ended")
			}
			return nil, errors.New("nobody knows")
		},
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	got, err := (&Conn{rdb: rdb}).Memory(ctx)
	close(release)
	if !errors.Is(err, context.DeadlineExceeded) || len(got) != 0 {
		t.Errorf("Memory = %+v, %v; want the deadline", got, err)
	}
}

func TestMemoryErrors(t *testing.T) {
	t.Parallel()
	addr := redistest.Start(t)
	admin := closeAtEnd(t, redis.NewClient(&redis.Options{Addr: addr}))
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "limits", "on", "nopass", "~*", "+@all", "-@dangerous").Err(); err != nil {
		t.Fatalf("ACL SETUSER: %v", err)
	}
	refused := closeAtEnd(t, redis.NewClient(&redis.Options{Addr: addr, Username: "limits", Password: "any"}))
	closed := redis.NewClient(&redis.Options{Addr: addr})
	closed.Close()
	down := redis.NewRing(&redis.RingOptions{})
	t.Cleanup(func() { down.Close() })
	for _, tt := range []struct {
		name  string
		rdb   redis.UniversalClient
		class Class
		texts []string
	}{
		{"refused by an ACL", refused, ClassConfig, []string{addr, "NOPERM", "+info"}},
		{"closed", closed, ClassUnavailable, []string{addr, "closed"}},
		{"no server", down, ClassUnavailable, []string{"none is up"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := memoryOf(t, tt.rdb)
			if err == nil || len(got) != 0 || Classify(err) != tt.class {
				t.Fatalf("Memory = %+v, %v of class %q; want an error of class %q", got, err, Classify(err), tt.class)
			}
			for _, text := range tt.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("Memory: %v, want it to hold %q", err, text)
				}
			}
		})
	}
}

// says is a client that only answers INFO.
type says struct {
	redis.UniversalClient
	text string
}

func (s says) Info(ctx context.Context, _ ...string) *redis.StringCmd {
	cmd := redis.NewStringCmd(ctx)
	cmd.SetVal(s.text)
	return cmd
}

func TestParseMemory(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		want       Memory
		eviction   Eviction
	}{
		{
			"Redis", "# Server\r\nredis_version:7.4.1\r\n\r\n# Memory\r\nmaxmemory:1048576\r\nmaxmemory_human:1.00M\r\n" +
				"maxmemory_policy:allkeys-lfu\r\n\r\n# Stats\r\nevicted_keys:12\r\nevicted_clients:3\r\n",
			Memory{Version: "redis 7.4.1", Policy: "allkeys-lfu", MaxMemory: 1 << 20, EvictedKeys: 12}, EvictionOn,
		},
		{
			"Valkey", "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\nevicted_keys:0\r\n",
			Memory{Version: "valkey 8.1.0", Policy: "noeviction"}, EvictionOff,
		},
		{
			"Valkey first", "valkey_version:8.1.0\nredis_version:7.2.4\nmaxmemory:0\nmaxmemory_policy:volatile-lru\nevicted_keys:0\n",
			Memory{Version: "valkey 8.1.0", Policy: "volatile-lru"}, EvictionLatent,
		},
		{"no policy", "redis_version:6.0.9\r\nevicted_keys:7\r\n", Memory{Version: "redis 6.0.9", MaxMemory: -1, EvictedKeys: 7}, EvictionUnknown},
		{"no policy, but a bound", "maxmemory:9\r\n", Memory{MaxMemory: 9, EvictedKeys: -1}, EvictionUnknown},
		{"no bound told", "maxmemory_policy:eviction\r\n", Memory{Policy: "eviction", MaxMemory: -1, EvictedKeys: -1}, EvictionOn},
		{"noeviction, no bound told", "maxmemory_policy:noeviction", Memory{Policy: "noeviction", MaxMemory: -1, EvictedKeys: -1}, EvictionOff},
		{"nothing", "", Memory{MaxMemory: -1, EvictedKeys: -1}, EvictionUnknown},
		{"not an INFO", "PONG\r\n:\r\n:::\r\n#\r\n", Memory{MaxMemory: -1, EvictedKeys: -1}, EvictionUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := memoryOf(t, says{text: tt.text})
			if err != nil || len(got) != 1 || got[0] != tt.want {
				t.Fatalf("Memory = %+v, %v; want %+v", got, err, tt.want)
			}
			if e := got[0].Eviction(); e != tt.eviction {
				t.Errorf("Eviction of %+v: %s, want %s", got[0], e, tt.eviction)
			}
		})
	}
	for _, text := range []string{
		"maxmemory:\r\n", "maxmemory:-1\r\n", "maxmemory:1.5\r\n", "maxmemory: 1\r\n", "maxmemory:9223372036854775808\r\n",
		"evicted_keys:many\r\n", "evicted_keys\r\n", "maxmemory_policy:noeviction\r\nevicted_keys:-2\r\n",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if got, err := memoryOf(t, says{text: text}); !errors.Is(err, ErrReply) || len(got) != 0 {
				t.Errorf("Memory = %+v, %v; want ErrReply", got, err)
			}
		})
	}
}

// FuzzParseMemory: whatever a server says, what is read of it says the same when it is written again.
func FuzzParseMemory(f *testing.F) {
	f.Add("# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\nevicted_keys:0\r\n")
	f.Add("redis_version:7.2.4\nvalkey_version:8.0.1\nmaxmemory:1048576\nmaxmemory_policy:allkeys-lru")
	f.Add("maxmemory:-1\r\n")
	f.Add("evicted_keys:99999999999999999999")
	f.Add("maxmemory_policy:\r\r\n:\nmaxmemory")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMemory(text)
		if err != nil {
			if !errors.Is(err, ErrReply) || m != (Memory{}) {
				t.Fatalf("%q: %+v, %v; want ErrReply and nothing else", text, m, err)
			}
			return
		}
		if m.MaxMemory < -1 || m.EvictedKeys < -1 || strings.ContainsAny(m.Policy+m.Version, "\n") {
			t.Fatalf("%q: %+v", text, m)
		}
		var again strings.Builder
		if server, version, ok := strings.Cut(m.Version, " "); ok {
			fmt.Fprintf(&again, "%s_version:%s\r\n", server, version)
		}
		if m.MaxMemory >= 0 {
			fmt.Fprintf(&again, "maxmemory:%d\r\n", m.MaxMemory)
		}
		if m.EvictedKeys >= 0 {
			fmt.Fprintf(&again, "evicted_keys:%d\r\n", m.EvictedKeys)
		}
		fmt.Fprintf(&again, "maxmemory_policy:%s\r\n", m.Policy)
		if got, err := parseMemory(again.String()); err != nil || got != m {
			t.Fatalf("%q: %+v, but %q: %+v, %v", text, m, again.String(), got, err)
		}
	})
}
