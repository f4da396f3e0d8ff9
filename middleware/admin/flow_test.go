package admin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// call sends a request with an API key through the stages of a replica: 200, or the status of a refusal.
func (s *service) call(secret string) int {
	stage := middleware.Authenticate(s.verifier).RateLimit(s.limiter, policy)
	r := httptest.NewRequest(http.MethodGet, "/v1/search", nil)
	r.Header.Set("X-API-Key", secret)
	admission, refused := stage.Admit(http.Header{}, r, search)
	if refused != nil {
		return refused.Status
	}
	admission.Done(http.StatusOK, 0)
	return http.StatusOK
}

// A change at one replica holds for the very next request at each, their caches warm.
func TestNextRequestObeys(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		replicas := []*service{newService(t, rdb), newService(t, rdb)}
		org := "/v1/orgs/" + redistest.Org(t)
		for i, first := range replicas {
			second := replicas[1-i]
			project := fmt.Sprintf("p%d", i)
			issued := serve(t, first.admin, request("POST", org+"/projects/"+project+"/keys", "")).want(t, 201, "")
			secret := issued.object["secret"].(string)
			both := func(what string, want int) {
				t.Helper()
				for n, s := range []*service{second, first} {
					if got := s.call(secret); got != want {
						t.Fatalf("%s: replica %d answers %d, want %d", what, n, got, want)
					}
				}
			}
			both("a new key", 200)
			both("a known key", 200)
			override := serve(t, first.admin, request("PUT", org+"/overrides", `{"project":"`+project+`","limit":4}`)).want(t, 201, "")
			both("with 4 used of 4", 429)
			serve(t, second.admin, request("PUT", org+"/overrides", `{"project":"`+project+`","limit":6}`, "If-Match", override.header.Get("ETag"))).want(t, 200, "")
			both("with 4 used of 6", 200)
			both("with 6 used of 6", 429)
			serve(t, second.admin, request("DELETE", override.header.Get("Location"), "")).want(t, 204, "")
			both("without the override", 200)
			serve(t, first.admin, request("PUT", org+"/overrides", `{"limit":0}`)).want(t, 201, "")
			both("with an override of the org", 429)
			serve(t, first.admin, request("DELETE", org+"/overrides?project=", "")).want(t, 200, "")
			both("cleared", 200)
			serve(t, first.admin, request("DELETE", issued.header.Get("Location"), "")).want(t, 204, "")
			both("revoked", 401)
		}
	})
}

// Through all that can be asked, a secret is in one answer.
func TestSecretIsShownOnce(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	var changes []admin.Change
	s := newService(t, redistest.Standalone(t), admin.WithLogger(logTo(&log)), admin.WithAudit(func(c admin.Change) { changes = append(changes, c) }))
	org := "/v1/orgs/" + redistest.Org(t)
	issued := serve(t, s.admin, request("POST", org+"/projects/p/keys", `{"name":"ci"}`)).want(t, 201, "")
	secret := issued.object["secret"].(string)
	location := issued.header.Get("Location")
	for _, r := range []*http.Request{
		request("GET", location, ""), request("GET", org+"/projects/p/keys", ""),
		request("GET", org+"/projects/p/limits", ""), request("GET", org+"/usage", ""),
		request("POST", org+"/projects/p/keys", `{"name":"`+secret+`","kind":"`+secret+`"}`),
		request("PUT", org+"/overrides", `{"policy":"`+secret+`/","limit":1}`),
		request("PUT", org+"/overrides", `{"limit":"`+secret+`"}`),
		request("PUT", org+"/overrides", `{"limit":`+secret+`}`),
		request("GET", org+"/usage?from="+secret, ""), request("GET", org+"/usage?"+secret+"=1", ""),
		request("GET", org+"/usage", "", "Authorization", "Bearer "+secret),
		request("GET", org+"/overrides/"+secret, ""), request("PUT", org+"/overrides", `{"limit":1}`, "If-Match", secret),
		request("DELETE", location, ""), request("GET", location, ""),
	} {
		if a := serve(t, s.admin, r); strings.Contains(a.text, secret) || strings.Contains(fmt.Sprint(a.header), secret) {
			t.Errorf("%s %s: %d tells the secret: %s", r.Method, r.URL, a.status, a.text)
		}
	}
	if text := log.String() + fmt.Sprint(changes); strings.Contains(text, secret) || len(changes) != 2 {
		t.Errorf("log and audit hold %s", text)
	}
}
