package echokit_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/tollgate-go/tollgate/adapters/adaptertest"
	"github.com/tollgate-go/tollgate/adapters/echokit"
	"github.com/tollgate-go/tollgate/middleware"
)

func TestAdapter(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adapter)
}

func adapter(routes []adaptertest.Route, outer ...middleware.Stage) http.Handler {
	e := echo.New()
	for _, stage := range outer {
		e.Use(echokit.Middleware(stage))
	}
	for _, r := range routes {
		path, tail, _ := strings.Cut(adaptertest.ColonPath(r.Pattern), "*")
		if tail != "" {
			path += "*"
		}
		var chain []echo.MiddlewareFunc
		if r.Stage != nil {
			chain = append(chain, echokit.Middleware(r.Stage))
		}
		e.Add(r.Method, path, echo.WrapHandler(r.Handler), chain...)
	}
	return e
}
