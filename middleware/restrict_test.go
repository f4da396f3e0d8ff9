package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func prefixes(texts ...string) (networks []netip.Prefix) {
	for _, text := range texts {
		networks = append(networks, netip.MustParsePrefix(text))
	}
	return networks
}

// changed returns the demo's callers with another identity.
func changed(edit func(*authkey.Identity)) *callers {
	c := demoCallers()
	edit(c.known[goodKey])
	return c
}

// refusedAs compares a refusal with a status and a code; 0 is none.
func refusedAs(t *testing.T, refusal *middleware.Error, status int, code string) {
	t.Helper()
	switch {
	case refusal == nil && status != 0:
		t.Errorf("it passes, want %d %s", status, code)
	case refusal != nil && (refusal.Status != status || refusal.Code != code):
		t.Errorf("got %v, want %d %s", refusal, status, code)
	}
}

// chargesNothing is a limiter that must not be asked.
func chargesNothing(t *testing.T) middleware.Limiter {
	return limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		t.Error("a limit was charged")
		return allow(r)
	})
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	proxies := middleware.WithTrustedProxies(prefixes("10.0.0.0/8", "::ffff:172.16.0.0/108", "fd00::/8")...)
	for name, row := range map[string]struct {
		networks  []netip.Prefix
		direct    bool // no proxy is trusted
		remote    string
		forwarded []string
		passes    bool
	}{
		"no networks, any address":         {nil, false, "203.0.113.1:1", nil, true},
		"no networks, no address":          {nil, false, "@", nil, true},
		"within":                           {prefixes("192.0.2.0/24"), true, "192.0.2.7:1", nil, true},
		"outside":                          {prefixes("192.0.2.0/24"), true, "192.0.3.7:1", nil, false},
		"one of several":                   {prefixes("198.51.100.0/24", "192.0.2.7/32"), true, "192.0.2.7:1", nil, true},
		"no address":                       {prefixes("0.0.0.0/0", "::/0"), true, "@", nil, false},
		"an address without a port":        {prefixes("0.0.0.0/0", "::/0"), true, "192.0.2.7", nil, false},
		"IPv6":                             {prefixes("2001:db8::/32"), true, "[2001:db8:1::7]:1", nil, true},
		"IPv6 outside":                     {prefixes("2001:db8::/32"), true, "[2001:db9::7]:1", nil, false},
		"all of IPv6 is not IPv4":          {prefixes("::/0"), true, "192.0.2.7:1", nil, false},
		"a zone says nothing":              {prefixes("fe80::/10"), true, "[fe80::1%eth0]:1", nil, true},
		"a zone of another network":        {prefixes("192.0.2.0/24"), true, "[fe80::1%192.0.2.7]:1", nil, false},
		"a damaged network":                {[]netip.Prefix{{}}, true, "192.0.2.7:1", nil, false},
		"a network wider than IPv4":        {[]netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:0.0.0.0"), 80)}, true, "192.0.2.7:1", nil, false},
		"behind a proxy":                   {prefixes("192.0.2.0/24"), false, "10.0.0.1:1", []string{"192.0.2.7"}, true},
		"behind a proxy, outside":          {prefixes("192.0.2.0/24"), false, "10.0.0.1:1", []string{"203.0.113.1"}, false},
		"behind two":                       {prefixes("192.0.2.0/24"), false, "10.0.0.1:1", []string{"192.0.2.7, 10.1.1.1"}, true},
		"a proxy written inside IPv6":      {prefixes("192.0.2.0/24"), false, "[::ffff:172.16.0.1]:1", []string{"192.0.2.7"}, true},
		"a proxy with a zone":              {prefixes("192.0.2.0/24"), false, "[fd00::1%eth0]:1", []string{"192.0.2.7"}, true},
		"a client inside":                  {prefixes("10.0.0.0/8"), false, "10.0.0.1:1", []string{"10.2.2.2"}, true},
		"a proxy that says nothing":        {prefixes("10.0.0.0/8"), false, "10.0.0.1:1", nil, false},
		"a proxy that says what is none":   {prefixes("10.0.0.0/8"), false, "10.0.0.1:1", []string{"unknown"}, false},
		"no address behind another's":      {prefixes("192.0.2.0/24", "10.0.0.0/8"), false, "10.0.0.1:1", []string{"192.0.2.7, junk, 10.2.2.2"}, false},
		"a proxy that is not the last one": {prefixes("192.0.2.0/24"), false, "10.0.0.1:1", []string{"192.0.2.7, 203.0.113.5, 10.2.2.2"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := []middleware.Option{proxies}
			if row.direct {
				opts = nil
			}
			known := changed(func(id *authkey.Identity) { id.Networks = row.networks })
			r := request(http.MethodGet, "/v1/search")
			r.RemoteAddr, r.Header["X-Forwarded-For"] = row.remote, row.forwarded
			if row.passes {
				_, _, refusal := admit(t, middleware.Authenticate(known, opts...), r)
				refusedAs(t, refusal, 0, "")
				return
			}
			_, _, refusal := admit(t, middleware.Authenticate(known, opts...).RateLimit(chargesNothing(t), ratelimit.PerMinute(1)), r)
			refusedAs(t, refusal, http.StatusForbidden, middleware.CodeNetwork)
		})
	}
}

// An IPv4 client that comes over a socket for IPv6 is in its IPv4 network, and a network that is written inside
// IPv6 is the IPv4 one.
func TestTrapFourInSixAgainstIPv4Network(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"192.0.2.0/24", "::ffff:192.0.2.0/120"} {
		for remote, passes := range map[string]bool{
			"192.0.2.7:1": true, "[::ffff:192.0.2.7]:1": true, "[::ffff:c000:207]:1": true,
			"203.0.113.1:1": false, "[::ffff:203.0.113.1]:1": false, "[::192.0.2.7]:1": false, "[64:ff9b::192.0.2.7]:1": false,
		} {
			known := changed(func(id *authkey.Identity) { id.Networks = prefixes(network) })
			r := request(http.MethodGet, "/")
			r.RemoteAddr = remote
			if _, _, refusal := admit(t, middleware.Authenticate(known), r); (refusal == nil) != passes {
				t.Errorf("%s in %s: %v, want it to pass: %v", remote, network, refusal, passes)
			}
		}
	}
}

// What a client writes into the field does not count: not without a proxy, not before what the proxy adds, and not
// in other fields.
func TestTrapForwardedForIsSpoofed(t *testing.T) {
	t.Parallel()
	known := changed(func(id *authkey.Identity) { id.Networks = prefixes("192.0.2.0/24") })
	direct := middleware.Authenticate(known)
	proxied := middleware.Authenticate(known, middleware.WithTrustedProxies(prefixes("10.0.0.0/8")...))
	for name, row := range map[string]struct {
		stage  middleware.Stage
		remote string
		fields http.Header
	}{
		"without a proxy":               {direct, "203.0.113.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7"}}},
		"past the proxy":                {proxied, "203.0.113.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7"}}},
		"through the proxy":             {proxied, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7, 203.0.113.1"}}},
		"as a line of its own":          {proxied, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7", "203.0.113.1"}}},
		"as a proxy":                    {proxied, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7, 10.9.9.9, 203.0.113.1"}}},
		"X-Real-IP":                     {direct, "203.0.113.1:1", http.Header{"X-Real-Ip": {"192.0.2.7"}}},
		"Forwarded":                     {proxied, "10.0.0.1:1", http.Header{"Forwarded": {"for=192.0.2.7"}}},
		"X-Real-IP of a silent proxy":   {proxied, "10.0.0.1:1", http.Header{"X-Real-Ip": {"192.0.2.7"}}},
		"an empty one of a proxy":       {proxied, "10.0.0.1:1", http.Header{"X-Forwarded-For": {""}}},
		"the client's own and an empty": {proxied, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request(http.MethodGet, "/")
			r.RemoteAddr = row.remote
			for field, values := range row.fields {
				r.Header[field] = values
			}
			_, _, refusal := admit(t, row.stage, r)
			refusedAs(t, refusal, http.StatusForbidden, middleware.CodeNetwork)
		})
	}
}

func publishable(id *authkey.Identity) {
	id.Kind, id.Origins = authkey.KindPublishable, []string{"https://*.example.com", "localhost:*"}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	field := func(name string, values ...string) http.Header { return http.Header{name: values} }
	for name, row := range map[string]struct {
		edit   func(*authkey.Identity)
		fields http.Header
		passes bool
	}{
		"Origin":                       {publishable, field("Origin", "https://shop.example.com"), true},
		"Origin of another":            {publishable, field("Origin", "https://evil.test"), false},
		"Origin with another scheme":   {publishable, field("Origin", "http://shop.example.com"), false},
		"Origin null":                  {publishable, field("Origin", "null"), false},
		"Origin null although any":     {func(id *authkey.Identity) { publishable(id); id.Origins = []string{"*"} }, field("Origin", "null"), false},
		"Origin empty":                 {publishable, field("Origin", ""), false},
		"Origin twice":                 {publishable, field("Origin", "https://shop.example.com", "https://shop.example.com"), false},
		"Origin with a user":           {publishable, field("Origin", "https://shop.example.com@evil.test"), false},
		"Origin that is a URL":         {publishable, field("Origin", "https://shop.example.com/"), false},
		"Origin of two":                {publishable, field("Origin", "https://evil.test https://shop.example.com"), false},
		"Origin wins over Referer":     {publishable, http.Header{"Origin": {"https://evil.test"}, "Referer": {"https://shop.example.com/"}}, false},
		"Origin null beside Referer":   {publishable, http.Header{"Origin": {"null"}, "Referer": {"https://shop.example.com/"}}, false},
		"Referer":                      {publishable, field("Referer", "https://shop.example.com/cart?a=1#top"), true},
		"Referer without a path":       {publishable, field("Referer", "https://shop.example.com"), true},
		"Referer with a query alone":   {publishable, field("Referer", "http://localhost:3000?x"), true},
		"Referer of another":           {publishable, field("Referer", "https://evil.test/https://shop.example.com/"), false},
		"Referer with a user":          {publishable, field("Referer", "https://shop.example.com@evil.test/"), false},
		"Referer with a user of ours":  {publishable, field("Referer", "https://user:pw@shop.example.com/"), false},
		"Referer with a backslash":     {publishable, field("Referer", `https://evil.test\.example.com/`), false},
		"Referer in the fragment":      {publishable, field("Referer", "https://evil.test#https://shop.example.com"), false},
		"Referer of nothing":           {publishable, field("Referer", "about:blank"), false},
		"Referer relative":             {publishable, field("Referer", "/cart"), false},
		"Referer twice":                {publishable, field("Referer", "https://shop.example.com/", "https://evil.test/"), false},
		"a secret key has no pages":    {func(id *authkey.Identity) { publishable(id); id.Kind = authkey.KindSecret }, nil, true},
		"publishable without rules":    {func(id *authkey.Identity) { id.Kind = authkey.KindPublishable }, nil, true},
		"any page, but it has to be":   {func(id *authkey.Identity) { publishable(id); id.Origins = []string{"*"} }, nil, false},
		"any page":                     {func(id *authkey.Identity) { publishable(id); id.Origins = []string{"*"} }, field("Origin", "https://evil.test"), true},
		"a damaged rule opens nothing": {func(id *authkey.Identity) { publishable(id); id.Origins = []string{"https://"} }, field("Origin", "https://"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request(http.MethodGet, "/v1/search")
			for name, values := range row.fields {
				r.Header[name] = values
			}
			auth := middleware.Authenticate(changed(row.edit))
			if row.passes {
				_, _, refusal := admit(t, auth, r)
				refusedAs(t, refusal, 0, "")
				return
			}
			_, _, refusal := admit(t, auth.RateLimit(chargesNothing(t), ratelimit.PerMinute(1)), r)
			refusedAs(t, refusal, http.StatusForbidden, middleware.CodeOrigin)
		})
	}
}

func TestTrapMissingReferer(t *testing.T) {
	t.Parallel()
	_, h, refusal := admit(t, middleware.Authenticate(changed(publishable)), request(http.MethodGet, "/"))
	refusedAs(t, refusal, http.StatusForbidden, middleware.CodeOrigin)
	if len(h) != 0 {
		t.Errorf("without WithCORS, nothing is said of origins: %v", h)
	}
}

// One request has every fault. Each row mends one more, in the order in which they are looked at, and nothing is
// charged before all are.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	known := &callers{known: map[string]*authkey.Identity{}, refreshed: map[string]*authkey.Identity{}}
	known.known[goodKey] = &authkey.Identity{
		Org: "acme", Project: "shop", Key: "07key", Kind: authkey.KindPublishable, Epoch: 1,
		Networks: prefixes("192.0.2.0/24"), Origins: []string{"https://example.com"},
	}
	charged := 0
	limiter := limiterFunc(func(r ratelimit.Request) (ratelimit.Decision, error) {
		charged++
		d, err := allow(r)
		d.Allowed, d.Results[0].Exceeded = false, true
		return d, err
	})
	counted := &ledger{}
	stage := middleware.Authenticate(known).RequireScope("search").RequireProduct("stores").
		RateLimit(limiter, ratelimit.PerMinute(1)).Meter(counted, "stores", "search")

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "203.0.113.1:1"
	r.Header["X-Api-Key"] = []string{"a key", "twice"}
	known.err = fmt.Errorf("state: %w", authkey.ErrSuspended)
	for _, row := range []struct {
		what   string
		status int
		code   string
		asked  int // the authenticator, so far
		mend   func()
	}{
		{"shape", 400, middleware.CodeMalformed, 0, func() { r.Header["X-Api-Key"] = []string{goodKey} }},
		{"state", 403, middleware.CodeSuspended, 1, func() { known.err = nil }},
		{"network", 403, middleware.CodeNetwork, 2, func() { r.RemoteAddr = "192.0.2.7:1" }},
		{"origin", 403, middleware.CodeOrigin, 3, func() { r.Header.Set("Origin", "https://example.com") }},
		{"scope", 403, middleware.CodeScope, 4, func() { known.known[goodKey].Scopes = []string{"search"} }},
		{"product", 403, middleware.CodeProduct, 5, func() { known.known[goodKey].Products = []string{"stores"} }},
	} {
		_, _, refusal := admit(t, stage, r.Clone(t.Context()))
		refusedAs(t, refusal, row.status, row.code)
		if known.asked != row.asked || charged != 0 {
			t.Fatalf("%s: the authenticator was asked %d times, want %d, and %d limits were charged", row.what, known.asked, row.asked, charged)
		}
		row.mend()
	}
	_, _, refusal := admit(t, stage, r.Clone(t.Context()))
	refusedAs(t, refusal, http.StatusTooManyRequests, middleware.CodeLimited)
	if charged != 1 || len(counted.rows) != 0 {
		t.Errorf("%d limits were charged, want 1, and %d requests were metered", charged, len(counted.rows))
	}
}

func TestTrustedProxiesOption(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		networks []netip.Prefix
		want     string
	}{
		"some":            {prefixes("10.0.0.0/8", "fd00::/8", "::ffff:10.0.0.0/104"), ""},
		"none":            {nil, "at least one network"},
		"zero":            {[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), {}}, "WithTrustedProxies: trusted network number 2"},
		"everybody":       {prefixes("0.0.0.0/0"), "number 1, 0.0.0.0/0, trusts everybody"},
		"everybody there": {prefixes("10.0.0.0/8", "::/0"), "number 2, ::/0, trusts everybody"},
		"everybody twice": {prefixes("::ffff:0:0/96"), "trusts everybody"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := middleware.Authenticate(demoCallers(), middleware.WithTrustedProxies(row.networks...)).Err()
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}
