package admin_test

import (
	"net/http"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// demanding returns a handler that takes no write without a precondition.
func demanding(t *testing.T, rdb redis.UniversalClient) http.Handler {
	t.Helper()
	s := newService(t, rdb, admin.WithRequiredPreconditions(), admin.WithPlans(newPlans(t, rdb)))
	return s.admin
}

func TestRequiredPreconditions(t *testing.T) {
	t.Parallel()
	rdb := redistest.Standalone(t)
	h := demanding(t, rdb)
	overrides := "/v1/orgs/" + redistest.Org(t) + "/overrides"
	plan := "/v1/plans/" + redistest.Org(t)
	const body = `{"project":"p","limit":1}`
	t.Cleanup(func() { serve(t, h, request("DELETE", plan, "", "If-Match", "*")) })

	serve(t, h, request("PUT", overrides, body)).want(t, 428, "precondition_required")
	serve(t, h, request("PUT", plan, `{"rules":[]}`)).want(t, 428, "precondition_required")
	created := serve(t, h, request("PUT", overrides, body, "If-None-Match", "*")).want(t, 201, "")
	location := created.header.Get("Location")
	serve(t, h, request("PUT", overrides, body)).want(t, 428, "precondition_required")
	changed := serve(t, h, request("PUT", overrides, body, "If-Match", created.header.Get("ETag"))).want(t, 200, "")
	serve(t, h, request("DELETE", location, "")).want(t, 428, "precondition_required")
	serve(t, h, request("DELETE", location, "", "If-Match", created.header.Get("ETag"))).want(t, 412, "precondition_failed")
	serve(t, h, request("DELETE", location, "", "If-Match", changed.header.Get("ETag"))).want(t, 204, "")
	serve(t, h, request("PUT", plan, `{"rules":[{"limit":1}]}`, "If-None-Match", "*")).want(t, 201, "")
	serve(t, h, request("DELETE", plan, "")).want(t, 428, "precondition_required")
	serve(t, h, request("DELETE", plan, "", "If-Match", "*")).want(t, 204, "")

	// What has no ETag needs no precondition, and what is only asked does not either.
	serve(t, h, request("DELETE", overrides+"?project=p", "")).want(t, 200, "")
	serve(t, h, request("POST", overrides+"/dry-run", body)).want(t, 200, "")
	serve(t, h, request("GET", overrides, "")).want(t, 200, "")
}

func TestNothingWithoutETagMatches(t *testing.T) {
	t.Parallel()
	h := newHandler(t, withAll(t)...)
	serve(t, h, request("DELETE", "/v1/orgs/o/overrides?project=p", "", "If-Match", "*")).want(t, 412, "precondition_failed")
	serve(t, h, request("DELETE", "/v1/orgs/o/projects/p/limits", "", "If-Match", `"1"`)).want(t, 412, "precondition_failed")
}

func TestNotModified(t *testing.T) {
	t.Parallel()
	s := newService(t, redistest.Standalone(t, redistest.OrEmbedded()))
	created := serve(t, s.admin, request("PUT", "/v1/orgs/"+redistest.Org(t)+"/overrides", `{"limit":1}`)).want(t, 201, "")
	location, tag := created.header.Get("Location"), created.header.Get("ETag")
	for field, want := range map[string]int{
		tag: 304, "W/" + tag: 304, `"1", ` + tag: 304, "*": 304, `"1"`: 200, "nonsense": 200, tag[1:]: 200,
	} {
		for _, method := range []string{"GET", "HEAD"} {
			a := serve(t, s.admin, request(method, location, "", "If-None-Match", field))
			if a.status != want || a.header.Get("ETag") != tag || want == 304 && (a.text != "" || a.header.Get("Content-Length") != "") {
				t.Errorf("%s with %s: %d %q, ETag %s; want %d", method, field, a.status, a.text, a.header.Get("ETag"), want)
			}
		}
	}
}
