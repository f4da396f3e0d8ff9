package admin_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/middleware/meter"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// usageFunc and limiterFunc stand for the parts that are not under test.
type usageFunc func(meter.Query) ([]meter.Item, error)

func (f usageFunc) Usage(_ context.Context, q meter.Query) ([]meter.Item, error) { return f(q) }

type limiterFunc func(ratelimit.Request) (ratelimit.Decision, error)

func (f limiterFunc) Admit(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	return f(r)
}

// noLimiter can do all that a limiter can, if only its Redis were there.
type noLimiter struct{}

func (noLimiter) Admit(context.Context, ratelimit.Request) (ratelimit.Decision, error) {
	return ratelimit.Decision{}, ratelimit.ErrUnavailable
}

func (noLimiter) Preview(context.Context, ratelimit.Request, ratelimit.Override) (ratelimit.Decision, error) {
	return ratelimit.Decision{}, ratelimit.ErrUnavailable
}

func (noLimiter) Reset(context.Context, ratelimit.Request) error { return ratelimit.ErrUnavailable }

// memory returns a store and issuer that need no Redis.
func memory(t *testing.T) (authkey.Store, *authkey.Issuer) {
	t.Helper()
	store := authkey.NewMemoryStore()
	format, err := authkey.NewFormat("acme", "test")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authkey.NewIssuer(store, format)
	if err != nil {
		t.Fatal(err)
	}
	return store, issuer
}

// noRedis returns a client of a Redis that is not there.
func noRedis(t *testing.T) redis.UniversalClient {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// nobody returns overrides on a Redis that is not there.
func nobody(t *testing.T) *ratelimit.Overrides {
	t.Helper()
	overrides, err := ratelimit.NewOverrides(noRedis(t))
	if err != nil {
		t.Fatal(err)
	}
	return overrides
}

func newHandler(t *testing.T, opts ...admin.Option) *admin.Handler {
	t.Helper()
	h, err := admin.New(admin.BearerToken(token), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// withAll serves every part, none of which answers but the keys.
func withAll(t *testing.T) []admin.Option {
	t.Helper()
	store, issuer := memory(t)
	return []admin.Option{
		admin.WithOverrides(nobody(t)), admin.WithKeys(store, issuer), admin.WithRevocations(newRevocations(t, noRedis(t))),
		admin.WithUsage(usageFunc(func(meter.Query) ([]meter.Item, error) { return nil, meter.ErrUnavailable })),
		admin.WithLimits(noLimiter{}),
		admin.WithRoute(search, policy),
	}
}

func TestActorOfOneOrg(t *testing.T) {
	t.Parallel()
	h, err := admin.New(admin.AuthorizerFunc(func(*http.Request) (admin.Actor, error) { return admin.Actor{Org: "mine"}, nil }), withAll(t)...)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, h, request("GET", "/v1/orgs/mine/projects/p/keys", "")).want(t, 200, "")
	serve(t, h, request("GET", "/v1/orgs/%6Dine/projects/p/keys", "")).want(t, 200, "")
	for _, other := range []string{"other", "Mine", "mine%2F", "mine%20", "%256Dine"} {
		for _, path := range []string{"/projects/p/keys", "/overrides", "/overrides/x", "/usage", "/projects/p/limits"} {
			serve(t, h, request("GET", "/v1/orgs/"+other+path, "")).want(t, 404, "not_found")
		}
		serve(t, h, request("POST", "/v1/orgs/"+other+"/projects/p/keys", "")).want(t, 404, "not_found")
	}
}

func TestCrossSite(t *testing.T) {
	t.Parallel()
	h := newHandler(t, withAll(t)...)
	for _, row := range []struct {
		method  string
		fields  []string
		refused bool
	}{
		{"POST", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"POST", []string{"Sec-Fetch-Site", "same-site"}, true},
		{"POST", []string{"Origin", "https://evil.example"}, true},
		{"POST", []string{"Origin", "null"}, true},
		{"GET", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"DELETE", []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://example.com"}, true},
		{"GET", []string{"Sec-Fetch-Site", "none"}, false},
		{"POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://example.com"}, false},
		{"POST", []string{"Origin", "http://example.com"}, false},
		{"POST", nil, false},
	} {
		t.Run(fmt.Sprint(row.method, row.fields), func(t *testing.T) {
			t.Parallel()
			a := serve(t, h, request(row.method, "/v1/orgs/o/projects/p/keys", "", row.fields...))
			if refused := a.status == 403 && a.object["code"] == "cross_site"; refused != row.refused {
				t.Errorf("answer %d %s, want refused: %v", a.status, a.text, row.refused)
			}
		})
	}
}

func TestRouting(t *testing.T) {
	t.Parallel()
	all, none := newHandler(t, withAll(t)...), newHandler(t)
	for pattern, allow := range map[string]string{
		"/v1/orgs/o/overrides":                "DELETE, GET, HEAD, PUT",
		"/v1/orgs/o/overrides/x":              "DELETE, GET, HEAD",
		"/v1/orgs/o/overrides/dry-run":        "POST",
		"/v1/orgs/o/projects/p/limits":        "DELETE, GET, HEAD",
		"/v1/orgs/o/projects/p/keys":          "GET, HEAD, POST",
		"/v1/orgs/o/projects/p/keys/id":       "DELETE, GET, HEAD, PATCH",
		"/v1/orgs/o/projects":                 "GET, HEAD",
		"/v1/orgs/o/projects/p":               "GET, HEAD, PATCH, PUT",
		"/v1/orgs/o/keys:bulk-revoke":         "POST",
		"/v1/keys:lookup":                     "POST",
		"/v1/orgs/o/usage":                    "GET, HEAD",
		"/v1/orgs/o/revocations":              "DELETE, GET, HEAD, POST",
		"/v1/orgs/a%2Fb/projects/%2E%2E/keys": "GET, HEAD, POST",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "X"} {
			a := serve(t, all, request(method, pattern, ""))
			if allowed := slices.Contains(strings.Split(allow, ", "), method); allowed == (a.status == 405) {
				t.Errorf("%s %s: %d, Allow is %q", method, pattern, a.status, allow)
			} else if !allowed && a.header.Get("Allow") != allow {
				t.Errorf("%s %s: Allow %q, want %q", method, pattern, a.header.Get("Allow"), allow)
			}
		}
		serve(t, none, request("GET", pattern, "")).want(t, 404, "not_served")
		for _, broken := range []string{"/", pattern + "/", "/" + pattern, pattern + "/..", "/." + pattern, "/x" + pattern, pattern + "/y/z", "/v1//orgs" + pattern} {
			serve(t, all, request("GET", broken, "")).want(t, 404, "not_found")
		}
	}
	connect := request("CONNECT", "/v1/orgs/o/usage", "")
	serve(t, all, connect).want(t, 405, "method_not_allowed")
	star := request("OPTIONS", "/", "")
	star.URL.Path, star.RequestURI = "*", "*"
	serve(t, all, star).want(t, 404, "not_found")
}

func TestPathValues(t *testing.T) {
	t.Parallel()
	h := newHandler(t, withAll(t)...)
	long := strings.Repeat("a", 128)
	for target, status := range map[string]int{
		"/v1/orgs/" + long + "/projects/" + long + "/keys": 200,
		"/v1/orgs/" + long + "a/projects/p/keys":           400,
		"/v1/orgs/o/projects/" + long + "a/keys":           400,
		"/v1/orgs/o/projects/p/keys/" + long + "a":         400,
		"/v1/orgs/%FF/projects/p/keys":                     400,
		"/v1/orgs/o%00/projects/p/keys":                    400,
		"/v1/orgs/o/projects/p%0A/keys":                    400,
		"/v1/orgs/%25/projects/%C3%A9/keys":                200,
		"/v1/orgs//projects/p/keys":                        404,
	} {
		if a := serve(t, h, request("GET", target, "")); a.status != status {
			t.Errorf("GET %s: %d %s, want %d", target, a.status, a.text, status)
		}
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	h := newHandler(t, withAll(t)...)
	for _, r := range []*http.Request{
		request("GET", "/v1/orgs/o/overrides", ""),
		request("GET", "/v1/orgs/o/overrides/x", ""),
		request("PUT", "/v1/orgs/o/overrides", `{"limit":1}`),
		request("PUT", "/v1/orgs/o/overrides", `{"limit":1}`, "If-Match", "*"),
		request("DELETE", "/v1/orgs/o/overrides/x", ""),
		request("DELETE", "/v1/orgs/o/overrides?project=p", ""),
		request("GET", "/v1/orgs/o/projects/p/limits", ""),
		request("DELETE", "/v1/orgs/o/projects/p/limits", ""),
		request("POST", "/v1/orgs/o/overrides/dry-run", `{"project":"p","limit":1}`),
		request("GET", "/v1/orgs/o/usage", ""),
		request("GET", "/v1/orgs/o/revocations", ""),
		request("POST", "/v1/orgs/o/revocations", `{"kind":"client","issuer":"i","value":"c","reason":"r"}`),
		request("DELETE", "/v1/orgs/o/revocations?kind=client&issuer=i&value=c", ""),
	} {
		a := serve(t, h, r).want(t, 503, "unavailable")
		if a.header.Get("Retry-After") != "1" {
			t.Errorf("%s %s: Retry-After %q", r.Method, r.URL, a.header.Get("Retry-After"))
		}
		if strings.Contains(a.text, "127.0.0.1") || strings.Contains(a.text, "refused") {
			t.Errorf("%s %s tells the cause: %s", r.Method, r.URL, a.text)
		}
	}
}

// noPlans returns plans on a Redis that is not there.
func noPlans(t *testing.T) *ratelimit.Plans {
	t.Helper()
	plans, err := ratelimit.NewPlans(noRedis(t))
	if err != nil {
		t.Fatal(err)
	}
	return plans
}
