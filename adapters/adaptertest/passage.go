package adaptertest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// passages are about stages within stages, and what they tell.
func passages() []scenario {
	one := func(stage middleware.Stage, outer ...middleware.Stage) ([]Route, []middleware.Stage) {
		return []Route{{Method: "GET", Pattern: "/items/{id}", Stage: stage}}, outer
	}
	metered := func(auth *middleware.Authenticated, w *world) *middleware.Metered {
		return auth.RateLimit(w, ratelimit.PerMinute(2)).Meter(w, "maps", "search")
	}
	return []scenario{{
		name: "Nested/RunsOnce", why: "the inner stage goes on where the outer one ended, at the route's own endpoint",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			auth := w.auth()
			return one(metered(auth, w), auth)
		},
		sends: []exchange{{get, answerFirst}},
		calls: "authenticate 1, refresh 0, limit 1", usage: `acme/shop maps search "" 1`,
		events: `
			authenticate allowed GET /items/{id}
			rate_limit allowed GET /items/{id}
			handler allowed GET /items/{id} 200 2`,
	}, {
		name: "Nested/SameTwice", why: "a stage that already ran does not run again",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			search := metered(w.auth(), w)
			return one(search, search, search)
		},
		sends: []exchange{{get, answerFirst}, {get, answerSecond}, {get, answerThird}},
		calls: "authenticate 3, refresh 0, limit 3", usage: "acme/shop maps search \"\" 1\nacme/shop maps search \"\" 1",
	}, {
		name: "Nested/TwoLimits", why: "the fields tell of both",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			auth := w.auth()
			return one(auth.RateLimit(w, ratelimit.PerMinute(2)), auth.RateLimit(w, ratelimit.PerHour(9).Named("all")))
		},
		sends: []exchange{{get, `
			200
			Content-Type: text/plain
			Ratelimit: "all";r=8;t=3600, "requests";r=1;t=60
			Ratelimit-Policy: "all";q=9;w=3600, "requests";q=2;w=60

			ok`}},
		calls: "authenticate 1, refresh 0, limit 2",
	}, {
		name: "Nested/TwoAuthentications", why: "a stage made apart asks again, with the credential that the outer one took out",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			return one(w.auth().RateLimit(w, ratelimit.PerMinute(2)), w.auth())
		},
		sends: []exchange{{get, answerFirst}}, calls: "authenticate 2, refresh 0, limit 1",
	}, {
		name: "Nested/InnerRefuses", why: "what was refused within is not metered without",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			auth := w.auth()
			return one(auth.RequireScope("admin").Meter(w, "maps", "inner"), auth.Meter(w, "maps", "outer"))
		},
		sends: []exchange{{get, strings.Replace(answerScope, "search admin", "admin", 1)}},
		usage: "none", events: `
			authenticate allowed GET /items/{id}
			require refused GET /items/{id} insufficient_scope
			handler refused GET /items/{id} 403 167`,
	}, {
		name: "Nested/OuterRefuses", why: "nothing within is asked",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			return one(metered(w.auth(), w), w.auth())
		},
		sends: []exchange{{"GET /items/7", answerMissing}},
		calls: "authenticate 0, refresh 0, limit 0", usage: "none",
		events: `authenticate refused GET /items/{id} missing_credential`,
	}, {
		name: "Nested/OuterMeters", why: "an outer meter counts what passed within, once",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			auth := w.auth()
			return one(auth.RateLimit(w, ratelimit.PerMinute(2)), auth.Meter(w, "maps", "all"))
		},
		sends: []exchange{{get, answerFirst}}, usage: `acme/shop maps all "" 1`,
	}, {
		name: "Handler/FromContext", why: "a handler learns who calls, where, and what is left",
		stage: limited(ratelimit.PerMinute(2)), handler: func(w http.ResponseWriter, r *http.Request) {
			a, ok := middleware.FromContext(r.Context())
			d := a.Decision()
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprintln(w, ok, a.Identity().Project, a.Endpoint(), d.Allowed, d.Results[0].Remaining)
		},
		sends: []exchange{{get, strings.Replace(answerFirst, "ok", "true shop GET /items/{id} true 1", 1)}},
	}, {
		name: "Handler/WithoutStage", why: "without a stage there is no admission",
		stage: func(*world) middleware.Stage { return nil }, handler: func(w http.ResponseWriter, r *http.Request) {
			_, ok := middleware.FromContext(r.Context())
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprintln(w, ok)
		},
		sends: []exchange{{get, strings.Replace(answerOK, "ok", "false", 1)}}, events: "none",
	}, {
		name: "Renderer/OwnBody", why: "a renderer of one's own writes all refusals, also those of stages behind",
		stage: func(w *world) middleware.Stage {
			plain := func(w http.ResponseWriter, r *http.Request, e *middleware.Error) {
				id := e.SetHeaders(w.Header(), r)
				w.Header().Set("Content-Type", "text/plain")
				w.WriteHeader(e.Status)
				fmt.Fprint(w, e.Code, " ", id)
			}
			return w.auth(middleware.WithRenderer(plain)).RateLimit(w, ratelimit.PerMinute(0))
		},
		sends: []exchange{{"GET /items/7", `
			401
			Cache-Control: no-store
			Content-Type: text/plain
			Www-Authenticate: Bearer realm="api"
			X-Request-Id: t1

			missing_credential t1`}, {get, `
			429
			Cache-Control: no-store
			Content-Type: text/plain
			Ratelimit: "requests";r=0
			Ratelimit-Policy: "requests";q=0;w=60
			X-Request-Id: t1

			limit_reached t1`}},
	}}
}

// usages are about what is metered.
func usages() []scenario {
	metered := func(w *world) *middleware.Metered { return w.auth().Meter(w, "maps", "search") }
	plain := func(w *world) middleware.Stage { return metered(w) }
	billable := func(w *world) middleware.Stage {
		return metered(w).Billable(func(status int) bool { return status < 500 })
	}
	bySource := func(w *world) middleware.Stage {
		return metered(w).Source(func(r *http.Request) string { return r.Header.Get("X-Client") })
	}
	status := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	broken := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	const once, nothing = `acme/shop maps search "" 1`, "none"
	var all []scenario
	for _, row := range []struct {
		name, why     string
		stage         func(*world) middleware.Stage
		handler       http.HandlerFunc
		want          string
		usage, events string
	}{
		{"OK", "what was admitted counts", plain, ok200, answerOK, once, "handler allowed GET /items/{id} 200 2"},
		{"Silent", "a handler that writes nothing answers 200", plain, func(http.ResponseWriter, *http.Request) {}, "200", once, "handler allowed GET /items/{id} 200 0"},
		{"NoContent", "the status is the one that was sent", plain, status(204), "204", once, "handler allowed GET /items/{id} 204 0"},
		{"NotFound", "a handler's 404 counts too", plain, status(404), "404", once, "handler allowed GET /items/{id} 404 0"},
		{"Failed", "so does its 500", plain, status(500), "500", once, "handler allowed GET /items/{id} 500 0"},
		{"Panic", "and a panic, once", plain, broken, "closed", once, "handler allowed GET /items/{id} 500 0"},
		{"TwoStatuses", "the first status is the one that was sent", plain, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte("on its way"))
			w.WriteHeader(http.StatusInternalServerError)
		}, "202\nContent-Type: text/plain; charset=utf-8\n\non its way", once, "handler allowed GET /items/{id} 202 10"},
		{"Flushed", "a flush begins the response, as 200", plain, func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			w.WriteHeader(http.StatusNotFound)
		}, "200", once, "handler allowed GET /items/{id} 200 0"},
		{"BillableOK", "a function chooses by status", billable, ok200, answerOK, once, ""},
		{"BillableFailed", "a function chooses by status", billable, status(503), "503", nothing, ""},
		{"BillablePanic", "a panic is 500", billable, broken, "closed", nothing, ""},
	} {
		if row.events != "" {
			row.events = "authenticate allowed GET /items/{id}\n" + row.events
		}
		all = append(all, scenario{
			name: "Meter/" + row.name, why: row.why, stage: row.stage, handler: row.handler,
			sends: []exchange{{get, row.want}}, usage: row.usage, events: row.events,
		})
	}
	return append(all, scenario{
		name: "Meter/Source", why: "a source is a short visible name, or none", stage: bySource,
		sends: []exchange{{get + "\nX-Client: web", answerOK}, {get + "\nX-Client: a b", answerOK}, {get + "\nX-Client: " + strings.Repeat("x", 129), answerOK}},
		usage: "acme/shop maps search \"web\" 1\nacme/shop maps search \"\" 1\nacme/shop maps search \"\" 1",
	}, scenario{
		name: "Meter/Count", why: "a handler adds to what is counted", stage: plain,
		handler: func(w http.ResponseWriter, r *http.Request) {
			a, _ := middleware.FromContext(r.Context())
			if a.Count("maps", "tiles", 12) != nil || a.Count("maps", "", 1) == nil || a.Count("maps", "tiles", 0) == nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		},
		sends: []exchange{{get, "200"}}, usage: once + "\n" + `acme/shop maps tiles "" 12`,
	}, scenario{
		name: "Meter/Refused", why: "what was refused is not counted",
		stage: func(w *world) middleware.Stage {
			return w.auth().RateLimit(w, ratelimit.PerMinute(0)).Meter(w, "maps", "search")
		},
		sends: []exchange{{get, answerNothing}}, usage: nothing,
	})
}

// requestIDs are about X-Request-Id.
func requestIDs() []scenario {
	s := scenario{
		name: "RequestID/Replaced", why: "an id that is missing or hostile gives way to a new one, alike in field and body", stage: auth,
		check: func(t *testing.T, _ *world, s *server) {
			made := regexp.MustCompile(`(?s)^401\n.*\nX-Request-Id: ([A-Z2-7]{26})\n\n.*"request_id":"([A-Z2-7]{26})"}$`)
			for _, id := range []string{"", " ", `"><script>`, "a b", "ü", "a,b", strings.Repeat("i", 65)} {
				got := s.do(t, "GET /items/7\nX-Request-Id: "+id)
				if m := made.FindStringSubmatch(got); m == nil || m[1] != m[2] {
					t.Errorf("X-Request-Id %q: got\n%s", id, got)
				}
			}
		},
	}
	long := strings.Repeat("i", 64)
	return []scenario{s, {
		name: "RequestID/Echoed", why: "a plain id of up to 64 bytes comes back", stage: auth,
		sends: []exchange{
			{"GET /items/7\nX-Request-Id: 0aZ._-", strings.ReplaceAll(answerMissing, "t1", "0aZ._-")},
			{"GET /items/7\nX-Request-Id: " + long, strings.ReplaceAll(answerMissing, "t1", long)},
		},
	}}
}

var errPanic = errors.New("adaptertest: a handler's mistake")

// panics are about handlers that panic.
func panics() []scenario {
	metered := func(w *world) middleware.Stage { return w.auth().Meter(w, "maps", "search") }
	const (
		once    = `acme/shop maps search "" 1`
		handled = "authenticate allowed GET /items/{id}\nhandler allowed GET /items/{id} "
	)
	return []scenario{{
		name: "Panic/Value", why: "a panic goes on with its own value", stage: metered,
		handler: func(http.ResponseWriter, *http.Request) { panic(errPanic) },
		sends:   []exchange{{get, "closed"}}, check: panicked(errPanic), events: handled + "500 0", usage: once,
	}, {
		name: "Panic/Abort", why: "http.ErrAbortHandler stays itself", stage: metered,
		handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		sends:   []exchange{{get, "closed"}}, check: panicked(http.ErrAbortHandler), events: handled + "500 0", usage: once,
	}, {
		name: "Panic/Nested", why: "two stages count it once",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			auth := w.auth()
			return []Route{{Method: "GET", Pattern: "/items/{id}", Stage: auth.Meter(w, "maps", "search"),
				Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(errPanic) })}}, []middleware.Stage{auth}
		},
		sends: []exchange{{get, "closed"}}, check: panicked(errPanic), events: handled + "500 0", usage: once,
	}, {
		name: "Panic/Late", why: "also when the response has begun", stage: metered,
		handler: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "o")
			panic(errPanic)
		},
		sends: []exchange{{get, "closed"}}, check: panicked(errPanic), events: handled + "500 1", usage: once,
	}}
}

func panicked(want error) func(*testing.T, *world, *server) {
	return func(t *testing.T, _ *world, s *server) {
		s.served.Wait()
		select {
		case got := <-s.panics:
			if got != any(want) {
				t.Errorf("panic with %v, want %v", got, want)
			}
		default:
			t.Errorf("no panic, want %v", want)
		}
	}
}
