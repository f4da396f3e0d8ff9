package authkey

import (
	"fmt"
	"strconv"
	"strings"
)

// Bounds of an origin, in bytes.
const (
	maxOriginLen = 320 // more than a scheme, the longest host name and a port
	maxHostLen   = 253
	maxLabelLen  = 63
)

// Origin is a rule that says which pages a key may be used from: an origin as browsers send it (RFC 6454,
// section 7), or a pattern of some. Rules are told apart by ==. The zero Origin matches nothing. Immutable
// and safe for concurrent use.
//
// Rules hold off the pages of other people, which can do nothing about what their visitors' browsers send.
// They hold off nobody who sends requests without a browser and writes into the field what he likes: they
// lessen abuse of a key that is public anyway, and protect nothing.
type Origin struct {
	any bool // "*"
	site
	below   bool // what is below the host, and not itself
	anyPort bool
}

// site is an origin, or the parts of one that a rule asks for.
type site struct {
	scheme string // lower case; "" in a rule: http or https
	host   string // lower case, no dot at its end; an IPv6 address without brackets
	port   uint16 // 0: the one that the scheme has
}

// ParseOrigin reads a rule:
//
//	rule   = "*" / [ scheme "://" ] host [ ":" port ]
//	host   = name / "*." name / IPv4 / "[" IPv6 "]"
//	port   = 1 to 65535 / "*"
//
// "*" alone stands for every origin. Otherwise:
//   - the scheme is compared as it is; without one, http and https match, and no other.
//   - the host is compared as a whole. "*.example.com" stands for all names below example.com, however
//     deep, and not for example.com itself; the name after "*." needs two labels, or is localhost.
//     Nobody looks up whether it belongs to one owner: "*.github.io" is every customer's.
//   - without a port only the one that http (80) or https (443) has matches, written or not; a port matches
//     itself, and "*" any.
//
// Schemes and names have no case, and a dot at the end of a name says nothing. A name of another alphabet is
// written as browsers send it, in punycode ("xn--..."). Paths, user names and "null" are no part of a rule.
// The error is ErrInvalid.
func ParseOrigin(rule string) (Origin, error) {
	if rule == "*" {
		return Origin{any: true}, nil
	}
	if len(rule) > maxOriginLen {
		return badOrigin(rule, fmt.Sprintf("want up to %d bytes", maxOriginLen))
	}
	if rule == "null" {
		return badOrigin(rule, "it is what any page can send that hides where it comes from")
	}
	var o Origin
	scheme, rest, stated := strings.Cut(rule, "://")
	if !stated {
		rest = rule
	} else if o.scheme = strings.ToLower(scheme); !validScheme(o.scheme) {
		return badOrigin(rule, "want a scheme such as https before ://")
	}
	rest, o.anyPort = strings.CutSuffix(rest, ":*")
	rest, o.below = strings.CutPrefix(rest, "*.")
	host, port, ok := splitHost(rest, o.anyPort)
	if !ok {
		return badOrigin(rule, "want a host name in ASCII (punycode for others) or an address (IPv6 in brackets), then at most a port from 1 to 65535, and no path")
	}
	o.host, o.port = host, port
	if o.below && (isAddr(host) || host != "localhost" && !strings.Contains(host, ".")) {
		return badOrigin(rule, "want a name of two labels or more after *.")
	}
	o.site = o.plain()
	return o, nil
}

func badOrigin(rule, want string) (Origin, error) {
	return Origin{}, fmt.Errorf("%w: origin %.80q: %s", ErrInvalid, rule, want)
}

// ValidateOrigin returns what ParseOrigin finds wrong with a rule, nil if nothing.
func ValidateOrigin(rule string) error {
	_, err := ParseOrigin(rule)
	return err
}

// Any reports whether the rule stands for every origin.
func (o Origin) Any() bool { return o.any }

// String returns the rule in its shortest form, which ParseOrigin reads as the same; "" for the zero Origin.
func (o Origin) String() string {
	if o.any {
		return "*"
	}
	var b strings.Builder
	if o.scheme != "" {
		b.WriteString(o.scheme + "://")
	}
	if o.below {
		b.WriteString("*.")
	}
	if strings.Contains(o.host, ":") {
		b.WriteString("[" + o.host + "]")
	} else {
		b.WriteString(o.host)
	}
	switch {
	case o.anyPort:
		b.WriteString(":*")
	case o.port != 0:
		b.WriteString(":" + strconv.Itoa(int(o.port)))
	}
	return b.String()
}

// Matches reports whether the rule stands for the origin, which is the value of an Origin field: "null",
// several origins and whatever else is not one match no rule, not even "*". A few hundred nanoseconds.
func (o Origin) Matches(origin string) bool {
	s, ok := parseSite(origin)
	return ok && o.matches(&s)
}

func (o *Origin) matches(s *site) bool {
	if o.any {
		return true
	}
	if o.host == "" { // the zero Origin
		return false
	}
	if o.scheme == "" && s.scheme != "http" && s.scheme != "https" || o.scheme != "" && o.scheme != s.scheme {
		return false
	}
	if o.below {
		if name, ok := strings.CutSuffix(s.host, o.host); !ok || !strings.HasSuffix(name, ".") {
			return false
		}
	} else if s.host != o.host {
		return false
	}
	if o.anyPort || s.port == o.port {
		return true
	}
	return o.scheme == "" && o.port == defaultPort(s.scheme) && s.port == 0
}

// AllowsOrigin reports whether one of the identity's rules stands for the origin, or it has none and the
// value is an origin at all. A rule that is damaged stands for nothing. False for a nil identity. Asking is
// for publishable keys: the rules of any other say nothing.
func (i *Identity) AllowsOrigin(origin string) bool {
	s, ok := parseSite(origin)
	if i == nil || !ok {
		return false
	}
	for _, rule := range i.Origins {
		if o, err := ParseOrigin(rule); err == nil && o.matches(&s) {
			return true
		}
	}
	return len(i.Origins) == 0
}

// parseSite reads an origin as browsers send it: a scheme, a host and maybe a port, and nothing else.
func parseSite(origin string) (s site, ok bool) {
	if len(origin) > maxOriginLen {
		return site{}, false
	}
	scheme, rest, ok := strings.Cut(origin, "://")
	s.scheme = strings.ToLower(scheme)
	if !ok || !validScheme(s.scheme) {
		return site{}, false
	}
	if s.host, s.port, ok = splitHost(rest, false); !ok {
		return site{}, false
	}
	return s.plain(), true
}

// plain leaves out the port that the scheme has anyway.
func (s site) plain() site {
	if s.port == defaultPort(s.scheme) {
		s.port = 0
	}
	return s
}

func defaultPort(scheme string) uint16 {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}
