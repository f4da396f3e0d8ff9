package admin_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// What a page of another site can make a browser send is refused by every operation: a request that says whence it
// comes, and a body of the types that need no leave to be sent.
func TestForgedRequests(t *testing.T) {
	t.Parallel()
	h := as(t, admin.Actor{Name: "a", Scopes: []string{admin.ScopeAll}})
	for _, row := range operations {
		serve(t, h, request(row.method, row.path, row.body, "Sec-Fetch-Site", "cross-site")).want(t, 403, "cross_site")
		if row.method != "GET" {
			serve(t, h, request(row.method, row.path, row.body, "Origin", "https://evil.example")).want(t, 403, "cross_site")
		}
		if row.method != "POST" && row.method != "PUT" && row.method != "PATCH" {
			continue
		}
		for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
			serve(t, h, request(row.method, row.path, `{"limit":1}`, "Content-Type", media)).want(t, 415, "unsupported_media")
		}
	}
}

// The id of something of one org names nothing in another, for whoever may use both.
func TestForeignIDsAreNotFound(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		mine, other := "/v1/orgs/"+redistest.Org(t), "/v1/orgs/"+redistest.Org(t)
		override := serve(t, s.admin, request("PUT", mine+"/overrides", `{"project":"p","limit":1}`)).want(t, 201, "").object["id"].(string)
		key := serve(t, s.admin, request("POST", mine+"/projects/p/keys", "")).want(t, 201, "").object["id"].(string)
		for _, path := range []string{
			other + "/overrides/" + override, other + "/projects/p/keys/" + key, mine + "/projects/q/keys/" + key,
		} {
			serve(t, s.admin, request("GET", path, "")).want(t, 404, "not_found")
			serve(t, s.admin, request("DELETE", path, "")).want(t, 404, "not_found")
		}
		serve(t, s.admin, request("DELETE", other+"/overrides/"+override, "", "If-Match", "*")).want(t, 404, "not_found")
		serve(t, s.admin, request("GET", mine+"/overrides/"+override, "")).want(t, 200, "")
		if a := serve(t, s.admin, request("GET", mine+"/projects/p/keys/"+key, "")).want(t, 200, ""); a.object["state"] != "active" {
			t.Errorf("%s", a.text)
		}
	})
}
