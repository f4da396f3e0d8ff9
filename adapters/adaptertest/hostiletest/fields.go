package hostiletest

import (
	"fmt"
	"strings"
)

// fields are requests with odd header fields. A request that the gate refuses stays refused however it is put.
func fields(g *gate) (all []input) {
	good, bad := g.key, g.unknown
	long := strings.Repeat("k", 64<<10)
	for name, of := range map[string]struct {
		refused bool
		lines   []string
	}{
		"two Authorization lines":         {true, []string{"Authorization: Bearer " + good, "Authorization: Bearer " + bad}},
		"two of the same":                 {true, []string{"Authorization: Bearer " + good, "Authorization: Bearer " + good}},
		"one of another scheme":           {true, []string{"Authorization: Basic Og==", "Authorization: Bearer " + good}},
		"a list":                          {true, []string{"Authorization: Bearer " + good + ", Bearer " + bad}},
		"a list of keys":                  {true, []string{"X-API-Key: " + good + "," + bad}},
		"two keys":                        {true, []string{"X-API-Key: " + good, "x-api-key: " + bad}},
		"two kinds that differ":           {true, []string{"X-API-Key: " + good, "Authorization: Bearer " + bad}},
		"two kinds that agree":            {false, []string{"X-API-Key: " + good, "Authorization: Bearer " + good}},
		"underscores":                     {true, []string{"X_API_KEY: " + good}},
		"a space before the colon":        {true, []string{"X-API-Key : " + good}},
		"a fold before":                   {false, []string{"X-API-Key:", " " + good}},
		"a fold within":                   {true, []string{"X-API-Key: " + good[:8], " " + good[8:]}},
		"a fold of two":                   {true, []string{"Authorization: Bearer " + good, "\tBearer " + bad}},
		"a fold first":                    {true, []string{" X-API-Key: " + good}},
		"a tab after the scheme":          {true, []string{"Authorization: Bearer\t" + good}},
		"tabs around":                     {false, []string{"X-API-Key: \t" + good + "\t"}},
		"a NUL within":                    {true, []string{"X-API-Key: " + good[:8] + "\x00" + good[8:]}},
		"a NUL behind":                    {true, []string{"X-API-Key: " + good + "\x00"}},
		"a high byte behind":              {true, []string{"X-API-Key: " + good + "\x80"}},
		"a no-break space":                {true, []string{"X-API-Key: " + good + "\xc2\xa0"}},
		"a DEL":                           {true, []string{"X-API-Key: " + good + "\x7f"}},
		"a bare CR":                       {true, []string{"X-API-Key: " + good + "\rX: y"}},
		"64 KiB as a key":                 {true, []string{"X-API-Key: " + long}},
		"64 KiB as a token":               {true, []string{"Authorization: Bearer " + long}},
		"64 KiB as a user":                {true, []string{"Authorization: Basic " + long}},
		"64 KiB of cookies":               {true, []string{"Cookie: key=" + long}},
		"64 KiB of a request id":          {false, []string{"X-API-Key: " + good, "X-Request-Id: " + long}},
		"64 KiB of an origin":             {false, []string{"X-API-Key: " + good, "Origin: https://" + long}},
		"64 KiB of a value":               {true, []string{"X-API-Key: " + good, "X-Region: " + long}},
		"10,000 lines":                    {false, append(numbered(10_000), "X-API-Key: "+good)},
		"10,000 lines of one name":        {false, append(repeated(10_000, "X-Forwarded-For: 192.0.2.1"), "X-API-Key: "+good)},
		"10,000 keys":                     {true, repeated(10_000, "X-API-Key: "+good)},
		"10,000 cookies":                  {true, repeated(10_000, "Cookie: key="+good)},
		"2 MiB":                           {true, []string{"X-API-Key: " + good, "X: " + strings.Repeat("x", 2<<20)}},
		"no colon":                        {true, []string{"X-API-Key: " + good, "X"}},
		"an empty name":                   {true, []string{"X-API-Key: " + good, ": x"}},
		"a name in two words":             {true, []string{"X-API-Key: " + good, "X Y: z"}},
		"two hosts":                       {true, []string{"X-API-Key: " + good, "Host: other.test"}},
		"a preflight that is none":        {false, []string{"X-API-Key: " + good, "Origin: null", "Access-Control-Request-Method: GET"}},
		"an upgrade that nobody offers":   {false, []string{"X-API-Key: " + good, "Connection: Upgrade", "Upgrade: websocket"}},
		"the key named by Connection":     {false, []string{"X-API-Key: " + good, "Connection: X-API-Key"}},
		"h2c":                             {false, []string{"X-API-Key: " + good, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"}},
		"a method that overrides":         {false, []string{"X-API-Key: " + good, "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE"}},
		"an address that overrides":       {false, []string{"X-API-Key: " + good, "X-Original-URL: /nowhere", "X-Rewrite-URL: /nowhere", "X-Forwarded-Prefix: /x"}},
		"an unknown key":                  {true, []string{"X-API-Key: " + bad}},
		"a key in another case":           {true, []string{"X-API-Key: " + strings.ToUpper(good)}},
		"a key with one byte more":        {true, []string{"X-API-Key: " + good + "0"}},
		"a key with one byte less":        {true, []string{"X-API-Key: " + good[:len(good)-1]}},
		"Basic of bytes that are no text": {true, []string{"Authorization: Basic AP/+AAA6"}},
		"an empty key":                    {true, []string{"X-API-Key:", "Authorization:"}},
	} {
		for _, line := range []string{"GET /plain", "GET /items/7", "GET /nowhere"} {
			all = append(all, input{name: name, wire: request(line, "", of.lines...), refused: of.refused})
		}
	}
	return all
}

func numbered(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("X-%d: %d", i, i))
	}
	return lines
}

func repeated(n int, line string) []string {
	return strings.Split(strings.Repeat(line+"\n", n-1)+line, "\n")
}

// lines are odd first lines, and heads that are none.
func lines(g *gate) (all []input) {
	key := "X-API-Key: " + g.key
	for _, line := range []string{
		"get /plain", "G E T /plain", "GET  /plain", " GET /plain", "GET\t/plain", "\r\nGET /plain", "PURGE /plain", "CONNECT tollgate.test:80", "CONNECT /plain", "TRACE /plain",
		"OPTIONS *", "PRI *", "GET\x00 /plain", "G\xc3\x89T /plain", strings.Repeat("G", 5000) + " /plain", "GET /plain?" + strings.Repeat("a=1&", 20_000), "GET /plain?a=%zz", "GET /plain?key=" + g.key,
		"GET /plain?key=" + g.key + "&key=" + g.key, "GET /plain?%6bey=" + g.key, "GET /plain?key=" + g.key + ";x=1", "GET /plain?KEY=" + g.unknown, "GET /plain",
	} {
		all = append(all, input{name: "line", wire: request(line, "", key)}, input{name: "line without a key", wire: request(line, "")})
	}
	for _, version := range []string{"HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/1.2", "HTTP/11", "http/1.1", "HTTP/1.1 ", "ICY", "", "HTTP/1.1\x00"} {
		all = append(all, input{name: "version", wire: "GET /plain " + version + "\r\nHost: a\r\n" + key + "\r\n\r\n"})
	}
	for _, host := range []string{"", "a b", "a\x00", "a/b", "a,b", "é", "[::1", "a:99999", strings.Repeat("a", 5000), "evil.example"} {
		all = append(all, input{name: "host", wire: "GET /plain HTTP/1.1\r\nHost: " + host + "\r\n" + key + "\r\n\r\n"})
	}
	second := request("GET /items/7", "", key)
	for _, wire := range []string{
		"GET /plain HTTP/1.1\n" + "Host: a\n" + key + "\n\n", "GET /plain HTTP/1.1\r\n" + key + "\r\n\r\n", "\r\n\r\n\r\n" + second, "GET /plain\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		request("GET /plain", second, key, "Connection: close"), request("GET /plain", "\x00\x01\x02", key), request("GET /plain", strings.Repeat(second, 100), key, "Connection: close"),
	} {
		all = append(all, input{name: "head", wire: wire})
	}
	for _, wire := range []string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x00\x00\x00\x00", "GET", strings.Repeat("\n", 1000), "GET /plain HTTP/1.1\r\nHost: a\r\n" + key} {
		all = append(all, input{name: "a head that is cut", wire: wire, ends: true})
	}
	return all
}
