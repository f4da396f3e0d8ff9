// Command gin is a service on gin behind Tollgate.
//
//	go run ./examples/gin [-addr 127.0.0.1:8080] [-redis redis://127.0.0.1:6379] [-json]
package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tollgate-go/tollgate/adapters/ginkit"
	"github.com/tollgate-go/tollgate/examples/internal/demo"
)

func main() { demo.Main(mount) }

func mount(s *demo.Service) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(gin.Recovery())
	e.GET("/v1/search", ginkit.Middleware(s.Search), func(c *gin.Context) {
		c.JSON(http.StatusOK, demo.Search(c.Request.Context(), c.Query("q")))
	})
	e.GET("/v1/items/:id", ginkit.Middleware(s.Items), func(c *gin.Context) {
		c.JSON(http.StatusOK, demo.Item(c.Request.Context(), c.Param("id")))
	})
	e.POST("/v1/matrix", ginkit.Middleware(s.Matrix), func(c *gin.Context) {
		var m demo.Matrix
		if err := c.ShouldBindJSON(&m); err != nil {
			c.String(http.StatusBadRequest, "not a matrix")
			return
		}
		c.JSON(http.StatusOK, demo.Distances(c.Request.Context(), m))
	})
	e.GET("/v1/public", ginkit.Middleware(s.Public), func(c *gin.Context) { c.JSON(http.StatusOK, demo.Public()) })
	e.GET("/v1/whoami", ginkit.Middleware(s.Whoami), func(c *gin.Context) {
		c.JSON(http.StatusOK, demo.Whoami(c.Request.Context()))
	})
	e.GET("/healthz", func(c *gin.Context) { c.JSON(http.StatusOK, demo.Health()) })
	e.GET("/metrics", gin.WrapH(s.Metrics))
	e.GET("/v1/self/*path", ginkit.Middleware(s.Whoami), gin.WrapH(s.Self))
	e.Any("/admin/*path", gin.WrapH(s.Admin))
	return e
}
