package self_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"    //nolint:depguard // shows that the handler mounts in gin
	"github.com/labstack/echo/v4" //nolint:depguard // and in echo

	"github.com/tollgate-go/tollgate/adapters/echokit"
	"github.com/tollgate-go/tollgate/adapters/ginkit"
	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/self"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestWhoami(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 15, 0, 0, 0, time.FixedZone("", 3600))
	bounded := holder
	bounded.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	bounded.ExpiresAt, bounded.SupersededAt = at, at.Add(-time.Hour)
	publishable := bounded
	publishable.Kind, publishable.Origins, publishable.Scopes = authkey.KindPublishable, []string{"https://a.example"}, nil
	for _, c := range []struct {
		name string
		who  authkey.Identity
		want string
	}{
		{"secret", holder, `{"org":"demo","project":"shop","key":"17abcdefghijkl","credential":"17mnopqrstuvwx","name":"till","plan":"gold",` +
			`"kind":"secret","method":"key","scopes":["write"],"products":["stores"]}`},
		{"bounded", bounded, `{"org":"demo","project":"shop","key":"17abcdefghijkl","credential":"17mnopqrstuvwx","name":"till","plan":"gold",` +
			`"kind":"secret","method":"key","scopes":["write"],"products":["stores"],"networks":["192.0.2.0/24"],` +
			`"expires_at":"2026-01-31T14:00:00Z","superseded_at":"2026-01-31T13:00:00Z"}`},
		{"publishable", publishable, `{"key":"17abcdefghijkl","credential":"17mnopqrstuvwx","kind":"publishable","method":"key",` +
			`"scopes":[],"products":["stores"],"expires_at":"2026-01-31T14:00:00Z","superseded_at":"2026-01-31T13:00:00Z"}`},
		{"of another method", authkey.Identity{Org: "demo", Project: "shop", Method: "bearer"},
			`{"org":"demo","project":"shop","method":"bearer","scopes":[],"products":[]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := request(http.MethodGet, "/whoami") // from 192.0.2.1
			r.Header.Set("Origin", "https://a.example")
			a := serve(t, handlerOf(t, c.who), r).want(t, http.StatusOK, "")
			if a.text != c.want {
				t.Errorf("answer %s\nwant   %s", a.text, c.want)
			}
		})
	}
}

// TestWithoutAnIdentity holds that nothing is told to whom no stage knows.
func TestWithoutAnIdentity(t *testing.T) {
	t.Parallel()
	h, err := self.New(withAll()...)
	if err != nil {
		t.Fatal(err)
	}
	everyone := middleware.LimitBy(middleware.Everyone(), limiterFunc(unused), ratelimit.PerMinute(10))
	for name, handler := range map[string]http.Handler{"no stage": h, "LimitBy": httpkit.Middleware(everyone)(h)} {
		for _, path := range []string{"/whoami", "/limits", "/usage", "/nothing"} {
			a := serve(t, handler, request(http.MethodGet, path)).want(t, http.StatusInternalServerError, "misconfigured")
			if strings.Contains(a.text, "items") || strings.Contains(a.text, "scopes") {
				t.Errorf("%s: %s: %s", name, path, a.text)
			}
		}
	}
}

func TestPathsAndMethods(t *testing.T) {
	t.Parallel()
	all := handlerOf(t, holder, append(withAll(), self.WithPrefix("/v1/self"))...)
	for _, path := range []string{"/whoami", "/limits", "/usage"} {
		get := serve(t, all, request(http.MethodGet, "/v1/self"+path)).want(t, http.StatusOK, "")
		head := serve(t, all, request(http.MethodHead, "/v1/self"+path))
		if head.status != http.StatusOK || head.header.Get("Content-Length") != get.header.Get("Content-Length") {
			t.Errorf("HEAD %s: %d, %s bytes, want %s", path, head.status, head.header.Get("Content-Length"), get.header.Get("Content-Length"))
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
			a := serve(t, all, request(method, "/v1/self"+path)).want(t, http.StatusMethodNotAllowed, "method_not_allowed")
			if got := a.header.Get("Allow"); got != "GET, HEAD" {
				t.Errorf("%s %s: Allow %q", method, path, got)
			}
		}
	}
	for _, path := range []string{"/", "/whoami", "/v1/self", "/v1/self/", "/v1/self/whoami/", "/v1/self//whoami", "/v1/selfwhoami", "/v1/self/keys"} {
		serve(t, all, request(http.MethodGet, path)).want(t, http.StatusNotFound, "not_found")
	}
	bare := handlerOf(t, holder)
	serve(t, bare, request(http.MethodGet, "/whoami")).want(t, http.StatusOK, "")
	for _, path := range []string{"/limits", "/usage"} {
		serve(t, bare, request(http.MethodGet, path)).want(t, http.StatusNotFound, "not_served")
	}
}

func TestPublishableKeys(t *testing.T) {
	t.Parallel()
	who := holder
	who.Kind = authkey.KindPublishable
	h := handlerOf(t, who, withAll()...)
	serve(t, h, request(http.MethodGet, "/whoami")).want(t, http.StatusOK, "")
	for _, path := range []string{"/limits", "/usage"} {
		serve(t, h, request(http.MethodGet, path)).want(t, http.StatusForbidden, "kind_refused")
	}
}

func TestQueries(t *testing.T) {
	t.Parallel()
	h := handlerOf(t, holder, withAll()...)
	for _, target := range []string{
		"/whoami?x=1", "/whoami?key=other", "/limits?project=other", "/limits?org=other", "/limits?key=other", "/limits?plan=other", "/usage?project=other",
		"/usage?org=other", "/limits?endpoint=GET+/a&endpoint=GET+/a", "/limits?%zz", "/limits?endpoint=%ff", "/limits?a;b",
		"/limits?endpoint=" + strings.Repeat("a", 513), "/limits?cursor=x", "/limits?cursor=", "/limits?cursor=GET+/a&endpoint=GET+/a",
	} {
		serve(t, h, request(http.MethodGet, target)).want(t, http.StatusBadRequest, "invalid_query")
	}
	serve(t, h, request(http.MethodGet, "/limits?endpoint=GET+/a")).want(t, http.StatusOK, "")
	serve(t, h, request(http.MethodGet, "/limits?endpoint=GET+/b")).want(t, http.StatusNotFound, "not_found")
}

// routers mount a handler under /self.
var routers = map[string]func(h http.Handler, stage middleware.Stage) http.Handler{
	"net/http": func(h http.Handler, stage middleware.Stage) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/self/", httpkit.Middleware(stage)(h))
		return mux
	},
	"gin": func(h http.Handler, stage middleware.Stage) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		g := gin.New()
		g.Any("/self/*path", ginkit.Middleware(stage), gin.WrapH(h))
		return g
	},
	"echo": func(h http.Handler, stage middleware.Stage) http.Handler {
		e := echo.New()
		e.Any("/self/*", echo.WrapHandler(h), echokit.Middleware(stage))
		return e
	},
}

func TestRouters(t *testing.T) {
	t.Parallel()
	answers := map[string]string{}
	for name, mount := range routers {
		h, err := self.New(append(withAll(), self.WithPrefix("/self"))...)
		if err != nil {
			t.Fatal(err)
		}
		handler := mount(h, middleware.Authenticate(caller{&holder}))
		var all string
		for _, path := range []string{"/self/whoami", "/self/limits?endpoint=GET+/a", "/self/usage?step=day"} {
			all += serve(t, handler, request(http.MethodGet, path)).want(t, http.StatusOK, "").text
		}
		serve(t, handler, request(http.MethodHead, "/self/whoami"))
		serve(t, handler, request(http.MethodPost, "/self/whoami")).want(t, http.StatusMethodNotAllowed, "method_not_allowed")
		serve(t, handler, request(http.MethodGet, "/self/other")).want(t, http.StatusNotFound, "not_found")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/self/whoami", http.NoBody))
		if w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), holder.Key) {
			t.Errorf("%s: without a key %d %s", name, w.Code, w.Body)
		}
		answers[name] = all
	}
	for name, all := range answers {
		if all != answers["net/http"] || all == "" {
			t.Errorf("%s answers %s, net/http %s", name, all, answers["net/http"])
		}
	}
}

func TestNewJoinsFaults(t *testing.T) {
	t.Parallel()
	h, err := self.New(nil, self.WithLimits(nil), self.WithUsage(nil), self.WithLogger(nil), self.WithPrefix("self"), self.WithPrefix("/self/"),
		self.WithPrefix("/a b"), self.WithRoute("GET /a", ratelimit.Policy{}), self.WithRoute("GET /b"), self.WithRoute("GET /b"))
	if h != nil || !errors.Is(err, self.ErrInvalid) {
		t.Fatalf("%v, %v", h, err)
	}
	mustContain(t, err.Error(), "number 1 is nil", "WithLimits(nil)", "WithUsage(nil)", "WithLogger(nil)", `WithPrefix("self")`, `WithPrefix("/self/")`,
		`WithPrefix("/a b")`, `WithRoute("GET /a")`, `WithRoute("GET /b") is there twice`, "WithRoute needs WithLimits")
}
