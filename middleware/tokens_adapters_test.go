package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"    //nolint:depguard // shows that gin answers the same
	"github.com/labstack/echo/v4" //nolint:depguard // and echo

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/adapters/echokit"
	"github.com/tollgate-go/tollgate/adapters/ginkit"
	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey/bearer/authtest"
	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
)

// adapters mount a stage at GET /v1/search, and another around all routes if there is one.
var adapters = map[string]func(outer, stage middleware.Stage, h http.Handler) http.Handler{
	"net/http": func(outer, stage middleware.Stage, h http.Handler) http.Handler {
		mux := routed(stage, h)
		if outer != nil {
			return httpkit.Middleware(outer)(mux)
		}
		return mux
	},
	"gin": func(outer, stage middleware.Stage, h http.Handler) http.Handler {
		g := gin.New()
		if outer != nil {
			g.Use(ginkit.Middleware(outer))
		}
		g.GET("/v1/search", ginkit.Middleware(stage), gin.WrapH(h))
		return g
	},
	"echo": func(outer, stage middleware.Stage, h http.Handler) http.Handler {
		e := echo.New()
		if outer != nil {
			e.Use(echokit.Middleware(outer))
		}
		e.GET("/v1/search", echo.WrapHandler(h), echokit.Middleware(stage))
		return e
	},
}

// request ids and dates differ by chance.
var chance = regexp.MustCompile(`(?m)^(Date|X-Request-Id): .*\n|"request_id":"[^"]*"`)

// wholeAnswer returns a whole answer as text.
func wholeAnswer(t *testing.T, server *httptest.Server, header http.Header) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/search", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	fields := []string{}
	for name, values := range response.Header {
		for _, value := range values {
			fields = append(fields, name+": "+value+"\n")
		}
	}
	slices.Sort(fields)
	return chance.ReplaceAllString(fmt.Sprintf("%d\n%s\n%s", response.StatusCode, strings.Join(fields, ""), body), "")
}

// tokenAnswer is what callers of an org send, and the status that they get.
type tokenAnswer struct {
	name    string
	status  int
	headers func(org string) []http.Header // of requests, of which the last one's answer is compared
}

// tokenAnswers expect that in each org the token is revoked whose ID is the name of the org.
func tokenAnswers(issuer *authtest.Issuer, client *authtest.DPoPKey) []tokenAnswer {
	bound := authtest.Claims{"cnf": authtest.Claims{"jkt": client.Thumbprint()}}
	proved := func(token, proof string) http.Header {
		return http.Header{"Authorization": {"DPoP " + token}, "Dpop": {proof}}
	}
	by := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	return []tokenAnswer{
		{"good", 204, func(org string) []http.Header { return []http.Header{by(mint(issuer, org, nil))} }},
		{"none", 401, func(string) []http.Header { return []http.Header{{}} }},
		{"two", 400, func(org string) []http.Header {
			return []http.Header{{"Authorization": {"Bearer " + mint(issuer, org, nil)}, "X-Api-Key": {"other"}}}
		}},
		{"bad", 401, func(string) []http.Header { return []http.Header{by("ey.a.b")} }},
		{"for others", 401, func(org string) []http.Header {
			return []http.Header{by(mint(issuer, org, authtest.Claims{"aud": "https://other.example"}))}
		}},
		{"another scope", 403, func(org string) []http.Header {
			return []http.Header{by(mint(issuer, org, authtest.Claims{"scope": "other"}))}
		}},
		{"revoked", 401, func(org string) []http.Header {
			return []http.Header{by(mint(issuer, org, authtest.Claims{"jti": org}))}
		}},
		{"bound, without a proof", 401, func(org string) []http.Header { return []http.Header{by(mint(issuer, org, bound))} }},
		{"bound", 204, func(org string) []http.Header {
			token := mint(issuer, org, bound)
			return []http.Header{proved(token, client.Proof("GET", tokenOrigin+"/v1/search", token, ""))}
		}},
		{"bound, for another path", 401, func(org string) []http.Header {
			token := mint(issuer, org, bound)
			return []http.Header{proved(token, client.Proof("GET", tokenOrigin+"/v1/other", token, ""))}
		}},
		{"bound, the proof once more", 401, func(org string) []http.Header {
			token := mint(issuer, org, bound)
			same := proved(token, client.Proof("GET", tokenOrigin+"/v1/search", token, ""))
			return []http.Header{same, same.Clone()}
		}},
	}
}

// Callers with tokens get the same bytes from all adapters. Each adapter has an org of its own on the same Redis, so
// that none sees what another has charged.
func TestTokenAnswersAreTheSameInAllAdapters(t *testing.T) {
	t.Parallel()
	issuer, client := authtest.NewIssuer(t), authtest.NewDPoPKey(t, "ES256")
	gin.SetMode(gin.ReleaseMode)
	eachDeployment(t, func(t *testing.T, dial func(*testing.T) redis.UniversalClient) {
		for _, group := range []string{"", "/group"} {
			servers := map[string]*httptest.Server{}
			for name := range adapters {
				servers[name] = newAdapterServer(t, name, dial(t), dial(t), tokenSetup{issuers: []*authtest.Issuer{issuer}}, group != "")
			}
			for _, row := range tokenAnswers(issuer, client) {
				t.Run(row.name+group, func(t *testing.T) {
					answers := map[string]string{}
					for name, server := range servers {
						org := redistest.Org(t)
						revoked(t, dial(t), org, issuer, org)
						for _, header := range row.headers(org) {
							answers[name] = wholeAnswer(t, server, header)
						}
					}
					alike(t, answers, row.status)
				})
			}
		}
	})
}

// newAdapterServer serves a tokenService by an adapter, with its authentication around all routes or before the one.
func newAdapterServer(t *testing.T, adapter string, rdb, metering redis.UniversalClient, setup tokenSetup, group bool) *httptest.Server {
	t.Helper()
	setup.route = func(auth *middleware.Authenticated, limited middleware.Stage, h http.Handler) http.Handler {
		if group {
			return adapters[adapter](auth, limited, h)
		}
		return adapters[adapter](nil, limited, h)
	}
	server := httptest.NewServer(newTokenServiceOn(t, rdb, metering, setup).handler)
	t.Cleanup(server.Close)
	return server
}

// alike reports answers that have another status, or are not those of net/http.
func alike(t *testing.T, answers map[string]string, status int) {
	t.Helper()
	for name, answer := range answers {
		if !strings.HasPrefix(answer, fmt.Sprintf("%d\n", status)) {
			t.Errorf("%s: %s, want %d", name, answer, status)
		}
		if want := answers["net/http"]; answer != want {
			t.Errorf("%s answers\n%s\nand net/http\n%s", name, answer, want)
		}
	}
}

// The same where Redis is out of reach.
func TestTokenAnswersWithoutRedisAreTheSameInAllAdapters(t *testing.T) {
	t.Parallel()
	issuer := authtest.NewIssuer(t)
	eachLine(t, func(t *testing.T, l *line, rdb redis.UniversalClient) {
		ctx, cancel := context.WithTimeout(t.Context(), calm)
		defer cancel()
		if err := rdb.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		l.set(true, false)
		token, answers := mint(issuer, redistest.Org(t), nil), map[string]string{}
		for name := range adapters {
			setup := tokenSetup{issuers: []*authtest.Issuer{issuer}, budget: 50 * time.Millisecond}
			server := newAdapterServer(t, name, rdb, redistest.Standalone(t), setup, false)
			answers[name] = wholeAnswer(t, server, http.Header{"Authorization": {"Bearer " + token}})
		}
		alike(t, answers, http.StatusServiceUnavailable)
	})
}
