package httpkit_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/tollgate-go/tollgate/adapters/adaptertest"
	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/middleware"
)

func TestAdapter(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adapter)
}

func adapter(routes []adaptertest.Route, outer ...middleware.Stage) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		if r.Stage != nil {
			r.Handler = httpkit.Middleware(r.Stage)(r.Handler)
		}
		mux.Handle(r.Method+" "+r.Pattern, r.Handler)
	}
	var h http.Handler = mux
	for _, stage := range slices.Backward(outer) {
		h = httpkit.Middleware(stage)(h)
	}
	return h
}
