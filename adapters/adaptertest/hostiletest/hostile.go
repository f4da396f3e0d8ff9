// Package hostiletest sends an adapter of package middleware what clients send to break it: spellings of paths, odd header
// fields, strings that are known to hurt, and bodies that do not end as they should. All goes as bytes over TCP to a real
// server, so that what net/http makes of it takes part.
//
//	func TestHostile(t *testing.T) {
//		hostiletest.Run(t, func(routes []adaptertest.Route, outer ...middleware.Stage) http.Handler {
//			... // as for adaptertest.Run
//		})
//	}
//
// It holds that no answer is 5xx, but where net/http itself refuses the protocol; that nothing panics; that no control byte
// is in a field of a response, or in what is told to an observer and so to logs; that no key is left for a handler to find;
// that what reaches the handler of a route is one endpoint, with one count, however it is spelled; and that the adapter
// decides as httpkit does, by status, code, charges and usage, wherever both routers see the same route.
//
// It needs a Redis as package redistest does; without one it takes one that is embedded.
package hostiletest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/adapters/adaptertest"
	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/middleware"
)

// Run tests an adapter, with parallel subtests for kinds of inputs. Each has servers of its own, on free ports of the
// loopback interface.
func Run(t *testing.T, adapter adaptertest.Adapter) {
	t.Helper()
	for name, inputs := range map[string]func(g *gate) []input{
		"Paths": paths, "Fields": fields, "Strings": texts, "Lines": lines, "Bodies": bodies,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, adapter, inputs)
		})
	}
	t.Run("OneBucket", func(t *testing.T) {
		t.Parallel()
		oneBucket(t, adapter)
	})
	t.Run("Connections", func(t *testing.T) {
		t.Parallel()
		connections(t, adapter)
	})
}

// input is what is sent.
type input struct {
	name string
	wire string // the bytes
	// refused tells that no handler may be reached.
	refused bool
	// ends tells that the client says that nothing follows what it sent. The server then takes it to have gone, so that the
	// gate may be interrupted, or nobody be answered.
	ends bool
}

// compare sends all inputs to the adapter and to httpkit.
func compare(t *testing.T, adapter adaptertest.Adapter, inputs func(g *gate) []input) {
	t.Helper()
	g := newGate(t)
	subject, reference := g.serve(t, adapter), g.serve(t, mux)
	reached, decided := 0, 0
	for _, in := range inputs(g) {
		got, want := subject.send(t, &in), reference.send(t, &in)
		for _, o := range []*outcome{&got, &want} {
			o.sound(t, &in)
		}
		if got.endpoint() == want.endpoint() && got.own() == want.own() && !in.ends { // both routers see the same
			decided++
			if got.decision() != want.decision() {
				t.Errorf("%s: decided otherwise than by httpkit\n--- got\n%s\n--- want\n%s\n--- for %.300q", in.name, got.decision(), want.decision(), in.wire)
			}
		}
		if got.reached != "" {
			reached++
		}
	}
	if reached < 3 || decided < reached/2 {
		t.Errorf("%d inputs reached a handler, %d were decided alike: the suite proves nothing", reached, decided)
	}
}

// mux is the adapter of net/http.
func mux(routes []adaptertest.Route, outer ...middleware.Stage) http.Handler {
	serve := http.NewServeMux()
	for _, r := range routes {
		serve.Handle(r.Method+" "+r.Pattern, httpkit.Middleware(r.Stage)(r.Handler))
	}
	var h http.Handler = serve
	for i := len(outer) - 1; i >= 0; i-- {
		h = httpkit.Middleware(outer[i])(h)
	}
	return h
}

// outcome is what became of an input.
type outcome struct {
	status  int
	code    string // of a problem
	head    string // as it came
	reached string // the endpoint that its handler saw
	told    []string
	faults  []string
	sent    int // answers
}

// endpoint is where the gate saw the request go, "" where it did not see it.
func (o *outcome) endpoint() string {
	if len(o.told) == 0 {
		return ""
	}
	_, endpoint, _ := strings.Cut(o.told[len(o.told)-1], " at ")
	return endpoint
}

// own reports whether the router answered itself, as to what it has no route for. What it says then is its own affair.
func (o *outcome) own() bool { return o.reached == "" && o.code == "" }

// decision is all that must be alike.
func (o *outcome) decision() string {
	told := strings.Join(o.told, "\n")
	if o.own() {
		return strings.ReplaceAll(told, fmt.Sprintf(" %d at ", o.status), " at ")
	}
	return fmt.Sprintf("%d %s %t\n%s", o.status, o.code, o.reached != "", told)
}

// sound checks what holds of any input.
func (o *outcome) sound(t *testing.T, in *input) {
	t.Helper()
	fault := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %s\n%s\n%s\n--- for %.300q", in.name, fmt.Sprintf(format, args...), o.head, strings.Join(o.told, "\n"), in.wire)
	}
	own := len(o.told) == 0 && (o.status == http.StatusNotImplemented || o.status == http.StatusHTTPVersionNotSupported) // net/http's
	gone := in.ends && o.reached == "" && strings.Contains(strings.Join(o.told, "\n"), context.Canceled.Error())
	if o.status >= http.StatusInternalServerError && !own && !gone {
		fault("status %d", o.status)
	}
	if o.status == 0 && !in.ends {
		fault("no answer")
	}
	if in.refused && o.reached != "" {
		fault("a handler was reached")
	}
	if in.refused && o.sent > 1 {
		fault("a client that is refused was asked for its body")
	}
	for _, line := range append([]string{strings.ReplaceAll(o.head, "\r\n", "")}, o.told...) {
		if i := strings.IndexFunc(line, control); i >= 0 {
			fault("a control byte in %.100q", line[max(i-40, 0):])
		}
	}
	for _, what := range o.faults {
		fault("%s", what)
	}
}

// control reports whether a rune is none that a field or a line of a log may have: what ends lines or moves the cursor, and
// bytes that are no text.
func control(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\ufffd' }
