package adaptertest

import (
	"net/http"
	"strings"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const (
	answerScope = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		Www-Authenticate: Bearer realm="api", error="insufficient_scope", scope="search admin"
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"The credential lacks a scope that this resource needs.","code":"insufficient_scope","request_id":"t1"}`
	answerProduct = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"The product is not enabled for this credential.","code":"product_refused","request_id":"t1"}`
	answerReadOnly = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"This resource can only be read.","code":"mode_refused","request_id":"t1"}`
	answerNoWriter = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"The credential may not write.","code":"mode_refused","request_id":"t1"}`
)

// guards are about what an identity needs.
func guards() []scenario {
	return []scenario{{
		name: "Guard/ScopeThere", why: "an identity with the scope passes",
		stage: func(w *world) middleware.Stage { return w.auth().RequireScope("search") },
		sends: []exchange{{"GET /items/7\nX-API-Key: good", answerOK}},
	}, {
		name: "Guard/ScopeMissing", why: "all scopes are needed, and nothing is charged without them",
		stage: func(w *world) middleware.Stage {
			return w.auth().RequireScope("search", "admin").RateLimit(w, ratelimit.PerMinute(1)).Meter(w, "maps", "search")
		},
		sends: []exchange{{"GET /items/7\nX-API-Key: good", answerScope}},
		calls: "authenticate 1, refresh 0, limit 0", usage: "none",
		events: `
			authenticate allowed GET /items/{id}
			require refused GET /items/{id} insufficient_scope`,
	}, {
		name: "Guard/ProductThere", why: "an identity with the product passes",
		stage: func(w *world) middleware.Stage { return w.auth().RequireProduct("maps") },
		sends: []exchange{{"GET /items/7\nX-API-Key: good", answerOK}},
	}, {
		name: "Guard/ProductMissing", why: "nothing is charged without it",
		stage: func(w *world) middleware.Stage {
			return w.auth().RequireProduct("weather").RateLimit(w, ratelimit.PerMinute(1))
		},
		sends: []exchange{{"GET /items/7\nX-API-Key: good", answerProduct}},
		calls: "authenticate 1, refresh 0, limit 0",
	}, {
		name: "Guard/InOrder", why: "the first guard that refuses answers",
		stage: func(w *world) middleware.Stage {
			return w.auth().RequireProduct("weather").RequireScope("search", "admin")
		},
		sends: []exchange{{"GET /items/7\nX-API-Key: good", answerProduct}},
	}, {
		name: "Guard/AfterAuthentication", why: "who is unknown learns nothing of scopes",
		stage: func(w *world) middleware.Stage { return w.auth().RequireScope("admin") },
		sends: []exchange{{"GET /items/7\nX-API-Key: nobody", answerInvalid}},
	}}
}

// modes are about what methods and keys an endpoint takes.
func modes() []scenario {
	methods := strings.Fields("GET HEAD OPTIONS POST PUT PATCH DELETE")
	var all []scenario
	for _, row := range []struct {
		name, why string
		mode      middleware.Mode
		key       string
		passes    string // methods
		refused   string // the answer to the others
	}{
		{"ReadWrite/SecretWithWrite", "it may do all", middleware.ReadWrite, "good", "GET HEAD OPTIONS POST PUT PATCH DELETE", ""},
		{"ReadWrite/SecretWithoutWrite", "writing needs the scope", middleware.ReadWrite, "reader", "GET HEAD OPTIONS", answerNoWriter},
		{"ReadWrite/Publishable", "writing needs a secret key", middleware.ReadWrite, "page", "GET HEAD OPTIONS", answerNoWriter},
		{"ReadOnly/SecretWithWrite", "nobody writes", middleware.ReadOnly, "good", "GET HEAD OPTIONS POST", answerReadOnly},
		{"ReadOnly/SecretWithoutWrite", "POST asks a long question", middleware.ReadOnly, "reader", "GET HEAD OPTIONS POST", answerReadOnly},
		{"ReadOnly/Publishable", "any key reads", middleware.ReadOnly, "page", "GET HEAD OPTIONS POST", answerReadOnly},
		{"WriteOnly/SecretWithWrite", "it may do all", middleware.WriteOnly, "good", "GET HEAD OPTIONS POST PUT PATCH DELETE", ""},
		{"WriteOnly/SecretWithoutWrite", "whatever the method, the key must be able to write", middleware.WriteOnly, "reader", "", answerNoWriter},
		{"WriteOnly/Publishable", "whatever the method, the key must be able to write", middleware.WriteOnly, "page", "", answerNoWriter},
	} {
		s := scenario{name: "Mode/" + row.name, why: row.why}
		s.mount = func(w *world) (routes []Route, _ []middleware.Stage) {
			stage := w.auth().RequireMode(row.mode)
			for _, method := range methods {
				routes = append(routes, Route{Method: method, Pattern: "/items/{id}", Stage: stage})
			}
			return routes, nil
		}
		for _, method := range methods {
			want := row.refused
			if strings.Contains(row.passes, method) {
				want = answerOK
			}
			if method == http.MethodHead {
				want, _, _ = strings.Cut(plain(want), "\n\n")
			}
			s.sends = append(s.sends, exchange{method + " /items/7\nX-API-Key: " + row.key, want})
		}
		all = append(all, s)
	}
	return all
}
