package jwks

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
)

// inside are the networks that are not the public internet: of this machine, private, shared (RFC 6598), link-local,
// multicast, reserved, for documentation and benchmarks (RFC 6890). Of IPv6 all but 2000::/3 is; the rest of its list
// is tunnels, which hold IPv4 addresses (RFC 4380, RFC 3056), and documentation.
var inside = prefixes(`0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
	192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
	::/3 4000::/2 8000::/1 2001::/23 2001:db8::/32 2002::/16 3fff::/20`)

// translated are IPv4 addresses in IPv6 ones (RFC 6052).
var translated = netip.MustParsePrefix("64:ff9b::/96")

// loopback is what WithLoopback opens.
const loopback = "127.0.0.0/8 ::1/128"

// prefixes reads networks that are separated by blanks and well written.
func prefixes(text string) []netip.Prefix {
	fields := strings.Fields(text)
	list := make([]netip.Prefix, len(fields))
	for i, field := range fields {
		list[i] = netip.MustParsePrefix(field)
	}
	return list
}

func within(list []netip.Prefix, addr netip.Addr) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// refusedError is a connection that the guard did not let be.
type refusedError struct{ to string }

func (e *refusedError) Error() string {
	text := e.to + " is no public address: WithPrivateNetworks allows those that an issuer is meant to have"
	if at, err := netip.ParseAddrPort(e.to); err == nil && at.Addr().Unmap().IsLoopback() {
		text += ", WithLoopback this machine"
	}
	return text
}

// admits reports whether an address may be dialled. An IPv4 address that is written as an IPv6 one is that address, and
// where translation is allowed it is no way to one that is not.
func (s *settings) admits(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid():
		return false
	case !within(inside, addr), s.loopback && within(prefixes(loopback), addr):
		return true
	case !within(prefixes(s.networks), addr):
		return false
	case translated.Contains(addr):
		bytes := addr.As16()
		return s.admits(netip.AddrFrom4([4]byte(bytes[12:])))
	}
	return true
}

// judge is admits for an address of package net, which may be none of IP.
func (s *settings) judge(addr string) error {
	at, err := netip.ParseAddrPort(addr)
	if err != nil || !s.admits(at.Addr()) {
		return &refusedError{addr}
	}
	return nil
}

// control is a net.Dialer's ControlContext: it looks at an address that a name was resolved to before anything is
// sent there.
func (s *settings) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	return s.judge(address)
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// guarded looks at what a dial function of the caller's own connected to, before a byte is sent.
func (s *settings) guarded(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if err := s.judge(fmt.Sprint(conn.RemoteAddr())); err != nil { // it may be nil
			_ = conn.Close() // nothing was sent
			return nil, err
		}
		return conn, nil
	}
}

// guard makes a transport keep to the settings. It keeps no connection: the next fetch is minutes away.
func (s *settings) guard(c *config, t *http.Transport) *http.Transport {
	dial, dialTLS := t.DialContext, t.DialTLSContext
	if old := t.Dial; dial == nil && old != nil { //nolint:staticcheck // it dials for whoever still sets it
		dial = func(_ context.Context, network, address string) (net.Conn, error) { return old(network, address) }
	}
	if old := t.DialTLS; dialTLS == nil && old != nil { //nolint:staticcheck // the same
		dialTLS = func(_ context.Context, network, address string) (net.Conn, error) { return old(network, address) }
	}
	if dial == nil {
		t.DialContext = (&net.Dialer{Timeout: c.timeout, ControlContext: s.control}).DialContext
	} else {
		t.DialContext = s.guarded(dial)
	}
	if dialTLS != nil {
		t.DialTLSContext = s.guarded(dialTLS)
	}
	if t.TLSHandshakeTimeout <= 0 || t.TLSHandshakeTimeout > c.timeout {
		t.TLSHandshakeTimeout = c.timeout
	}
	if t.MaxResponseHeaderBytes <= 0 || t.MaxResponseHeaderBytes > maxHeader {
		t.MaxResponseHeaderBytes = maxHeader
	}
	t.Proxy, t.DisableKeepAlives, t.DisableCompression = c.proxy, true, true
	return t
}

// clientFor returns the client that asks the issuers with these settings.
func (c *config) clientFor(s settings) *http.Client {
	client := &http.Client{
		Transport:     c.client.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       c.client.Timeout,
	}
	switch t := client.Transport.(type) {
	case nil:
		client.Transport = s.guard(c, &http.Transport{})
	case *http.Transport:
		client.Transport = s.guard(c, t.Clone())
	}
	return client
}
