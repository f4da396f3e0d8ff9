package ginkit_test

import (
	"net/http"
	"os"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/tollgate-go/tollgate/adapters/adaptertest"
	"github.com/tollgate-go/tollgate/adapters/ginkit"
	"github.com/tollgate-go/tollgate/middleware"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

func TestAdapter(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adapter)
}

func adapter(routes []adaptertest.Route, outer ...middleware.Stage) http.Handler {
	router := gin.New()
	for _, stage := range outer {
		router.Use(ginkit.Middleware(stage))
	}
	for _, r := range routes {
		var chain []gin.HandlerFunc
		if r.Stage != nil {
			chain = append(chain, ginkit.Middleware(r.Stage))
		}
		router.Handle(r.Method, adaptertest.ColonPath(r.Pattern), append(chain, gin.WrapH(r.Handler))...)
	}
	return router
}
