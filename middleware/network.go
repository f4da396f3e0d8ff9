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
	return Key{Name: "network", err: err, Of: func(r *http.Request) string {
		addr, ok := clientAddr(r, networks)
		if !ok {
			return ""
		}
		if addr.Is4() {
			return addr.String()
		}
		network, err := addr.WithZone("").Prefix(64)
		if err != nil {
			return ""
		}
		return network.String()
	}}
}

func clientAddr(r *http.Request, trusted []netip.Prefix) (netip.Addr, bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	addr := peer.Addr().Unmap()
	if !within(addr, trusted) {
		return addr, true
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return addr, true // what a trusted proxy did not write is not believed, nor anything before it
		}
		addr = hop.Unmap()
		if !within(addr, trusted) {
			return addr, true
		}
	}
	return addr, true
}

// unmapped returns the networks, with IPv4 inside IPv6 as IPv4, since addresses are compared as that.
func unmapped(trusted []netip.Prefix) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, len(trusted))
	for i, n := range trusted {
		if n.Addr().Is4In6() && n.Bits() >= 96 {
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		if !n.IsValid() || n.Addr().Is4In6() {
			return nil, fmt.Errorf("middleware: ClientNetwork: trusted network number %d, %v, is not one", i+1, n)
		}
		networks[i] = n
	}
	return networks, nil
}

func within(addr netip.Addr, networks []netip.Prefix) bool {
	for _, n := range networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// Everyone is the Key that all requests to an endpoint share.
func Everyone() Key {
	return Key{Name: "everyone", Of: func(*http.Request) string { return "" }}
}
