package admin_test

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
	"github.com/tollgate-go/tollgate/ratelimit"
)

func TestResetLimits(t *testing.T) {
	t.Parallel()
	const one, two = "GET /v1/one", "GET /v1/two"
	per := ratelimit.PerHour(10).Fixed()
	project, shared, held := per.Named("project"), per.Named("shared").Across(), per.Named("held").Reserved(time.Hour)
	key, org := per.Named("key").By(ratelimit.ByKey), per.Named("org").By(ratelimit.ByOrg).Across()
	both := []ratelimit.Policy{project, shared, key, org}
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		var changes []admin.Change
		s := newKeyless(t, rdb, admin.WithRoute(one, append(both, held)...), admin.WithRoute(two, both...),
			admin.WithAudit(func(c admin.Change) { changes = append(changes, c) }))
		const untouched = "project 3, shared 4, key 3, org 4, held 3; project 1, shared 4, key 1, org 4"
		for _, row := range []struct {
			query, reset, left, audit string
			status                    int
		}{
			{"", "search requests, one project, one shared, one held, two project, two shared", "project 0, shared 0, key 3, org 4, held 0; project 0, shared 0, key 1, org 4", "p  search , p  one , p  two ", 200},
			{"?partition=project&endpoint=" + url.QueryEscape(two), "two project, two shared", "project 3, shared 0, key 3, org 4, held 3; project 0, shared 0, key 1, org 4", "p  two ", 200},
			{"?policy=held", "one held", "project 3, shared 4, key 3, org 4, held 0; project 1, shared 4, key 1, org 4", "p  one held", 200},
			{"?key=k&endpoint=" + url.QueryEscape(one), "one key", "project 3, shared 4, key 0, org 4, held 3; project 1, shared 4, key 1, org 4", "p k one ", 200},
			{"?key=other&partition=key", "one key, two key", untouched, "p other one , p other two ", 200},
			{"?partition=org&policy=org", "one org, two org", "project 3, shared 4, key 3, org 0, held 3; project 1, shared 4, key 1, org 0", "  one org,   two org", 200},
			{"?policy=org", "other_partition", untouched, "", 409},
			{"?policy=key", "other_partition", untouched, "", 409},
			{"?policy=project&key=k", "other_partition", untouched, "", 409},
			{"?policy=org&key=k", "other_partition", untouched, "", 409},
			{"?policy=none", "not_found", untouched, "", 404},
			{"?policy=", "not_found", untouched, "", 404},
			{"?policy=held&endpoint=" + url.QueryEscape(two), "not_found", untouched, "", 404},
			{"?endpoint=GET+/v1/none", "not_found", untouched, "", 404},
			{"?endpoint=", "not_found", untouched, "", 404},
			{"?key=", "invalid_query", untouched, "", 400},
			{"?key=" + strings.Repeat("k", 129), "invalid_query", untouched, "", 400},
			{"?partition=", "invalid_query", untouched, "", 400},
			{"?partition=network", "invalid_query", untouched, "", 400},
			{"?partition=key", "invalid_query", untouched, "", 400},
			{"?partition=org&key=k", "invalid_query", untouched, "", 400},
			{"?partition=project&key=k", "invalid_query", untouched, "", 400},
			{"?project=p", "invalid_query", untouched, "", 400},
		} {
			name := redistest.Org(t)
			s.admitted(t, name, one, 3, append(both, held)...)
			s.admitted(t, name, two, 1, both...)
			base := "/v1/orgs/" + name + "/projects/p/limits"
			changes = nil
			a := serve(t, s.admin, request("DELETE", base+row.query, ""))
			said := fmt.Sprint(a.object["code"])
			if a.status == 200 {
				var lines []string
				for _, item := range a.items(t) {
					if (item["policy"] == "shared" || item["policy"] == "org") != (item["shared"] == true) {
						t.Errorf("%v: shared", item)
					}
					lines = append(lines, fmt.Sprint(strings.TrimPrefix(item["endpoint"].(string), "GET /v1/"), " ", item["policy"]))
				}
				said = strings.Join(lines, ", ")
			}
			if a.status != row.status || said != row.reset {
				t.Errorf("DELETE %s: %d %s, want %d %s", row.query, a.status, said, row.status, row.reset)
			}
			left := ""
			for i, endpoint := range []string{one, two} {
				left += []string{"", "; "}[i]
				for j, item := range serve(t, s.admin, request("GET", base+"?key=k&endpoint="+url.QueryEscape(endpoint), "")).items(t) {
					if j > 0 {
						left += ", "
					}
					left += fmt.Sprint(item["policy"], " ", item["used"])
				}
			}
			if left != row.left {
				t.Errorf("DELETE %s left\n%s, want\n%s", row.query, left, row.left)
			}
			var audit []string
			for _, c := range changes {
				if c.Action != "limits.reset" || c.Org != name || c.Actor.Name != "bearer" || c.RequestID != a.header.Get("X-Request-Id") {
					t.Errorf("reported %+v", c)
				}
				audit = append(audit, fmt.Sprint(c.Project, " ", c.ID, " ", strings.TrimPrefix(c.Endpoint, "GET /v1/"), " ", c.Policy))
			}
			if got := strings.Join(audit, ", "); got != row.audit {
				t.Errorf("DELETE %s reported %q, want %q", row.query, got, row.audit)
			}
		}
	})
}

// TestResetOfACandidate resets a policy whose live one is not among what is reset.
func TestResetOfACandidate(t *testing.T) {
	t.Parallel()
	next := ratelimit.PerHour(5).Fixed().Named("next")
	next.Candidate = policy.Name
	s, org := newKeyless(t, redistest.Standalone(t), admin.WithRoute("GET /v1/next", policy, next)), redistest.Org(t)
	s.admitted(t, org, "GET /v1/next", 2, policy, next)
	base := "/v1/orgs/" + org + "/projects/p/limits"
	serve(t, s.admin, request("DELETE", base+"?policy=next", "")).want(t, 200, "")
	var used []any
	for _, item := range serve(t, s.admin, request("GET", base+"?endpoint="+url.QueryEscape("GET /v1/next"), "")).items(t) {
		used = append(used, item["used"])
	}
	if !reflect.DeepEqual(used, []any{2.0, 0.0}) {
		t.Errorf("used after it: %v, want 2 and 0", used)
	}
}
