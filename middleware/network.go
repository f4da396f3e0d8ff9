package middleware

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// ClientNetwork is the Key of the network that a request comes from: an IPv4 address, or the /64 of an
// IPv6 address, which is the least that one customer of a provider has. IPv4 addresses inside IPv6 are
// taken as IPv4.
//
// The address is the one that the connection has. X-Forwarded-For is read only where the connection comes
// from one of the trusted networks, and then from its right end: the first address there that is not
// trusted is the client. So a client can write into the field what it likes. State as trusted exactly the
// networks of your own proxies; to verify, send a request with a made-up X-Forwarded-For through them.
// A request whose address cannot be told has the value "".
func ClientNetwork(trusted ...netip.Prefix) Key {
	networks, err := unmapped(trusted)
	if err != nil {
		err = fmt.Errorf("middleware: ClientNetwork: %w", err)
	}
	return Key{Name: "network", err: err, Of: func(r *http.Request) string {
		addr, _ := ClientAddr(r, networks...)
		if addr.Is4() {
			return addr.String()
		}
		network, err := addr.Prefix(64)
		if err != nil || !addr.IsValid() {
			return ""
		}
		return network.String()
	}}
}

// ClientAddr returns the address nearest to the client that is known, IPv4 inside IPv6 as IPv4 and without a
// zone; the zero Addr where none is. It is read as ClientNetwork reads it, with the networks of your own proxies.
// told is false where that is not the client's: where a trusted proxy did not say, in a way that can be read, whom
// it had its request from.
func ClientAddr(r *http.Request, trusted ...netip.Prefix) (addr netip.Addr, told bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	addr = plainAddr(peer.Addr())
	if !Within(addr, trusted) {
		return addr, true
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return addr, false // what a trusted proxy did not write is not believed, nor anything before it
		}
		addr = plainAddr(hop)
		if !Within(addr, trusted) {
			return addr, true
		}
	}
	return addr, true
}

func plainAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// plainNetwork returns a network with IPv4 inside IPv6 as IPv4, since addresses are compared as that. One that
// is wider than IPv4 there is no network.
func plainNetwork(n netip.Prefix) netip.Prefix {
	if n.Addr().Is4In6() {
		return netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n
}

func unmapped(trusted []netip.Prefix) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, len(trusted))
	for i, n := range trusted {
		if networks[i] = plainNetwork(n); !networks[i].IsValid() {
			return nil, fmt.Errorf("trusted network number %d, %v, is not one", i+1, n)
		}
	}
	return networks, nil
}

// Within reports whether an address is in one of the networks. Either may be written as IPv4 inside IPv6, and a zone
// of the address says nothing.
func Within(addr netip.Addr, networks []netip.Prefix) bool {
	addr = plainAddr(addr)
	for _, n := range networks {
		if plainNetwork(n).Contains(addr) {
			return true
		}
	}
	return false
}

// Everyone is the Key that all requests to an endpoint share.
func Everyone() Key {
	return Key{Name: "everyone", Of: func(*http.Request) string { return "" }}
}
