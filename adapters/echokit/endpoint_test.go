package echokit_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/tollgate-go/tollgate/adapters/echokit"
	"github.com/tollgate-go/tollgate/middleware"
)

// recovers answers panics as Echo's own Recover does.
func recovers(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if v := recover(); v != nil {
				c.Error(fmt.Errorf("panic: %v", v))
			}
		}()
		return next(c)
	}
}

// TestEndpoint is about what Echo routes by itself.
func TestEndpoint(t *testing.T) {
	t.Parallel()
	auth, events := watched()
	e := echo.New()
	e.Use(recovers, echokit.Middleware(auth))
	e.POST("/posts/:id", ok)
	e.Any("/any", ok)
	e.GET("bare", ok)
	e.GET(`/items\:undelete`, ok)
	e.Static("/static", t.TempDir())
	group := e.Group("/v1", echokit.Middleware(auth)) // a group with middleware takes what is not found
	group.GET("", ok)
	group.GET("/items/:id", ok, echokit.Middleware(auth))
	group.GET("/panic", func(echo.Context) error { panic("mistake") })
	own := e.Group("/own")
	own.GET("/items", ok)
	own.RouteNotFound("/*", func(c echo.Context) error { return c.String(http.StatusNotFound, "not here") })
	e.Host("api.example").GET("/hosted/:id", ok)
	for _, row := range []struct {
		method, target, endpoint string
		status                   int
	}{
		{"GET", "/nowhere", "unmatched", 404},
		{"GET", "/posts/7", "unmatched", 405},
		{"OPTIONS", "/posts/7", "unmatched", 204},
		{"HEAD", "/v1/items/7", "unmatched", 404},
		{"GET", "/v1/nowhere", "unmatched", 404},
		{"GET", "/v1/items/7/rows", "GET /v1/items/{id}", 200}, // a last parameter takes the rest
		{"POST", "/v1/items/7", "unmatched", 404},
		{"GET", "/own/nowhere", "unmatched", 404},
		{"POST", "/own/items", "unmatched", 404},
		{"POST", "/posts/7", "POST /posts/{id}", 200},
		{"PATCH", "/any", "PATCH /any", 200},
		{"REPORT", "/any", "OTHER /any", 200},
		{"GET", "/bare", "GET /bare", 200},
		{"GET", "/items:undelete", "GET /items:undelete", 200},
		{"GET", "/static/x", "GET /static{...}", 404},
		{"GET", "/v1", "GET /v1", 200},
		{"GET", "/v1/items/7", "GET /v1/items/{id}", 200},
		{"GET", "http://api.example/hosted/7", "GET /hosted/{id}", 200},
		{"GET", "/v1/panic", "GET /v1/panic", 500},
	} {
		w := serve(t, e, row.method, row.target)
		if w.Code != row.status {
			t.Errorf("%s %s: status %d, want %d", row.method, row.target, w.Code, row.status)
		}
		if event := next(t, events); event.Endpoint != row.endpoint || event.Status != row.status {
			t.Errorf("%s %s: counted %d at %q, want %d at %q", row.method, row.target, event.Status, event.Endpoint, row.status, row.endpoint)
		}
		if len(events) > 0 {
			t.Errorf("%s %s: counted again: %v", row.method, row.target, <-events)
		}
	}
}

// TestPre shows that nothing is routed yet at a stage that Pre mounts, and that a stage within knows.
func TestPre(t *testing.T) {
	t.Parallel()
	auth, events := watched()
	e := echo.New()
	e.Pre(echokit.Middleware(auth))
	e.GET("/outer", ok)
	e.GET("/inner", ok, echokit.Middleware(auth.RequireMode(middleware.ReadOnly)))
	for target, want := range map[string]string{"/outer": "unmatched", "/inner": "GET /inner"} {
		serve(t, e, http.MethodGet, target)
		if event := next(t, events); event.Endpoint != want || event.Status != http.StatusOK {
			t.Errorf("%s: counted %d at %q, want %q", target, event.Status, event.Endpoint, want)
		}
	}
}
