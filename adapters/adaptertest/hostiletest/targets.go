package hostiletest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/adapters/adaptertest"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// spellings returns ways to write a path of a route: of its first segment, and a second that may be missing.
func spellings(first, second string) []string {
	path := "/" + first + second
	escaped := fmt.Sprintf("%%%02x%s", first[0], first[1:])
	return []string{
		path, "/" + escaped + second, "/" + strings.ToUpper(escaped[:3]) + escaped[3:] + second, "/" + first + strings.ReplaceAll(second, "/", "%2f"),
		"/" + first + strings.ReplaceAll(second, "/", "%2F"), "/" + first + strings.ReplaceAll(second, "/", "%5c"), "/" + first + strings.ReplaceAll(second, "/", `\`),
		"/" + path, "//" + path, "/" + first + "/" + second, "/./" + first + second, "/%2e/" + first + second, "/x/../" + first + second,
		"/x/%2e%2e/" + first + second, "/x/..%2f" + first + second, "/" + first + "/." + second, "/" + first + "/x/.." + second, path + "/", path + "//",
		path + "/.", path + "/..", path + "%2f", path + "%00", path + "%0a", path + "%0d%0aX-Evil:%201", path + "%20", path + "+", path + "%ff", path + "%c0%af",
		path + "%e2%80%ae", path + ";v=1", path + "%3bv=1", path + "?", path + "?x=/../y", path + "?id=8&id=9", path + "%3fx=1", path + "%23x", path + "#x", path + ":",
		path + "{}", path + "{id}", path + ":id", path + "*", "/" + strings.ToUpper(first) + second, path + "é", path + "\xff", path + "%", path + "%2", path + "%zz",
		path + "%u0041", path + strings.Repeat("/a", 200), path + strings.Repeat("a", 4000), path + strings.Repeat("%41", 2000),
		"http://evil.example" + path, "http://evil.example:80" + path, "http://user:pass@evil.example" + path, "https://tollgate.test" + path, "//evil.example" + path,
		strings.TrimPrefix(path, "/"), "/../../.." + path, "/" + first + "%252f" + strings.TrimPrefix(second, "/"), "/" + first + "%00" + second,
		"\\" + first + second, path + "\x7f", path + "\t", path + "\x0b",
	}
}

// targets are paths of the routes in all their spellings.
func targets() (all []string) {
	for _, p := range [][2]string{{"items", "/7"}, {"items", "/a%2fb"}, {"plain", ""}, {"files", "/a/b"}, {"files", "/"}, {"nowhere", ""}} {
		all = append(all, spellings(p[0], p[1])...)
	}
	return append(all, "/", "*", "", ".", "..", "/items", "/items/", "?key=x", "/%", "http://", "http:///items/7", "http://[::1/items/7", "ftp://a/items/7", "/items/7 /items/8")
}

// paths are requests for all targets, with a key and without.
func paths(g *gate) (all []input) {
	for i, target := range targets() {
		for _, method := range []string{"GET", []string{"HEAD", "OPTIONS", "DELETE"}[i%3]} {
			all = append(all, input{name: method + " with a key", wire: request(method+" "+target, "", "X-API-Key: "+g.key)})
		}
		all = append(all, input{name: "GET without a key", wire: request("GET "+target, ""), refused: true})
	}
	return all
}

// oneBucket has a limit of three stand before a route that is asked for in all spellings: three pass, of all of them.
func oneBucket(t *testing.T, adapter adaptertest.Adapter) {
	t.Helper()
	for path, endpoint := range map[[2]string]string{
		{"items", "/7"}: "GET /items/{id}", {"plain", ""}: "GET /plain", {"files", "/a/b"}: "GET /files/{...}",
	} {
		g := newGate(t)
		s := g.serveWith(t, adapter, ratelimit.PerHour(3))
		passed, refused := 0, 0
		for _, target := range spellings(path[0], path[1]) {
			in := input{name: target, wire: request("GET "+target, "", "X-API-Key: "+g.key)}
			switch o := s.send(t, &in); {
			case o.reached == endpoint:
				passed++
			case o.reached != "":
				t.Errorf("%s: reaches %s", target, o.reached)
			case o.status == 429:
				refused++
			}
		}
		if passed != 3 || refused < 5 {
			t.Errorf("%s: %d of its spellings pass a limit of 3, and %d are refused", endpoint, passed, refused)
		}
	}
}
