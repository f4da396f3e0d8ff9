package adaptertest

import (
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const (
	asks        = "\nOrigin: https://a.example.com\nAccess-Control-Request-Method: PUT\nAccess-Control-Request-Headers: x-api-key"
	asksForShop = "\nOrigin: https://shop.test\nAccess-Control-Request-Method: GET\nAccess-Control-Request-Private-Network: true"

	answerPreflight = `
		204
		Access-Control-Allow-Credentials: true
		Access-Control-Allow-Headers: Content-Type, X-Api-Key
		Access-Control-Allow-Methods: GET, PUT
		Access-Control-Allow-Origin: https://a.example.com
		Access-Control-Max-Age: 600
		Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers`
	// answerPreflightOfKey is about an address with a key, which must not be kept.
	answerPreflightOfKey = `
		204
		Access-Control-Allow-Headers: Content-Type, X-Api-Key
		Access-Control-Allow-Methods: GET, PUT
		Access-Control-Allow-Origin: https://shop.test
		Access-Control-Max-Age: 600
		Cache-Control: private
		Referrer-Policy: no-referrer
		Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers`
	answerPreflightOrigin = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"Pages of this origin may not send requests.","code":"origin_refused","request_id":"t1"}`
	answerPreflightOriginOfKey = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		Referrer-Policy: no-referrer
		Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"The credential may not be used from this origin.","code":"origin_refused","request_id":"t1"}`
	answerPreflightMethod = `
		403
		Cache-Control: no-store
		Content-Type: application/problem+json
		Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers
		X-Request-Id: t1

		{"type":"about:blank","title":"Forbidden","status":403,"detail":"Pages may not use this method.","code":"preflight_refused","request_id":"t1"}`
	answerPreflightUnknown = `
		401
		Cache-Control: no-store
		Content-Type: application/problem+json
		Referrer-Policy: no-referrer
		Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers
		Www-Authenticate: Bearer realm="api", error="invalid_token", error_description="The credential is not valid."
		X-Request-Id: t1

		{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The credential is not valid.","code":"invalid_credential","request_id":"t1"}`
	// answerOKCORS is that to a page that may not read it.
	answerOKCORS = `
		200
		Content-Type: text/plain
		Vary: Origin, X-Api-Key

		ok`
	answerFirstCORS = `
		200
		Access-Control-Allow-Credentials: true
		Access-Control-Allow-Origin: https://a.example.com
		Access-Control-Expose-Headers: RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, Deprecation, Sunset, WWW-Authenticate
		Content-Type: text/plain
		Ratelimit: "requests";r=0;t=60
		Ratelimit-Policy: "requests";q=1;w=60
		Vary: Origin, X-Api-Key

		ok`
	answerLimitedCORS = `
		429
		Access-Control-Allow-Credentials: true
		Access-Control-Allow-Origin: https://a.example.com
		Access-Control-Expose-Headers: RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, Deprecation, Sunset, WWW-Authenticate
		Cache-Control: no-store
		Content-Type: application/problem+json
		Ratelimit: "requests";r=0;t=60
		Ratelimit-Policy: "requests";q=1;w=60
		Retry-After: 60
		Vary: Origin, X-Api-Key
		X-Request-Id: t1

		{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota exceeded","status":429,"detail":"A limit was reached.","code":"limit_reached","request_id":"t1","violated-policies":["requests"],"violations":[{"policy":"requests","partition":"project","retry_after":60}]}`
	answerMissingCORS = `
		401
		Access-Control-Allow-Credentials: true
		Access-Control-Allow-Origin: https://a.example.com
		Access-Control-Expose-Headers: RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, Deprecation, Sunset, WWW-Authenticate
		Cache-Control: no-store
		Content-Type: application/problem+json
		Vary: Origin, X-Api-Key
		Www-Authenticate: Bearer realm="api"
		X-Request-Id: t1

		{"type":"about:blank","title":"Unauthorized","status":401,"detail":"This resource needs a credential.","code":"missing_credential","request_id":"t1"}`
)

// withCORS returns a stage that reads keys from the URL as well. The key "page" is for https://shop.test alone.
func withCORS(w *world, opts ...middleware.Option) *middleware.Authenticated {
	return w.auth(append([]middleware.Option{
		middleware.WithSources(middleware.Header("X-API-Key"), middleware.Query("key")),
		middleware.WithCORS(middleware.CORS{
			Origins: []string{"https://*.example.com"}, Methods: []string{"GET", "PUT"}, MaxAge: 10 * time.Minute, Credentials: true,
		}),
	}, opts...)...)
}

// cors is about pages of other origins.
func cors() []scenario {
	own := restrict("page", func(id *authkey.Identity) { id.Origins = []string{"https://shop.test"} })
	search := func(auth *middleware.Authenticated, w *world) middleware.Stage {
		return auth.RequireScope("search").RateLimit(w, ratelimit.PerMinute(1)).Meter(w, "maps", "search")
	}
	// outermost stands around the router, which has no route for OPTIONS.
	outermost := func(w *world) ([]Route, []middleware.Stage) {
		auth := withCORS(w)
		return []Route{{Method: http.MethodGet, Pattern: "/items/{id}", Stage: search(auth, w)}}, []middleware.Stage{auth}
	}
	// beside stands before a route for OPTIONS, as in a group.
	beside := func(pattern string) func(w *world) ([]Route, []middleware.Stage) {
		return func(w *world) ([]Route, []middleware.Stage) {
			stage := search(withCORS(w), w)
			return []Route{
				{Method: http.MethodGet, Pattern: "/items/{id}", Stage: stage},
				{Method: http.MethodOptions, Pattern: pattern, Stage: stage},
			}, nil
		}
	}
	preflights := []exchange{
		{"OPTIONS /items/7" + asks, answerPreflight},
		{"OPTIONS /items/7?key=page" + asksForShop, answerPreflightOfKey},
		{"OPTIONS /items/7?key=page" + asks, answerPreflightOriginOfKey},
		{"OPTIONS /items/7" + asksForShop, answerPreflightOrigin},
		{"OPTIONS /items/7?key=nobody" + asksForShop, answerPreflightUnknown},
		{"OPTIONS /items/7\nOrigin: https://a.example.com\nAccess-Control-Request-Method: DELETE", answerPreflightMethod},
	}
	const free = "authenticate 3, refresh 0, limit 0"
	return []scenario{{
		name: "CORS/Outermost", why: "a preflight is answered before routing, and takes nothing; its key, in the URL, says who may ask",
		before: own, mount: outermost, sends: preflights, calls: free, usage: "none",
		events: `
			preflight allowed unmatched
			authenticate allowed unmatched
			preflight allowed unmatched
			authenticate allowed unmatched
			preflight refused unmatched origin_refused
			preflight refused unmatched origin_refused
			authenticate refused unmatched invalid_credential
			preflight refused unmatched preflight_refused`,
	}, {
		name: "CORS/NoSuchRoute", why: "also where there is nothing", before: own, mount: outermost,
		sends: []exchange{{"OPTIONS /nothing" + asks, answerPreflight}},
	}, {
		name: "CORS/OwnRoute", why: "and the same at a route for OPTIONS",
		before: own, mount: beside("/items/{id}"), sends: preflights, calls: free, usage: "none",
	}, {
		name: "CORS/GroupRoute", why: "and the same at one for all that is below",
		before: own, mount: beside("/items/{path...}"), sends: preflights, calls: free, usage: "none",
	}, {
		name: "CORS/Responses", why: "a page may read what it was refused, too",
		mount: outermost, sends: []exchange{
			{get + "\nOrigin: https://a.example.com", answerFirstCORS},
			{get + "\nOrigin: https://a.example.com", answerLimitedCORS},
			{"GET /items/7\nOrigin: https://a.example.com", answerMissingCORS},
		},
	}, {
		name: "CORS/NotThisPage", why: "a page that may not read a response is not told otherwise",
		stage: func(w *world) middleware.Stage { return withCORS(w) },
		sends: []exchange{{get + "\nOrigin: https://shop.test", answerOKCORS}, {get, answerOKCORS}},
	}, {
		name: "CORS/OptionsAsAnyOther", why: "OPTIONS that asks for nothing is a request",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			return []Route{{Method: http.MethodOptions, Pattern: "/items/{id}", Stage: withCORS(w)}}, nil
		},
		sends: []exchange{{"OPTIONS /items/7\nX-API-Key: good\nOrigin: https://shop.test", answerOKCORS}},
	}, {
		name: "CORS/NotAskedFor", why: "without the option, a preflight is a request without a credential",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			return []Route{{Method: http.MethodOptions, Pattern: "/items/{id}", Stage: w.auth()}}, nil
		},
		sends: []exchange{{"OPTIONS /items/7" + asks, answerMissing}},
	}, {
		name: "CORS/NotRendered", why: "the answer to a preflight is no refusal",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			teapot := func(w http.ResponseWriter, _ *http.Request, _ *middleware.Error) { w.WriteHeader(http.StatusTeapot) }
			return nil, []middleware.Stage{withCORS(w, middleware.WithRenderer(teapot))}
		},
		sends: []exchange{{"OPTIONS /items/7" + asks, answerPreflight}},
	}}
}
