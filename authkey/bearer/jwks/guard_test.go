package jwks_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/authkey/bearer/jwks"
)

// line is a connection to an address, at which nobody answers.
type line struct {
	net.Conn
	remote          net.Addr
	written, closed atomic.Bool
}

type name string

func (name) Network() string  { return "tcp" }
func (n name) String() string { return string(n) }

func (l *line) RemoteAddr() net.Addr             { return l.remote }
func (l *line) LocalAddr() net.Addr              { return name("local") }
func (l *line) Read([]byte) (int, error)         { return 0, io.EOF }
func (l *line) Write(p []byte) (int, error)      { l.written.Store(true); return len(p), nil }
func (l *line) Close() error                     { l.closed.Store(true); return nil }
func (l *line) SetDeadline(time.Time) error      { return nil }
func (l *line) SetReadDeadline(time.Time) error  { return nil }
func (l *line) SetWriteDeadline(time.Time) error { return nil }

// dialled connects a fetch to an address, and reports whether it was let be.
func dialled(t *testing.T, address string, opts ...jwks.Option) bool {
	t.Helper()
	var to net.Addr
	if address != "nil" {
		to = name(address)
	}
	if at, err := netip.ParseAddr(address); err == nil {
		ip := at.As16() // as net.ParseIP has it: an IPv4 address in an IPv6 one
		to = &net.TCPAddr{IP: ip[:], Port: 443, Zone: at.Zone()}
	}
	l := &line{remote: to}
	cache := newCache(t, &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return l, nil }}, opts...)
	_, err := cache.URL(keysURL).Keys(t.Context(), header("a"))
	refused := strings.Contains(err.Error(), "is no public address: WithPrivateNetworks")
	if outage(t, err, ""); refused == l.written.Load() || !l.closed.Load() {
		t.Errorf("%s: refused %v, written to %v, closed %v; %v", address, refused, l.written.Load(), l.closed.Load(), err)
	}
	return !refused
}

func TestWhichAddressesAreDialled(t *testing.T) {
	t.Parallel()
	for _, address := range strings.Fields(`8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255
		172.32.0.0 192.167.255.255 192.169.0.0 169.253.255.255 169.255.0.0 198.17.255.255 198.20.0.0 223.255.255.255
		2606:4700:4700::1111 2001:4860:4860::8888 2a00:1450::1 2003::1 ::ffff:8.8.8.8 [::ffff:8.8.8.8]:443`) {
		if !dialled(t, address) {
			t.Errorf("%s was refused", address)
		}
	}
	for _, address := range strings.Fields(`0.0.0.0 0.1.2.3 127.0.0.1 127.255.255.254 10.0.0.1 172.16.0.1 172.31.255.255
		192.168.0.1 169.254.169.254 100.64.0.1 100.127.255.255 100.100.100.200 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1
		198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
		:: ::1 ::7f00:1 ::808:808 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:0:7f00:1 ::ffff:0:808:808 64:ff9b::a00:1
		64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:db8::1 2002:7f00:1::1 2002:808:808::1 3fff::1 5f00::1
		fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 /run/issuer.sock pipe nil [::ffff:127.0.0.1]:443 issuer.example:443`) {
		if dialled(t, address) {
			t.Errorf("%s was dialled", address)
		}
	}
}

func TestWhichNetworksAreAllowed(t *testing.T) {
	t.Parallel()
	networks := func(texts ...string) jwks.IssuerOption {
		list := make([]netip.Prefix, len(texts))
		for i, text := range texts {
			list[i] = netip.MustParsePrefix(text)
		}
		return jwks.WithPrivateNetworks(list...)
	}
	for _, test := range []struct {
		address string
		opts    []jwks.Option
		want    bool
	}{
		{"10.1.2.3", []jwks.Option{networks("10.1.0.0/16")}, true},
		{"10.2.2.3", []jwks.Option{networks("10.1.0.0/16")}, false},
		{"10.1.2.3", []jwks.Option{networks("10.1.255.255/16", "fd00::/8")}, true},
		{"::ffff:10.1.2.3", []jwks.Option{networks("10.1.0.0/16")}, true},
		{"fd00::1", []jwks.Option{networks("10.1.0.0/16"), networks("fd00::/8")}, true},
		{"10.1.2.3", []jwks.Option{networks("10.1.0.0/16"), networks("fd00::/8")}, true},
		{"fe80::1%eth0", []jwks.Option{networks("fe80::/10")}, true},
		{"169.254.169.254", []jwks.Option{networks("10.0.0.0/8")}, false},
		{"8.8.8.8", []jwks.Option{networks("10.0.0.0/8")}, true},
		{"64:ff9b::808:808", []jwks.Option{networks("64:ff9b::/96")}, true},
		{"64:ff9b::a00:1", []jwks.Option{networks("64:ff9b::/96")}, false},
		{"64:ff9b::a00:1", []jwks.Option{networks("64:ff9b::/96", "10.0.0.0/8")}, true},
		{"127.0.0.1", []jwks.Option{jwks.WithLoopback()}, true},
		{"::1", []jwks.Option{jwks.WithLoopback()}, true},
		{"::2", []jwks.Option{jwks.WithLoopback()}, false},
		{"10.0.0.1", []jwks.Option{jwks.WithLoopback()}, false},
	} {
		if got := dialled(t, test.address, test.opts...); got != test.want {
			t.Errorf("%s: dialled %v, want %v", test.address, got, test.want)
		}
	}
}

func TestAnIssuersNetworksAreItsOwn(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	cache, err := jwks.New(jwks.WithHTTPClient(issuer.Client()), jwks.WithWait(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	wired(t, issuer, cache.Issuer(issuer.URL(), jwks.WithPrivateNetworks(netip.MustParsePrefix("127.0.0.0/8"))))
	_, err = cache.Issuer(issuer.URL()).Keys(t.Context(), headerOf(issuer.Key()))
	outage(t, err, "is no public address")
	wired(t, issuer, cache.Issuer(issuer.URL(), jwks.WithLoopback()))
}

func TestEveryWayToDialIsGuarded(t *testing.T) {
	t.Parallel()
	dial := func(context.Context, string, string) (net.Conn, error) {
		return &line{remote: name("127.0.0.1:443")}, nil
	}
	old := func(network, address string) (net.Conn, error) { return dial(context.Background(), network, address) }
	for name, transport := range map[string]*http.Transport{
		"DialContext":    {DialContext: dial},
		"Dial":           {Dial: old},
		"DialTLSContext": {DialTLSContext: dial},
		"DialTLS":        {DialTLS: old},
	} {
		_, err := newCache(t, transport).URL(keysURL).Keys(t.Context(), header("a"))
		if err == nil || !strings.Contains(err.Error(), "127.0.0.1:443 is no public address") || !strings.Contains(err.Error(), "WithLoopback") {
			t.Errorf("%s: %v, want a refusal that tells what allows this machine", name, err)
		}
	}
}

func TestADialThatFailsIsNoAnswer(t *testing.T) {
	t.Parallel()
	cache := newCache(t, &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: errDown}
	}})
	unavailable(t, cache.URL(keysURL), "a", "no answer: dial: the cable is cut")
}

func TestNothingIsSentToAnAddressInside(t *testing.T) { // of the transport that we make, with names resolved
	t.Parallel()
	var accepted atomic.Int32
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var server sync.WaitGroup
	server.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			conn.Close()
		}
	})
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	for _, client := range []*http.Client{nil, {}, {Transport: &http.Transport{}}} {
		opts := []jwks.Option{jwks.WithWait(30 * time.Second)}
		if client != nil {
			opts = append(opts, jwks.WithHTTPClient(client))
		}
		cache, err := jwks.New(opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
			unavailable(t, cache.URL("https://"+host+":"+port), "a", "is no public address")
		}
	}
	listener.Close()
	server.Wait()
	if got := accepted.Load(); got != 0 {
		t.Errorf("%d connections, want none", got)
	}
}

func TestAProxyIsUsedOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	proxy := func(*http.Request) (*url.URL, error) {
		asked.Add(1)
		return &url.URL{Scheme: "http", Host: "127.0.0.1:3128"}, nil
	}
	var to sync.Map
	client := &http.Client{Transport: &http.Transport{Proxy: proxy, DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
		to.Store(address, true)
		return &line{remote: name("127.0.0.1:3128")}, nil
	}}}
	unavailable(t, newCache(t, client.Transport).URL(keysURL), "a", "is no public address")
	if _, ok := to.Load("issuer.example:443"); !ok || asked.Load() != 0 {
		t.Error("a client's proxy was used, want only WithProxy's")
	}
	unavailable(t, newCache(t, client.Transport, jwks.WithProxy(proxy)).URL(keysURL), "a", "127.0.0.1:3128 is no public address")
	if _, ok := to.Load("127.0.0.1:3128"); !ok || asked.Load() != 1 {
		t.Error("WithProxy: want it to be asked, and its address looked at")
	}
	if client.Transport.(*http.Transport).DisableKeepAlives {
		t.Error("the caller's transport was changed")
	}
}

func TestTheEnvironmentNamesNoProxy(t *testing.T) {
	if os.Getenv("HTTPS_PROXY") != proxyAddress { // it is read once in a process, so it takes another
		t.Parallel()
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheEnvironmentNamesNoProxy$")
		child.Env = append(os.Environ(), "HTTPS_PROXY="+proxyAddress, "NO_PROXY=")
		if output, err := child.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, output)
		}
		return
	}
	for name, test := range map[string]struct {
		opts []jwks.Option
		to   string
	}{
		"by default":       {nil, "192.0.2.1:443"},
		"of a client":      {[]jwks.Option{jwks.WithHTTPClient(http.DefaultClient)}, "192.0.2.1:443"},
		"of its transport": {[]jwks.Option{jwks.WithHTTPClient(&http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}})}, "192.0.2.1:443"},
		"when asked":       {[]jwks.Option{jwks.WithProxy(http.ProxyFromEnvironment)}, "127.0.0.1:3128"},
	} {
		cache, err := jwks.New(test.opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		_, err = cache.URL("https://192.0.2.1/keys").Keys(t.Context(), header("a"))
		if outage(t, err, ""); !strings.Contains(err.Error(), test.to+" is no public address") {
			t.Errorf("%s: %v, want %s to be dialled", name, err, test.to)
		}
	}
}

const proxyAddress = "http://127.0.0.1:3128"

func TestHTTPIsForThisMachineWhenAsked(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + listener.Addr().String()
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := metadata(base, base+"/keys").body
		if r.URL.Path == "/keys" {
			body = document("a")
		}
		_, _ = io.WriteString(w, body)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	defer serving.Wait()
	defer server.Close()
	cache, err := jwks.New(jwks.WithWait(30 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	good(t, cache.Issuer(base, jwks.WithLoopback()), "a")
	unavailable(t, cache.Issuer(base), "a", "want https; http is for this machine alone, with WithLoopback")
	unavailable(t, cache.Issuer(base, jwks.WithPrivateNetworks(netip.MustParsePrefix("127.0.0.0/8"))), "a", "want https")
}
