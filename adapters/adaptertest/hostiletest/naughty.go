package hostiletest

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
)

// naughty returns strings that are known to hurt, and some hundreds that are made of their parts, which come
// after the known. The same each time.
func naughty() (all []string, known int) {
	all = []string{
		"", " ", "\t", "\x00", "null", "nil", "undefined", "NaN", "Infinity", "-1", "0", "1e309", "9223372036854775808", "0x7fffffffffffffff", "1,2", "true",
		"{", "}", "{}", "{00}", "{a}:b", "a:b", "::", "%", "%%", "%00", "%25", "%3A", "%s%s%s%n", "%x%p%d", "%!s(MISSING)", "${jndi:ldap://x}", "{{7*7}}", "$(id)", "`id`",
		"';--", `" OR 1=1`, `\`, `\\`, `\u0000`, `\x00`, "<script>alert(1)</script>", "]]>", "<!--", "../../etc/passwd", "C:\\", "a\u202eb", "\u200b", "\ufeff", "\u2028",
		"ﬀ", "İ", "ß", "e\u0301", "Ω≈ç", "田中さん", "👩‍👩‍👧", "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf8\x88\x80\x80\x80", "\xfe\xff", "\xc3", "ab\x7fcd", "\x1b[31mred",
		"a\rb", "a\nb", "a\r\nX-Evil: 1", "a\x0bb", "a\x0cb", "a\x85b", "a\xa0b", "*", "?", "[a-z]", "tg1:{00}:org:epoch", "FLUSHALL", "*1\r\n$8\r\nFLUSHALL\r\n",
		"redis.call('FLUSHALL')", "=", "==", ";", ",", "a,b", `"`, "'", "(", ")", "<", ">", "@", "Bearer", "Basic", "Bearer Bearer", "bearer\x00x",
		strings.Repeat("a", 128), strings.Repeat("a", 129), strings.Repeat("a", 256), strings.Repeat("a", 257), strings.Repeat("é", 200), strings.Repeat("%", 300), strings.Repeat("a", 9000),
		strings.Repeat(",", 1000), strings.Repeat(".", 5000), strings.Repeat("[", 5000), strings.Repeat("\xff", 300),
	}
	known = len(all)
	for b := range 256 { // each byte, in the middle of a word
		all = append(all, "a"+string([]byte{byte(b)})+"z")
	}
	parts := all
	random := rand.New(rand.NewPCG(4, 2))
	for range 150 {
		var s strings.Builder
		for range 1 + random.IntN(5) {
			part := parts[random.IntN(len(parts))]
			s.WriteString(part[:min(len(part), 40)])
		}
		all = append(all, s.String())
	}
	return all, known
}

// texts has each naughty string in some of the places that a gate reads, those that are known in half of them: as it is in
// fields, and escaped in the target. What ends a line in a field is a field of its own then, or an end of the head.
func texts(g *gate) (all []input) {
	list, known := naughty()
	for i, s := range list {
		short := url.PathEscape(s[:min(len(s), 500)])
		places := []struct{ name, wire string }{
			{"API key", request("GET /plain", "", "X-API-Key: "+s)},
			{"near a key", request("GET /plain", "", "X-API-Key: "+g.key+s)},
			{"Bearer", request("GET /plain", "", "Authorization: Bearer "+s)},
			{"scheme", request("GET /plain", "", "X-API-Key: "+g.key, "Authorization: "+s)},
			{"cookie", request("GET /plain", "", "Cookie: key="+s+"; a=b")},
			{"query", request("GET /plain?key="+short+"&"+short+"=1", "")},
			{"path", request("GET /items/"+short, "", "X-API-Key: "+g.key)},
			{"tail", request("GET /files/"+short+"/"+short, "", "X-API-Key: "+g.key)},
			{"values", request("GET /plain", "", "X-API-Key: "+g.key, "X-Client: "+s, "X-Region: "+s)},
			{"origin", request("GET /plain", "", "X-API-Key: "+g.key, "Origin: "+s)},
			{"preflight", request("OPTIONS /plain", "", "Origin: "+s, "Access-Control-Request-Method: "+s, "Access-Control-Request-Headers: "+s)},
			{"told", request("GET /plain", "", "X-Request-Id: "+s, "X-Forwarded-For: "+s, "Forwarded: for="+s, "X-HTTP-Method-Override: "+s, "Referer: "+s)},
			{"a field", request("GET /plain", "", "X-API-Key: "+g.key, s+": x")},
		}
		for j, place := range places {
			if i < known && (i+j)%2 == 0 || (i+j)%8 == 0 {
				all = append(all, input{name: fmt.Sprintf("string %d as %s", i, place.name), wire: place.wire})
			}
		}
	}
	return all
}
