package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/remotestore"
	"github.com/tollgate-go/tollgate/middleware"
)

var _ middleware.Authenticator = (*remotestore.Authenticator)(nil)

// A remote service that fails is an outage to a client, whatever it said of the key before.
func TestRemoteService(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		status, want int
		code         string
	}{
		"unknown":        {http.StatusUnauthorized, http.StatusUnauthorized, middleware.CodeInvalid},
		"disabled":       {http.StatusForbidden, http.StatusUnauthorized, middleware.CodeInvalid},
		"suspended":      {http.StatusPaymentRequired, http.StatusForbidden, middleware.CodeSuspended},
		"overloaded":     {http.StatusTooManyRequests, http.StatusServiceUnavailable, middleware.CodeUnavailable},
		"broken":         {http.StatusInternalServerError, http.StatusServiceUnavailable, middleware.CodeUnavailable},
		"somewhere else": {http.StatusFound, http.StatusServiceUnavailable, middleware.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(row.status) }))
			t.Cleanup(service.Close)
			who, err := remotestore.New(service.URL, remotestore.WithTransport(&http.Transport{DisableKeepAlives: true}), remotestore.WithTimeout(calm))
			if err != nil {
				t.Fatal(err)
			}
			_, _, refusal := admit(t, middleware.Authenticate(who), request(http.MethodGet, "/"))
			if refusal == nil || refusal.Status != row.want || refusal.Code != row.code {
				t.Errorf("refusal %v, want %d %s", refusal, row.want, row.code)
			}
		})
	}
}
