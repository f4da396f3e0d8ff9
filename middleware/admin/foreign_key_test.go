package admin_test

import (
	"net/url"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/ratelimit"
)

// TestKeyOfAnotherProject: what it used is neither shown nor forgotten on the path of a project that has it not.
func TestKeyOfAnotherProject(t *testing.T) {
	t.Parallel()
	byKey := ratelimit.PerHour(10).Fixed().Named("k").By(ratelimit.ByKey)
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s, org := newService(t, rdb, admin.WithRoute("GET /k", byKey)), redistest.Org(t)
		base := "/v1/orgs/" + org
		id := serve(t, s.admin, request("POST", base+"/projects/own/keys", `{}`)).want(t, 201, "").object["id"].(string)
		r := ratelimit.Request{Org: org, Project: "own", Key: id, Endpoint: "GET /k", Charges: []ratelimit.Charge{{Policy: byKey, Cost: 7}}}
		if d, err := s.limiter.Admit(t.Context(), r); err != nil || !d.Allowed {
			t.Fatalf("Admit = %v, %v", d, err)
		}
		query := "/limits?endpoint=" + url.QueryEscape("GET /k") + "&key="
		used := func(want float64) {
			t.Helper()
			if got := serve(t, s.admin, request("GET", base+"/projects/own"+query+id, "")).items(t)[0]["used"]; got != want {
				t.Errorf("used %v, want %v", got, want)
			}
		}
		for _, target := range []string{"/projects/other" + query + id, "/projects/own" + query + "unknown", "/projects/other" + query + id + "&plan="} {
			serve(t, s.admin, request("GET", base+target, "")).want(t, 404, "not_found")
		}
		serve(t, s.admin, request("DELETE", base+"/projects/other"+query+id, "")).want(t, 404, "not_found")
		serve(t, s.admin, request("POST", base+"/overrides/dry-run?project=other&key="+id, `{"limit":1}`)).want(t, 404, "not_found")
		used(7)
		serve(t, s.admin, request("DELETE", base+"/projects/own"+query+id, "")).want(t, 200, "")
		used(0)
	})
}
