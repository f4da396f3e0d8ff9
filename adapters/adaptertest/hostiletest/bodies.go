package hostiletest

import (
	"fmt"
	"strings"
)

// bodies are requests with bodies that are odd, or end too early.
func bodies(g *gate) (all []input) {
	key := "X-API-Key: " + g.key
	add := func(name string, ends bool, body string, lines ...string) {
		for _, target := range []string{"POST /upload", "POST /items/7", "GET /plain", "POST /nowhere"} {
			all = append(all, input{name: name, wire: request(target, body, append([]string{key}, lines...)...), ends: ends})
		}
		all = append(all, input{name: name + ", without a key", wire: request("POST /upload", body, lines...), ends: ends, refused: true})
	}
	chunked := "Transfer-Encoding: chunked"
	add("chunks", false, "5\r\nhello\r\n0\r\n\r\n", chunked)
	add("many chunks", false, strings.Repeat("1\r\na\r\n", 5000)+"0\r\n\r\n", chunked)
	add("chunk extensions", false, "5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n", chunked)
	add("long chunk extensions", false, "5;"+strings.Repeat("a", 10_000)+"\r\nhello\r\n0\r\n\r\n", chunked)
	add("trailers", false, "5\r\nhello\r\n0\r\nX-API-Key: "+g.unknown+"\r\nX-Evil: 1\r\n\r\n", chunked, "Trailer: X-API-Key, X-Evil")
	add("a key in a trailer alone", false, "0\r\nAuthorization: Bearer "+g.unknown+"\r\n\r\n", chunked)
	add("a chunk that is no number", false, "zz\r\nhello\r\n0\r\n\r\n", chunked)
	add("a negative chunk", false, "-5\r\nhello\r\n0\r\n\r\n", chunked)
	add("a huge chunk", true, "ffffffffffffffff\r\nhello", chunked)
	add("a chunk that ends early", true, "5\r\nhe", chunked)
	add("no last chunk", true, "5\r\nhello\r\n", chunked)
	add("chunked in another case", false, "5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: ChUnKeD")
	add("two transfer encodings", false, "5\r\nhello\r\n0\r\n\r\n", chunked, chunked)
	add("gzip and chunked", false, "5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: gzip, chunked")
	add("an encoding with a control byte", false, "5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: \x0bchunked")
	add("chunked and a length", false, "0\r\n\r\nGET /plain HTTP/1.1\r\n\r\n", chunked, "Content-Length: 5", "Connection: close")
	add("a length", false, "hello", "Content-Length: 5")
	add("a huge length", true, "hello", "Content-Length: 9223372036854775807")
	add("a length past numbers", false, "hello", "Content-Length: 99999999999999999999")
	add("a negative length", false, "hello", "Content-Length: -1")
	add("a length with a sign", false, "hello", "Content-Length: +5")
	add("a length in hex", false, "hello", "Content-Length: 0x5")
	add("a list of lengths", false, "hello", "Content-Length: 5, 5")
	add("two lengths", false, "hello", "Content-Length: 5", "Content-Length: 6")
	add("two equal lengths", false, "hello", "Content-Length: 5", "Content-Length: 5")
	add("an empty length", false, "hello", "Content-Length: ")
	add("less than its length", true, "he", "Content-Length: 5")
	add("more than its length", false, "hello\r\n\r\nmore", "Content-Length: 5")
	add("1 MiB", false, strings.Repeat("x", 1<<20), "Content-Length: 1048576")
	add("100-continue", false, "hello", "Expect: 100-continue", "Content-Length: 5")
	add("100-continue with nothing", false, "", "Expect: 100-continue", "Content-Length: 0")
	add("100-continue in another case", false, "hello", "Expect: 100-CONTINUE", "Content-Length: 5")
	add("another expectation", false, "", "Expect: the-inquisition", "Content-Length: 0")
	add("a form with a key", false, "key="+g.unknown, "Content-Type: application/x-www-form-urlencoded", fmt.Sprintf("Content-Length: %d", len("key="+g.unknown)))
	add("a form that is none", false, "%zz=%", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 5")
	add("a multipart without a boundary", false, "hello", "Content-Type: multipart/form-data", "Content-Length: 5")
	return all
}
