// Package mount holds what the adapters share: the check of a stage when it is mounted, and the names of
// endpoints for routers that write parameters as ":id" and tails as "*path".
package mount

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/tollgate-go/tollgate/middleware"
)

// Check panics unless the stage can be mounted, as http.ServeMux does for a bad pattern. adapter names
// who asks.
func Check(adapter string, stage middleware.Stage) {
	if v := reflect.ValueOf(stage); stage == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		panic(fmt.Errorf("%s: Middleware(nil): make a stage with middleware.Authenticate or middleware.LimitBy", adapter))
	}
	if err := stage.Err(); err != nil {
		panic(err)
	}
}

// Names remembers the endpoint of each route, so that a name is made once, up to a bound. It is for routes that
// exist, not for what a client made up, since it forgets nothing. The zero Names is ready. Safe for concurrent use.
type Names struct {
	known atomic.Pointer[map[route]string]
}

type route struct{ method, path string }

// maxNames bounds what is remembered; beyond it names are made each time.
const maxNames = 4096

// Get returns the endpoint of a route that was added. No allocation.
func (n *Names) Get(method, path string) (endpoint string, ok bool) {
	known := n.known.Load()
	if known == nil {
		return "", false
	}
	endpoint, ok = (*known)[route{method, path}]
	return endpoint, ok
}

// Add returns the endpoint of a route, and remembers it.
func (n *Names) Add(method, path string) string {
	return n.Keep(method, path, middleware.Endpoint(method, Template(path)))
}

// Keep remembers what the endpoint of a route is called, and returns it.
func (n *Names) Keep(method, path, endpoint string) string {
	for {
		old := n.known.Load()
		next := map[route]string{{method, path}: endpoint}
		if old != nil {
			if len(*old) >= maxNames {
				return endpoint
			}
			maps.Copy(next, *old)
		}
		if n.known.CompareAndSwap(old, &next) {
			return endpoint
		}
	}
}

// Template converts a route: ":id" becomes "{id}", and "*path" or "*" becomes "{...}". A colon behind a
// backslash stands for itself.
func Template(path string) string {
	var b strings.Builder
	for path != "" {
		at := strings.IndexAny(path, ":*")
		if at < 0 {
			break
		}
		if at > 0 && path[at] == ':' && path[at-1] == '\\' {
			b.WriteString(path[:at-1] + ":")
			path = path[at+1:]
			continue
		}
		b.WriteString(path[:at])
		if path[at] == '*' {
			return b.String() + "{...}"
		}
		end := strings.IndexByte(path[at:], '/')
		if end < 0 {
			end = len(path) - at
		}
		b.WriteString("{" + path[at+1:at+end] + "}")
		path = path[at+end:]
	}
	return b.String() + path
}
