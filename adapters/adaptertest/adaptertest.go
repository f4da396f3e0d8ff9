// Package adaptertest tests adapters of package middleware: that they answer as all the others do, with
// the same statuses, header fields and bodies, and move every request through its stages exactly once.
//
//	func TestAdapter(t *testing.T) {
//		adaptertest.Run(t, func(routes []adaptertest.Route, outer ...middleware.Stage) http.Handler {
//			router := myrouter.New()
//			for _, stage := range outer {
//				router.Use(mykit.Middleware(stage))
//			}
//			for _, r := range routes {
//				... // r.Stage before r.Handler at r.Method and r.Pattern; a nil Stage is none
//			}
//			return router
//		})
//	}
//
// It needs no Redis: who calls, what is left and what was counted is kept in memory, and no time passes.
// What routers themselves decide differently, such as redirects and 404 or 405, is left to them; the
// suite asks what Tollgate makes of it.
package adaptertest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/middleware"
)

// Adapter returns a handler that serves the routes. The outer stages stand before all of them, the first
// outermost, and before what no route takes. It must not recover panics.
type Adapter func(routes []Route, outer ...middleware.Stage) http.Handler

// Route is a route with a stage before its handler. The handler must be given the request that the
// adapter hands on, and a writer from which http.ResponseController reaches the server's.
type Route struct {
	// Method is never empty. A router that serves HEAD by GET may be given both.
	Method string
	// Pattern is a path as http.ServeMux writes it: "/items/{id}", "/files/{path...}". See ColonPath.
	Pattern string
	// Stage is nil where there is none.
	Stage   middleware.Stage
	Handler http.Handler
}

// ColonPath converts the pattern of a Route for routers that write ":id" and "*path".
func ColonPath(pattern string) string {
	parts := strings.Split(strings.TrimSuffix(pattern, "{$}"), "/")
	for i, part := range parts {
		name, wildcard := strings.CutPrefix(part, "{")
		switch name, tail := strings.CutSuffix(strings.TrimSuffix(name, "}"), "..."); {
		case wildcard && tail:
			parts[i] = "*" + name
		case wildcard:
			parts[i] = ":" + name
		}
	}
	return strings.Join(parts, "/")
}

// Run tests an adapter: one parallel subtest for each scenario. Each has a server of its own, on a free
// port of the loopback interface.
func Run(t *testing.T, adapter Adapter) {
	t.Helper()
	for _, scenarios := range [][]scenario{
		credentials(), sources(), guards(), modes(), budgets(), limits(), candidates(), fields(), costs(), holds(), failures(), shares(), networks(),
		passages(), usages(), requestIDs(), panics(), routing(), protocol(), restrictions(), cors(),
		presentations(), challenges(), requirements(), revocations(), anonymous(),
	} {
		for _, s := range scenarios {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.run(t, adapter)
			})
		}
	}
}

// scenario is one row of the suite. What it expects is written out; "none" says that there is nothing.
type scenario struct {
	name, why string
	// before prepares the world.
	before func(*world)
	// stage stands before the one route, GET /items/{id}, and handler behind it; the default says "ok".
	stage   func(*world) middleware.Stage
	handler http.HandlerFunc
	// mount says it all, where one route is not enough.
	mount func(*world) (routes []Route, outer []middleware.Stage)
	// sends are requests, one after the other, and their whole answers.
	sends []exchange
	// calls, usage and events are what the world was asked and told; "" is not looked at.
	calls, usage, events string
	// check is for what no text can say.
	check func(*testing.T, *world, *server)
}

func (s *scenario) run(t *testing.T, adapter Adapter) {
	w := newWorld()
	if s.before != nil {
		s.before(w)
	}
	var routes []Route
	var outer []middleware.Stage
	if s.mount != nil {
		routes, outer = s.mount(w)
	} else {
		routes = []Route{{Method: http.MethodGet, Pattern: "/items/{id}", Stage: s.stage(w), Handler: s.handler}}
	}
	for i, r := range routes {
		if h, ok := r.Handler.(http.HandlerFunc); r.Handler == nil || ok && h == nil {
			routes[i].Handler = http.HandlerFunc(ok200)
		}
	}
	server := newServer(t, adapter(routes, outer...))
	for i, e := range s.sends {
		s.compare(t, i+1, "answer", server.do(t, e.send), e.want)
	}
	if s.check != nil {
		s.check(t, w, server)
	}
	server.served.Wait()
	for _, of := range []struct{ what, got, want string }{
		{"calls", w.calls(), s.calls}, {"usage", w.usage(), s.usage}, {"events", w.events(), s.events},
	} {
		if of.want != "" {
			s.compare(t, 0, of.what, of.got, of.want)
		}
	}
}

// compare compares texts, the wanted one freed of its indentation.
func (s *scenario) compare(t *testing.T, request int, what, got, want string) {
	t.Helper()
	if want = plain(want); got != want {
		t.Errorf("%s of request %d (0: all)\n--- got\n%s\n--- want\n%s\n--- for %s", what, request, got, want, s.why)
	}
}

// plain removes the tabs before each line, and what is empty around all.
func plain(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(text)) {
		b.WriteString(strings.TrimLeft(line, "\t"))
	}
	return b.String()
}

// ok200 answers "ok".
func ok200(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte("ok"))
}
