package authkey

import (
	"net/netip"
	"strconv"
	"strings"
)

// splitHost reads a host and the port behind it, zero if there is none; bare says that there must be none.
func splitHost(text string, bare bool) (host string, port uint16, ok bool) {
	host = text
	if at := strings.LastIndexByte(text, ':'); at >= 0 && !strings.HasSuffix(text, "]") {
		if port, ok = parsePort(text[at+1:]); !ok || bare {
			return "", 0, false
		}
		host = text[:at]
	}
	if literal, bracket := strings.CutPrefix(host, "["); bracket {
		addr, err := netip.ParseAddr(strings.TrimSuffix(literal, "]"))
		if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(literal, "]") {
			return "", 0, false
		}
		return addr.String(), port, true
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r > '~' }) { // some of which are ASCII in lower case
		return "", 0, false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host, port, validHost(host)
}

// parsePort takes digits alone, as a browser writes them.
func parsePort(text string) (uint16, bool) {
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err == nil && text[0] != '0' && text[0] != '+'
}

// validHost allows names of letters, digits, hyphens and underscores in lower case, and IPv4 addresses. What
// ends in a number is an address to a browser, which writes it as four numbers and in no other way.
func validHost(host string) bool {
	if host == "" || len(host) > maxHostLen {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > maxLabelLen || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	if !isNumber(host[strings.LastIndexByte(host, '.')+1:]) {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// isAddr reports whether a valid host is an address.
func isAddr(host string) bool {
	return strings.Contains(host, ":") || isNumber(host[strings.LastIndexByte(host, '.')+1:])
}

// isNumber reports whether a browser takes a label for one: decimal, octal or hexadecimal.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// validScheme is RFC 3986, section 3.1, in lower case.
func validScheme(scheme string) bool {
	return scheme != "" && scheme[0] >= 'a' && scheme[0] <= 'z' && scheme != "file" &&
		strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}
