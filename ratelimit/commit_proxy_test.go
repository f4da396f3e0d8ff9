package ratelimit_test

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

// proxy stands before a server. It passes on what it is given, until it is told to hold it back, or to cut connections.
type proxy struct {
	listener net.Listener
	server   string
	group    sync.WaitGroup

	mu    sync.Mutex
	open  chan struct{} // closed: nothing is held back
	conns []net.Conn
	every int // so many replies are passed on before one is lost with its connection; 0: none is
	seen  int
	lost  int
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	p := &proxy{listener: listener, server: server, open: make(chan struct{})}
	close(p.open)
	p.group.Go(p.serve)
	t.Cleanup(func() {
		p.release()
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
		p.group.Go(func() { p.pass(server, client, func() bool { return false }) })
		p.group.Go(func() { p.pass(client, server, p.loses) })
	}
}

// pass passes on what comes from one end, until a part of it is lost.
func (p *proxy) pass(to io.WriteCloser, from io.ReadCloser, loses func() bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		<-open
		if loses() {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) loses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen++
	if p.every == 0 || p.seen%p.every != 0 {
		return false
	}
	p.lost++
	return true
}

// lose has every so manieth reply be lost, and returns how many were.
func (p *proxy) lose(every int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.every = every
	return p.lost
}

// hold holds back all that comes, until release.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
}

func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// throughProxies returns a client that reaches the servers of another through proxies only, and these by server.
func throughProxies(t *testing.T, rdb redis.UniversalClient, options redis.UniversalOptions) (redis.UniversalClient, map[string]*proxy) {
	t.Helper()
	proxies := map[string]*proxy{}
	if !isCluster(rdb) {
		addr := redistest.StandaloneAddr(t)
		proxies[addr] = newProxy(t, addr)
		options.Addrs = []string{proxies[addr].listener.Addr().String()}
		c := redis.NewClient(options.Simple())
		t.Cleanup(func() { c.Close() })
		return c, proxies
	}
	slots, err := rdb.ClusterSlots(t.Context()).Result()
	if err != nil {
		t.Fatalf("CLUSTER SLOTS: %v", err)
	}
	for i := range slots {
		master := slots[i].Nodes[0].Addr
		if proxies[master] == nil {
			proxies[master] = newProxy(t, master)
		}
		slots[i].Nodes = []redis.ClusterNode{{Addr: proxies[master].listener.Addr().String()}}
	}
	cluster := options.Cluster()
	cluster.ClusterSlots = func(context.Context) ([]redis.ClusterSlot, error) { return slices.Clone(slots), nil }
	c := redis.NewClusterClient(cluster)
	t.Cleanup(func() { c.Close() })
	return c, proxies
}

// masterOf returns the address of the server that has an org.
func masterOf(t *testing.T, rdb redis.UniversalClient, key string) string {
	t.Helper()
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		return redistest.StandaloneAddr(t)
	}
	node, err := cluster.MasterForKey(t.Context(), key)
	if err != nil {
		t.Fatalf("MasterForKey: %v", err)
	}
	return node.Options().Addr
}
