// Command echo is a service on echo behind Tollgate.
//
//	go run ./examples/echo [-addr 127.0.0.1:8080] [-redis redis://127.0.0.1:6379] [-json]
package main

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tollgate-go/tollgate/adapters/echokit"
	"github.com/tollgate-go/tollgate/examples/internal/demo"
)

func main() { demo.Main(mount) }

func mount(s *demo.Service) http.Handler {
	e := echo.New()
	e.GET("/v1/search", func(c echo.Context) error {
		return c.JSON(http.StatusOK, demo.Search(c.Request().Context(), c.QueryParam("q")))
	}, echokit.Middleware(s.Search))
	e.GET("/v1/items/:id", func(c echo.Context) error {
		return c.JSON(http.StatusOK, demo.Item(c.Request().Context(), c.Param("id")))
	}, echokit.Middleware(s.Items))
	e.POST("/v1/matrix", func(c echo.Context) error {
		var m demo.Matrix
		if err := c.Bind(&m); err != nil {
			return c.String(http.StatusBadRequest, "not a matrix")
		}
		return c.JSON(http.StatusOK, demo.Distances(c.Request().Context(), m))
	}, echokit.Middleware(s.Matrix))
	e.GET("/v1/public", func(c echo.Context) error { return c.JSON(http.StatusOK, demo.Public()) }, echokit.Middleware(s.Public))
	e.GET("/v1/whoami", func(c echo.Context) error {
		return c.JSON(http.StatusOK, demo.Whoami(c.Request().Context()))
	}, echokit.Middleware(s.Whoami))
	e.GET("/healthz", func(c echo.Context) error { return c.JSON(http.StatusOK, demo.Health()) })
	e.GET("/metrics", echo.WrapHandler(s.Metrics))
	e.GET("/v1/self/*", echo.WrapHandler(s.Self), echokit.Middleware(s.Whoami))
	e.Any("/admin/*", echo.WrapHandler(s.Admin))
	return e
}
