package admin_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

// Whoever knows the ids of another org reaches nothing by them: neither in that org, nor in his own, nor in another
// project.
func TestIDsOfOthersReachNothing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb)
		theirs, mine := redistest.Org(t), redistest.Org(t)
		key := serve(t, s.admin, request("POST", "/v1/orgs/"+theirs+"/projects/p/keys", `{"name":"theirs"}`)).want(t, 201, "")
		rotated := serve(t, s.admin, request("POST", key.header.Get("Location")+"/credentials", `{"overlap":"1h"}`)).want(t, 201, "")
		serve(t, s.admin, request("PUT", "/v1/orgs/"+theirs+"/projects/p", `{"state":"active","plan":"gold"}`)).want(t, 201, "")
		override := serve(t, s.admin, request("PUT", "/v1/orgs/"+theirs+"/overrides", `{"project":"p","limit":5}`)).want(t, 201, "")
		serve(t, s.admin, request("POST", "/v1/orgs/"+mine+"/projects/p/keys", "")).want(t, 201, "")
		before := serve(t, s.admin, request("GET", key.header.Get("Location"), "")).text

		tenant := handlerOf(t, admin.Actor{Org: mine, Scopes: []string{"*"}},
			admin.WithKeys(s.store, s.issuer), admin.WithOverrides(s.overrides), admin.WithLimits(s.limiter), admin.WithRoute(search, policy), admin.WithUsage(s.meter),
			admin.WithRevocations(s.revocations))
		id, credential := key.object["id"].(string), rotated.object["credential"].(string)
		for _, row := range operations {
			fill := strings.NewReplacer("/projects/p/keys/x", "/projects/p/keys/"+id, "/credentials/y", "/credentials/"+credential,
				"/overrides/x", "/overrides/"+override.object["id"].(string))
			path := fill.Replace(row.path)
			if strings.HasPrefix(path, "/v1/orgs/o/") {
				a := serve(t, tenant, request(row.method, strings.Replace(path, "/orgs/o/", "/orgs/"+theirs+"/", 1), row.body))
				if a.status != 404 {
					t.Errorf("%s %s: %d %s", row.method, path, a.status, a.text)
				}
			}
			if path == row.path { // it names no id
				continue
			}
			own := strings.Replace(path, "/orgs/o/", "/orgs/"+mine+"/", 1)
			for _, h := range []http.Handler{tenant, s.admin} {
				serve(t, h, request(row.method, own, row.body)).want(t, 404, "not_found")
			}
			elsewhere := strings.Replace(path, "/orgs/o/projects/p/", "/orgs/"+theirs+"/projects/q/", 1)
			if elsewhere != path {
				serve(t, s.admin, request(row.method, elsewhere, row.body)).want(t, 404, "not_found")
			}
		}
		for _, secret := range []string{key.object["secret"].(string), rotated.object["secret"].(string)} {
			serve(t, tenant, request("POST", "/v1/keys:lookup", `{"key":"`+secret+`"}`)).want(t, 404, "not_found")
		}
		bulk := serve(t, tenant, request("POST", "/v1/orgs/"+mine+"/keys:bulk-revoke", fmt.Sprintf(`{"keys":[%q,%q],"reason":"r"}`, id, credential)))
		for id, result := range results(t, bulk) {
			if result != "not_found" {
				t.Errorf("in bulk, %s is %s", id, result)
			}
		}
		if after := serve(t, s.admin, request("GET", key.header.Get("Location"), "")).text; after != before {
			t.Errorf("the key was %s, is %s", before, after)
		}
	})
}
