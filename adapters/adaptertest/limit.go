package adaptertest

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

const (
	get = "GET /items/7\nX-API-Key: good"

	answerFirst = `
		200
		Content-Type: text/plain
		Ratelimit: "requests";r=1;t=60
		Ratelimit-Policy: "requests";q=2;w=60

		ok`
	answerSecond = `
		200
		Content-Type: text/plain
		Ratelimit: "requests";r=0;t=60
		Ratelimit-Policy: "requests";q=2;w=60

		ok`
	answerThird = `
		429
		Cache-Control: no-store
		Content-Type: application/problem+json
		Ratelimit: "requests";r=0;t=60
		Ratelimit-Policy: "requests";q=2;w=60
		Retry-After: 60
		X-Request-Id: t1

		{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota exceeded","status":429,"detail":"A limit was reached.","code":"limit_reached","request_id":"t1","violated-policies":["requests"],"violations":[{"policy":"requests","partition":"project","retry_after":60}]}`
	answerNothing = `
		429
		Cache-Control: no-store
		Content-Type: application/problem+json
		Ratelimit: "requests";r=0
		Ratelimit-Policy: "requests";q=0;w=60
		X-Request-Id: t1

		{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota exceeded","status":429,"detail":"The request asks for more than its limit allows at all.","code":"limit_reached","request_id":"t1","violated-policies":["requests"],"violations":[{"policy":"requests","partition":"project"}]}`
)

func limited(policies ...ratelimit.Policy) func(*world) middleware.Stage {
	return func(w *world) middleware.Stage { return w.auth().RateLimit(w, policies...) }
}

// limits are about what is charged and what the fields say of it.
func limits() []scenario {
	two := ratelimit.PerMinute(2)
	return []scenario{{
		name: "Limit/AllowedThenRefused", why: "every answer tells what is left",
		stage: limited(two), sends: []exchange{{get, answerFirst}, {get, answerSecond}, {get, answerThird}, {get, answerThird}},
		calls: "authenticate 4, refresh 0, limit 4",
	}, {
		name: "Limit/EachProject", why: "what one project takes, another does not miss",
		stage: limited(two), sends: []exchange{{get, answerFirst}, {"GET /items/7\nX-API-Key: other", answerFirst}, {get, answerSecond}},
	}, {
		name: "Limit/SharedByKeys", why: "all keys of a project share its limit",
		stage: limited(two), sends: []exchange{{get, answerFirst}, {"GET /items/7\nX-API-Key: page", answerSecond}},
	}, {
		name: "Limit/SharedByPaths", why: "an endpoint is the route's template, never the path",
		stage: limited(two), sends: []exchange{{"GET /items/1\nX-API-Key: good", answerFirst}, {"GET /items/2?x=1\nX-API-Key: good", answerSecond}},
	}, {
		name: "Limit/HEADCountsAsGET", why: "both ask for the same",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			s := w.auth().RateLimit(w, two)
			return []Route{{Method: "GET", Pattern: "/items/{id}", Stage: s}, {Method: "HEAD", Pattern: "/items/{id}", Stage: s}}, nil
		},
		sends: []exchange{{get, answerFirst}, {"HEAD /items/7\nX-API-Key: good", `
			200
			Content-Type: text/plain
			Ratelimit: "requests";r=0;t=60
			Ratelimit-Policy: "requests";q=2;w=60`}, {get, answerThird}},
	}, {
		name: "Limit/MethodsApart", why: "the method belongs to the endpoint",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			s := w.auth().RateLimit(w, two)
			return []Route{{Method: "GET", Pattern: "/items/{id}", Stage: s}, {Method: "POST", Pattern: "/items/{id}", Stage: s}}, nil
		},
		sends: []exchange{{get, answerFirst}, {"POST /items/7\nX-API-Key: good", answerFirst}},
	}, {
		name: "Limit/SeveralPolicies", why: "all are charged or none: the refused one leaves the other as it was",
		stage: limited(ratelimit.PerSecond(3).Named("burst"), ratelimit.PerHour(1).Named("hourly").By(ratelimit.ByKey)),
		sends: []exchange{{get, `
			200
			Content-Type: text/plain
			Ratelimit: "burst";r=2;t=1, "hourly";r=0;t=3600
			Ratelimit-Policy: "burst";q=3;w=1, "hourly";q=1;w=3600

			ok`}, {get, `
			429
			Cache-Control: no-store
			Content-Type: application/problem+json
			Ratelimit: "burst";r=2;t=1, "hourly";r=0;t=3600
			Ratelimit-Policy: "burst";q=3;w=1, "hourly";q=1;w=3600
			Retry-After: 3600
			X-Request-Id: t1

			{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota exceeded","status":429,"detail":"A limit was reached.","code":"limit_reached","request_id":"t1","violated-policies":["hourly"],"violations":[{"policy":"hourly","partition":"key","retry_after":3600}]}`}},
	}, {
		name: "Limit/Zero", why: "no waiting helps, so there is no Retry-After",
		stage: limited(ratelimit.PerMinute(0)), sends: []exchange{{get, answerNothing}},
	}, {
		name: "Limit/ShortWindow", why: "the fields know whole seconds only: a wait is rounded up, a window left out",
		stage: limited(ratelimit.Per(2, 1500*time.Millisecond)), sends: []exchange{{get, `
			200
			Content-Type: text/plain
			Ratelimit: "requests";r=1;t=2
			Ratelimit-Policy: "requests";q=2

			ok`}},
	}, {
		name: "Limit/Monitor", why: "what would be refused is reported, and passes; no field tells of what is not enforced",
		stage:  func(w *world) middleware.Stage { return w.auth().RateLimit(w, two).Monitor() },
		before: func(w *world) { w.used[`["acme" "project=shop" "GET /items/{id}" "requests"]`] = 2 },
		sends:  []exchange{{get, answerOK}},
		events: `
			authenticate allowed GET /items/{id}
			rate_limit monitored GET /items/{id}
			handler allowed GET /items/{id} 200 2`,
	}, {
		name: "Limit/Partition", why: "a partition of one's own has its value from the request, and is refused without",
		stage: func(w *world) middleware.Stage {
			return w.auth().RateLimit(w, two.By("region")).
				Partition("region", func(r *http.Request) string { return r.Header.Get("X-Region") })
		},
		sends: []exchange{{get + "\nX-Region: a", answerFirst}, {get + "\nX-Region: b", answerFirst}, {get, `
			400
			Cache-Control: no-store
			Content-Type: application/problem+json
			X-Request-Id: t1

			{"type":"about:blank","title":"Bad Request","status":400,"detail":"The request cannot be limited as it is.","code":"invalid_cost","request_id":"t1"}`}},
	}}
}

// networks are about LimitBy.
func networks() []scenario {
	by := func(key middleware.Key) func(*world) middleware.Stage {
		return func(w *world) middleware.Stage {
			return middleware.LimitBy(key, w, ratelimit.PerMinute(1)).With(middleware.WithObserver(w), middleware.WithRetryJitter(0))
		}
	}
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	direct, proxied := by(middleware.ClientNetwork()), by(middleware.ClientNetwork(loopback))
	from := func(forwarded ...string) string {
		return strings.Join(append([]string{"GET /items/7"}, forwarded...), "\nX-Forwarded-For: ")
	}
	return []scenario{{
		name: "Network/Refused", why: "nobody is authenticated, so no RateLimit fields tell what is left",
		stage: direct, sends: []exchange{{"GET /items/7", answerOK}, {"GET /items/7", answerLimited}},
		calls: "authenticate 0, refresh 0, limit 2",
	}, {
		name: "Network/Spoofed", why: "X-Forwarded-For of a client is not believed",
		stage: direct, sends: []exchange{{from("192.0.2.1"), answerOK}, {from("192.0.2.2"), answerLimited}},
	}, {
		name: "Network/BehindProxy", why: "the last address that is not a trusted proxy's is the client",
		stage: proxied, sends: []exchange{
			{from("192.0.2.1"), answerOK},
			{from("192.0.2.2, 127.0.0.9"), answerOK},
			{from("198.51.100.9, 192.0.2.1"), answerLimited},
			{from("198.51.100.9", "192.0.2.2"), answerLimited},
		},
	}, {
		name: "Network/IPv6", why: "a customer has a /64 at least",
		stage: proxied, sends: []exchange{
			{from("2001:db8:0:1::1"), answerOK}, {from("2001:db8:0:1:ffff::2"), answerLimited}, {from("2001:db8:0:2::1"), answerOK},
		},
	}, {
		name: "Network/Everyone", why: "all requests share one limit",
		stage: by(middleware.Everyone()), sends: []exchange{{"GET /items/7", answerOK}, {"GET /items/8", strings.Replace(answerLimited, `"network"`, `"everyone"`, 1)}},
	}, {
		name: "Network/BeforeAuthentication", why: "the limit of a network is not in the fields of a caller",
		mount: func(w *world) ([]Route, []middleware.Stage) {
			return []Route{{Method: "GET", Pattern: "/items/{id}", Stage: limited(ratelimit.PerMinute(2))(w)}},
				[]middleware.Stage{middleware.LimitBy(middleware.ClientNetwork(), w, ratelimit.PerHour(5).Named("network"))}
		},
		sends: []exchange{{get, answerFirst}},
		calls: "authenticate 1, refresh 0, limit 2",
	}}
}
