package middleware_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// pages returns callers with the demo's secret key, and publishable ones: "page" for https://shop.test, "free" for
// any page, "inside" of a network.
func pages() *callers {
	c := demoCallers()
	publishable := func(origins []string, networks ...netip.Prefix) *authkey.Identity {
		return &authkey.Identity{
			Org: "acme", Project: "shop", Key: "08key", Kind: authkey.KindPublishable,
			Scopes: []string{"search"}, Origins: origins, Networks: networks, Epoch: 1,
		}
	}
	c.known["page"] = publishable([]string{"https://shop.test", "https://cart.test:*"})
	c.known["free"] = publishable(nil)
	c.known["inside"] = publishable([]string{"https://shop.test"}, netip.MustParsePrefix("198.51.100.0/24"))
	return c
}

var static = middleware.CORS{
	Origins: []string{"https://*.example.com"}, Methods: []string{"GET", "PUT"}, Headers: []string{"X-Trace"},
	ExposedHeaders: []string{"ETag"}, MaxAge: time.Minute, Credentials: true,
}

// fields are those of CORS in a response, one in a line.
func corsOf(h http.Header) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if short, ok := strings.CutPrefix(name, "Access-Control-"); ok {
			lines = append(lines, short+": "+strings.Join(h[name], " | "))
		}
	}
	return strings.Join(lines, "\n")
}

const (
	preflightVary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
	// granted is what static grants, after the origin.
	granted     = "Allow-Headers: Content-Type, X-Api-Key, Authorization, X-Trace\nAllow-Methods: GET, PUT\nAllow-Origin: "
	grantedPage = granted + "https://shop.test\nMax-Age: 60"
)

func TestPreflight(t *testing.T) {
	t.Parallel()
	ask := func(fields ...string) []string {
		return append([]string{"Access-Control-Request-Method", "GET"}, fields...)
	}
	for name, row := range map[string]struct {
		target string
		fields []string // names and values
		status int
		code   string
		want   string // of the fields
	}{
		"listed":                       {"/", ask("Origin", "https://a.example.com"), 204, "", "Allow-Credentials: true\n" + granted + "https://a.example.com\nMax-Age: 60"},
		"not listed":                   {"/", ask("Origin", "https://example.com"), 403, middleware.CodeOrigin, ""},
		"null":                         {"/", ask("Origin", "null"), 403, middleware.CodeOrigin, ""},
		"two origins":                  {"/", ask("Origin", "https://a.example.com", "Origin", "https://b.example.com"), 403, middleware.CodeOrigin, ""},
		"the page of a key":            {"/?key=page", ask("Origin", "https://shop.test"), 204, "", grantedPage},
		"another page of a key":        {"/?key=page", ask("Origin", "https://cart.test:8443"), 204, "", granted + "https://cart.test:8443\nMax-Age: 60"},
		"the key decides, not we":      {"/?key=page", ask("Origin", "https://a.example.com"), 403, middleware.CodeOrigin, ""},
		"a key for any page":           {"/?key=free", ask("Origin", "https://evil.test"), 204, "", granted + "https://evil.test\nMax-Age: 60"},
		"any page is one":              {"/?key=free", ask("Origin", "null"), 403, middleware.CodeOrigin, ""},
		"a page of ours, any key":      {"/?key=free", ask("Origin", "https://a.example.com"), 204, "", "Allow-Credentials: true\n" + granted + "https://a.example.com\nMax-Age: 60"},
		"a secret key in the URL":      {"/?key=" + goodKey, ask("Origin", "https://shop.test"), 403, middleware.CodeOrigin, ""},
		"a secret key, listed":         {"/?key=" + goodKey, ask("Origin", "https://a.example.com"), 204, "", "Allow-Credentials: true\n" + granted + "https://a.example.com\nMax-Age: 60"},
		"an unknown key":               {"/?key=nobody", ask("Origin", "https://a.example.com"), 401, middleware.CodeInvalid, ""},
		"two keys":                     {"/?key=page&key=free", ask("Origin", "https://shop.test"), 400, middleware.CodeMalformed, ""},
		"a key outside its networks":   {"/?key=inside", ask("Origin", "https://shop.test"), 403, middleware.CodeNetwork, ""},
		"a key in a field is not read": {"/", ask("Origin", "https://shop.test", "X-Api-Key", "page"), 403, middleware.CodeOrigin, ""},
		"the page is not Referer":      {"/?key=page", ask("Origin", "null", "Referer", "https://shop.test/"), 403, middleware.CodeOrigin, ""},
		"a method that is listed":      {"/?key=page", []string{"Origin", "https://shop.test", "Access-Control-Request-Method", "PUT"}, 204, "", grantedPage},
		"a method that is not":         {"/?key=page", []string{"Origin", "https://shop.test", "Access-Control-Request-Method", "POST"}, 403, middleware.CodePreflight, ""},
		"methods have a case":          {"/?key=page", []string{"Origin", "https://shop.test", "Access-Control-Request-Method", "put"}, 403, middleware.CodePreflight, ""},
		"two methods":                  {"/?key=page", ask("Origin", "https://shop.test", "Access-Control-Request-Method", "PUT"), 403, middleware.CodePreflight, ""},
		"no method":                    {"/?key=page", []string{"Origin", "https://shop.test", "Access-Control-Request-Method", ""}, 403, middleware.CodePreflight, ""},
		"fields in any case":           {"/?key=page", ask("Origin", "https://shop.test", "Access-Control-Request-Headers", "x-trace, CONTENT-type,,x-api-key ,authorization"), 204, "", grantedPage},
		"a field that is not listed":   {"/?key=page", ask("Origin", "https://shop.test", "Access-Control-Request-Headers", "x-trace,x-other"), 403, middleware.CodePreflight, ""},
		"fields in two lines":          {"/?key=page", ask("Origin", "https://shop.test", "Access-Control-Request-Headers", "x-trace", "Access-Control-Request-Headers", "x-other"), 403, middleware.CodePreflight, ""},
		"a wildcard for fields":        {"/?key=page", ask("Origin", "https://shop.test", "Access-Control-Request-Headers", "*"), 403, middleware.CodePreflight, ""},
		"too many fields":              {"/?key=page", ask("Origin", "https://shop.test", "Access-Control-Request-Headers", strings.Repeat("x-trace,", 600)), 403, middleware.CodePreflight, ""},
		"private networks":             {"/?key=page", ask("Origin", "https://shop.test", "Access-Control-Request-Private-Network", "true"), 204, "", grantedPage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counted := &ledger{}
			stage := middleware.Authenticate(pages(), middleware.WithCORS(static), sources()).RequireScope("admin").
				RateLimit(chargesNothing(t), ratelimit.PerMinute(1)).Meter(counted, "stores", "search")
			r := corsRequest(http.MethodOptions, row.target, row.fields...)
			_, h, refusal := admit(t, stage, r)
			if refusal == nil {
				t.Fatal("it reaches the handler")
			}
			if refusal.Status != row.status || row.code != "" && refusal.Code != row.code {
				t.Fatalf("got %v, want %d %s", refusal, row.status, row.code)
			}
			if got := corsOf(h); got != row.want {
				t.Errorf("got\n%s\nwant\n%s", got, row.want)
			}
			if got := h.Get("Vary"); got != preflightVary || len(counted.rows) != 0 {
				t.Errorf("Vary is %q, and %d requests were metered", got, len(counted.rows))
			}
		})
	}
}

func sources() middleware.Option {
	return middleware.WithSources(middleware.Header("X-API-Key"), middleware.Bearer(), middleware.Query("key"), middleware.Cookie("key"))
}

// corsRequest returns a request with fields, given by names and values.
func corsRequest(method, target string, fields ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	for pair := range slices.Chunk(fields, 2) {
		r.Header.Add(pair[0], pair[1])
	}
	return r
}

// exposed is what a page may read of static.
const exposed = "\nExpose-Headers: RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, Deprecation, Sunset, WWW-Authenticate, ETag"

func TestResponsesToPages(t *testing.T) {
	t.Parallel()
	listed := "Allow-Credentials: true\nAllow-Origin: https://a.example.com" + exposed
	for name, row := range map[string]struct {
		method string // GET
		target string
		fields []string
		edit   func(*middleware.Authenticated) middleware.Stage
		status int
		want   string
	}{
		"no page":                     {fields: []string{"X-Api-Key", goodKey}},
		"listed":                      {fields: []string{"X-Api-Key", goodKey, "Origin", "https://a.example.com"}, want: listed},
		"not listed":                  {fields: []string{"X-Api-Key", goodKey, "Origin", "https://shop.test"}},
		"null":                        {fields: []string{"X-Api-Key", goodKey, "Origin", "null"}},
		"the page of a key":           {fields: []string{"X-Api-Key", "page", "Origin", "https://shop.test"}, want: "Allow-Origin: https://shop.test" + exposed},
		"the page of a key in URL":    {target: "/?key=page", fields: []string{"Origin", "https://shop.test"}, want: "Allow-Origin: https://shop.test" + exposed},
		"the page as it was sent":     {target: "/?key=page", fields: []string{"Origin", "HTTPS://SHOP.test:443"}, want: "Allow-Origin: HTTPS://SHOP.test:443" + exposed},
		"not the page of a key":       {fields: []string{"X-Api-Key", "page", "Origin", "https://a.example.com"}, status: 403},
		"any page":                    {fields: []string{"X-Api-Key", "free", "Origin", "https://evil.test"}, want: "Allow-Origin: https://evil.test" + exposed},
		"no credential":               {fields: []string{"Origin", "https://a.example.com"}, status: 401, want: listed},
		"an unknown credential":       {fields: []string{"X-Api-Key", "nobody", "Origin", "https://a.example.com"}, status: 401, want: listed},
		"unknown, and not listed":     {fields: []string{"X-Api-Key", "nobody", "Origin", "https://shop.test"}, status: 401},
		"two credentials":             {fields: []string{"X-Api-Key", "page", "Authorization", "Bearer free", "Origin", "https://a.example.com"}, status: 400, want: listed},
		"outside the networks":        {fields: []string{"X-Api-Key", "inside", "Origin", "https://shop.test"}, status: 403, want: "Allow-Origin: https://shop.test" + exposed},
		"Referer is not for browsers": {fields: []string{"X-Api-Key", "page", "Referer", "https://shop.test/"}},
		"OPTIONS that asks nothing":   {method: "OPTIONS", fields: []string{"X-Api-Key", "page", "Origin", "https://shop.test"}, want: "Allow-Origin: https://shop.test" + exposed},
		"OPTIONS of no page":          {method: "OPTIONS", fields: []string{"X-Api-Key", goodKey, "Access-Control-Request-Method", "GET"}},
		"a scope missing": {
			fields: []string{"X-Api-Key", "page", "Origin", "https://shop.test"}, status: 403, want: "Allow-Origin: https://shop.test" + exposed,
			edit: func(s *middleware.Authenticated) middleware.Stage { return s.RequireScope("admin") },
		},
		"a limit reached": {
			fields: []string{"X-Api-Key", "page", "Origin", "https://shop.test"}, status: 429, want: "Allow-Origin: https://shop.test" + exposed,
			edit: func(s *middleware.Authenticated) middleware.Stage {
				return s.RateLimit(limiterFunc(deny), ratelimit.PerMinute(1))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stage middleware.Stage = middleware.Authenticate(pages(), middleware.WithCORS(static), sources())
			if row.edit != nil {
				stage = row.edit(middleware.Authenticate(pages(), sources(), middleware.WithCORS(static)))
			}
			_, h, refusal := admit(t, stage, corsRequest(row.method, "/"+strings.TrimPrefix(row.target, "/"), row.fields...))
			if (refusal == nil) != (row.status == 0) || refusal != nil && refusal.Status != row.status {
				t.Fatalf("got %v, want %d", refusal, row.status)
			}
			if got := corsOf(h); got != row.want {
				t.Errorf("got\n%s\nwant\n%s", got, row.want)
			}
			if got := h.Get("Vary"); got != "Origin, X-Api-Key, Authorization, Cookie" {
				t.Errorf("Vary is %q", got)
			}
		})
	}
}

// Without the option, OPTIONS is a method like any other, and nothing is said of origins.
func TestNoCORSWithoutTheOption(t *testing.T) {
	t.Parallel()
	stage := middleware.Authenticate(pages(), sources())
	fields := []string{"Origin", "https://shop.test", "Access-Control-Request-Method", "GET"}
	_, h, refusal := admit(t, stage, corsRequest(http.MethodOptions, "/", fields...))
	refusedAs(t, refusal, http.StatusUnauthorized, middleware.CodeMissing)
	if len(h) != 0 {
		t.Errorf("fields %v", h)
	}
	_, h, refusal = admit(t, stage, corsRequest(http.MethodOptions, "/", append(fields, "X-Api-Key", "page")...))
	refusedAs(t, refusal, 0, "")
	if len(h) != 0 {
		t.Errorf("fields %v", h)
	}
}

func TestVaryIsAdded(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ had, want []string }{
		"none":            {nil, []string{"Origin, X-Api-Key, Authorization"}},
		"another":         {[]string{"Accept-Encoding"}, []string{"Accept-Encoding", "Origin, X-Api-Key, Authorization"}},
		"one of them":     {[]string{"accept,  ORIGIN"}, []string{"accept,  ORIGIN", "X-Api-Key, Authorization"}},
		"all of them":     {[]string{"Authorization", "Origin,X-API-Key"}, []string{"Authorization", "Origin,X-API-Key"}},
		"whatever is":     {[]string{"*"}, []string{"*"}},
		"not by its part": {[]string{"X-Origin"}, []string{"X-Origin", "Origin, X-Api-Key, Authorization"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			if row.had != nil {
				h["Vary"] = row.had
			}
			_, refusal := middleware.Authenticate(pages(), middleware.WithCORS(middleware.CORS{})).Admit(h, request(http.MethodGet, "/"), "GET /")
			refusedAs(t, refusal, 0, "")
			if !slices.Equal(h["Vary"], row.want) {
				t.Errorf("got %q, want %q", h["Vary"], row.want)
			}
		})
	}
}

// The zero CORS is for keys that name their pages; a day, three methods and the fields of credentials.
func TestZeroCORS(t *testing.T) {
	t.Parallel()
	stage := middleware.Authenticate(pages(), middleware.WithFields(middleware.FieldsDraft6|middleware.FieldsX),
		middleware.WithCORS(middleware.CORS{}), middleware.WithSources(middleware.Basic(), middleware.Query("key")))
	_, h, refusal := admit(t, stage, corsRequest(http.MethodOptions, "/?key=page", "Origin", "https://shop.test", "Access-Control-Request-Method", "POST"))
	refusedAs(t, refusal, http.StatusNoContent, "preflight_answered")
	const want = "Allow-Headers: Content-Type, Authorization\nAllow-Methods: GET, HEAD, POST\nAllow-Origin: https://shop.test\nMax-Age: 86400"
	if got := corsOf(h); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	_, h, refusal = admit(t, stage, corsRequest(http.MethodGet, "/?key=page", "Origin", "https://shop.test"))
	refusedAs(t, refusal, 0, "")
	const fields = "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, " +
		"Retry-After, X-Request-Id, Deprecation, Sunset, WWW-Authenticate"
	if got := h.Get("Access-Control-Expose-Headers"); got != fields {
		t.Errorf("exposed %q", got)
	}
	_, h, refusal = admit(t, stage, corsRequest(http.MethodOptions, "/", "Origin", "https://shop.test", "Access-Control-Request-Method", "GET"))
	refusedAs(t, refusal, http.StatusForbidden, middleware.CodeOrigin)
	if got := corsOf(h); got != "" {
		t.Errorf("granted %s", got)
	}
}

func TestCORSOption(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		cors middleware.CORS
		want []string
	}{
		"zero":                 {middleware.CORS{}, nil},
		"all of it":            {static, nil},
		"any page":             {middleware.CORS{Origins: []string{"*"}}, nil},
		"any page and cookies": {middleware.CORS{Origins: []string{"https://a.test", "*"}, Credentials: true}, []string{`"*" would let every page`}},
		"not an origin":        {middleware.CORS{Origins: []string{"https://a.test/"}}, []string{"Origins: ", `"https://a.test/"`}},
		"no method":            {middleware.CORS{Methods: []string{""}}, []string{`Methods: ""`}},
		"any method":           {middleware.CORS{Methods: []string{"*"}}, []string{`Methods: "*"`, "no wildcard"}},
		"any field":            {middleware.CORS{Headers: []string{"X-A", "*"}}, []string{`Headers: "*"`}},
		"two fields in one":    {middleware.CORS{ExposedHeaders: []string{"ETag, Link"}}, []string{`ExposedHeaders: "ETag, Link"`}},
		"a line break":         {middleware.CORS{Headers: []string{"X-A\r\nX-B"}}, []string{`Headers: "X-A\r\nX-B"`}},
		"too short":            {middleware.CORS{MaxAge: time.Millisecond}, []string{"MaxAge 1ms must be 1s to 24h0m0s"}},
		"negative":             {middleware.CORS{MaxAge: -time.Second}, []string{"MaxAge -1s"}},
		"too long":             {middleware.CORS{MaxAge: 24*time.Hour + time.Second}, []string{"MaxAge 24h0m1s"}},
		"every fault":          {middleware.CORS{Origins: []string{"a b"}, Methods: []string{"a b"}, MaxAge: 1}, []string{"Origins", "Methods", "MaxAge"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := middleware.Authenticate(demoCallers(), middleware.WithCORS(row.cors)).Err()
			if (err == nil) != (row.want == nil) {
				t.Fatalf("got %v", err)
			}
			for _, want := range row.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: lacks %q", err, want)
				}
			}
		})
	}
}

// The answer to a preflight is no refusal: no renderer sees it, and it has no body.
func TestPreflightIsNotRendered(t *testing.T) {
	t.Parallel()
	events := &seen{}
	stage := middleware.Authenticate(pages(), middleware.WithCORS(static), middleware.WithObserver(events),
		middleware.WithRenderer(func(http.ResponseWriter, *http.Request, *middleware.Error) { t.Error("it was rendered") }))
	r := corsRequest(http.MethodOptions, "/", "Origin", "https://a.example.com", "Access-Control-Request-Method", "GET")
	_, _, answer := admit(t, stage, r)
	if answer == nil {
		t.Fatal("it reaches the handler")
	}
	w := httptest.NewRecorder()
	answer.Render(w, r)
	if w.Code != http.StatusNoContent || w.Body.Len() != 0 || len(w.Header()) != 0 {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
	if len(events.all) != 1 || events.all[0].Step != middleware.StepPreflight || events.all[0].Outcome != middleware.OutcomeAllowed || events.all[0].Err != nil {
		t.Errorf("events %v", events.all)
	}
}

// seen is an Observer that keeps what it was told.
type seen struct{ all []middleware.Event }

func (s *seen) Observe(e middleware.Event) { s.all = append(s.all, e) }
