package ginkit_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tollgate-go/tollgate/adapters/ginkit"
	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// anyone is an Authenticator that knows everybody who shows something, and a Limiter that refuses
// whatever has a cost.
type anyone struct{}

func (anyone) Authenticate(context.Context, authkey.Presented) (*authkey.Identity, error) {
	return &authkey.Identity{Org: "acme", Project: "shop"}, nil
}

func (a anyone) Refresh(ctx context.Context, p authkey.Presented, _ *authkey.Identity) (*authkey.Identity, error) {
	return a.Authenticate(ctx, p)
}

func (anyone) Admit(_ context.Context, r ratelimit.Request) (ratelimit.Decision, error) {
	c := r.Charges[0]
	return ratelimit.Decision{Allowed: c.Cost == 0, Results: []ratelimit.Result{{
		Policy: c.Policy.Name, Limit: c.Policy.Limit, Window: c.Policy.Window, Cost: c.Cost, Exceeded: c.Cost > 0, RetryAfter: 1,
	}}}, nil
}

// watched returns a stage, and the events of its handlers.
func watched(opts ...middleware.Option) (*middleware.Authenticated, <-chan middleware.Event) {
	events := make(chan middleware.Event, 4)
	return middleware.Authenticate(anyone{}, append(opts, middleware.WithObserver(middleware.ObserverFunc(func(e middleware.Event) {
		if e.Step == middleware.StepHandler {
			events <- e
		}
	})))...), events
}

func serve(t *testing.T, h http.Handler, target string, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	r.Header.Set("X-API-Key", "key")
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func ok(c *gin.Context) { c.String(http.StatusOK, "ok") }

// next returns the event of a request that was answered.
func next(t *testing.T, events <-chan middleware.Event) middleware.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(10 * time.Second): // instead of hanging
		t.Fatal("the request was not counted")
		return middleware.Event{}
	}
}

func TestMountPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if err, _ := recover().(error); err == nil {
			t.Error("want a panic with an error")
		}
	}()
	ginkit.Middleware(middleware.Authenticate(nil))
}

// TestRefusal shows that a refusal goes gin's way: it is in c.Errors, and nothing behind it runs.
func TestRefusal(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			router := gin.New()
			router.Use(func(c *gin.Context) {
				c.Next()
				var refusal *middleware.Error
				if len(c.Errors) != 1 || !errors.As(c.Errors[0], &refusal) || refusal.Code != middleware.CodeMissing {
					t.Errorf("errors %v", c.Errors)
				}
				if !c.IsAborted() || !c.Writer.Written() || c.Writer.Status() != http.StatusUnauthorized {
					t.Errorf("aborted %v, written %v, status %d", c.IsAborted(), c.Writer.Written(), c.Writer.Status())
				}
			})
			stage, _ := watched()
			router.Handle(method, "/", ginkit.Middleware(stage), func(*gin.Context) { t.Error("the handler ran") })
			router.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), method, "/", http.NoBody))
		})
	}
}

// TestReportedRefusal is about refusals that a handler puts into c.Errors by itself.
func TestReportedRefusal(t *testing.T) {
	t.Parallel()
	render := middleware.WithRenderer(func(w http.ResponseWriter, r *http.Request, e *middleware.Error) {
		e.SetHeaders(w.Header(), r)
		w.WriteHeader(e.Status)
		_, _ = w.Write([]byte("sorry: " + e.Code))
	})
	take := func(c *gin.Context) error {
		a, _ := middleware.FromContext(c.Request.Context())
		return a.Take(c.Request.Context(), c.Writer.Header(), "rows", 1)
	}
	for name, row := range map[string]struct {
		handler gin.HandlerFunc
		status  int
		body    string
	}{
		"nothing written": {func(c *gin.Context) { _ = c.Error(take(c)) }, 429, "sorry: limit_reached"},
		"with a status":   {func(c *gin.Context) { _ = c.AbortWithError(http.StatusTeapot, take(c)) }, 418, ""},
		"body written":    {func(c *gin.Context) { _ = c.Error(take(c)); c.String(http.StatusAccepted, "half") }, 202, "half"},
		"another error":   {func(c *gin.Context) { _ = c.Error(errors.New("other")); c.Status(http.StatusBadGateway) }, 502, ""},
		"errors cleared":  {func(c *gin.Context) { c.Errors = nil }, 200, ""},
		"among others": {func(c *gin.Context) {
			_ = c.Error(errors.New("other"))
			_ = c.Error(take(c))
			_ = c.Error(errors.New("third"))
		}, 429, "sorry: limit_reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			auth, events := watched(render)
			stage := auth.RateLimit(anyone{}, ratelimit.PerMinute(5).Named("rows")).Cost("rows", middleware.Later)
			router := gin.New()
			router.Use(func(c *gin.Context) { _ = c.Error(errors.New("before")) }, ginkit.Middleware(auth))
			router.GET("/", ginkit.Middleware(stage), row.handler)
			if w := serve(t, router, "/"); w.Code != row.status || w.Body.String() != row.body {
				t.Errorf("answer %d %q, want %d %q", w.Code, w.Body, row.status, row.body)
			}
			if e := next(t, events); e.Status != row.status || e.Size != int64(len(row.body)) {
				t.Errorf("counted %d %d", e.Status, e.Size)
			}
		})
	}
}

// TestOuterRequest shows what middleware outside sees afterwards.
func TestOuterRequest(t *testing.T) {
	t.Parallel()
	type key struct{}
	stage, _ := watched()
	router := gin.New()
	router.Use(func(c *gin.Context) {
		writer := c.Writer
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), key{}, "outer"))
		c.Next()
		a, admitted := middleware.FromContext(c.Request.Context())
		if !admitted || a.Identity().Project != "shop" {
			t.Error("no admission in the request's context")
		}
		if got := c.Request.Header.Get("X-API-Key"); got != "" {
			t.Errorf("credential %q is back", got)
		}
		if got := c.Request.Context().Value(key{}); got != "outer" {
			t.Errorf("context has %v, want what it had outside", got)
		}
		if c.Writer != writer {
			t.Error("the writer is not the one of before")
		}
	}, ginkit.Middleware(stage))
	router.GET("/", func(c *gin.Context) {
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), key{}, "inner"))
		ok(c)
	})
	if w := serve(t, router, "/"); w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
}

// TestEndpoint is about what gin routes by itself.
func TestEndpoint(t *testing.T) {
	t.Parallel()
	auth, events := watched()
	router := gin.New()
	router.HandleMethodNotAllowed = true
	router.Use(gin.Recovery(), ginkit.Middleware(auth))
	router.NoRoute(func(c *gin.Context) { c.String(http.StatusNotFound, "no route") })
	router.NoMethod(func(c *gin.Context) { c.String(http.StatusMethodNotAllowed, "no method") })
	router.POST("/posts", ok)
	group := router.Group("/v1", ginkit.Middleware(auth))
	group.GET("/items/:id", ginkit.Middleware(auth), ok)
	group.GET("/panic", func(*gin.Context) { panic("mistake") })
	group.GET("/silent", func(*gin.Context) {})
	router.GET("/again", func(c *gin.Context) {
		c.Request.URL.Path = "/v1/items/7"
		router.HandleContext(c)
	})
	for _, row := range []struct {
		target, endpoint string
		status           int
	}{
		{"/nowhere", "unmatched", 404},
		{"/posts", "unmatched", 405},
		{"/v1/nowhere", "unmatched", 404},
		{"/v1/items/7", "GET /v1/items/{id}", 200},
		{"/v1/silent", "GET /v1/silent", 200},
		{"/again", "GET /v1/items/{id}", 200},
		{"/v1/panic", "GET /v1/panic", 500},
	} {
		w := serve(t, router, row.target)
		if w.Code != row.status {
			t.Errorf("%s: status %d, want %d", row.target, w.Code, row.status)
		}
		if e := next(t, events); e.Endpoint != row.endpoint || e.Status != row.status {
			t.Errorf("%s: counted %d at %q, want %d at %q", row.target, e.Status, e.Endpoint, row.status, row.endpoint)
		}
		if len(events) > 0 {
			t.Errorf("%s: counted again: %v", row.target, <-events)
		}
	}
}

// TestRequestID shows that the id that a middleware outside chose is the one in a refusal.
func TestRequestID(t *testing.T) {
	t.Parallel()
	stage, _ := watched()
	router := gin.New()
	router.Use(func(c *gin.Context) { c.Header("X-Request-Id", "outer-1") }, ginkit.Middleware(stage))
	w := serve(t, router, "/", "X-API-Key", "", "X-Request-Id", "client-1")
	if got := w.Header()["X-Request-Id"]; len(got) != 1 || got[0] != "outer-1" {
		t.Errorf("X-Request-Id %q, want the one that was there", got)
	}
}

// TestAllocations holds what the adapter itself costs, besides the stage: the writer.
func TestAllocations(t *testing.T) {
	stage := middleware.Authenticate(anyone{})
	bare, staged := gin.New(), gin.New()
	bare.GET("/items/:id", func(*gin.Context) {})
	staged.GET("/items/:id", ginkit.Middleware(stage), func(*gin.Context) {})
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/items/7", http.NoBody)
	r.Header.Set("X-API-Key", "key")
	without := testing.AllocsPerRun(100, func() { bare.ServeHTTP(w, r) })
	alone := testing.AllocsPerRun(100, func() {
		if a, _ := stage.Admit(w.Header(), r, "GET /items/{id}"); a != nil {
			a.Done(http.StatusOK, 0)
		}
	})
	if added := testing.AllocsPerRun(100, func() { staged.ServeHTTP(w, r) }) - without - alone; added > 2 { // the race detector empties pools now and then
		t.Errorf("the adapter allocates %v times, want 1", added)
	}
}

func TestPreflightIsNoError(t *testing.T) {
	t.Parallel()
	auth, _ := watched(middleware.WithCORS(middleware.CORS{Origins: []string{"https://shop.example"}}))
	var reported []*gin.Error
	router := gin.New()
	router.Use(func(c *gin.Context) {
		c.Next()
		reported = c.Errors
	}, ginkit.Middleware(auth))
	router.GET("/", ok)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodOptions, "/", http.NoBody)
	r.Header.Set("Origin", "https://shop.example")
	r.Header.Set("Access-Control-Request-Method", http.MethodGet)
	w := httptest.NewRecorder()
	router.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent || len(reported) != 0 {
		t.Errorf("%d, errors %v; want 204 and none", w.Code, reported)
	}
}
