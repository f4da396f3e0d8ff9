package service

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/httprate"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/middleware/stdlib"
	"github.com/ulule/limiter/v3/drivers/store/memory"
)

func ginAlone(context.Context, Setup) (*Service, error) {
	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	g.GET(Path, func(c *gin.Context) { c.Data(http.StatusOK, "application/json", answer) })
	return &Service{Handler: g, Close: nothing}, nil
}

func echoAlone(context.Context, Setup) (*Service, error) { return onEcho(), nil }

func echoKey(_ context.Context, s Setup) (*Service, error) {
	return onEcho(keyAuth(newKnown(s))), nil
}

func echoAll(_ context.Context, s Setup) (*Service, error) {
	store := echomiddleware.NewRateLimiterMemoryStoreWithConfig(echomiddleware.RateLimiterMemoryStoreConfig{Rate: never, Burst: never})
	limit := echomiddleware.RateLimiterWithConfig(echomiddleware.RateLimiterConfig{
		Store:               store,
		IdentifierExtractor: func(c echo.Context) (string, error) { project, _ := c.Get("project").(string); return project, nil },
	})
	return onEcho(keyAuth(newKnown(s)), limit), nil
}

func onEcho(stages ...echo.MiddlewareFunc) *Service {
	e := echo.New()
	e.GET(Path, func(c echo.Context) error { return c.Blob(http.StatusOK, "application/json", answer) }, stages...)
	return &Service{Handler: e, Close: nothing}
}

func keyAuth(keys known) echo.MiddlewareFunc {
	return echomiddleware.KeyAuth(func(key string, c echo.Context) (bool, error) {
		project, ok := keys.project(key)
		if ok {
			c.Set("project", project)
		}
		return ok, nil
	})
}

// byKey tells httprate and ulule/limiter whom to limit: they know no keys, so this is all that looks at it.
func byKey(r *http.Request) (string, error) { return bearerOf(r), nil }

func bearerOf(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func httprateMemory(context.Context, Setup) (*Service, error) {
	return mounted(httprate.LimitBy(never*60, time.Minute, byKey), nothing), nil
}

func ululeMemory(context.Context, Setup) (*Service, error) {
	l := limiter.New(memory.NewStore(), limiter.Rate{Period: time.Minute, Limit: never * 60})
	return mounted(stdlib.NewMiddleware(l, stdlib.WithKeyGetter(bearerOf)).Handler, nothing), nil
}
