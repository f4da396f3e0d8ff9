package lua

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
)

// proxy stands between a client and a server. It passes everything on, until it is told to lose replies.
type proxy struct {
	listener net.Listener
	server   string
	group    sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	lose  int  // replies that are still to be lost, together with their connections
	mute  bool // lose every reply, and keep the connections
	lost  chan struct{}
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	p := &proxy{listener: listener, server: server, lost: make(chan struct{}, 100)}
	p.group.Go(p.serve)
	t.Cleanup(func() {
		listener.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.group.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.group.Go(func() {
			defer server.Close()
			_, _ = io.Copy(server, client)
		})
		p.group.Go(func() {
			defer client.Close()
			p.replies(client, server)
		})
	}
}

// replies passes on what the server answers.
func (p *proxy) replies(client io.Writer, server io.Reader) {
	b := make([]byte, 64<<10)
	for {
		n, err := server.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		cut, mute := p.lose > 0, p.mute
		if cut {
			p.lose--
		}
		p.mu.Unlock()
		if cut || mute {
			p.lost <- struct{}{}
		}
		if cut {
			return
		}
		if mute {
			continue
		}
		if _, err := client.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) set(lose int, mute bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose, p.mute = lose, mute
}

// throughProxies returns a client with go-redis's own defaults, 3 repetitions among them, that reaches
// Redis through proxies only; and its proxies.
func throughProxies(t *testing.T, rdb redis.UniversalClient, change func(*redis.UniversalOptions)) (redis.UniversalClient, []*proxy) {
	t.Helper()
	options := &redis.UniversalOptions{MaxRetries: 3}
	if change != nil {
		change(options)
	}
	if _, ok := rdb.(*redis.ClusterClient); !ok {
		p := newProxy(t, redistest.StandaloneAddr(t))
		options.Addrs = []string{p.addr()}
		client := redis.NewClient(options.Simple())
		t.Cleanup(func() { client.Close() })
		return client, []*proxy{p}
	}
	slots, err := rdb.ClusterSlots(t.Context()).Result()
	if err != nil {
		t.Fatalf("CLUSTER SLOTS: %v", err)
	}
	proxies := map[string]*proxy{}
	var all []*proxy
	for i := range slots {
		master := slots[i].Nodes[0].Addr
		if proxies[master] == nil {
			proxies[master] = newProxy(t, master)
			all = append(all, proxies[master])
		}
		slots[i].Nodes = []redis.ClusterNode{{Addr: proxies[master].addr()}}
	}
	clusterOptions := options.Cluster()
	clusterOptions.ClusterSlots = func(context.Context) ([]redis.ClusterSlot, error) { return slices.Clone(slots), nil }
	client := redis.NewClusterClient(clusterOptions)
	t.Cleanup(func() { client.Close() })
	return client, all
}
