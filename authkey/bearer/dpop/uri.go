package dpop

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/authkey/internal/outbound"
)

// originOf returns the normal form of an origin that was configured.
func originOf(text string) (string, error) {
	origin, rest, ok := cutOrigin(text)
	switch {
	case !ok || rest != "" && rest != "/":
		return "", fmt.Errorf("%w: dpop: origin %.100q: want a scheme, a host and maybe a port, as https://api.example.com", authkey.ErrInvalid, text)
	case strings.HasPrefix(origin, "http:") && !loopback(origin):
		return "", fmt.Errorf("%w: dpop: origin %.100q: want https, since tokens travel to it", authkey.ErrInvalid, text)
	}
	return origin, nil
}

// loopback reports whether the host of an origin is this machine.
func loopback(origin string) bool {
	host, _, _ := cutPort(strings.TrimPrefix(origin, "http://"))
	return outbound.Loopback(strings.Trim(host, "[]"))
}

// splitURI returns the origin and the path of an http or https URI in their normal form (RFC 3986, sections 6.2.2
// and 6.2.3), without dots for segments, query and fragment.
func splitURI(text string) (origin, path string, ok bool) {
	origin, rest, ok := cutOrigin(text)
	if !ok {
		return "", "", false
	}
	if end := strings.IndexAny(rest, "?#"); end >= 0 {
		rest = rest[:end]
	}
	path, ok = normalPath(rest)
	if !ok {
		return "", "", false
	}
	return origin, withoutDots(path), true
}

// cutOrigin cuts a URI behind its authority, and brings what is before into its normal form: lower case, and no port
// where it is the scheme's own. A user's name or an escaped host is not taken: no origin of ours has one.
func cutOrigin(text string) (origin, rest string, ok bool) {
	scheme, rest, ok := strings.Cut(text, "://")
	if scheme = strings.ToLower(scheme); !ok || scheme != "https" && scheme != "http" {
		return "", "", false
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	rest = rest[len(authority):]
	host, port, ok := cutPort(authority)
	if !ok {
		return "", "", false
	}
	host = strings.ToLower(host) // now that it is ASCII: others have a lower case that is
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return scheme + "://" + host, rest, true
	}
	return scheme + "://" + host + ":" + port, rest, true
}

// cutPort cuts an authority into a host and its port, if they are well formed.
func cutPort(authority string) (host, port string, ok bool) {
	if strings.HasPrefix(authority, "[") {
		inner, after, closed := strings.Cut(authority[1:], "]")
		addr, err := netip.ParseAddr(inner)
		port, colon := strings.CutPrefix(after, ":")
		ok = closed && err == nil && addr.Is6() && addr.Zone() == "" && (colon || after == "")
		return "[" + inner + "]", port, ok && digits(port)
	}
	host, port, _ = strings.Cut(authority, ":")
	for i := range len(host) {
		if c := host[i]; !alphanumeric(c) && c != '-' && c != '.' && c != '_' {
			return "", "", false
		}
	}
	return host, port, host != "" && digits(port)
}

func digits(port string) bool { return len(port) <= 5 && strings.Trim(port, "0123456789") == "" }

// normalPath returns a path with no byte escaped that need not be, and all others escaped alike. Two paths with the same
// normal form are one to whoever unescapes them. Dots for segments stay: a request that has some is for whatever its
// handler takes them for, and so fits no URI.
func normalPath(path string) (string, bool) {
	if path == "" {
		return "/", true
	}
	if path[0] != '/' {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c, escaped := path[i], false
		if c == '%' {
			if i+2 >= len(path) {
				return "", false
			}
			code, err := strconv.ParseUint(path[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			c, escaped = byte(code), true
			i += 2
		}
		if unreserved(c) || !escaped && strings.IndexByte("/:@!$&'()*+,;=", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String(), true
}

// withoutDots resolves "." and ".." as RFC 3986, section 5.2.4 does.
func withoutDots(path string) string {
	var kept []string
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		switch segment {
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
		case ".":
		default:
			kept = append(kept, segment)
			continue
		}
		if i == len(segments)-1 {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// unreserved is what never needs escaping (RFC 3986, section 2.3).
func unreserved(c byte) bool {
	return alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~'
}
