package admin_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua/redistest"
	"github.com/tollgate-go/tollgate/middleware/admin"
)

func TestProject(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		var changes []admin.Change
		s := newService(t, rdb, admin.WithAudit(func(c admin.Change) { changes = append(changes, c) }))
		p := "/v1/orgs/" + redistest.Org(t) + "/projects/shop"
		serve(t, s.admin, request("GET", p, "")).want(t, 404, "not_found")
		serve(t, s.admin, request("PATCH", p, `{"plan":"gold"}`)).want(t, 404, "not_found")
		serve(t, s.admin, request("PATCH", p, `{"plan":"gold"}`, "If-Match", "*")).want(t, 412, "precondition_failed")
		serve(t, s.admin, request("PUT", p, `{"plan":"gold"}`)).want(t, 422, "invalid_fields")
		made := serve(t, s.admin, request("PUT", p, `{"state":"active","plan":"gold","reason":"r"}`, "If-None-Match", "*")).want(t, 201, "")
		if made.header.Get("ETag") != `"1"` || made.header.Get("Location") != p {
			t.Errorf("made with %v", made.header)
		}
		serve(t, s.admin, request("PUT", p, `{"state":"active"}`, "If-None-Match", "*")).want(t, 412, "precondition_failed")
		off := serve(t, s.admin, request("PATCH", p, `{"state":"suspended","reason":"unpaid"}`, "If-Match", `"1"`, "Content-Type", "application/merge-patch+json")).want(t, 200, "")
		if off.object["plan"] != "gold" || off.object["reason"] != "unpaid" || off.object["revision"] != 2.0 {
			t.Errorf("suspended: %s", off.text)
		}
		serve(t, s.admin, request("PATCH", p, `{"plan":null}`, "If-Match", `"1"`)).want(t, 412, "precondition_failed")
		same := serve(t, s.admin, request("PATCH", p, `{}`, "If-Match", `"2"`)).want(t, 200, "")
		if same.header.Get("ETag") != `"2"` {
			t.Errorf("what changes nothing has the ETag %s", same.header.Get("ETag"))
		}
		on := serve(t, s.admin, request("PATCH", p, `{"state":"active","plan":null}`, "If-Match", "*")).want(t, 200, "")
		if on.object["plan"] != nil || on.object["reason"] != nil {
			t.Errorf("active again: %s", on.text)
		}
		whole := serve(t, s.admin, request("PUT", p, `{"state":"suspended","reason":"x"}`)).want(t, 200, "")
		if read := serve(t, s.admin, request("GET", p, "")).want(t, 200, ""); read.text != whole.text || read.header.Get("ETag") != `"4"` {
			t.Errorf("read %s, want %s", read.text, whole.text)
		}
		serve(t, s.admin, request("GET", p, "", "If-None-Match", `"4"`)).want(t, 304, "")
		if len(changes) != 4 || changes[0].Action != "project.set" || changes[0].Project != "shop" {
			t.Errorf("changes %+v", changes)
		}
	})
}

func TestProjectBodies(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	h := newHandler(t, admin.WithKeys(store, issuer))
	for body, want := range map[string]string{
		`{"state":"revoked"}`:                                          "/state",
		`{"state":null}`:                                               "/state",
		`{"state":"active","org":"x"}`:                                 "/org",
		`{"state":"active","name":"x"}`:                                "/name",
		`{"state":"active","revision":7}`:                              "/revision",
		`{"state":"active","reason":"a\n"}`:                            "/reason",
		`{"state":"active","plan":"` + strings.Repeat("p", 129) + `"}`: "/plan",
	} {
		for _, method := range []string{"PUT", "PATCH"} {
			serve(t, h, request("POST", "/v1/orgs/o/projects/p/keys", "")).want(t, 201, "")
			a := serve(t, h, request(method, "/v1/orgs/o/projects/p", body)).want(t, 422, "invalid_fields")
			if got := strings.Join(pointersOf(t, a), " "); got != want {
				t.Errorf("%s %s: %s, want %s", method, body, got, want)
			}
		}
	}
	serve(t, h, request("PUT", "/v1/orgs/o/projects/p", "")).want(t, 415, "unsupported_media")
}

// A project that has keys is there, though nothing is set for it.
func TestProjectOfKeysAlone(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		s := newService(t, rdb, admin.WithRequiredPreconditions())
		org := "/v1/orgs/" + redistest.Org(t)
		for i := range 3 {
			serve(t, s.admin, request("POST", fmt.Sprintf("%s/projects/p%d/keys", org, i), "")).want(t, 201, "")
		}
		read := serve(t, s.admin, request("GET", org+"/projects/p1", "")).want(t, 200, "")
		if read.object["state"] != "active" || read.object["revision"] != nil || read.header.Get("ETag") != "" {
			t.Errorf("read %s, ETag %q", read.text, read.header.Get("ETag"))
		}
		serve(t, s.admin, request("PATCH", org+"/projects/p1", `{"state":"suspended"}`)).want(t, 428, "precondition_required")
		serve(t, s.admin, request("PATCH", org+"/projects/p1", `{"state":"suspended"}`, "If-Match", "*")).want(t, 200, "")
		serve(t, s.admin, request("PUT", org+"/projects/p2", `{"state":"suspended"}`, "If-None-Match", "*")).want(t, 201, "")
		got := map[string]any{}
		query := "?limit=1"
		for range 9 {
			a := serve(t, s.admin, request("GET", org+"/projects"+query, "")).want(t, 200, "")
			for _, item := range a.items(t) {
				got[item["name"].(string)] = item["state"]
			}
			next, ok := a.object["next"].(string)
			if !ok {
				break
			}
			query = "?limit=1&cursor=" + url.QueryEscape(next)
		}
		if want := "map[p0:active p1:suspended p2:suspended]"; fmt.Sprint(got) != want {
			t.Errorf("listed %v, want %s", got, want)
		}
		for _, query := range []string{"cursor=", "cursor=x!", "limit=201", "state=active"} {
			serve(t, s.admin, request("GET", org+"/projects?"+query, "")).want(t, 400, "invalid_query")
		}
	})
}

// Of writers that start from one revision, one wins; of those that say nothing, all are heard.
func TestProjectWritersRace(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		replicas := []*service{newService(t, rdb), newService(t, rdb)}
		p := "/v1/orgs/" + redistest.Org(t) + "/projects/shop"
		race := func(body func(i int) string, fields ...string) map[int]int {
			statuses := make([]int, 8)
			var all sync.WaitGroup
			for i := range statuses {
				all.Go(func() {
					statuses[i] = serve(t, replicas[i%2].admin, request("PUT", p, body(i), fields...)).status
				})
			}
			all.Wait()
			count := map[int]int{}
			for _, status := range statuses {
				count[status]++
			}
			return count
		}
		body := func(i int) string { return fmt.Sprintf(`{"state":"active","plan":"g%d"}`, i) }
		if got := race(body, "If-None-Match", "*"); got[201] != 1 || got[412] != 7 {
			t.Errorf("of those that create, %v", got)
		}
		if got := race(body, "If-Match", `"1"`); got[200] > 2 || got[412] < 6 || got[200]+got[412] != 8 { // who writes what is there changes nothing
			t.Errorf("of those with one revision, %v", got)
		}
		if got := race(body); got[200] != 8 {
			t.Errorf("of those with no precondition, %v", got)
		}
	})
}

// Whoever sees one org alone does not choose what it pays for, be it by leaving out.
func TestPlanIsNotForTenants(t *testing.T) {
	t.Parallel()
	store, issuer := memory(t)
	all := newHandler(t, admin.WithKeys(store, issuer))
	h := handlerOf(t, admin.Actor{Org: "o", Scopes: []string{"*"}}, admin.WithKeys(store, issuer))
	const p = "/v1/orgs/o/projects/p"
	serve(t, h, request("PUT", p, `{"state":"active","plan":"gold"}`)).want(t, 403, "forbidden")
	serve(t, h, request("PUT", p, `{"state":"active"}`)).want(t, 201, "")
	serve(t, all, request("PATCH", p, `{"plan":"gold"}`)).want(t, 200, "")
	serve(t, h, request("PUT", p, `{"state":"suspended"}`)).want(t, 403, "forbidden")
	serve(t, h, request("PATCH", p, `{"plan":null}`)).want(t, 403, "forbidden")
	serve(t, h, request("PUT", p, `{"state":"suspended","plan":"gold"}`)).want(t, 200, "")
	serve(t, h, request("PATCH", p, `{"state":"active"}`)).want(t, 200, "")
	key := serve(t, all, request("POST", keys, `{"plan":"gold"}`)).header.Get("Location")
	serve(t, h, request("PATCH", key, `{"plan":null}`)).want(t, 403, "forbidden")
	serve(t, h, request("PATCH", key, `{"plan":"platinum"}`)).want(t, 403, "forbidden")
	serve(t, h, request("PATCH", key, `{"plan":"gold","name":"n"}`)).want(t, 200, "")
	if read := serve(t, all, request("GET", p, "")); read.object["plan"] != "gold" {
		t.Errorf("the project is %s", read.text)
	}
}
