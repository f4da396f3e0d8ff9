package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// A field whose name has an underscore is another one, whatever a proxy in front makes of it.
func TestUnderscoreFieldIsNoCredential(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"X_Api_Key", "X_API_KEY", "X-Api_Key", "Authorization_", "_Authorization"} {
		r := httptest.NewRequest(http.MethodGet, "/v1/search", nil)
		r.Header[name] = []string{goodKey}
		c := demoCallers()
		_, _, refusal := admit(t, middleware.Authenticate(c), r)
		if refusal == nil || refusal.Status != http.StatusUnauthorized || c.asked != 0 {
			t.Errorf("%s: refusal %v after %d questions; want 401 without one", name, refusal, c.asked)
		}
	}
}

// A panic in what a service gives a stage ends the request as one in its handler would: nobody passes, whatever the
// stage does about failures.
func TestPanicOfACallbackLetsNobodyPass(t *testing.T) {
	t.Parallel()
	limiter, policy := limiterFunc(allow), ratelimit.PerHour(10)
	for name, stage := range map[string]middleware.Stage{
		"key of a limit": middleware.LimitBy(middleware.Key{Name: "odd", Of: func(*http.Request) string { panic("odd") }}, limiter, policy).OnFailure(middleware.FailOpen),
		"cost": middleware.Authenticate(demoCallers()).RateLimit(limiter, policy).OnFailure(middleware.FailOpen).
			Cost("requests", func(*http.Request) (int64, error) { panic("odd") }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			served := false
			gate := httpkit.Middleware(stage)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true }))
			var told any
			func() {
				defer func() { told = recover() }()
				gate.ServeHTTP(httptest.NewRecorder(), request(http.MethodGet, "/v1/search"))
			}()
			if told != "odd" || served {
				t.Errorf("panic %v, served %t; want the panic alone", told, served)
			}
		})
	}
}
